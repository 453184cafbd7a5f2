package cgi_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/cgi"
	"sluice/internal/leak"
)

// text is n bytes that are not the same everywhere.
func text(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(i%23)
	}
	return b
}

func TestScriptInput(t *testing.T) { pollers(t, testScriptInput) }

func testScriptInput(t *testing.T, p cgi.Poller) {
	mib := text(1 << 20)
	for _, c := range []struct {
		name  string
		text  string
		input []byte
		want  string
	}{
		{"none", "wc -c; readlink /proc/self/fd/0", nil, "0\n/dev/null\n"},
		{"empty", "wc -c", []byte{}, "0\n"},
		{"one byte", "cat", []byte("x"), "x"},
		{"just what a pipe holds", "wc -c", text(64 << 10), "65536\n"},
		{"one byte more", "wc -c", text(64<<10 + 1), "65537\n"},
		{"1 MiB each way", "cat", mib, string(mib)},
		{"1 MiB out before it reads 1 MiB", "head -c 1048576 /dev/zero | tr '\\0' x; wc -c", mib, strings.Repeat("x", 1<<20) + "1048576\n"},
		{"never reads 1 MiB", "echo ok", mib, "ok\n"},
		{"reads a little of 1 MiB", "head -c 5", mib, string(mib[:5])},
		{"closes its input first", "exec <&-; sleep 0.02; echo ok", mib, "ok\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := run(t, c.text, cgi.Input{Memory: c.input}, cgi.Options{Poller: p})
			if got := output(t, s); got != c.want {
				t.Errorf("got %d bytes, %.40q; want %d, %.40q", len(got), got, len(c.want), c.want)
			}
			if end, ok := s.Ended(5 * time.Second); !ok || !end.OK() {
				t.Error(end, ok)
			}
		})
	}
}

func TestScriptInputFromFile(t *testing.T) { pollers(t, testScriptInputFromFile) }

