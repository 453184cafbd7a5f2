package conformance

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A head that does not come to its end in time.
func TestHeaderTimeout(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		s := m.start(t, options{handler: says("hello"), headerTimeout: 100 * time.Millisecond})
		for _, in := range []string{"G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\n", get + "GET / HT"} {
			c := dial(t, s)
			c.send(in)
			if strings.HasPrefix(in, get) {
				c.answer("GET")
			}
			if m.differs(headerTimeoutAnswer) {
				if a := c.answer("GET"); a.status != 408 || a.header.Get("Connection") != "close" {
					t.Errorf("after %q: %v", in, a)
				}
			}
			if m.library() {
				c.read("GET") // 400, where the head broke off within its fields
			}
			c.ended()
		}
	})
}

// Bytes that come one by one do not stretch the time for a head.
func TestHeaderTimeoutDripping(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		c := dial(t, m.start(t, options{handler: says("hello"), headerTimeout: 200 * time.Millisecond}))
		done := make(chan bool)
		go func() {
			defer close(done)
			io.WriteString(c.TCPConn, "GET / HTTP/1.1\r\nX: ")
			for limit := time.Now().Add(bound); time.Now().Before(limit); time.Sleep(10 * time.Millisecond) {
				if _, err := io.WriteString(c.TCPConn, "a"); err != nil {
					return
				}
			}
		}()
		if a, err := c.read("GET"); m.library() == (err == nil) || err == nil && a.status != 408 {
			t.Errorf("%v, %v", a, err)
		}
		io.Copy(io.Discard, c.br)
		c.Close()
		take(t, "end of the dripping", done)
	})
}

// A connection on which nothing was ever sent ends in the time for a head.
func TestSilentConnection(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		c := dial(t, m.start(t, options{handler: says("hello"), headerTimeout: 100 * time.Millisecond}))
		c.ended()
	})
}

// An idle connection ends without a word, and not before its time.
func TestIdleTimeout(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		const idle = 300 * time.Millisecond
		c := dial(t, m.start(t, options{handler: says("hello"), idle: idle}))
		for range 3 {
			c.get("/")
			time.Sleep(idle / 6)
		}
		c.get("/")
		from := time.Now()
		c.ended()
		if d := time.Since(from); d < idle*9/10 {
			t.Errorf("ended after %v", d)
		}
	})
}

// The time for a head is not the time for what comes after it: neither for the
// body, nor for the handler, nor for the pause before the next request.
func TestHeaderTimeoutEnds(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		const limit = 100 * time.Millisecond
		c := dial(t, m.start(t, options{headerTimeout: limit, handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			time.Sleep(2 * limit)
			w.Write(b)
		})}))
		for range 2 {
			c.send(request("POST / HTTP/1.1", "Content-Length: 6") + "abc")
			time.Sleep(2 * limit)
			c.send("def")
			if a := c.answer("POST"); a.String() != "200 sized abcdef" {
				t.Fatal(a)
			}
			time.Sleep(2 * limit)
		}
	})
}

// A request after a long pause, parked or not, is served.
func TestAfterPause(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		s := m.serve(t, tell)
		c := dial(t, s)
		never := dial(t, s)
		c.get("/")
		time.Sleep(1500 * time.Millisecond)
		for _, c := range []*client{c, never} {
			c.send("POST /a HTTP/1.1\r\nHo")
			time.Sleep(20 * time.Millisecond)
			c.send("st: x\r\nContent-Length: 3\r\n\r\nabc" + get)
			if a := c.answer("POST"); a.body != "POST /a abc" {
				t.Error(a)
			}
			if a := c.answer("GET"); a.body != "GET / " {
				t.Error(a)
			}
		}
	})
}

// A client that takes nothing is given up after the time without progress, and
// the handler hears of it.
func TestSendTimeout(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		said := make(chan error, 1)
		c := dial(t, m.start(t, options{sendTimeout: 200 * time.Millisecond, handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			var err error
			for err == nil {
				_, err = io.WriteString(w, big)
			}
			said <- err
		})}))
		c.send(get)
		take(t, "error", said)
		if a := c.answer("GET"); a.cut == nil {
			t.Error("a clean end")
		}
	})
}

// A client that takes little, but something, is served to the end.
func TestSlowReader(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		if m.library() {
			return // its limit is one for the whole answer
		}
		s := m.start(t, options{sendTimeout: time.Second, handler: says(strings.Repeat(big, 8))})
		c := dial(t, s)
		c.SetReadBuffer(64 << 10)
		c.send(get)
		for range 10 {
			io.CopyN(io.Discard, c.br, 300<<10)
			time.Sleep(100 * time.Millisecond)
		}
		n, err := io.Copy(io.Discard, io.LimitReader(c.br, 8<<20-10*300<<10))
		if n != 8<<20-10*300<<10 {
			t.Errorf("%d more, %v", n, err)
		}
	})
}

// Clients that do not read do not hold up others.
func TestBlockedClients(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		s := m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/big" {
				for range 64 {
					if _, err := io.WriteString(w, big); err != nil {
						return
					}
				}
				return
			}
			io.WriteString(w, "hello")
		})
		for range 20 {
			dial(t, s).send(request("GET /big HTTP/1.1"))
		}
		c := dial(t, s)
		for range 200 {
			if a := c.get("/"); a.body != "hello" {
				t.Fatal(a)
			}
		}
	})
}
