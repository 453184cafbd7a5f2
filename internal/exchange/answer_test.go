package exchange

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"
)

// writes counts what a handler does to its ResponseWriter.
type writes struct {
	http.ResponseWriter
	n, flushes int
}

func (w *writes) Write(p []byte) (int, error) { w.n++; return w.ResponseWriter.Write(p) }
func (w *writes) FlushError() error {
	w.flushes++
	return http.NewResponseController(w.ResponseWriter).Flush()
}
func (w *writes) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// A small answer leaves in one write, with its length, without a flush.
func TestSmallAnswerIsOneWrite(t *testing.T) {
	r := newRig(t, rigOptions{})
	var w *writes
	r.server.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		w = &writes{ResponseWriter: rw}
		r.serve(w, req)
	})
	for _, say := range []func(*call){
		func(c *call) { c.say(ok + "hello") },
		func(c *call) { c.out(ok); c.out("hel"); c.out("lo"); c.end() },
		func(c *call) { c.out("Content-Length: 5\r\n\r\n"); c.out("hello"); c.end() },
	} {
		if res := r.get(say); res.length != 5 || res.body != "hello" || w.n != 1 || w.flushes != 0 {
			t.Errorf("%q, length %d, %d writes, %d flushes", res.body, res.length, w.n, w.flushes)
		}
	}
}

// arrivals are when the lines of a body came, counted from the request.
func (r *rig) arrivals(do func(*call)) (header time.Duration, lines []time.Duration) {
	r.t.Helper()
	r.script(do)
	begin := time.Now()
	resp, err := r.client.Get(r.server.URL + "/x")
	must(r.t, err)
	header = time.Since(begin)
	defer resp.Body.Close()
	for s := bufio.NewScanner(resp.Body); s.Scan(); {
		lines = append(lines, time.Since(begin))
	}
	r.last()
	return header, lines
}

// What the child says leaves when it pauses for 20 ms, as events do.
func TestFlushAtPauses(t *testing.T) {
	t.Parallel()
	const gap = 100 * time.Millisecond
	events := func(c *call) {
		c.out("Content-Type: text/event-stream\n\n")
		for range 4 {
			time.Sleep(gap)
			c.out("data\n")
		}
		c.end()
	}
	for _, stream := range []bool{false, true} {
		for name, child := range map[string]func(*call){"plain": events, "chunked": func(c *call) {
			c.out("Transfer-Encoding: chunked\n\n")
			for range 4 {
				time.Sleep(gap)
				c.out("5\r\ndata\n\r\n")
			}
			c.say("0\r\n\r\n")
		}} {
			t.Run(fmt.Sprint(name, ", stream ", stream), func(t *testing.T) {
				t.Parallel()
				r := newRig(t, rigOptions{})
				r.stream = stream
				header, lines := r.arrivals(child)
				want := silence
				if stream && name == "chunked" {
					want = 0
				}
				between(t, "the header", header, want)
				if len(lines) != 4 {
					t.Fatalf("events %v", lines)
				}
				for i, d := range lines {
					want := time.Duration(i+1) * gap
					if !stream {
						want += silence
					}
					if late(d, want) {
						t.Errorf("event %d after %v, want %v", i, d, want)
					}
				}
			})
		}
	}
	t.Run("the first event with the header", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, rigOptions{})
		_, lines := r.arrivals(func(c *call) { c.out("A: b\n\ndata\n"); time.Sleep(200 * time.Millisecond); c.end() })
		between(t, "the event", lines[0], silence)
	})
}

func TestStream(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.stream = true
	for _, m := range misbehaviour {
		if m.kind != Died && m.kind != 0 {
			continue
		}
		res := r.get(m.child)
		if m.kind == 0 && (res.body != "whole" || res.err != nil) || m.kind != 0 && res.err == nil && res.status != 502 {
			t.Errorf("%s: %d %q, %v", m.name, res.status, res.body, res.err)
		}
		r.free(time.Second)
	}
}

// A slow client does not hold the child: 100 MB wait in the spool. Where the
// spool ends, the child is slowed and not aborted.
func TestSlowClient(t *testing.T) {
	const size = 100 << 20
	cases := []struct {
		name   string
		change func(*App)
		freed  bool // before the client took anything
	}{
		{"spooled", nil, true},
		{"response_bytes", func(a *App) { a.Response.File = 1 << 20 }, false},
		{"no folder for the spool", func(a *App) { a.Response.Dir = "/no/such/folder" }, false},
		{"full disk", func(a *App) {}, false},
	}
	block := []byte(strings.Repeat("x", 32<<10))
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, rigOptions{children: 1, change: c.change})
			size := size
			if !c.freed {
				size = 16 << 20
			}
			if c.name == "full disk" {
				dir := t.TempDir()
				if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
					t.Skipf("needs root: %v", err)
				}
				defer syscall.Unmount(dir, syscall.MNT_DETACH)
				r.app.Response.Dir = dir
			}
			r.script(func(c *call) {
				c.out(ok)
				for n := 0; n < size; n += len(block) {
					c.send(recStdout, block)
				}
				c.end()
			})
			nc := r.raw("GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			eventually(t, time.Second, "the child works", func() bool { return r.ledger.Counts().Served == 1 })
			if c.freed {
				begin := time.Now()
				r.free(5 * time.Second)
				t.Logf("the child was free after %v", time.Since(begin))
			} else {
				time.Sleep(200 * time.Millisecond)
				if r.ledger.Counts().Children[0].Claims == 0 {
					t.Error("the child is not slowed")
				}
			}
			resp, err := http.ReadResponse(bufio.NewReaderSize(nc, 256<<10), nil)
			must(t, err)
			n, err := io.Copy(io.Discard, resp.Body)
			if n != int64(size) || err != nil {
				t.Errorf("%d bytes, %v", n, err)
			}
			if e := r.last(); e.err != nil {
				t.Error(e.err)
			}
			r.free(time.Second)
		})
	}
}

