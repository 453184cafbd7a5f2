package gofastbridge_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/yookoala/gofast"

	"sluice/cgi"
	bridge "sluice/fcgi/gofastbridge"
)

type middleware = func(inner gofast.SessionHandler, c gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error)

func wrap(f middleware) gofast.Middleware {
	return func(inner gofast.SessionHandler) gofast.SessionHandler {
		return func(c gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) { return f(inner, c, req) }
	}
}

// TestMiddlewares: whatever a middleware does, the client gets one answer, and
// the connection is given back.
func TestMiddlewares(t *testing.T) {
	other := serve(t, answer("Content-Type: a/b\r\nX-A: b\r\n\r\nother"))
	otherClient := func() gofast.Client {
		c, err := gofast.SimpleClientFactory(gofast.SimpleConnFactory("unix", other.addr))()
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	tests := []struct {
		name   string
		script func(c *call)
		f      middleware
		status int
		body   string
		cut    bool
	}{
		{name: "calls the next", status: 200, body: "body",
			f: func(inner gofast.SessionHandler, c gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
				return inner(c, req)
			}},
		{name: "refuses with a status", status: 403, body: "403 Forbidden\n",
			f: func(gofast.SessionHandler, gofast.Client, *gofast.Request) (*gofast.ResponsePipe, error) {
				return nil, &bridge.Error{Status: 403, Err: errors.New("no")}
			}},
		{name: "refuses", status: 500,
			f: func(gofast.SessionHandler, gofast.Client, *gofast.Request) (*gofast.ResponsePipe, error) {
				return nil, errors.New("no")
			}},
		{name: "gives nothing", status: 500,
			f: func(gofast.SessionHandler, gofast.Client, *gofast.Request) (*gofast.ResponsePipe, error) {
				return nil, nil
			}},
		{name: "asks another client", status: 200, body: "other",
			f: func(inner gofast.SessionHandler, _ gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
				c := otherClient()
				context.AfterFunc(req.Raw.Context(), func() { c.Close() })
				return inner(c, req)
			}},
		{name: "asks another client after a failure", status: 200, body: "other", script: func(c *call) { c.input(); c.conn.Close() },
			f: func(inner gofast.SessionHandler, c gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
				if p, err := inner(c, req); err == nil {
					return p, nil
				}
				c = otherClient()
				context.AfterFunc(req.Raw.Context(), func() { c.Close() })
				return inner(c, req)
			}},
		{name: "tries again", status: 200, body: "body", script: func(c *call) {
			if c.input(); c.app.requests.Load() > 2 { // the engine itself repeats a GET once
				c.out("Content-Type: a/b\r\n\r\nbody")
				c.end(0)
			}
			c.conn.Close()
		},
			f: func(inner gofast.SessionHandler, c gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
				if p, err := inner(c, req); err == nil {
					return p, nil
				}
				return inner(c, req)
			}},
		{name: "swallows a failure", status: 502, script: func(c *call) { c.input(); c.conn.Close() },
			f: func(inner gofast.SessionHandler, c gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
				inner(c, req)
				return nil, nil
			}},
		{name: "swallows a broken answer", cut: true, script: func(c *call) {
			c.input()
			c.out("Content-Type: a/b\r\n\r\n" + strings.Repeat("x", 100000))
			c.conn.Close()
		},
			f: func(inner gofast.SessionHandler, c gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
				inner(c, req)
				return nil, nil
			}},
		{name: "fails after the answer", status: 200, body: "body",
			f: func(inner gofast.SessionHandler, c gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
				inner(c, req)
				return nil, errors.New("too late")
			}},
		{name: "does not wait", status: 504, script: func(c *call) { c.input(); c.input() },
			f: func(inner gofast.SessionHandler, c gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
				go inner(c, req)
				time.Sleep(20 * time.Millisecond)
				return nil, &bridge.Error{Status: 504, Err: errors.New("too slow")}
			}},
		{name: "looks into the pipe", status: 200, body: "body",
			f: func(inner gofast.SessionHandler, c gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
				p, err := inner(c, req)
				p.WriteTo(httptest.NewRecorder(), io.Discard)
				p.Close()
				return p, err
			}},
		{name: "panics", cut: true,
			f: func(gofast.SessionHandler, gofast.Client, *gofast.Request) (*gofast.ResponsePipe, error) { panic("x") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.script == nil {
				tt.script = answer("Content-Type: a/b\r\n\r\nbody")
			}
			a := serve(t, tt.script)
			p := newPool(t, a.addr)
			tr := a.transport()
			tr.Dial = p.dial
			s := listen(t, bridge.Handler(tr, wrap(tt.f)))
			got := get(t, s.URL)
			p.quiet(t)
			if tt.cut {
				if got.err == nil {
					t.Errorf("the answer looks complete: %d, %d bytes", got.status, len(got.body))
				}
				return
			}
			if got.err != nil || got.status != tt.status || tt.body != "" && got.body != tt.body {
				t.Errorf("%d %q %v, want %d %q", got.status, got.body, got.err, tt.status, tt.body)
			}
		})
	}
}

// TestFinishedPipe: what Do returns has ended, for whoever reads it.
func TestFinishedPipe(t *testing.T) {
	a := serve(t, answer("Content-Type: a/b\r\n\r\nbody"))
	rec := httptest.NewRecorder()
	c := bridge.NewClient(rec, a.transport())
	defer c.Close()
	pipe, err := gofast.BasicSession(c, gofast.NewRequest(httptest.NewRequest("GET", "/", nil)))
	if err != nil || pipe == nil {
		t.Fatal(pipe, err)
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		pipe.WriteTo(httptest.NewRecorder(), io.Discard)
		pipe.Close()
		pipe.WriteTo(httptest.NewRecorder(), io.Discard)
	}()
	select {
	case <-over:
	case <-time.After(5 * time.Second):
		t.Fatal("WriteTo does not return")
	}
	c.Finish(pipe, err)
	if rec.Code != 200 || rec.Body.String() != "body" {
		t.Errorf("%d %q", rec.Code, rec.Body)
	}
}

// TestCloseAnyTime: Close before, during and after Do.
func TestCloseAnyTime(t *testing.T) {
	a := serve(t, func(c *call) { c.input(); c.input() })
	request := func() *gofast.Request { return gofast.NewRequest(httptest.NewRequest("GET", "/", nil)) }
	c := bridge.NewClient(httptest.NewRecorder(), a.transport())
	result := make(chan error)
	go func() {
		_, err := c.Do(request())
		result <- err
	}()
	eventually(t, "the request is there", func() bool { return a.requests.Load() == 1 })
	c.Close()
	c.Close()
	if err := <-result; err == nil {
		t.Error("no error from Do")
	}
	eventually(t, "ABORT_REQUEST", func() bool { return a.aborts.Load() == 1 })
	if _, err := c.Do(request()); err != bridge.ErrClosed {
		t.Errorf("Do after Close: %v", err)
	}
}

func TestTimeouts(t *testing.T) {
	for _, e := range engines {
		for _, tt := range []struct {
			name string
			set  func(*bridge.Transport)
			say  string
		}{
			{"header", func(tr *bridge.Transport) { tr.HeaderTimeout = 50 * time.Millisecond }, ""},
			{"body", func(tr *bridge.Transport) { tr.ReadTimeout = 50 * time.Millisecond }, "Content-Type: a/b\r\n\r\n"},
		} {
			t.Run(e.name+"/"+tt.name, func(t *testing.T) {
				a := serve(t, func(c *call) { c.input(); c.out(tt.say); c.input() })
				tr := a.transport()
				tt.set(tr)
				s := listen(t, e.handler(tr, basic...))
				got := get(t, s.URL)
				if tt.say == "" && got.status != 504 || tt.say != "" && got.err == nil && got.status != 504 {
					t.Errorf("%d %q %v", got.status, got.body, got.err)
				}
			})
		}
	}
}

// TestLogs: standard error by lines, and why a request failed.
func TestLogs(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			a := serve(t, func(c *call) {
				c.input()
				c.send(7, []byte("one\ntw"))
				c.send(7, []byte("o\nthree"))
				c.end(3)
			})
			var out lockedBuffer
			log := slog.New(slog.NewTextHandler(&out, nil))
			tr := a.transport()
			tr.Log, tr.Errors = log, &cgi.ErrorLog{App: "a", Log: log, Lines: 2, Per: time.Hour}
			s := listen(t, e.handler(tr))
			if got := get(t, s.URL); got.status != 500 {
				t.Errorf("status %d", got.status)
			}
			for _, want := range []string{"line=one\n", "line=two\n", "UNKNOWN_ROLE"} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in %q", want, out.String())
				}
			}
			if strings.Contains(out.String(), "three") {
				t.Error("a third line")
			}
		})
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestDialErrors(t *testing.T) {
	for _, e := range engines {
		for _, tt := range []struct {
			name string
			dial bridge.Dial
			want int
		}{
			{"nobody listens", bridge.DialTo("unix", "/nowhere"), 502},
			{"the pool's word", func(context.Context, bool) (net.Conn, bridge.Done, error) {
				return nil, nil, &bridge.Error{Status: 503, Err: errors.New("queue full")}
			}, 503},
		} {
			t.Run(e.name+"/"+tt.name, func(t *testing.T) {
				s := listen(t, e.handler(&bridge.Transport{Dial: tt.dial}))
				if got := get(t, s.URL); got.status != tt.want {
					t.Errorf("%d %v, want %d", got.status, got.err, tt.want)
				}
			})
		}
	}
}

