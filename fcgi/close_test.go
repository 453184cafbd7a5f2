package fcgi

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/cgi"
)

// TestKeep: a connection is given back only where it is safe.
func TestKeep(t *testing.T) {
	good := stdout("a") + end(0, 0)
	for _, c := range []struct {
		name   string
		keep   bool
		stream string
		read   int // reads of 100
		kept   bool
	}{
		{"complete", true, good, 2, true},
		{"complete, appStatus 3", true, stdout("a") + end(3, 0), 2, true},
		{"not asked for", false, good, 2, false},
		{"nothing read", true, good, 0, false},
		{"the end not read", true, good, 1, false},
		{"no end", true, stdout("a"), 1, false},
		{"died", true, stdout("a"), 2, false},
		{"refused", true, end(0, 2), 1, false},
		{"more behind the end", true, good + "x", 2, false},
		{"a record behind the end", true, good + stdout(""), 2, false},
		{"padding of the end not here", true, rec(3, 1, "\x00\x00\x00\x00\x00\x00\x00\x00", 5)[:18], 1, false},
		{"padding of the end", true, rec(3, 1, "\x00\x00\x00\x00\x00\x00\x00\x00", 5), 1, true},
		{"rest of the end not here", true, rec(3, 1, "\x00\x00\x00\x00\x00\x00\x00\x00rest", 5)[:18], 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			nc := play(c.stream)
			ex := begun(t, nc, &Request{Role: Responder, KeepConn: c.keep})
			for range c.read {
				ex.Read(make([]byte, 100))
			}
			got := ex.Keep()
			if (got != nil) != c.kept || got != nil && got != net.Conn(nc) {
				t.Errorf("kept: %v", got)
			}
			if want := map[bool]int{true: 0, false: 1}[c.kept]; nc.closed != want {
				t.Errorf("closed %d times, want %d", nc.closed, want)
			}
			before := nc.deadlines
			ex.Interrupt()
			ex.Close(cgi.Abort)
			if ex.Keep() != nil || nc.closed > 1 || nc.deadlines != before || len(nc.writes) != 1 {
				t.Error("touched after it was given away, or closed")
			}
		})
	}
}

// TestKeepAndInterrupt: an interrupt that comes at the same moment never
// reaches the next request.
func TestKeepAndInterrupt(t *testing.T) {
	const n = 200
	nc := start(t, func(a *app) {
		for range n {
			a.request()
			a.say(stdout("a") + end(0, 0))
		}
	})
	var wg sync.WaitGroup
	defer wg.Wait()
	for i := range n {
		ex := begun(t, nc, &Request{Role: Responder, KeepConn: true})
		if got := answer(t, ex); got != "a" {
			t.Fatal(i, got)
		}
		ready := make(chan bool)
		wg.Go(func() {
			close(ready)
			ex.Interrupt()
		})
		<-ready
		if i%2 == 0 {
			runtime.Gosched()
		}
		if nc = ex.Keep(); nc == nil {
			t.Fatal(i, "not kept")
		}
	}
}

// TestKeepLiftsDeadlines: those of one request are not those of the next.
func TestKeepLiftsDeadlines(t *testing.T) {
	nc := start(t, func(a *app) {
		for range 2 {
			a.request()
			a.say(stdout("a") + end(0, 0))
		}
	})
	ex := begun(t, nc, &Request{Role: Responder, KeepConn: true, WriteTimeout: time.Nanosecond * 50e6})
	answer(t, ex)
	ex.SetReadDeadline(past)
	nc.SetWriteDeadline(past)
	if nc = ex.Keep(); nc == nil {
		t.Fatal("not kept")
	}
	if got := answer(t, begun(t, nc, &Request{Role: Responder})); got != "a" {
		t.Error(got)
	}
}

