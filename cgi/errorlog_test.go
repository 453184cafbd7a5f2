package cgi_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/cgi"
)

// logOf is an ErrorLog and what it has logged, without times.
func logOf(lines int, per time.Duration) (*cgi.ErrorLog, func() string) {
	var mu sync.Mutex
	var b bytes.Buffer
	h := slog.NewTextHandler(writer(func(p []byte) (int, error) {
		mu.Lock()
		defer mu.Unlock()
		return b.Write(p)
	}), &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}})
	return &cgi.ErrorLog{App: "shop", Log: slog.New(h), Lines: lines, Per: per}, func() string {
		mu.Lock()
		defer mu.Unlock()
		s := b.String()
		b.Reset()
		return s
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func stderrLine(pid int, line string) string {
	return fmt.Sprintf("msg=stderr app=shop pid=%d line=%s\n", pid, line)
}

const leftOut = "msg=\"lines of standard error were left out\" app=shop lines=%d\n"

func TestErrorLogLines(t *testing.T) {
	e, logged := logOf(0, 0)
	a, b := e.For(11), e.For(22)
	fmt.Fprint(a, "one\ntw")
	fmt.Fprint(b, "other\n")
	fmt.Fprint(a, "o\nforged\x00\x1b[31m \"x\"\nrest")
	a.Flush()
	want := stderrLine(11, "one") + stderrLine(22, "other") + stderrLine(11, "two") +
		stderrLine(11, `"forged\x00\x1b[31m \"x\""`) + stderrLine(11, "rest")
	if got := logged(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// TestErrorLogRate: no more lines than Lines in Per, for all children of the
// app together, and the rest is counted.
// A program elsewhere has an address and no pid; the rate is the app's.
func TestErrorLogAddress(t *testing.T) {
	e, logged := logOf(2, time.Hour)
	e.At("unix:/run/x.sock").Write([]byte("one\n"))
	e.For(7).Write([]byte("two\n"))
	e.At("10.0.0.1:9000").Write([]byte("three\n"))
	want := "msg=stderr app=shop address=unix:/run/x.sock line=one\n" + stderrLine(7, "two")
	if got := logged(); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestErrorLogRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, logged := logOf(2, time.Second)
		a, b := e.For(1), e.For(2)
		fmt.Fprint(a, "a\n")
		fmt.Fprint(b, "b\nc\nd\n")
		fmt.Fprint(a, "e\n")
		if got, want := logged(), stderrLine(1, "a")+stderrLine(2, "b"); got != want {
			t.Errorf("first window:\n%swant\n%s", got, want)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got, want := logged(), fmt.Sprintf(leftOut, 3); got != want {
			t.Errorf("nothing more came:\n%swant\n%s", got, want)
		}
		fmt.Fprint(a, "f\n")
		if got, want := logged(), stderrLine(1, "f"); got != want {
			t.Errorf("next window:\n%swant\n%s", got, want)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := logged(); got != "" {
			t.Errorf("a window with no line left out said %s", got)
		}
	})
}

// TestErrorLogFlood: what is logged and what is counted as left out is all of
// it, whatever the moments.
func TestErrorLogFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, logged := logOf(10, time.Second)
		var wg sync.WaitGroup
		for child := range 4 {
			wg.Go(func() {
				l := e.For(child)
				for range 1000 {
					fmt.Fprint(l, "x\n")
					time.Sleep(7 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		time.Sleep(time.Minute)
		synctest.Wait()
		lines, left := 0, 0
		for s := range strings.Lines(logged()) {
			var n int
			if _, err := fmt.Sscanf(s, leftOut, &n); err == nil {
				left += n
			} else {
				lines++
			}
		}
		if lines+left != 4000 || lines > 10*8 {
			t.Errorf("%d logged, %d left out, of 4000", lines, left)
		}
	})
}
