package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// httpRequest is a request that goes out as it is: the target is not cleaned,
// escaped or completed by anybody.
type httpRequest struct {
	method, target, host string
	fields               []string // "Name: value"
	body                 string
	chunked              bool
	old                  bool // HTTP/1.0
}

// httpAnswer is the answer to it. Err says that its body ended in a way that
// lets the client tell that it is not whole.
type httpAnswer struct {
	*http.Response
	body string
	err  error
	took time.Duration
}

const requestWait = 30 * time.Second

func (r httpRequest) bytes() []byte {
	var b bytes.Buffer
	version := "1.1"
	if r.old {
		version = "1.0"
	}
	fmt.Fprintf(&b, "%s %s HTTP/%s\r\n", r.method, r.target, version)
	if r.host != "" {
		fmt.Fprintf(&b, "Host: %s\r\n", r.host)
	}
	b.WriteString("Connection: close\r\n")
	for _, f := range r.fields {
		b.WriteString(f + "\r\n")
	}
	switch {
	case r.chunked:
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		for rest := r.body; rest != ""; {
			n := min(len(rest), 7000)
			fmt.Fprintf(&b, "%x\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		b.WriteString("0\r\n\r\n")
	case r.body != "":
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(r.body), r.body)
	default:
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// send sends the request on a connection of its own and reads the answer.
func (r httpRequest) send(network, addr string) (*httpAnswer, error) {
	if r.method == "" {
		r.method = "GET"
	}
	if r.host == "" && network == "tcp" {
		r.host = addr
	}
	if r.host == "" {
		r.host = "localhost"
	}
	begin := time.Now()
	c, err := net.DialTimeout(network, addr, requestWait)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	c.SetDeadline(begin.Add(requestWait))
	go c.Write(r.bytes()) // ends with the connection
	in := bufio.NewReader(c)
	var res *http.Response
	for {
		if res, err = http.ReadResponse(in, &http.Request{Method: r.method}); err != nil {
			return nil, err
		}
		if res.StatusCode/100 != 1 {
			break
		}
	}
	a := &httpAnswer{Response: res}
	body, err := io.ReadAll(res.Body)
	a.body, a.err, a.took = string(body), err, time.Since(begin)
	return a, nil
}

// do sends a request to the server and expects a whole answer.
func (s *site) do(r httpRequest) *httpAnswer {
	s.t.Helper()
	a, err := r.send("tcp", s.addr)
	if err != nil {
		s.t.Fatalf("%s %s: %v", r.method, r.target, err)
	}
	if a.err != nil {
		s.t.Fatalf("%s %s: %s, then %v", r.method, r.target, a.Status, a.err)
	}
	return a
}

// get expects an answer with the status.
func (s *site) get(status int, target string, fields ...string) *httpAnswer {
	s.t.Helper()
	a := s.do(httpRequest{target: target, fields: fields})
	a.want(s.t, status)
	return a
}

// post expects an answer with the status, too.
func (s *site) post(status int, target, body string, fields ...string) *httpAnswer {
	s.t.Helper()
	a := s.do(httpRequest{method: "POST", target: target, body: body, fields: fields})
	a.want(s.t, status)
	return a
}

func (a *httpAnswer) want(t testing.TB, status int) {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("status is %s, want %d:\n%s", a.Status, status, a.body)
	}
}

// has expects parts of the body.
func (a *httpAnswer) has(t testing.TB, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(a.body, p) {
			t.Fatalf("the body lacks %q:\n%.4000s", p, a.body)
		}
	}
}
