package gofastbridge_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/yookoala/gofast"

	bridge "sluice/fcgi/gofastbridge"
)

// TestDisconnectDuringUpload: the application does not take a part of a body
// for the whole.
func TestDisconnectDuringUpload(t *testing.T) {
	for _, e := range engines {
		for _, sent := range []int{10, 300 << 10} {
			t.Run(fmt.Sprintf("%s/%d", e.name, sent), func(t *testing.T) {
				var whole, over atomic.Bool
				a := serve(t, func(c *call) {
					c.input()
					whole.Store(c.whole)
					over.Store(true)
				})
				p := newPool(t, a.addr)
				tr := a.transport()
				tr.Dial, tr.KeepConn = p.dial, true
				s := listen(t, e.handler(tr, basic...))
				nc, err := net.Dial("tcp", s.Listener.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(nc, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n%s", strings.Repeat("x", sent))
				time.Sleep(30 * time.Millisecond)
				nc.Close()
				p.quiet(t)
				if len(p.idle) > 0 {
					t.Error("the connection was kept")
				}
				if e.name == "gofast on ours" || sent > 32<<10 { // ours connects, but sends nothing of the small one
					eventually(t, "the application sees the end", over.Load)
				}
				if whole.Load() {
					t.Error("the application takes a part of the body for the whole")
				}
			})
		}
	}
}

// TestAnswerBeforeUpload: an application that does not want the body is not
// waited for, and the client gets its whole answer.
func TestAnswerBeforeUpload(t *testing.T) {
	body := strings.Repeat("answer ", 100000)
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			a := serve(t, func(c *call) {
				c.out("Status: 403\r\nContent-Type: a/b\r\n\r\n" + body)
				c.end(0)
				c.input()
			})
			p := newPool(t, a.addr)
			tr := a.transport()
			tr.Dial = p.dial
			s := listen(t, e.handler(tr, basic...))
			nc, err := net.Dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			nc.SetDeadline(time.Now().Add(5 * time.Second))
			fmt.Fprintf(nc, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n%s", strings.Repeat("x", 100<<10))
			resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(resp.Body)
			if resp.StatusCode != 403 || string(b) != body || err != nil {
				t.Errorf("status %d, %d bytes, %v", resp.StatusCode, len(b), err)
			}
			p.quiet(t)
		})
	}
}

// TestContentLength: CONTENT_LENGTH is true, or unset.
func TestContentLength(t *testing.T) {
	upper := func(inner gofast.SessionHandler) gofast.SessionHandler {
		return func(c gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
			b, _ := io.ReadAll(req.Stdin)
			req.Stdin = io.NopCloser(strings.NewReader(strings.ToUpper(string(b)) + "!"))
			return inner(c, req)
		}
	}
	large := strings.Repeat("0123456789", 30000)
	tests := []struct {
		name   string
		method string
		body   io.Reader // a plain io.Reader is sent chunked
		chain  []gofast.Middleware
		want   string
		length string
	}{
		{"GET", "GET", nil, nil, "", "unset"},
		{"empty POST", "POST", strings.NewReader(""), nil, "", "0"},
		{"POST", "POST", strings.NewReader("hello"), nil, "hello", "5"},
		{"chunked", "POST", io.MultiReader(strings.NewReader("hel"), strings.NewReader("lo")), nil, "hello", "5"},
		{"chunked beyond the memory", "POST", io.MultiReader(strings.NewReader(large)), nil, large, "300000"},
		{"replaced by a middleware", "POST", strings.NewReader("hello"), []gofast.Middleware{upper}, "HELLO!", "6"},
	}
	for _, e := range engines {
		for _, tt := range tests {
			t.Run(e.name+"/"+tt.name, func(t *testing.T) {
				a := serve(t, func(c *call) {
					n, ok := c.params["CONTENT_LENGTH"]
					if !ok {
						n = "unset"
					}
					body := c.input()
					c.out("Content-Type: a/b\r\n\r\n" + n + " " + body)
					c.end(0)
				})
				s := listen(t, e.handler(a.transport(), append(basic, tt.chain...)...))
				if tt.body != nil {
					if r, ok := tt.body.(io.Seeker); ok {
						r.Seek(0, 0)
					} else {
						tt.body = io.MultiReader(strings.NewReader(tt.want[:1]), strings.NewReader(tt.want[1:]))
					}
				}
				req, _ := http.NewRequest(tt.method, s.URL, tt.body)
				if got := do(t, req); got.body != tt.length+" "+tt.want {
					t.Errorf("got %.80q, want %.80q; %d %v", got.body, tt.length+" "+tt.want, got.status, got.err)
				}
			})
		}
	}
}

func TestBodyTooLong(t *testing.T) {
	a := serve(t, answer("Content-Type: a/b\r\n\r\nbody"))
	tr := a.transport()
	tr.BodyBytes = 100
	s := listen(t, bridge.Handler(tr))
	req, _ := http.NewRequest("POST", s.URL, io.MultiReader(strings.NewReader(strings.Repeat("x", 101))))
	if got := do(t, req); got.status != 413 {
		t.Errorf("status %d, %v", got.status, got.err)
	}
	if a.conns.Load() > 0 {
		t.Error("the application was asked")
	}
}

// TestCloseDuringUpload runs each client in a process of its own, since a crash
// is what it is about. gofast's own client is there to prove that the test
// would see one.
func TestCloseDuringUpload(t *testing.T) {
	a := serve(t, func(c *call) { c.input() })
	for _, tt := range []struct {
		client string
		crash  bool
	}{
		{"Client", false},
		{"Link", false},
		{"gofast", true},
	} {
		t.Run(tt.client, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], "-test.run=^TestCloseDuringUploadProcess$")
			cmd.Env = append(os.Environ(), "BRIDGE_CLIENT="+tt.client, "BRIDGE_APP="+a.addr)
			out, err := cmd.CombinedOutput()
			if (err != nil) != tt.crash {
				t.Errorf("%v\n%s", err, out)
			}
			if tt.crash && !strings.Contains(string(out), "nil pointer dereference") {
				t.Errorf("the crash is another one:\n%s", out)
			}
		})
	}
}

func TestCloseDuringUploadProcess(t *testing.T) {
	kind, addr := os.Getenv("BRIDGE_CLIENT"), os.Getenv("BRIDGE_APP")
	if kind == "" {
		t.SkipNow() // it is the other test's process
	}
	tr := &bridge.Transport{Dial: bridge.DialTo("unix", addr)}
	var c gofast.Client
	var err error
	switch kind {
	case "Client":
		c = bridge.NewClient(httptest.NewRecorder(), tr)
	case "Link":
		c, err = bridge.ClientFactory(tr)()
	case "gofast":
		c, err = gofast.SimpleClientFactory(gofast.SimpleConnFactory("unix", addr))()
	}
	if err != nil {
		t.Fatal(err)
	}
	pr, pw := io.Pipe()
	req := gofast.NewRequest(httptest.NewRequest("POST", "/", pr))
	req.Stdin = pr
	over := make(chan struct{})
	go func() {
		defer close(over)
		if pipe, err := c.Do(req); err == nil {
			pipe.WriteTo(httptest.NewRecorder(), io.Discard)
		}
	}()
	pw.Write(make([]byte, 200<<10))
	c.Close()
	c.Close()
	pw.Write(make([]byte, 200<<10))
	pw.CloseWithError(io.ErrClosedPipe)
	<-over
	time.Sleep(100 * time.Millisecond) // gofast's goroutines
}
