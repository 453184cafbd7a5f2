package conformance

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A client that leaves while the handler works ends the request's context.
func TestLeave(t *testing.T) {
	for _, x := range []struct {
		name  string
		leave func(c *client)
		in    string
	}{
		{"closes", func(c *client) { c.Close() }, get},
		{"resets", (*client).reset, get},
		{"closes its side", func(c *client) { c.CloseWrite() }, get},
		{"closes after a second request", func(c *client) { c.Close() }, get + get},
		{"closes, 1.0", func(c *client) { c.Close() }, get10},
		{"closes after a body that was read", func(c *client) { c.Close() }, request("POST / HTTP/1.1", "Content-Length: 3") + "abc"},
		{"closes, the second request at work", func(c *client) { c.Close() }, request("GET /probe HTTP/1.1") + get},
	} {
		t.Run(x.name, func(t *testing.T) {
			each(t, func(t *testing.T, m mode) {
				if x.in == get+get && m.library() {
					return // which has read the second request already, and waits for nothing more
				}
				in, left := make(chan bool, 2), make(chan error, 2)
				c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
					io.Copy(io.Discard, r.Body)
					in <- true
					select {
					case <-r.Context().Done():
						left <- r.Context().Err()
					case <-time.After(bound):
						left <- nil
					}
				}))
				c.send(x.in)
				take(t, "request", in)
				c.quietOr(x.in)
				x.leave(c)
				if err := take(t, "end of the context", left); err != context.Canceled {
					t.Errorf("the context says %v", err)
				}
			})
		})
	}
}

// quietOr lets the server go through what it has, so that the leave is the only
// news for it.
func (c *client) quietOr(in string) {
	if strings.Contains(in, "/probe") {
		c.answer("GET")
	}
	c.quiet("the handler works")
}

// While a handler works and the client stays, the context goes on, whatever the
// client sends; after the handler's return it has ended.
func TestStay(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		got, pass := make(chan context.Context, 1), make(chan bool)
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			got <- r.Context()
			<-pass
		}))
		c.send(get)
		ctx := take(t, "request", got)
		c.quiet("at work")
		c.send("GET /probe HTTP/1.1\r\nHo")
		c.quiet("at work")
		if ctx.Err() != nil {
			t.Error(ctx.Err())
		}
		pass <- true
		c.answer("GET")
		eventually(t, "ended", func() bool { return ctx.Err() != nil })
		c.send("st: x\r\n\r\n")
		if a := c.answer("GET"); a.body != "probe" {
			t.Error(a)
		}
	})
}

// A write to a client that has left fails in the end.
func TestWriteAfterLeave(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		for _, leave := range []func(*client){func(c *client) { c.Close() }, (*client).reset} {
			in, said := make(chan bool), make(chan error, 1)
			c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
				in <- true
				var err error
				for limit := time.Now().Add(bound); err == nil && time.Now().Before(limit); {
					_, err = io.WriteString(w, big)
				}
				said <- err
			}))
			c.send(get)
			take(t, "request", in)
			leave(c)
			if take(t, "error", said) == nil {
				t.Error("written to nobody")
			}
		}
	})
}

// A client that leaves within a body: the handler's read fails.
func TestLeaveInBody(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		for _, leave := range []func(*client){func(c *client) { c.Close() }, (*client).reset, func(c *client) { c.CloseWrite() }} {
			in, said := make(chan bool), make(chan error, 1)
			c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
				in <- true
				_, err := io.Copy(io.Discard, r.Body)
				said <- err
			}))
			c.send(request("POST / HTTP/1.1", "Content-Length: 1000") + "abc")
			take(t, "request", in)
			leave(c)
			if err := take(t, "error", said); err == nil || err == io.EOF {
				t.Errorf("read to its end: %v", err)
			}
		}
	})
}

// A client that closes its side behind the request still gets its answer, where
// the handler does not care for its leaving.
func TestHalfClose(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		c := dial(t, m.serve(t, says("hello")))
		c.send(get + get)
		c.CloseWrite()
		for range 2 {
			if a := c.answer("GET"); a.String() != "200 sized hello" {
				t.Error(a)
			}
		}
		c.ended()
	})
}

// A handler whose client has left may still run to its end, and what it does
// with its request is safe.
func TestWorkAfterLeave(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		in, done := make(chan bool), make(chan bool, 1)
		s := m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			in <- true
			<-r.Context().Done()
			for range 100 {
				w.Header().Set("X-A", r.Header.Get("X-A")+r.URL.Path)
				io.WriteString(w, strings.Repeat(r.URL.Path, 1000))
				w.(http.Flusher).Flush()
			}
			done <- true
		})
		c := dial(t, s)
		c.send(get)
		take(t, "request", in)
		c.Close()
		take(t, "end of the handler", done)
		if s := dial(t, s).probe(); s != "open" {
			t.Error(s)
		}
	})
}
