package conformance

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// hijacked takes the connection over.
func hijacked(t testing.TB, w http.ResponseWriter) (net.Conn, *bufio.ReadWriter) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		t.Errorf("hijack: %v", err)
		panic(http.ErrAbortHandler)
	}
	return conn, rw
}

// A connection taken over is the handler's: nothing is added to what it says.
func TestHijack(t *testing.T) {
	x := func(name, want string, h func(conn net.Conn, rw *bufio.ReadWriter)) {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, m mode) {
				c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("X-A", "never seen")
					h(hijacked(t, w))
				}))
				c.send(get + "more")
				if b, err := io.ReadAll(c.br); string(b) != want || err != nil && want != "" {
					t.Errorf("%q, %v; want %q", b, err, want)
				}
			})
		})
	}
	x("nothing is said", "", func(conn net.Conn, rw *bufio.ReadWriter) { conn.Close() })
	x("by the buffer and the connection", "[buffer][connection]more", func(conn net.Conn, rw *bufio.ReadWriter) {
		rw.WriteString("[buffer]")
		rw.Flush()
		io.WriteString(conn, "[connection]")
		io.CopyN(conn, rw, 4)
		conn.Close()
	})
	x("by another goroutine", "[later]more", func(conn net.Conn, rw *bufio.ReadWriter) {
		go func() {
			time.Sleep(20 * time.Millisecond)
			io.WriteString(conn, "[later]")
			io.CopyN(conn, rw, 4)
			conn.Close()
		}()
	})
	x("a large answer", big, func(conn net.Conn, rw *bufio.ReadWriter) {
		io.CopyN(io.Discard, rw, 4) // or the close would be a reset
		io.WriteString(conn, big)
		conn.Close()
	})
}

// What has arrived with the request is not lost, however much it is.
func TestHijackKeepsInput(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		for _, size := range []int{1, 100, 4096, 8 << 10, 100 << 10} {
			got := make(chan string, 1)
			c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
				conn, rw := hijacked(t, w)
				defer conn.Close()
				b, err := io.ReadAll(rw)
				if err != nil {
					t.Error(err)
				}
				got <- string(b)
			}))
			more := strings.Repeat("m", size)
			c.send(get + more)
			c.CloseWrite()
			if s := take(t, "input", got); s != more {
				t.Errorf("%d bytes of %d", len(s), size)
			}
		}
	})
}

// What arrives after the handler began is not lost either, and what the client
// sends next does not end the request's context.
func TestHijackLateInput(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		in, done := make(chan bool), make(chan bool, 1)
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			defer func() { done <- true }()
			in <- true
			<-in
			conn, rw := hijacked(t, w)
			defer conn.Close()
			if b, err := rw.Peek(3); string(b) != "foo" || err != nil {
				t.Errorf("%q, %v", b, err)
			}
			if err := r.Context().Err(); err != nil {
				t.Error(err)
			}
		}))
		c.send(get)
		take(t, "request", in)
		c.send("foo")
		c.quiet("no answer")
		in <- true
		take(t, "end of the handler", done)
	})
}

// A body that was not read is part of what the handler may read.
func TestHijackBeforeBody(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		got := make(chan error, 1)
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			conn, _ := hijacked(t, w)
			defer conn.Close()
			// Without an end this must not block, nor is it the handler's to have.
			_, err := io.ReadFull(r.Body, make([]byte, 5))
			got <- err
		}))
		c.send(request("POST / HTTP/1.1", "Content-Length: 5") + "abcde")
		if err := take(t, "body", got); err != nil && !errors.Is(err, http.ErrHijacked) && !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Error(err)
		}
	})
}

// After a takeover the writer is good for nothing, and there is no second one.
func TestAfterHijack(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		said := make(chan error, 3)
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			conn, _ := hijacked(t, w)
			_, err := w.Write([]byte("no"))
			said <- err
			_, err = w.Write(nil)
			said <- err
			_, _, err = http.NewResponseController(w).Hijack()
			said <- err
			w.WriteHeader(500)
			conn.Close()
		}))
		c.send(get)
		for _, what := range []string{"Write", "Write of nothing"} {
			if err := take(t, what, said); !errors.Is(err, http.ErrHijacked) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if take(t, "second Hijack", said) == nil {
			t.Error("taken over twice")
		}
		c.ended()
	})
}

// What was flushed before has left; what was not follows.
func TestFlushAndHijack(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "Hello, ")
			w.(http.Flusher).Flush()
			conn, rw := hijacked(t, w)
			rw.WriteString("6\r\nworld!\r\n0\r\n\r\n")
			rw.Flush()
			conn.Close()
		}))
		c.send(get)
		if a := c.answer("GET"); a.String() != "200 chunked Hello, world!" {
			t.Error(a)
		}
		c.ended()
	})
}

// Switching protocols: the head by the writer, all else by the connection, also
// where keep-alive is off.
func TestSwitchingProtocols(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		for _, idle := range []time.Duration{0, -1} {
			said := make(chan error, 1)
			c := dial(t, m.start(t, options{idle: idle, handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Connection", "Upgrade")
				w.Header().Set("Upgrade", "echo")
				w.WriteHeader(101)
				_, err := io.WriteString(w, "no body")
				said <- err
				conn, rw := hijacked(t, w)
				io.Copy(conn, rw)
				conn.Close()
			})}))
			c.send(request("GET / HTTP/1.1", "Connection: Upgrade", "Upgrade: echo"))
			a := c.answer("GET")
			if a.status != 101 || a.header.Get("Upgrade") != "echo" || a.header.Get("Connection") != "Upgrade" {
				t.Errorf("%v %v", a, a.header)
			}
			if take(t, "Write", said) == nil {
				t.Error("a body of 101")
			}
			c.send("hello")
			b := make([]byte, 5)
			if _, err := io.ReadFull(c.br, b); string(b) != "hello" {
				t.Errorf("%q, %v", b, err)
			}
			c.CloseWrite()
			c.ended()
		}
	})
}

// A connection taken over has no deadlines but those its owner sets, and these
// work.
func TestHijackDeadlines(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		said := make(chan error, 3)
		c := dial(t, m.start(t, options{
			headerTimeout: 100 * time.Millisecond, idle: 100 * time.Millisecond, sendTimeout: 200 * time.Millisecond,
			handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Millisecond))
				conn, rw := hijacked(t, w)
				defer conn.Close()
				time.Sleep(300 * time.Millisecond)
				_, err := io.ReadFull(rw, make([]byte, 3))
				said <- err
				io.WriteString(conn, "yes")
				conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				_, err = conn.Read(make([]byte, 1))
				said <- err
				conn.SetDeadline(time.Now().Add(-time.Second))
				_, err = io.WriteString(conn, "no")
				said <- err
			}),
		}))
		c.send(get)
		time.Sleep(400 * time.Millisecond)
		c.send("abc")
		if err := take(t, "Read", said); err != nil {
			t.Error(err)
		}
		var ne net.Error
		for _, what := range []string{"second Read", "Write"} {
			if err := take(t, what, said); !errors.As(err, &ne) || !ne.Timeout() {
				t.Errorf("%s past the deadline: %v", what, err)
			}
		}
		if b, _ := io.ReadAll(c.br); string(b) != "yes" {
			t.Errorf("%q", b)
		}
	})
}
