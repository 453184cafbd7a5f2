package conformance

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// A body that is not what it says: the handler sees an error, and nothing behind
// it is a request.
func TestBrokenBody(t *testing.T) {
	for _, x := range []struct {
		name, in string
		by       difference // the oracle takes it
	}{
		{"shorter than its length", request("POST / HTTP/1.1", "Content-Length: 100") + "abc", ""},
		{"no chunk", request("POST / HTTP/1.1", "Transfer-Encoding: chunked"), ""},
		{"no last chunk", request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "3\r\nabc\r\n", ""},
		{"a chunk too short", request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "10\r\nabc", ""},
		{"no end behind the last chunk", request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n", ""},
		{"no size", request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "hax\r\n" + get + get, ""},
		{"an empty size", request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "\r\n" + get + get, ""},
		{"a size below 0", request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "-1\r\n" + get + get, ""},
		{"a size in 0x", request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "0x3\r\nabc\r\n0\r\n\r\n" + get, ""},
		{"a size past all numbers", request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "fffffffffffffffff\r\nabc\r\n0\r\n\r\n" + get, ""},
		{"more than the size", request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "3\r\nabcdef\r\n0\r\n\r\n" + get, ""},
		{"LF behind a size", request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "3\nabc\r\n0\r\n\r\n" + get, ""},
		{"LF behind a chunk", request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "3\r\nabc\n0\r\n\r\n" + get, ""},
		{"LF behind the last chunk", request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\n" + get, lastLine},
		{"a trailer that is none", request("POST / HTTP/1.1", "Trailer: hack", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\nno trailer\r\n" + get, ""},
	} {
		for how, consume := range consumers {
			t.Run(x.name+", "+how, func(t *testing.T) {
				each(t, func(t *testing.T, m mode) {
					if x.by != "" && !m.differs(x.by) {
						return
					}
					said, second := make(chan error, 1), make(chan bool, 10)
					c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
						if r.Method != "POST" {
							second <- true
							return
						}
						said <- consume(r.Body)
					}))
					c.send(x.in)
					c.CloseWrite()
					if err := take(t, "request", said); err == nil && how == "reads" {
						t.Error("the body is whole")
					}
					io.Copy(io.Discard, c.br)
					if len(second) > 0 {
						t.Error("what stands behind is taken for a request")
					}
				})
			})
		}
	}
}

// consumers are what handlers do with a body.
var consumers = map[string]func(io.ReadCloser) error{
	"reads":  func(b io.ReadCloser) error { _, err := io.Copy(io.Discard, b); return err },
	"closes": func(b io.ReadCloser) error { b.Close(); return nil },
	"passes": func(b io.ReadCloser) error { return nil },
}

// Chunked bodies that are fine.
func TestChunkedBody(t *testing.T) {
	in := request("POST /a HTTP/1.1", "Transfer-Encoding: chunked")
	x := func(name, body, want string) exchange {
		return exchange{name: name, in: in + body + request("GET /b HTTP/1.1"), h: tell, want: "200 sized POST /a " + want + " | 200 sized GET /b  | open"}
	}
	converse(t, []exchange{
		x("two chunks", chunked("abc", "de"), "abcde"),
		x("nothing", chunked(), ""),
		x("capital digits", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
		x("leading zeros", "0003\r\nabc\r\n00\r\n\r\n", "abc"),
		x("an extension", "3;a=b\r\nabc\r\n0;c\r\n\r\n", "abc"),
		x("line ends in the data", chunked("a\r\n0\r\n\r\n", "\n\r"), "a\r\n0\r\n\r\n\n\r"),
		x("a trailer", "3\r\nabc\r\n0\r\nX-A: b\r\nX-C: d\r\n\r\n", "abc"),
		x("a large one", chunked(strings.Repeat("z", 70000), strings.Repeat("z", 5)), "70005*z"),
	})
}

// A trailer is no field of the header, whether it was announced or not.
func TestRequestTrailers(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			fmt.Fprintf(w, "%q %q %q", r.Header, r.Host, r.Trailer)
		}))
		for _, x := range []struct{ in, want, ours string }{
			{request("POST / HTTP/1.1", "Transfer-Encoding: chunked"), `map[] "x" map["X-A":["b"]]`, `map[] "x" map[]`},
			{request("POST / HTTP/1.1", "Trailer: X-A", "Transfer-Encoding: chunked"), `map[] "x" map["X-A":["b"]]`, `map[] "x" map[]`},
		} {
			if m.differs(trailers) {
				x.want = x.ours
			}
			c.send(x.in + "3\r\nabc\r\n0\r\nX-A: b\r\n\r\n")
			if a := c.answer("POST"); a.body != x.want {
				t.Errorf("%v; want %s", a, x.want)
			}
		}
	})
}

