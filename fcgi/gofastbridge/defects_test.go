package gofastbridge_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yookoala/gofast"

	bridge "sluice/fcgi/gofastbridge"
)

var quietLog = log.New(io.Discard, "", 0)

// engines are the ways to an application that have to be right; the literal
// gofast client is one of them, on our connections.
var engines = []struct {
	name    string
	handler func(t *bridge.Transport, chain ...gofast.Middleware) http.Handler
}{
	{"ours", bridge.Handler},
	{"gofast on ours", func(t *bridge.Transport, chain ...gofast.Middleware) http.Handler {
		return bridge.Sessions(t, gofast.Chain(append(chain, t.Repair)...)(gofast.BasicSession))
	}},
}

var basic = []gofast.Middleware{gofast.BasicParamsMap, gofast.MapHeader}

// TestAnswers has the answers that gofast gets wrong by itself. want is the
// status for our engine, and gofast the one on our connections, where 0 is the
// same; cut is a body that must not look complete.
func TestAnswers(t *testing.T) {
	long := strings.Repeat("x", 4000)
	die := func(s string) func(c *call) {
		return func(c *call) { c.input(); c.out(s); c.conn.Close() }
	}
	refuse := func(status byte) func(c *call) {
		return func(c *call) { c.input(); c.end(status) }
	}
	tests := []struct {
		name   string
		script func(c *call)
		want   int
		gofast int
		body   string
		cut    bool
	}{
		{name: "header line of 4000 bytes", script: answer("Content-Type: a/b\r\nSet-Cookie: " + long + "\r\n\r\nbody"), want: 200, gofast: 502, body: "body"},
		{name: "header block beyond the limit", script: answer("A: " + strings.Repeat(long, 20) + "\r\n\r\nbody"), want: 502},
		{name: "line without colon", script: answer("Content-Type: a/b\r\nno colon\r\n\r\nbody"), want: 502},
		{name: "lower-case status", script: answer("status: 404 Gone\r\ncontent-type: a/b\r\n\r\nbody"), want: 404, gofast: 200, body: "body"},
		{name: "status 099", script: answer("Status: 099\r\nContent-Type: a/b\r\n\r\nbody"), want: 502},
		{name: "status 1000", script: answer("Status: 1000\r\nContent-Type: a/b\r\n\r\nbody"), want: 502, gofast: 502},
		{name: "status 101", script: answer("Status: 101\r\nContent-Type: a/b\r\n\r\nbody"), want: 502},
		{name: "status 103 first", script: answer("Status: 103\r\nLink: </a>\r\n\r\nStatus: 201\r\nContent-Type: a/b\r\n\r\nbody"), want: 201, gofast: 502, body: "body"},
		{name: "no content type", script: answer("X-A: b\r\n\r\nbody"), want: 200, gofast: 502, body: "body"},
		{name: "empty answer", script: answer(""), want: 502},
		{name: "header without end", script: answer("Content-Type: a/b\r\n"), want: 502},
		{name: "death before the answer", script: die(""), want: 502},
		{name: "death in the header", script: die("Content-Type: a/"), want: 502},
		{name: "death in a short body", script: die("Content-Type: a/b\r\n\r\nhalf a"), want: 502, cut: true},
		{name: "death in a long body", script: die("Content-Type: a/b\r\n\r\n" + strings.Repeat(long, 100)), want: 200, cut: true},
		{name: "short of the Content-Length", script: answer("Content-Type: a/b\r\nContent-Length: 1000000\r\n\r\nhalf a"), want: 502, cut: true},
		{name: "more than the Content-Length", script: answer("Content-Type: a/b\r\nContent-Length: 4\r\n\r\nbody and more"), want: 200, body: "body"},
		{name: "chunked by the application", script: answer("Content-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"), want: 200, body: "body"},
		{name: "CANT_MPX_CONN", script: refuse(1), want: 503},
		{name: "OVERLOADED", script: refuse(2), want: 503},
		{name: "UNKNOWN_ROLE", script: refuse(3), want: 500},
		{name: "protocol status 9", script: refuse(9), want: 502},
		{name: "no FastCGI", script: func(c *call) { c.conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); c.conn.Close() }, want: 502},
	}
	// Where gofast's own reader has to do with it, its client cannot be helped.
	beyond := map[string]bool{"more than the Content-Length": true, "chunked by the application": true}
	for _, e := range engines {
		for _, tt := range tests {
			t.Run(e.name+"/"+tt.name, func(t *testing.T) {
				a := serve(t, tt.script)
				p := newPool(t, a.addr)
				tr := a.transport()
				tr.Dial = p.dial
				s := listen(t, e.handler(tr, basic...))
				begin := time.Now()
				got := get(t, s.URL+"/")
				if d := time.Since(begin); d > 3*time.Second {
					t.Errorf("it took %v", d)
				}
				want, ours := tt.want, e.name == "ours"
				if !ours && tt.gofast != 0 {
					want = tt.gofast
				}
				p.quiet(t)
				switch {
				case !ours && beyond[tt.name]:
					return
				case tt.cut && got.err != nil:
					return // broken off, as it should
				case tt.cut && got.status == 200:
					t.Fatalf("a part of an answer looks complete: %d bytes", len(got.body))
				case got.err != nil:
					t.Fatal(got.err)
				}
				if got.status != want {
					t.Errorf("status %d, want %d; body %q", got.status, want, got.body)
				}
				if want == tt.want && tt.body != "" && got.body != tt.body {
					t.Errorf("body %q, want %q", got.body, tt.body)
				}
				if got.status == 503 && got.header.Get("Retry-After") == "" {
					t.Error("503 without Retry-After")
				}
				if got.header.Get("Set-Cookie") == "" && tt.name == "header line of 4000 bytes" && ours {
					t.Error("the long field is missing")
				}
			})
		}
	}
}

