package conformance

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// A flush sends what there is.
func TestFlush(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		for _, version := range []string{"1.1", "1.0"} {
			pass := make(chan bool)
			c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
				io.WriteString(w, "one")
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Error(err)
				}
				<-pass
				io.WriteString(w, "two")
			}))
			c.send(request("GET / HTTP/" + version))
			got := ""
			for !strings.Contains(got, "one") {
				line, err := c.br.ReadString('e')
				if err != nil {
					t.Fatalf("%q, %v", got, err)
				}
				got += line
			}
			pass <- true
		}
	})
}

// plain hides the writer's own methods but Unwrap.
type plain struct{ http.ResponseWriter }

func (p plain) Unwrap() http.ResponseWriter { return p.ResponseWriter }

// A controller finds everything, also behind a wrapper.
func TestController(t *testing.T) {
	converse(t, []exchange{
		{name: "all methods", in: get, h: func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(plain{w})
			err := errors.Join(rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{}), rc.EnableFullDuplex(), rc.Flush())
			fmt.Fprint(w, err)
		}, want: "200 chunked <nil> | open"},
	})
}

// A write deadline in the past: nothing leaves any more, and that is so for
// good.
func TestPastWriteDeadline(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		said := make(chan error, 3)
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			io.WriteString(w, "one")
			said <- rc.Flush()
			rc.SetWriteDeadline(time.Now().Add(-10 * time.Second))
			io.WriteString(w, "two")
			said <- rc.Flush()
			rc.SetWriteDeadline(time.Now().Add(time.Hour))
			io.WriteString(w, "three")
			said <- rc.Flush()
		}))
		c.send(get)
		for i, fails := range []bool{false, true, true} {
			if err := take(t, "Flush", said); (err != nil) != fails {
				t.Errorf("flush %d: %v", i, err)
			}
		}
		if a := c.answer("GET"); a.body != "one" || a.cut == nil {
			t.Error(a)
		}
	})
}

// A write deadline that passes while a client does not read.
func TestWriteDeadline(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		said := make(chan error, 1)
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
			var err error
			for err == nil {
				_, err = io.WriteString(w, big)
			}
			said <- err
		}))
		c.send(get)
		if err := take(t, "error", said); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		if a := c.answer("GET"); a.cut == nil {
			t.Error("a clean end")
		}
	})
}

// A read deadline ends the reading of the body; the answer still goes.
func TestReadDeadline(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		said, sent := make(chan error, 2), make(chan bool)
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			if _, err := io.ReadFull(r.Body, make([]byte, 3)); err != nil {
				t.Error(err)
			}
			rc.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
			_, err := io.ReadAll(r.Body)
			said <- err
			rc.SetReadDeadline(time.Time{})
			<-sent
			_, err = io.ReadAll(r.Body)
			said <- err
			io.WriteString(w, "hello")
		}))
		c.send(request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "3\r\nabc\r\n")
		if err := take(t, "error", said); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		c.send(chunked("def"))
		sent <- true
		if err := take(t, "second error", said); (err == nil) != m.differs(readOn) {
			t.Errorf("after the deadline: %v", err)
		}
		if a := c.answer("POST"); a.status != 200 || a.body != "hello" {
			t.Error(a)
		}
		if !m.differs(readOn) {
			c.ended()
		} else if s := c.probe(); s != "open" {
			t.Error(s)
		}
	})
}

// A deadline that a handler set is not the next request's.
func TestDeadlinesEnd(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/set" {
				rc := http.NewResponseController(w)
				rc.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
				rc.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			} else {
				time.Sleep(200 * time.Millisecond)
			}
			b, err := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%s %v", b, err)
		}))
		c.send(request("POST /set HTTP/1.1", "Content-Length: 3") + "abc")
		if a := c.answer("POST"); a.String() != "200 sized abc <nil>" {
			t.Fatal(a)
		}
		c.send(request("POST / HTTP/1.1", "Content-Length: 3") + "abc")
		if a := c.answer("POST"); a.String() != "200 sized abc <nil>" {
			t.Error(a)
		}
	})
}

// With full duplex the body is read while the answer goes; without, what is left
// of a small body is read before.
func TestFullDuplex(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		for _, coding := range []string{"Transfer-Encoding: chunked", "Content-Length: 10"} {
			c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
				rc := http.NewResponseController(w)
				if err := rc.EnableFullDuplex(); err != nil {
					t.Error(err)
				}
				rc.Flush()
				b := make([]byte, 1)
				for {
					n, err := r.Body.Read(b)
					if n == 1 {
						w.Write(b)
						rc.Flush()
					}
					if err != nil {
						return
					}
				}
			}))
			c.send(request("POST / HTTP/1.1", coding))
			for {
				line, err := readLine(c.br)
				if err != nil {
					t.Fatal(err)
				}
				if line == "" {
					break
				}
			}
			for i := range 10 {
				if strings.HasPrefix(coding, "T") {
					c.send("1\r\n" + string(rune('0'+i)) + "\r\n")
				} else {
					c.send(string(rune('0' + i)))
				}
				want := "1\r\n" + string(rune('0'+i)) + "\r\n"
				got := make([]byte, len(want))
				if _, err := io.ReadFull(c.br, got); err != nil || string(got) != want {
					t.Fatalf("%q, %v; want %q", got, err, want)
				}
			}
			if strings.HasPrefix(coding, "T") {
				c.send("0\r\n\r\n")
			}
			end := make([]byte, 5)
			if _, err := io.ReadFull(c.br, end); string(end) != "0\r\n\r\n" {
				t.Errorf("%q, %v", end, err)
			}
		}
	})
}