// However an answer is framed, a client can tell that it was cut. Where only
// the end of the connection marks its end, the caller resets it: Started says
// so; or Whole keeps it until it is whole.
func TestCutAnswers(t *testing.T) {
	cut := func(head string) func(*call) {
		return func(c *call) { c.out(head, "some"); time.Sleep(50 * time.Millisecond); c.die() }
	}
	r := newRig(t, rigOptions{})
	if res := r.get(cut(ok)); !errors.Is(res.err, io.ErrUnexpectedEOF) || res.length != -1 {
		t.Errorf("chunked: %+v", res)
	}
	if res := r.get(cut("Content-Length: 9\n\n")); !errors.Is(res.err, io.ErrUnexpectedEOF) || res.length != 9 {
		t.Errorf("Content-Length: %+v", res)
	}
	http10 := func(do func(*call)) (resp *http.Response, body string, err error, e end) {
		r.script(do)
		c := r.raw("GET /x HTTP/1.0\r\n\r\n")
		resp, err = http.ReadResponse(bufio.NewReader(c), nil)
		if err == nil {
			var b []byte
			b, err = io.ReadAll(resp.Body)
			body = string(b)
		}
		return resp, body, err, r.last()
	}
	if _, _, _, e := http10(cut(ok)); e.err == nil || !e.err.Started || e.err.Kind != Died {
		t.Errorf("HTTP/1.0: %+v", e)
	}
	r.whole = true
	if resp, _, err, e := http10(cut(ok)); err != nil || resp.StatusCode != 502 || e.err.Started {
		t.Errorf("HTTP/1.0, whole: %v, %v, %+v", resp, err, e)
	}
	long := string(pattern(300_000))
	resp, body, err, _ := http10(func(c *call) { c.out(ok, long[:100_000]); time.Sleep(50 * time.Millisecond); c.say(long[100_000:]) })
	if err != nil || resp.ContentLength != 300_000 || body != long {
		t.Errorf("HTTP/1.0, whole: length %d, %d bytes, %v", resp.ContentLength, len(body), err)
	}
	r.app.Response.Dir = "/no/such/folder"
	resp, _, err, e := http10(func(c *call) { c.say(ok + long) })
	if err != nil || resp.StatusCode != 500 || e.err.Kind != SpoolFailed {
		t.Errorf("no room for the whole: %v, %v, %v", resp, err, e.err)
	}
	if errNoRoom.PID != 0 || errReaderGone.PID != 0 {
		t.Error("what all requests share was written to")
	}
	r.free(time.Second)
}

// Early hints are forwarded at once, but not to a client that knows none.
func TestEarlyHints(t *testing.T) {
	r := newRig(t, rigOptions{})
	hints := func(c *call) {
		c.out("Status: 103\nLink: </a>\nX-Sendfile: /x\n\nStatus: 103\nLink: </b>\n\n")
		time.Sleep(100 * time.Millisecond)
		c.say(ok + "whole")
	}
	r.script(hints)
	c := r.raw("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	begin := time.Now()
	in := bufio.NewReader(c)
	for _, link := range []string{"</a>", "</b>"} {
		resp, err := http.ReadResponse(in, nil)
		if err != nil || resp.StatusCode != 103 || resp.Header.Get("Link") != link || resp.Header.Get("X-Sendfile") != "" {
			t.Fatalf("%+v, %v", resp, err)
		}
	}
	if d := time.Since(begin); late(d, 10*time.Millisecond) {
		t.Errorf("hints after %v", d)
	}
	resp, err := http.ReadResponse(in, nil)
	must(t, err)
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(b) != "whole" || resp.Header.Get("Link") != "" {
		t.Errorf("%+v %q", resp, b)
	}
	r.last()
	r.script(hints)
	c = r.raw("GET /x HTTP/1.0\r\n\r\n")
	all, _ := io.ReadAll(c)
	if !bytes.HasPrefix(all, []byte("HTTP/1.0 200")) || bytes.Contains(all, []byte("Link")) {
		t.Errorf("%q", all)
	}
	r.last()
}