// A body that nobody read is read past up to a bound, so that the connection can
// serve on; beyond it the connection ends with the answer.
func TestUnreadBody(t *testing.T) {
	little := strings.Repeat("l", 100<<10)
	sized := func(body string, more ...string) string {
		return request("POST / HTTP/1.1", append(more, fmt.Sprintf("Content-Length: %d", len(body)))...) + body
	}
	coded := func(body string, more ...string) string {
		return request("POST / HTTP/1.1", append(more, "Transfer-Encoding: chunked")...) + chunked(body)
	}
	closes := func(w http.ResponseWriter, r *http.Request) {
		r.Body.Close()
		says("hello")(w, r)
	}
	drops := func(w http.ResponseWriter, r *http.Request) {
		r.Body = nil
		says("hello")(w, r)
	}
	half := func(w http.ResponseWriter, r *http.Request) {
		io.CopyN(io.Discard, r.Body, 50<<10)
		says("hello")(w, r)
	}
	converse(t, []exchange{
		{name: "little", in: sized(little), h: says("hello"), want: "200 sized hello | open"},
		{name: "little, closed", in: sized(little), h: closes, want: "200 sized hello | open"},
		{name: "little, half read", in: sized(little), h: half, want: "200 sized hello | open"},
		{name: "little, the body dropped", in: sized(little), h: drops, want: "200 sized hello | open"},
		{name: "little, flushed", in: sized(little), h: flushes("hello"), want: "200 chunked hello | open"},
		{name: "little, chunked", in: coded(little), h: says("hello"), want: "200 sized hello | open"},
		{name: "little, the client closes", in: sized(little, "Connection: close"), h: says("hello"), want: "200 sized [close] hello | closed"},
		{name: "little, chunked, the client closes", in: coded(little, "Connection: close"), h: says("hello"), want: "200 sized [close] hello | closed"},
	})
}

// A large upload that is refused: the client, who sends on and reads only then,
// gets the whole answer.
func TestLargeUnreadBody(t *testing.T) {
	const size = 5 << 20
	for _, x := range []struct {
		name, headers string
		body          string
	}{
		{"sized", "Content-Length: 5242880", strings.Repeat("l", size)},
		{"chunked", "Transfer-Encoding: chunked", chunked(strings.Repeat("l", size))},
	} {
		t.Run(x.name, func(t *testing.T) {
			each(t, func(t *testing.T, m mode) {
				page := strings.Repeat("p", 200<<10)
				s := m.serve(t, func(w http.ResponseWriter, r *http.Request) {
					if r.Method == "POST" {
						w.WriteHeader(413)
					}
					io.WriteString(w, page)
				})
				c := dial(t, s)
				sent := make(chan error, 1)
				go func() {
					_, err := io.WriteString(c.TCPConn, request("POST / HTTP/1.1", x.headers)+x.body+get)
					sent <- err
				}()
				a := c.answer("POST")
				if a.status != 413 || a.body != page || a.header.Get("Connection") != "close" && !m.differs(unknownRest) {
					t.Errorf("%v", a)
				}
				c.ended()
				c.Close()
				take(t, "end of the upload", sent)
			})
		})
	}
}

// The bound does not need to be read past where it is known to be exceeded: the
// answer comes though the client sends nothing of the body.
func TestUnsentBody(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		c := dial(t, m.serve(t, status(413, says("no"))))
		c.send(request("POST / HTTP/1.1", "Content-Length: 9999999999"))
		if a := c.answer("POST"); a.String() != "413 sized [close] no" {
			t.Error(a)
		}
		c.ended()
	})
}

