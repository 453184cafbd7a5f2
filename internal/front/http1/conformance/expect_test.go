package conformance

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// readIf reads the body where the path says so, and answers.
func readIf(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/read" {
		b, _ := io.ReadAll(r.Body)
		w.Write(b)
		return
	}
	w.WriteHeader(401)
}

// 100 Continue (RFC 9110 section 10.1.1).
func TestExpect(t *testing.T) {
	in := func(target, expect string, more ...string) string {
		return request("POST "+target+" HTTP/1.1", append(more, "Expect: "+expect)...)
	}
	const continued = "100-continue"
	converse(t, []exchange{
		{name: "read", in: in("/read", continued, "Content-Length: 3") + "abc", h: readIf, want: "100 | 200 sized abc | open"},
		{name: "in odd letters", in: in("/read", "100-cOntInUE", "Content-Length: 3") + "abc", h: readIf, want: "100 | 200 sized abc | open"},
		{name: "chunked", in: in("/read", continued, "Transfer-Encoding: chunked") + chunked("abc"), h: readIf, want: "100 | 200 sized abc | open"},
		{name: "no body", in: in("/read", continued), h: readIf, want: "200 sized | open"},
		{name: "a body of length 0", in: in("/read", continued, "Content-Length: 0"), h: readIf, want: "200 sized | open"},
		{name: "not expected", in: request("POST /read HTTP/1.1", "Content-Length: 3") + "abc", h: readIf, want: "200 sized abc | open"},
		{name: "in 1.0 there is no 100", in: request("POST /read HTTP/1.0", "Content-Length: 3", "Expect: 100-continue") + "abc", h: readIf, want: "200 sized abc | closed"},
		{name: "not read", in: in("/", continued, "Content-Length: 3"), h: readIf, want: "401 sized [close] | whatever", by: unwantedBody, ours: "401 sized [close] | closed"},
		{name: "not read, chunked", in: in("/", continued, "Transfer-Encoding: chunked"), h: readIf, want: "401 sized [close] | whatever", by: unwantedBody, ours: "401 sized [close] | closed"},
		{name: "not read, the client says close", in: in("/", continued, "Content-Length: 3", "Connection: close"), h: readIf, want: "401 sized [close] | whatever", by: unwantedBody, ours: "401 sized [close] | closed"},
		{name: "not read, no body", in: in("/", continued), h: readIf, want: "401 sized | open"},
		{name: "read, then another not read", in: in("/read", continued, "Content-Length: 3") + "abc" + in("/", continued, "Content-Length: 3"), h: readIf, want: "100 | 200 sized abc | 401 sized [close] | whatever", by: unwantedBody, ours: "100 | 200 sized abc | 401 sized [close] | closed"},
		{name: "the answer is under way before the body is read", in: in("/read", continued, "Content-Length: 3") + "abc", h: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			http.NewResponseController(w).Flush()
			readIf(w, r)
		}, want: "200 chunked [close] abc | closed"},
		{name: "anything else", in: in("/", "a-pony"), h: readIf, want: "417 sized [close] | closed", by: refusalText, ours: "417 sized [close] 417 Expectation Failed\n | closed"},
		{name: "the field is shown", in: in("/", continued, "Content-Length: 3") + "abc", h: func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			io.WriteString(w, r.Header.Get("Expect"))
		}, want: "100 | 200 sized 100-continue | open"},
		{name: "the handler says 100 itself", in: in("/read", continued, "Content-Length: 3") + "abc", h: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(100)
			readIf(w, r)
		}, want: "100 | 200 sized abc | open"},
	})
}

// 100 is sent when the handler first reads, and not before.
func TestExpectWaits(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		in, pass := make(chan bool, 1), make(chan bool)
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			in <- true
			<-pass
			readIf(w, r)
		}))
		c.send(request("POST /read HTTP/1.1", "Content-Length: 3", "Expect: 100-continue"))
		take(t, "request", in)
		c.quiet("body not asked for")
		pass <- true
		if a := c.answer("POST"); a.status != 100 || len(a.header) != 0 {
			t.Errorf("%v %v", a, a.header)
		}
		c.send("abc")
		if a := c.answer("POST"); a.String() != "200 sized abc" {
			t.Error(a)
		}
		if s := c.probe(); s != "open" {
			t.Error(s)
		}
	})
}

// A client that does not wait for 100, but sends a large body at once, is not
// out of step either.
func TestExpectImpatient(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		c := dial(t, m.serve(t, readIf))
		body := strings.Repeat("b", 100<<10)
		c.send(request("POST /read HTTP/1.1", "Content-Length: 102400", "Expect: 100-continue") + body)
		if a := c.answer("POST"); a.status != 100 {
			t.Error(a)
		}
		if a := c.answer("POST"); a.body != body {
			t.Error(a)
		}
		if s := c.probe(); s != "open" {
			t.Error(s)
		}
	})
}
