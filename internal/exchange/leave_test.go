package exchange

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/spawner"
)

func (r *rig) leave(method string) (cancel func()) {
	r.t.Helper()
	c := r.raw(method + " /x HTTP/1.1\r\nHost: x\r\n\r\n")
	return func() { c.Close() }
}

// A client that leaves while its request waits is dropped from the queue.
func TestLeaveWhileQueued(t *testing.T) {
	r := newRig(t, rigOptions{children: 1})
	hold := make(chan struct{})
	r.script(func(c *call) { <-hold; c.say(ok + "x") })
	r.leave("GET")
	eventually(t, time.Second, "the child works", func() bool { return len(r.slots()) == 1 })
	cancel := r.leave("GET")
	eventually(t, time.Second, "the second waits", func() bool { return r.ledger.Counts().Waiting == 1 })
	cancel()
	if e := r.last(); e.err == nil || e.err.Kind != ClientGone {
		t.Errorf("%+v", e)
	}
	if n := r.ledger.Counts(); n.Waiting != 0 || n.Children[0].Claims != 1 {
		t.Errorf("%+v", n)
	}
	close(hold)
	if e := r.last(); e.err != nil {
		t.Error(e.err)
	}
	r.free(time.Second)
	if len(r.slots()) != 1 {
		t.Error("the child got the request of one who had left")
	}
}

// A client that leaves while the child works, or while it downloads: the child
// is told, counts as finishing, and is ready again after its next answer.
func TestLeaveWhileWorking(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name           string
		stream         bool
		before, during func(c *call)
	}{
		{"before the header", false, func(*call) {}, func(*call) {}},
		{"in the body", false, func(c *call) { c.out(ok, "some") }, func(*call) {}},
		{"in a long body", false, func(c *call) { c.out(ok, strings.Repeat("x", 100_000)) }, func(*call) {}},
		{"streaming", true, func(c *call) { c.out(ok, "some") }, func(*call) {}},
		{"chunked", false, func(c *call) { c.out("Transfer-Encoding: chunked\n\n", "4\r\nsome\r\n") }, func(*call) {}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigOptions{children: 1, keepAlive: true})
			r.stream = c.stream
			how := make(chan string, 1)
			ready := make(chan struct{})
			r.script(func(call *call) {
				c.before(call)
				close(ready)
				how <- call.departure(2 * time.Second)
				call.closed = true
			})
			cancel := r.leave("GET")
			<-ready
			time.Sleep(60 * time.Millisecond)
			begin := time.Now()
			cancel()
			if h := <-how; h != "abort" {
				t.Errorf("the child sees %q", h)
			}
			if d := time.Since(begin); late(d, 0) {
				t.Errorf("after %v", d)
			}
			if e := r.last(); e.err == nil || e.err.Kind != ClientGone && e.err.Kind != SendFailed {
				t.Errorf("%+v", e)
			}
			r.free(time.Second)
			if !r.finishing(0) {
				t.Error("not finishing")
			}
			if res := r.get(func(c *call) { c.say(ok + "x") }); res.status != 200 {
				t.Errorf("%+v", res)
			}
			if r.finishing(0) || len(r.replaced()) > 0 {
				t.Error("finishing, or replaced")
			}
		})
	}
}