func testScriptInputFromFile(t *testing.T, p cgi.Poller) {
	name := filepath.Join(t.TempDir(), "body")
	want := text(1 << 20)
	if err := os.WriteFile(name, want, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	f.Seek(77, io.SeekStart) // where writing it has left off
	s := run(t, "cat", cgi.Input{File: f}, cgi.Options{Poller: p})
	if got := output(t, s); got != string(want) {
		t.Errorf("%d bytes, want %d", len(got), len(want))
	}
	s.Close(cgi.Complete)
	// It stays its owner's, and can be read again.
	if got := output(t, run(t, "wc -c", cgi.Input{File: f}, cgi.Options{Poller: p})); got != "1048576\n" {
		t.Errorf("%q", got)
	}
}

// stderrOf collects lines and tells when they are flushed, which is their end.
func stderrOf() (func(int) *cgi.Lines, func() string) {
	var mu sync.Mutex
	var all bytes.Buffer
	return func(pid int) *cgi.Lines {
			return &cgi.Lines{Emit: func(b []byte) {
				mu.Lock()
				defer mu.Unlock()
				fmt.Fprintf(&all, "%d %s\n", pid, b)
			}}
		}, func() string {
			mu.Lock()
			defer mu.Unlock()
			return all.String()
		}
}

func TestScriptErrors(t *testing.T) { pollers(t, testScriptErrors) }

func testScriptErrors(t *testing.T, p cgi.Poller) {
	lines, seen := stderrOf()
	s := run(t, "echo one >&2; echo out; printf two >&2", cgi.Input{}, cgi.Options{Poller: p, Stderr: lines})
	if got := output(t, s); got != "out\n" {
		t.Errorf("%q", got)
	}
	want := fmt.Sprintf("%d one\n%[1]d two\n", s.PID())
	if !eventually(func() bool { return seen() == want }) {
		t.Errorf("%q, want %q", seen(), want)
	}
}

// TestScriptErrorFlood: more errors than a pipe holds, before the answer.
func TestScriptErrorFlood(t *testing.T) { pollers(t, testScriptErrorFlood) }

func testScriptErrorFlood(t *testing.T, p cgi.Poller) {
	const text = "head -c 1048576 /dev/zero | tr '\\0' '\\n' >&2; echo last >&2; echo ok"
	lines, seen := stderrOf()
	if got := output(t, run(t, text, cgi.Input{}, cgi.Options{Poller: p, Stderr: lines})); got != "ok\n" {
		t.Errorf("%q", got)
	}
	if !eventually(func() bool { return strings.HasSuffix(seen(), " last\n") }) {
		t.Errorf("%q", seen())
	}
	if got := output(t, run(t, text, cgi.Input{}, cgi.Options{Poller: p})); got != "ok\n" {
		t.Errorf("nobody wants them: %q", got)
	}
}

// TestScriptLeavesSomebody: a grandchild that holds what the script was given
// holds neither the answer nor anything of ours.
func TestScriptLeavesSomebody(t *testing.T) { pollers(t, testScriptLeavesSomebody) }

func testScriptLeavesSomebody(t *testing.T, p cgi.Poller) {
	for _, c := range []struct{ name, before, redirect string }{
		{"with its errors", "", "</dev/null >/dev/null"},
		{"with its input", "exec 3<&0; ", "<&3 >/dev/null 2>&1"},
		{"with both", "exec 3<&0; ", "<&3 >/dev/null"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := leak.Now()
			lines, seen := stderrOf()
			s := run(t, c.before+"echo err >&2; sleep 60 "+c.redirect+" & echo $!", cgi.Input{Memory: text(1 << 20)},
				cgi.Options{Poller: p, Stderr: lines, Background: time.Minute, StopGrace: time.Minute})
			start := time.Now()
			pid, err := strconv.Atoi(strings.TrimSpace(output(t, s)))
			if err != nil {
				t.Fatal(err)
			}
			defer syscall.Kill(pid, syscall.SIGKILL)
			if _, ok := s.Ended(5 * time.Second); !ok || time.Since(start) > 4*time.Second {
				t.Errorf("the script has not ended after %v", time.Since(start))
			}
			s.Close(cgi.Complete)
			if !leak.Settles(before) {
				t.Errorf("leak: before %v, after %v", before, leak.Now())
			}
			if !strings.HasSuffix(seen(), " err\n") {
				t.Errorf("stderr %q", seen())
			}
			if gone(pid) {
				t.Error("a grandchild of a script that ended well was killed")
			}
		})
	}
}

func TestScriptDeadline(t *testing.T) { pollers(t, testScriptDeadline) }

func testScriptDeadline(t *testing.T, p cgi.Poller) {
	s := run(t, "trap 'echo late; exit' USR1; echo ready; while :; do sleep 0.01; done", cgi.Input{}, cgi.Options{Poller: p})
	if got := line(t, s); got != "ready" {
		t.Fatal(got)
	}
	b := make([]byte, 100)
	for range 3 {
		start := time.Now()
		s.SetReadDeadline(start.Add(20 * time.Millisecond))
		if n, err := s.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) < 20*time.Millisecond {
			t.Errorf("%d, %v after %v", n, err, time.Since(start))
		}
	}
	syscall.Kill(s.PID(), syscall.SIGUSR1)
	if got := line(t, s); got != "late" {
		t.Error(got)
	}
}

func TestScriptInterrupt(t *testing.T) { pollers(t, testScriptInterrupt) }

func testScriptInterrupt(t *testing.T, p cgi.Poller) {
	s := run(t, "trap 'echo late; exit' USR1; echo ready; while :; do sleep 0.01; done", cgi.Input{}, cgi.Options{Poller: p})
	line(t, s)
	b := make([]byte, 100)
	for range 20 {
		s.SetReadDeadline(time.Now().Add(time.Minute))
		go s.Interrupt()
		for range 2 { // the one that waits, and the next
			if n, err := s.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(n, err)
			}
		}
	}
	syscall.Kill(s.PID(), syscall.SIGUSR1)
	if got := line(t, s); got != "late" {
		t.Error(got)
	}
	s.Close(cgi.Complete)
	s.Interrupt()
	if n, err := s.Read(b); n != 0 || !errors.Is(err, os.ErrClosed) {
		t.Error("Read after Close:", n, err)
	}
}