func TestInterimAnswerReachesTheClient(t *testing.T) {
	a := serve(t, answer("Status: 103\r\nLink: </a>\r\n\r\nContent-Type: a/b\r\n\r\nbody"))
	s := listen(t, bridge.Handler(a.transport()))
	nc, err := net.Dial("tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	io.WriteString(nc, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	b, _ := io.ReadAll(nc)
	if !strings.HasPrefix(string(b), "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n") {
		t.Errorf("got %q", b)
	}
}

// TestConcurrentRequests: no answer goes to another request, on a pool of kept
// connections and with clients that leave in between.
func TestConcurrentRequests(t *testing.T) {
	a := serve(t, func(c *call) {
		c.input()
		if strings.HasSuffix(c.params["QUERY_STRING"], "slow") {
			time.Sleep(30 * time.Millisecond)
		}
		c.out("Content-Type: a/b\r\n\r\n" + c.params["QUERY_STRING"])
		c.end(0)
	})
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			p := newPool(t, a.addr)
			tr := a.transport()
			tr.Dial, tr.KeepConn = p.dial, true
			s := listen(t, e.handler(tr, basic...))
			var all sync.WaitGroup
			for i := range 8 {
				all.Go(func() {
					for k := range 20 {
						want := fmt.Sprintf("%d-%d", i, k)
						if k%5 == 4 {
							ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
							req, _ := http.NewRequestWithContext(ctx, "GET", s.URL+"/?"+want+"slow", nil)
							do(t, req)
							cancel()
							continue
						}
						if got := get(t, s.URL+"/?"+want); got.status != 200 || got.body != want {
							t.Errorf("%d %q %v, want %q", got.status, got.body, got.err, want)
						}
					}
				})
			}
			all.Wait()
			p.quiet(t)
			if p.dials > 100 {
				t.Errorf("%d connections for 160 requests: none was kept", p.dials)
			}
		})
	}
}

