package conformance

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// tell answers with the target and the body.
func tell(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s", r.Method, r.URL.Path, shortened(string(body)))
	if err != nil {
		io.WriteString(w, " broken")
	}
}

// mixed is n requests of all kinds, and the answers to them.
func mixed(n int) (in string, methods, want []string) {
	for i := range n {
		path := fmt.Sprintf("/%d", i)
		switch i % 5 {
		case 0:
			in += request("GET " + path + " HTTP/1.1")
			methods, want = append(methods, "GET"), append(want, "GET "+path+" ")
		case 1:
			in += request("POST "+path+" HTTP/1.1", "Content-Length: 27") + "GET /no HTTP/1.1\r\nHost: x\r\n"
			methods, want = append(methods, "POST"), append(want, "POST "+path+" GET /no HTTP/1.1\r\nHost: x\r\n")
		case 2:
			in += request("PUT "+path+" HTTP/1.1", "Transfer-Encoding: chunked") + chunked("GET /no ", "HTTP/1.1\r\n\r\n")
			methods, want = append(methods, "PUT"), append(want, "PUT "+path+" GET /no HTTP/1.1\r\n\r\n")
		case 3:
			in += request("HEAD " + path + " HTTP/1.1")
			methods, want = append(methods, "HEAD"), append(want, "")
		case 4:
			in += request("POST "+path+" HTTP/1.1", "Content-Length: 10000") + strings.Repeat("z", 10000)
			methods, want = append(methods, "POST"), append(want, "POST "+path+" 10000*z")
		}
	}
	return in, methods, want
}

// Requests are answered in their order, however they arrive.
func TestPipeline(t *testing.T) {
	for _, x := range []struct {
		name     string
		n, piece int
	}{
		{"all at once", 500, 1 << 30},
		{"in pieces", 200, 1000},
		{"in odd pieces", 50, 37},
		{"byte by byte", 4, 1},
	} {
		t.Run(x.name, func(t *testing.T) {
			each(t, func(t *testing.T, m mode) {
				in, methods, want := mixed(x.n)
				if x.piece == 1 {
					in = in[:strings.Index(in, "HEAD")] // without the long one
					methods, want = methods[:3], want[:3]
				}
				c := dial(t, m.serve(t, tell))
				var sent sync.WaitGroup
				sent.Go(func() {
					for rest := in; rest != ""; rest = rest[min(len(rest), x.piece):] {
						if _, err := io.WriteString(c.TCPConn, rest[:min(len(rest), x.piece)]); err != nil {
							return
						}
					}
				})
				defer sent.Wait()
				for i, method := range methods {
					a := c.answer(method)
					if a.status != 200 || a.cut != nil || a.body != want[i] {
						c.Close()
						t.Fatalf("answer %d: %v; want %q", i, a, want[i])
					}
				}
			})
		})
	}
}

// A second request waits for the first one's handler, and is not lost; nor does
// it look like a client that leaves.
func TestPipelineWaits(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		got, pass := make(chan *http.Request, 2), make(chan bool)
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			got <- r
			<-pass
			io.WriteString(w, r.URL.Path)
		}))
		c.send(request("GET /1 HTTP/1.1") + request("GET /2 HTTP/1.1"))
		first := take(t, "request", got)
		c.quiet("first handler at work")
		if len(got) > 0 || first.Context().Err() != nil {
			t.Errorf("%d more, %v", len(got), first.Context().Err())
		}
		pass <- true
		if a := c.answer("GET"); a.body != "/1" {
			t.Error(a)
		}
		take(t, "second request", got)
		pass <- true
		if a := c.answer("GET"); a.body != "/2" {
			t.Error(a)
		}
	})
}

// Each answer leaves when it is complete, though the next request is not.
func TestPipelineIncomplete(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		c := dial(t, m.serve(t, tell))
		c.send(request("GET /1 HTTP/1.1") + "GET /2 HTT")
		if a := c.answer("GET"); a.body != "GET /1 " {
			t.Error(a)
		}
		c.send("P/1.1\r\nHost: x\r\n\r\nPOST /3 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na")
		if a := c.answer("GET"); a.body != "GET /2 " {
			t.Error(a)
		}
		c.send("bc" + get)
		if a := c.answer("GET"); a.body != "POST /3 abc" {
			t.Error(a)
		}
		if a := c.answer("GET"); a.body != "GET / " {
			t.Error(a)
		}
	})
}

// Empty lines before a request line are passed over (RFC 9112 section 2.2).
func TestEmptyLines(t *testing.T) {
	converse(t, []exchange{
		{name: "behind a body", in: request("POST /a HTTP/1.1", "Content-Length: 3") + "abc\r\n" + request("GET /b HTTP/1.1"), h: tell, want: "200 sized POST /a abc | 200 sized GET /b  | open"},
		{name: "two behind a body", in: request("POST /a HTTP/1.1", "Content-Length: 3") + "abc\r\n\r\n" + request("GET /b HTTP/1.1"), h: tell, want: "200 sized POST /a abc | 200 sized GET /b  | open"},
	})
}

// Many connections at once, each with requests in flight while it reads.
func TestConcurrent(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		s := m.serve(t, tell)
		var all sync.WaitGroup
		for id := range 50 {
			c := dial(t, s)
			all.Go(func() {
				for i := range 40 {
					io.WriteString(c.TCPConn, request(fmt.Sprintf("GET /%d/%d HTTP/1.1", id, i)))
				}
			})
			all.Go(func() {
				for i := range 40 {
					a, err := c.read("GET")
					if want := fmt.Sprintf("GET /%d/%d ", id, i); err != nil || a.body != want {
						t.Errorf("%v, %v; want %q", a, err, want)
						return
					}
				}
			})
		}
		all.Wait()
	})
}
