package exchange

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"sluice/sendfile"
)

// withFiles lets an app send /small (5 bytes) and /big (24 MB) below its root.
func withFiles(t *testing.T, a *App) (root string) {
	t.Helper()
	root = t.TempDir()
	must(t, os.WriteFile(root+"/small", []byte("small"), 0o644))
	must(t, os.WriteFile(root+"/big", nil, 0o644))
	must(t, os.Truncate(root+"/big", 24<<20))
	s, err := sendfile.New(sendfile.Options{Headers: []string{"X-Sendfile", "X-LIGHTTPD-send-file"}, Roots: []string{root}})
	must(t, err)
	a.Sender = s
	return root
}

// When a child is free again after its send-file header, and as what.
func TestRelease(t *testing.T) {
	t.Parallel()
	const pause = 150 * time.Millisecond
	cases := []struct {
		name      string
		policy    ReleasePolicy
		change    func(*App)
		child     func(*call) // behind its header
		free      time.Duration
		finishing bool
	}{
		{name: "drain, nothing left to say", policy: Drain, child: func(c *call) { c.end() }},
		{name: "drain, a short body", policy: Drain, child: func(c *call) { c.say("body"); c.end() }},
		{name: "drain, ends later", policy: Drain, child: func(c *call) { c.out("body"); time.Sleep(pause); c.end() }, free: pause},
		{name: "drain, says too much", policy: Drain, change: func(a *App) { a.ReleaseBytes = 1000 },
			child: func(c *call) { c.out(strings.Repeat("x", 2000)); c.departure(time.Second); c.closed = true }, finishing: true},
		{name: "drain, takes too long", policy: Drain, change: func(a *App) { a.ReleaseTimeout = pause },
			child: func(c *call) { c.departure(time.Second); c.closed = true }, free: pause, finishing: true},
		{name: "drain, no bytes", policy: Drain, change: func(a *App) { a.ReleaseBytes = 0 },
			child: func(c *call) { c.departure(time.Second); c.closed = true }, finishing: true},
		{name: "drain, dies", policy: Drain, child: func(c *call) { time.Sleep(pause); c.die() }, free: pause},
		{name: "close", policy: Close, child: func(c *call) { c.departure(time.Second); c.closed = true }, finishing: true},
		{name: "detach", policy: Detach, change: func(a *App) { a.ReleaseTimeout, a.ReleaseBytes = 1, 1 },
			child: func(c *call) { c.out(strings.Repeat("x", 200_000)); time.Sleep(pause); c.end() }, free: pause},
		{name: "detach, request_timeout", policy: Detach, change: func(a *App) { a.RequestTimeout = pause },
			child: func(c *call) { c.departure(time.Second); c.closed = true }, free: pause, finishing: true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var root string
			r := newRig(t, rigOptions{children: 1, change: func(a *App) {
				root = withFiles(t, a)
				a.Release = c.policy
				if c.change != nil {
					c.change(a)
				}
			}})
			begin := make(chan time.Time, 1)
			r.script(func(call *call) {
				call.out("X-Sendfile: " + root + "/small\nStatus: 200\nA: b\n\n")
				begin <- time.Now()
				c.child(call)
			})
			res := r.do("GET", "/x", nil)
			if res.status != 200 || res.body != "small" || res.header.Get("A") != "b" || res.header.Get("X-Sendfile") != "" || res.err != nil {
				t.Errorf("%+v", res)
			}
			if late(res.took, 0) {
				t.Errorf("the client got its file after %v", res.took)
			}
			r.free(time.Second)
			between(t, "the child was free", time.Since(<-begin), c.free)
			if r.finishing(0) != c.finishing {
				t.Errorf("finishing: %v", !c.finishing)
			}
		})
	}
}

// One child, and a slow download of a big file: the next request is answered
// at once.
func TestReleasedDuringDownload(t *testing.T) {
	for _, p := range []ReleasePolicy{Drain, Close, Detach} {
		var root string
		r := newRig(t, rigOptions{children: 1, keepAlive: true, change: func(a *App) { root = withFiles(t, a); a.Release = p }})
		r.script(func(c *call) {
			if c.try == 0 {
				c.say("X-Sendfile: " + root + "/big\n\n")
				return
			}
			c.say(ok + "next")
		})
		slow := r.raw("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
		eventually(t, time.Second, "the child is asked", func() bool { return len(r.slots()) == 1 })
		begin := time.Now()
		if res := r.do("GET", "/x", nil); res.body != "next" || late(time.Since(begin), 50*time.Millisecond) {
			t.Errorf("%v: %+v after %v", p, res, time.Since(begin))
		}
		resp, err := http.ReadResponse(bufio.NewReader(slow), nil)
		must(t, err)
		if n, err := io.Copy(io.Discard, resp.Body); n != 24<<20 || err != nil {
			t.Errorf("%v: %d bytes, %v", p, n, err)
		}
		r.last()
		r.free(time.Second)
	}
}

func TestSendFileErrors(t *testing.T) {
	var root string
	r := newRig(t, rigOptions{change: func(a *App) { root = withFiles(t, a) }})
	cases := []struct {
		head   string
		status int
		kind   Kind
	}{
		{"X-Sendfile: " + root + "/none", 404, FileMissing},
		{"X-Sendfile: /etc/passwd", 403, FileRefused},
		{"X-Sendfile: " + root, 403, FileRefused},
		{"X-Sendfile: small", 502, BadSendFile},
		{"X-Sendfile: " + root + "/small\nX-LIGHTTPD-send-file: " + root + "/small", 502, BadSendFile},
		{"X-Accel-Redirect: /elsewhere", 200, 0},
	}
	for _, c := range cases {
		res := r.get(func(call *call) { call.say(c.head + "\n\nsecret") })
		if res.status != c.status || c.kind != 0 && (res.end.err == nil || res.end.err.Kind != c.kind || res.body != "") || res.header.Get("X-Accel-Redirect") != "" {
			t.Errorf("%s: %d %q, %v", c.head, res.status, res.body, res.end.err)
		}
		r.free(time.Second)
	}
	r.script(func(c *call) { c.say("X-Sendfile: " + root + "/big\n\n") })
	c := r.raw("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	in := bufio.NewReader(c)
	if _, err := http.ReadResponse(in, nil); err != nil {
		t.Fatal(err)
	}
	must(t, os.Truncate(root+"/big", 1<<20)) // it shrinks while it is sent
	io.Copy(io.Discard, in)
	if e := r.last(); e.err == nil || e.err.Kind != FileBroken || !e.err.Started {
		t.Errorf("%+v", e)
	}
	r.script(func(c *call) { c.say("Status: 404\nX-Sendfile: " + root + "/small\n\n") })
	c = r.raw("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || resp.StatusCode != 404 || resp.ContentLength != 5 {
		t.Errorf("%+v, %v", resp, err)
	}
	r.last()
}