// While the client downloads from the spool its leaving is no affair of the
// child's.
func TestLeaveWhileDownloading(t *testing.T) {
	r := newRig(t, rigOptions{children: 1})
	r.script(func(c *call) { c.say(ok + strings.Repeat("x", 16<<20)) })
	c := r.raw("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, time.Second, "the child works", func() bool { return r.ledger.Counts().Served == 1 })
	r.free(5 * time.Second)
	if r.finishing(0) {
		t.Error("finishing")
	}
	c.Close()
	if e := r.last(); e.err == nil || e.err.Kind != SendFailed && e.err.Kind != ClientGone || !e.err.Started {
		t.Errorf("%+v", e)
	}
}

// A reader that is slower than the child, with no room for the rest: the child
// is told when the client leaves.
func TestLeaveWhileChildIsSlowed(t *testing.T) {
	r := newRig(t, rigOptions{children: 1, change: func(a *App) { a.Response.File = 1 << 20 }})
	done := make(chan error, 1)
	r.script(func(c *call) { done <- c.out(ok, strings.Repeat("x", 64<<20)); c.closed = true })
	c := r.raw("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	io.ReadFull(c, make([]byte, 1<<20))
	c.Close()
	if err := <-done; err == nil {
		t.Error("the child said everything")
	}
	if e := r.last(); e.err == nil || !e.err.Started {
		t.Errorf("%+v", e)
	}
	r.free(time.Second)
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	const limit = 200 * time.Millisecond
	silent := func(c *call) { c.departure(3 * time.Second); c.closed = true }
	cases := []struct {
		name    string
		change  func(*App)
		child   func(*call)
		status  int
		kind    Kind
		aborted bool
	}{
		{"header_timeout", func(a *App) { a.HeaderTimeout = limit }, silent, 504, HeaderTimeout, false},
		{"header_timeout, in the header", func(a *App) { a.HeaderTimeout = limit }, func(c *call) { c.out("A: b\n"); silent(c) }, 504, HeaderTimeout, false},
		{"header_timeout, byte by byte", func(a *App) { a.HeaderTimeout = limit }, func(c *call) {
			for range 20 {
				c.out("A: b\n")
				time.Sleep(30 * time.Millisecond)
			}
			c.closed = true
		}, 504, HeaderTimeout, false},
		{"read_timeout", func(a *App) { a.ReadTimeout = limit }, func(c *call) { c.out(ok); silent(c) }, 200, Stalled, true},
		{"read_timeout, chunked", func(a *App) { a.ReadTimeout = limit }, func(c *call) { c.out("Transfer-Encoding: chunked\n\n"); silent(c) }, 200, Stalled, true},
		{"request_timeout", func(a *App) { a.RequestTimeout = limit }, silent, 504, RequestTimeout, false},
		{"request_timeout, in the body", func(a *App) { a.RequestTimeout = limit }, func(c *call) {
			c.out(ok)
			for range 20 {
				c.out("x")
				time.Sleep(30 * time.Millisecond)
			}
			c.closed = true
		}, 200, RequestTimeout, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigOptions{change: c.change})
			res := r.get(c.child)
			extra := time.Duration(0)
			if c.name == "read_timeout" {
				extra = silence // after which it was read again
			}
			between(t, "the answer", res.took, limit+extra)
			if res.end.err == nil || res.end.err.Kind != c.kind || res.end.err.PID == 0 {
				t.Errorf("%v", res.end.err)
			}
			if (res.err != nil) != c.aborted || !c.aborted && res.status != c.status {
				t.Errorf("%d, %v", res.status, res.err)
			}
			if n := r.replaced(); len(n) != 1 || len(r.slots()) != 1 {
				t.Errorf("replaced %q, tries %v", n, r.slots())
			}
			r.free(time.Second)
			if !r.finishing(r.slots()[0]) {
				t.Error("not finishing")
			}
		})
	}
}

func TestQueueDeadlines(t *testing.T) {
	t.Parallel()
	const limit = 200 * time.Millisecond
	wait := spawner.LedgerOptions{Queue: 1, QueueTimeout: limit}
	cases := []struct {
		name   string
		queue  spawner.LedgerOptions
		change func(*App)
		status int
		kind   Kind
	}{
		{"queue_timeout", wait, nil, 503, QueueFull},
		{"request_timeout", spawner.LedgerOptions{Queue: 1}, func(a *App) { a.RequestTimeout = limit }, 504, RequestTimeout},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, rigOptions{children: 1, queue: c.queue, change: c.change})
			held, err := r.ledger.Claim(t.Context(), spawner.Anyone)
			must(t, err)
			res := r.do("GET", "/x", nil)
			between(t, "the answer", res.took, limit)
			if res.status != c.status || res.end.err.Kind != c.kind || (res.header.Get("Retry-After") != "") != (c.status == 503) {
				t.Errorf("%d, %v", res.status, res.end.err)
			}
			if len(r.replaced()) > 0 {
				t.Error("replaced, although no child was silent")
			}
			go r.client.Get(r.server.URL + "/x")
			eventually(t, time.Second, "one waits", func() bool { return r.ledger.Counts().Waiting == 1 })
			resp, err := r.client.Get(r.server.URL + "/x")
			must(t, err)
			resp.Body.Close()
			if resp.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("beyond the queue: %d", resp.StatusCode)
			}
			r.last()
			r.last()
			r.ledger.Release(held, spawner.Answered)
			r.free(time.Second)
		})
	}
}