// TestConcurrentDo: one client is for one request.
func TestConcurrentDo(t *testing.T) {
	release := make(chan struct{})
	a := serve(t, func(c *call) {
		c.input()
		<-release
		c.out("Content-Type: a/b\r\n\r\nbody")
		c.end(0)
	})
	rec := httptest.NewRecorder()
	c := bridge.NewClient(rec, a.transport())
	first := make(chan error)
	go func() {
		_, err := c.Do(gofast.NewRequest(httptest.NewRequest("GET", "/", nil)))
		first <- err
	}()
	eventually(t, "the request is there", func() bool { return a.requests.Load() == 1 })
	if _, err := c.Do(gofast.NewRequest(httptest.NewRequest("GET", "/", nil))); err != bridge.ErrBusy {
		t.Errorf("second Do: %v, want ErrBusy", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if _, err := c.Do(gofast.NewRequest(httptest.NewRequest("GET", "/", nil))); err != bridge.ErrAnswered {
		t.Errorf("third Do: %v, want ErrAnswered", err)
	}
	if rec.Body.String() != "body" {
		t.Errorf("body %q", rec.Body)
	}
}

// TestNextAfterCancelled: the one connection of a pool, after a request that
// was cancelled on it.
func TestNextAfterCancelled(t *testing.T) {
	a := serve(t, func(c *call) {
		c.input()
		if c.params["QUERY_STRING"] == "slow" {
			time.Sleep(100 * time.Millisecond)
		}
		c.out("Content-Type: a/b\r\n\r\n" + c.params["QUERY_STRING"])
		c.end(0)
	})
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			pool := onePool(a)
			defer pool.Close()
			tr := a.transport()
			tr.Dial, tr.KeepConn = PoolDial(pool), true
			s := listen(t, e.handler(tr, basic...))
			for i := range 5 {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
				req, _ := http.NewRequestWithContext(ctx, "GET", s.URL+"/?slow", nil)
				do(t, req)
				cancel()
				want := fmt.Sprint("next", i)
				if got := get(t, s.URL+"/?"+want); got.status != 200 || got.body != want {
					t.Errorf("%d %q %v, want %q", got.status, got.body, got.err, want)
				}
			}
		})
	}
}

// TestAbortOnDisconnect: the application is told that its client left.
func TestAbortOnDisconnect(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			a := serve(t, func(c *call) {
				c.input()
				c.input() // waits for ABORT_REQUEST
			})
			p := newPool(t, a.addr)
			tr := a.transport()
			tr.Dial, tr.KeepConn = p.dial, true
			s := listen(t, e.handler(tr, basic...))
			ctx, cancel := context.WithCancel(context.Background())
			req, _ := http.NewRequestWithContext(ctx, "GET", s.URL, nil)
			time.AfterFunc(50*time.Millisecond, cancel)
			do(t, req)
			eventually(t, "ABORT_REQUEST", func() bool { return a.aborts.Load() == 1 })
			p.quiet(t)
			if len(p.idle) > 0 {
				t.Error("the connection was kept")
			}
		})
	}
}

// TestKeepConnHonoured: FCGI_KEEP_CONN is what the request says, whatever
// gofast's client writes.
func TestKeepConnHonoured(t *testing.T) {
	for _, e := range engines {
		for _, keep := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/%v", e.name, keep), func(t *testing.T) {
				flags := make(chan bool, 3)
				a := serve(t, func(c *call) {
					flags <- c.keep
					answer("Content-Type: a/b\r\n\r\nbody")(c)
				})
				p := newPool(t, a.addr)
				tr := a.transport()
				tr.Dial, tr.KeepConn = p.dial, keep
				s := listen(t, e.handler(tr, basic...))
				for range 3 {
					if got := get(t, s.URL); got.body != "body" {
						t.Fatal(got)
					}
					p.quiet(t)
					if got := <-flags; got != keep {
						t.Errorf("FCGI_KEEP_CONN %v", got)
					}
				}
				if want := map[bool]int{false: 3, true: 1}[keep]; p.dials != want {
					t.Errorf("%d connections, want %d", p.dials, want)
				}
			})
		}
	}
}

// TestStreaming: what the application has said reaches the client while it
// works on.
func TestStreaming(t *testing.T) {
	next := make(chan struct{})
	a := serve(t, func(c *call) {
		c.input()
		c.out("Content-Type: text/event-stream\r\n\r\n")
		for i := range 3 {
			c.out(fmt.Sprintf("data: %d\n", i))
			<-next
		}
		c.end(0)
	})
	s := listen(t, bridge.Handler(a.transport()))
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for i := range 3 {
		line, err := r.ReadString('\n')
		if want := fmt.Sprintf("data: %d\n", i); line != want || err != nil {
			t.Fatalf("%q, %v; want %q", line, err, want)
		}
		next <- struct{}{}
	}
}