// TestExchangeAgain: nothing of a request is left in the next one of the same
// Exchange, however it ended.
func TestExchangeAgain(t *testing.T) {
	ex := &Exchange{}
	for i, steps := range [][]step{
		{{data: stdout("a") + end(3, 0)}},
		{{data: stdout("left over")[:12]}},
		{{data: rec(6, 1, "padded", 7)[:14]}},
		{{data: stdout("a") + end(0, 1)}},
		{{err: errors.New("broken")}},
		{{data: stdout("a") + end(0, 0)}, {data: "more"}},
	} {
		nc := play()
		nc.steps = steps
		if err := ex.Begin(nc, &Request{Role: Responder, KeepConn: true}); err != nil {
			t.Fatal(err)
		}
		var err error
		for b := make([]byte, 100); err == nil; {
			_, err = ex.Read(b)
		}
		ex.SetReadDeadline(past)
		ex.Interrupt()
		if i == 0 {
			ex.Keep()
		}
		ex.Close(cgi.Abort)
		ex.Interrupt()

		next := play()
		next.steps = []step{{data: stdout("next") + end(0, 0)}}
		if err := ex.Begin(next, &Request{Role: Responder, KeepConn: true}); err != nil {
			t.Fatal(err)
		}
		if _, ended := ex.Ended(0); ended || next.deadlines != 0 {
			t.Errorf("%d: ended %v, %d deadlines", i, ended, next.deadlines)
		}
		if got := answer(t, ex); got != "next" {
			t.Errorf("%d: %q", i, got)
		}
		if next.deadlines != 0 {
			t.Errorf("%d: %d deadlines", i, next.deadlines)
		}
		if ex.Keep() == nil {
			t.Errorf("%d: not kept", i)
		}
	}
}

// TestDeadlineWhereRead: a deadline costs the connection nothing while the
// answer is here, and does not stop it.
func TestDeadlineWhereRead(t *testing.T) {
	nc := play()
	nc.steps = []step{{data: stdout("answer") + stdout("rest") + end(0, 0)}}
	ex := begun(t, nc, &Request{Role: Responder})
	limit := time.Now().Add(time.Minute)
	ex.SetReadDeadline(limit)
	b := make([]byte, 6)
	if n, err := ex.Read(b); n != 6 || err != nil || nc.deadlines != 1 {
		t.Fatal(n, err, nc.deadlines)
	}
	ex.Interrupt()
	if got := answer(t, ex); got != "rest" || nc.deadlines != 1 {
		t.Errorf("%q, %d deadlines", got, nc.deadlines)
	}

	nc = play()
	nc.steps = []step{{data: stdout("a")}, {data: stdout("b")}, {data: end(0, 0)}}
	ex = begun(t, nc, &Request{Role: Responder})
	ex.SetReadDeadline(limit)
	ex.Read(b)
	ex.Interrupt()
	if n, err := ex.Read(b); n != 0 || err != os.ErrDeadlineExceeded {
		t.Error("not interrupted:", n, err)
	}
	ex.SetReadDeadline(limit)
	if got := answer(t, ex); got != "b" || nc.deadlines != 1 {
		t.Errorf("%q, %d deadlines", got, nc.deadlines)
	}
}

// TestManyRequests: one connection, one request after the other, over every
// transport, with inputs that need an upload in between.
func TestManyRequests(t *testing.T) {
	for _, tr := range transports {
		t.Run(tr.name, func(t *testing.T) {
			nc, theirs := tr.dial(t)
			appOn(t, theirs, func(a *app) {
				for i := range 50 {
					g := a.request()
					if g.flags != 1 || len(g.params) != 1 || g.params[0].value != fmt.Sprint(i) {
						t.Errorf("%d: flags %d, %q", i, g.flags, g.params)
					}
					a.say(stderr("e") + stdout(fmt.Sprint(i, " ", len(g.stdin))) + end(0, 0))
				}
			})
			for i := range 50 {
				n := i % 4 * 20 << 10
				ex := begun(t, nc, &Request{Role: Responder, KeepConn: true, Params: params(pair{"N", fmt.Sprint(i)}), Stdin: strings.NewReader(text(n))})
				if got := answer(t, ex); got != fmt.Sprint(i, " ", n) {
					t.Fatalf("%d: %q", i, got)
				}
				if ex.uploadDone != nil {
					<-ex.uploadDone
				}
				if nc = ex.Keep(); nc == nil {
					t.Fatal(i, "not kept")
				}
			}
		})
	}
}

