package fcgi

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"sluice/cgi"
)

var noTime time.Time

var past = time.Unix(1, 0)

// TestDeadlineAnywhere: a deadline that passes at any byte, in a record's
// header, content or padding, loses nothing.
func TestDeadlineAnywhere(t *testing.T) {
	stream := stdout("hello") + stderr("err") + rec(99, 1, "junk", 9) + rec(6, 1, "wor", 3) + rec(6, 2, "no", 0) + stdout("ld") + stdout("") + end(5, 0)
	for _, size := range []int{1, 4, 100, 20 << 10} {
		for i := range len(stream) {
			late(t, fmt.Sprintf("at %d, reads of %d", i, size), size, step{data: stream[:i]}, step{err: errLate}, step{err: errLate}, step{data: stream[i:]})
		}
		var all []step
		for i := range len(stream) {
			all = append(all, step{err: errLate}, step{data: stream[i : i+1]})
		}
		late(t, fmt.Sprintf("at every byte, reads of %d", size), size, all...)
	}
}

func late(t *testing.T, how string, size int, steps ...step) {
	t.Helper()
	nc := play()
	for _, s := range steps {
		if s.err != nil || s.data != "" {
			nc.steps = append(nc.steps, s)
		}
	}
	var errs strings.Builder
	ex := reading(t, nc, &errs)
	var out []byte
	b := make([]byte, size)
	times := 0
	for {
		n, err := ex.Read(b)
		out = append(out, b[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			if err != os.ErrDeadlineExceeded || n != 0 {
				t.Fatalf("%s: %d, %v", how, n, err)
			}
			times++
		}
	}
	if string(out) != "helloworld" || errs.String() != "err" || times == 0 {
		t.Errorf("%s: %q, %q, %d times late", how, out, errs.String(), times)
	}
	if end, _ := ex.Ended(0); end.Status != 5 {
		t.Errorf("%s: %v", how, end)
	}
}

// TestDeadlineAndHeader: the header reader goes on as well.
func TestDeadlineAndHeader(t *testing.T) {
	stream := stdout("Status: 404\r\nX-A: 1\r\n") + stderr("e") + stdout("\r\nbody") + end(0, 0)
	for i := range strings.Index(stream, "body") {
		nc := play()
		nc.steps = []step{{data: stream[:i]}, {err: errLate}, {data: stream[i:]}}
		if i == 0 {
			nc.steps = nc.steps[1:]
		}
		ex := reading(t, nc, nil)
		_, _, whole, err := cgi.ReadHeader(ex, nil, 1000)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(i, err)
		}
		h, rest, _, err := cgi.ReadHeader(ex, whole, 1000)
		if err != nil || h.Status != 404 || h.Fields.Get("X-A") != "1" {
			t.Fatal(i, h, err)
		}
		if body := string(rest) + answer(t, ex); body != "body" {
			t.Errorf("%d: %q", i, body)
		}
	}
}

// TestRealDeadlines: over every transport, a silent application in the middle
// of a record.
func TestRealDeadlines(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			ours, theirs := tr.dial(t)
			on := make(chan bool)
			stream := stdout("hello")
			appOn(t, theirs, func(a *app) {
				a.request()
				a.say(stream[:5])
				<-on
				a.say(stream[5:10])
				<-on
				a.say(stream[10:], end(0, 0))
			})
			ex := begun(t, ours, &Request{Role: Responder})
			b := make([]byte, 100)
			var out []byte
			for _, want := range []string{"", "he"} {
				limit := time.Now().Add(50 * time.Millisecond)
				ex.SetReadDeadline(limit)
				n, err := ex.Read(b)
				for err == nil {
					out = append(out, b[:n]...)
					n, err = ex.Read(b)
				}
				if err != os.ErrDeadlineExceeded || string(out) != want || time.Now().Before(limit) {
					t.Errorf("%q, %v; want %q", out, err, want)
				}
				on <- true
			}
			ex.SetReadDeadline(noTime)
			if got := string(out) + answer(t, ex); got != "hello" {
				t.Errorf("%q", got)
			}
		})
	}
}

// TestInterrupt: from another goroutine it wakes the Read that waits, and holds
// for later ones until a deadline is set; what is here already can be read.
func TestInterrupt(t *testing.T) {
	on := make(chan bool)
	nc := start(t, func(a *app) {
		a.request()
		a.say(stdout("ab"))
		<-on
		a.say(stdout("cd"), end(0, 0))
	})
	ex := begun(t, nc, &Request{Role: Responder})
	one := make([]byte, 1)
	if n, err := ex.Read(one); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	ex.Interrupt()
	if n, err := ex.Read(one); n != 1 || err != nil || one[0] != 'b' {
		t.Error("what was here:", n, err)
	}
	for range 20 {
		ex.SetReadDeadline(time.Now().Add(time.Minute))
		go ex.Interrupt()
		for range 2 {
			if n, err := ex.Read(one); n != 0 || err != os.ErrDeadlineExceeded {
				t.Fatal(n, err)
			}
		}
	}
	close(on)
	ex.SetReadDeadline(noTime)
	if got := answer(t, ex); got != "cd" {
		t.Errorf("%q", got)
	}
}