// After the handler's return, and after Close, a body is not read.
func TestBodyAfter(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		bodies := make(chan io.ReadCloser, 1)
		closed := make(chan error, 2)
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/close" {
				closed <- r.Body.Close()
				_, err := r.Body.Read(make([]byte, 10))
				closed <- err
			}
			bodies <- r.Body
		}))
		in := func(target string) { c.send(request("POST "+target+" HTTP/1.1", "Content-Length: 5") + "abcde") }
		in("/")
		c.answer("POST")
		if n, err := take(t, "body", bodies).Read(make([]byte, 10)); n != 0 || !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Errorf("after the return: %d, %v", n, err)
		}
		in("/close")
		if err := take(t, "Close", closed); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := take(t, "Read", closed); !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Errorf("after Close: %v", err)
		}
		c.answer("POST")
		if s := c.probe(); s != "open" {
			t.Error(s)
		}
	})
}

// At its end a body says so again and again.
func TestBodyEnd(t *testing.T) {
	converse(t, []exchange{
		{name: "sized", in: request("POST / HTTP/1.1", "Content-Length: 5") + "abcde", h: endTwice, want: "200 sized abcde EOF EOF | open"},
		{name: "chunked", in: request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + chunked("abcde"), h: endTwice, want: "200 sized abcde EOF EOF | open"},
		{name: "none", in: get, h: endTwice, want: "200 sized  EOF EOF | open"},
	})
}

func endTwice(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	_, one := r.Body.Read(make([]byte, 1))
	_, two := r.Body.Read(make([]byte, 1))
	fmt.Fprintf(w, "%s %v %v", b, one, two)
}

// A body arrives as it is sent, not when it is whole.
func TestBodyStreams(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		got := make(chan string, 10)
		s := m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			b := make([]byte, 100)
			for {
				n, err := r.Body.Read(b)
				if n > 0 {
					got <- string(b[:n])
				}
				if err != nil {
					return
				}
			}
		})
		for _, x := range []struct{ header, a, b string }{
			{"Content-Length: 6", "abc", "def"},
			{"Transfer-Encoding: chunked", "3\r\nabc\r\n", "3\r\ndef\r\n0\r\n\r\n"},
		} {
			c := dial(t, s)
			c.send(request("POST / HTTP/1.1", x.header) + x.a)
			if s := take(t, "first part", got); s != "abc" {
				t.Errorf("%q", s)
			}
			c.send(x.b)
			if s := take(t, "second part", got); s != "def" {
				t.Errorf("%q", s)
			}
			c.answer("POST")
		}
	})
}

// http.MaxBytesHandler bounds a body.
func TestMaxBytes(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		s := m.start(t, options{handler: http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			var more *http.MaxBytesError
			if errors.As(err, &more) {
				w.WriteHeader(413)
			}
			fmt.Fprint(w, n)
		}), 1000)})
		for _, x := range []struct {
			n    int
			want string
		}{{999, "200 sized 999"}, {1000, "200 sized 1000"}, {1001, "413 sized [close] 1000"}, {1 << 20, "413 sized [close] 1000"}} {
			if x.n == 1001 && m.differs(exceeded) {
				x.want = "413 sized 1000"
			}
			c := dial(t, s)
			go io.WriteString(c.TCPConn, request("POST / HTTP/1.1", fmt.Sprintf("Content-Length: %d", x.n))+strings.Repeat("m", x.n))
			if a := c.answer("POST"); a.String() != x.want {
				t.Errorf("%d: %v", x.n, a)
			}
		}
	})
}

// The body may be read by one goroutine while another writes the answer.
func TestReadWhileWriting(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		const size = 3 << 20
		s := m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain")
			pr, pw := io.Pipe()
			var copied sync.WaitGroup
			copied.Go(func() { io.Copy(w, pr) })
			time.Sleep(10 * time.Millisecond) // so that the copy waits for its first byte
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(pw, n, err)
			pw.Close()
			copied.Wait()
		})
		c := dial(t, s)
		go io.WriteString(c.TCPConn, request("POST / HTTP/1.1", fmt.Sprintf("Content-Length: %d", size))+strings.Repeat("m", size))
		if a := c.answer("POST"); a.body != fmt.Sprint(size, nil) {
			t.Error(a)
		}
	})
}

// A body that is closed while somebody reads it does not hold the closer.
func TestCloseWhileReading(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			read := make(chan bool)
			go func() {
				io.Copy(io.Discard, r.Body)
				close(read)
			}()
			<-r.Context().Done()
			r.Body.Close()
			<-read
		}))
		c.send(request("POST / HTTP/1.1", "Content-Length: 5000") + "abc")
		c.quiet("body not whole")
		c.reset()
	})
}