// TestKeptConnectionDied: the application closed it while nobody looked.
func TestKeptConnectionDied(t *testing.T) {
	a := serve(t, func(c *call) {
		answer("Content-Type: a/b\r\n\r\nbody")(c)
		c.keep = false
	})
	p := newPool(t, a.addr)
	tr := a.transport()
	tr.Dial, tr.KeepConn = p.dial, true
	s := listen(t, bridge.Handler(tr))
	for range 3 {
		if got := get(t, s.URL); got.status != http.StatusOK {
			t.Fatal(got.status, got.err)
		}
		p.quiet(t)
		time.Sleep(5 * time.Millisecond)
	}
}

// TestRoles: what gofast's middlewares for the other roles need.
func TestRoles(t *testing.T) {
	a := serve(t, func(c *call) {
		if c.role == 2 {
			if _, ok := c.params["CONTENT_LENGTH"]; ok {
				c.end(3)
				return
			}
			c.input()
			c.out("Status: 200\r\nVariable-User: me\r\n\r\n")
			c.end(0)
			return
		}
		in := c.input()
		var data string
		for {
			kind, content, ok := c.record()
			if !ok || kind == 8 && len(content) == 0 {
				break
			}
			data += string(content)
		}
		c.out("Content-Type: a/b\r\n\r\n" + in + "|" + data + "|" + c.params["FCGI_DATA_LENGTH"])
		c.end(0)
	})
	t.Run("filter", func(t *testing.T) {
		root := t.TempDir()
		write(t, root+"/x", "the file")
		s := listen(t, bridge.Handler(a.transport(), gofast.NewFilterFS(http.Dir(root))))
		req, _ := http.NewRequest("POST", s.URL+"/x", strings.NewReader("the input"))
		if got := do(t, req); got.body != "the input|the file|8" {
			t.Errorf("%d %q", got.status, got.body)
		}
	})
	t.Run("authorizer", func(t *testing.T) {
		authorizer := wrap(func(inner gofast.SessionHandler, c gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
			req.Role = gofast.RoleAuthorizer
			return inner(c, req)
		})
		s := listen(t, bridge.Handler(a.transport(), gofast.NewAuthPrepare(), authorizer))
		req, _ := http.NewRequest("POST", s.URL, strings.NewReader("the input"))
		if got := do(t, req); got.status != 200 || got.header.Get("Variable-User") != "me" {
			t.Errorf("%d %v", got.status, got.header)
		}
	})
}

func write(t testing.TB, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