// TestClose: each manner, in each phase, closes once; ABORT_REQUEST is said by
// Abort alone, once, and only where it makes sense.
func TestClose(t *testing.T) {
	for _, c := range []struct {
		name   string
		stream string
		reads  int
		abort  bool
	}{
		{"before anything was read", stdout("a"), 0, true},
		{"in the middle", stdout("abc"), 1, true},
		{"after the end", stdout("a") + end(0, 0), 2, false},
		{"after a refusal", end(0, 2), 1, false},
		{"after a death", "", 1, false},
	} {
		for _, how := range []cgi.Closing{cgi.Complete, cgi.Stop, cgi.Abort} {
			t.Run(fmt.Sprint(c.name, " ", how), func(t *testing.T) {
				nc := play(c.stream)
				ex := begun(t, nc, &Request{Role: Responder, KeepConn: true})
				for range c.reads {
					ex.Read(make([]byte, 1))
				}
				ex.Close(how)
				for range 2 {
					ex.Close(cgi.Abort)
				}
				var said string
				for _, w := range nc.writes[1:] {
					said += string(w)
				}
				want := ""
				if c.abort && how == cgi.Abort {
					want = "\x01\x02\x00\x01\x00\x00\x00\x00"
				}
				if said != want || nc.closed != 1 {
					t.Errorf("said %q, want %q; closed %d times", said, want, nc.closed)
				}
			})
		}
	}
}

// TestAbort: an application sees ABORT_REQUEST and then the end, also after an
// upload; in the middle of one it sees the end alone.
func TestAbort(t *testing.T) {
	for _, n := range []int{0, 100, 100 << 10} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			ours, theirs := pairOf(t)
			wait := appOn(t, theirs, func(a *app) {
				a.request()
				a.say(stdout("a"))
				recs, err := a.rest()
				if err != nil || len(recs) != 1 || recs[0].kind != 2 || recs[0].id != 1 || len(recs[0].content) != 0 {
					t.Errorf("%v, %v; want one ABORT_REQUEST", recs, err)
				}
			})
			ex := begun(t, ours, &Request{Role: Responder, Stdin: strings.NewReader(text(n))})
			ex.Read(make([]byte, 1))
			if ex.uploadDone != nil {
				<-ex.uploadDone
			}
			ex.Close(cgi.Abort)
			wait()
		})
	}
	ours, theirs := pairOf(t)
	on := make(chan bool)
	wait := appOn(t, theirs, func(a *app) {
		a.begin()
		<-on
		recs, _ := a.rest() // the last one is cut off
		for _, r := range recs {
			if r.kind != 5 || len(r.content) == 0 {
				t.Errorf("record of type %d, %d bytes", r.kind, len(r.content))
			}
		}
	})
	ex := begun(t, ours, &Request{Role: Responder, Stdin: strings.NewReader(text(8 << 20))})
	start := time.Now()
	ex.Close(cgi.Abort)
	if d := time.Since(start); d > time.Second {
		t.Errorf("Close took %v", d)
	}
	close(on)
	wait()
}

// TestAbortDoesNotWait: an application that reads nothing does not hold the
// close.
func TestAbortDoesNotWait(t *testing.T) {
	ours, _ := net.Pipe()
	ex := &Exchange{}
	ex.start(ours, &Request{})
	start := time.Now()
	ex.Close(cgi.Abort)
	if d := time.Since(start); d > time.Second {
		t.Errorf("%v", d)
	}
}

// TestCloseWakesTheUpload: in each of its phases.
func TestCloseWakesTheUpload(t *testing.T) {
	in := text(1 << 20)
	for range 20 {
		nc := start(t, func(a *app) {
			a.begin()
			a.say(stdout("a"))
			io.ReadFull(a.in, make([]byte, 50<<10))
		})
		ex := begun(t, nc, &Request{Role: Responder, Stdin: strings.NewReader(in)})
		ex.Read(make([]byte, 1))
		ex.Close(cgi.Stop)
		select {
		case <-ex.uploadDone:
		default:
			t.Error("the upload goes on")
		}
	}
}
