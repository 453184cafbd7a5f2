package conformance

import (
	"net/http"
	"testing"
)

// When a connection is kept (RFC 9112 section 9.3).
func TestKeepalive(t *testing.T) {
	hello := says("hello")
	in := func(version string, headers ...string) string { return request("GET / HTTP/"+version, headers...) }
	converse(t, []exchange{
		{name: "1.1", in: in("1.1"), h: hello, want: "200 sized hello | open"},
		{name: "1.1 close", in: in("1.1", "Connection: close"), h: hello, want: "200 sized [close] hello | closed"},
		{name: "1.1 Close", in: in("1.1", "Connection: Close"), h: hello, want: "200 sized [close] hello | closed"},
		{name: "1.1 close among others", in: in("1.1", "Connection: foo, close"), h: hello, want: "200 sized [close] hello | closed"},
		{name: "1.1 close in a second line", in: in("1.1", "Connection: foo", "Connection: close"), h: hello, want: "200 sized [close] hello | closed"},
		{name: "1.1 a word with close in it", in: in("1.1", "Connection: disclose"), h: hello, want: "200 sized hello | open"},
		{name: "1.1 keep-alive", in: in("1.1", "Connection: keep-alive"), h: hello, want: "200 sized hello | open"},
		{name: "1.1 close with more behind", in: in("1.1", "Connection: close") + get, h: hello, want: "200 sized [close] hello | closed"},
		{name: "1.1 close, large", in: in("1.1", "Connection: close"), h: says(big), want: "200 chunked [close] 1048576*x | closed"},
		{name: "1.0", in: in("1.0"), h: hello, want: "200 sized hello | closed", has: []string{"!Connection"}},
		{name: "1.0 with Host", in: in("1.0", "Host: x"), h: hello, want: "200 sized hello | closed"},
		{name: "1.0 keep-alive", in: in("1.0", "Connection: keep-alive"), h: hello, want: "200 sized [keep-alive] hello | open"},
		{name: "1.0 Keep-Alive", in: in("1.0", "Connection: Keep-Alive"), h: hello, want: "200 sized [keep-alive] hello | open"},
		{name: "1.0 keep-alive, twice", in: in("1.0", "Connection: keep-alive") + in("1.0"), h: hello, want: "200 sized [keep-alive] hello | 200 sized hello | closed"},
		{name: "1.0 keep-alive, the end unknown", in: in("1.0", "Connection: keep-alive"), h: says(big), want: "200 until-close 1048576*x | closed", by: closeSaid, ours: "200 until-close [close] 1048576*x | closed"},
		{name: "1.0 keep-alive and close", in: in("1.0", "Connection: keep-alive, close"), h: hello, want: "200 sized [keep-alive] hello | open", by: closeWins, ours: "200 sized hello | closed"},
		{name: "1.0 OPTIONS *", in: request("OPTIONS * HTTP/1.0"), h: hello, want: "200 sized | closed", has: []string{"!Connection"}},
		{name: "the handler closes", in: in("1.1"), h: with(hello, "Connection", "close"), want: "200 sized [close] hello | closed"},
		{name: "the handler closes, with more behind", in: get + get, h: with(hello, "Connection", "close"), want: "200 sized [close] hello | closed"},
		{name: "the handler closes 1.0 keep-alive", in: in("1.0", "Connection: keep-alive"), h: with(hello, "Connection", "close"), want: "200 sized [close] hello | closed"},
		{name: "the handler closes without a body", in: in("1.1"), h: with(status(204, nothing), "Connection", "close"), want: "204 bodyless [close] | closed"},
	})
}

// A server without keep-alive says so.
func TestKeepaliveOff(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		s := m.start(t, options{handler: says("hello"), idle: -1})
		for _, in := range []string{get, request("GET / HTTP/1.1", "Connection: keep-alive")} {
			c := dial(t, s)
			c.send(in)
			if a := c.answer("GET"); a.String() != "200 sized [close] hello" {
				t.Error(a)
			}
			c.ended()
		}
	})
}

// The address of a kept connection stays what it was.
func TestKeptAddress(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(r.RemoteAddr)) }))
		for range 3 {
			if a := c.get("/"); a.body != c.LocalAddr().String() {
				t.Errorf("%q; want %q", a.body, c.LocalAddr())
			}
		}
	})
}
