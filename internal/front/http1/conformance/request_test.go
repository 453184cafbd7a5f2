package conformance

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// target answers with what became of the request's target.
func target(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "%s %s url=%s host=%s", r.Method, r.RequestURI, r.URL, r.Host)
}

// The forms of a target (RFC 9112 section 3.2).
func TestTarget(t *testing.T) {
	x := func(line, want string) exchange {
		return exchange{name: line, in: request(line + " HTTP/1.1"), h: target, want: "200 sized " + want + " | open"}
	}
	converse(t, []exchange{
		x("GET /", "GET / url=/ host=x"),
		x("GET /a?b=c", "GET /a?b=c url=/a?b=c host=x"),
		x("GET /a%20b?c;d", "GET /a%20b?c;d url=/a%20b?c;d host=x"),
		x("GET //a//b", "GET //a//b url=//a//b host=x"),
		x("GET /a?", "GET /a? url=/a? host=x"),
		x("GET http://y/", "GET http://y/ url=http://y/ host=y"),
		x("GET http://y:8/a?b", "GET http://y:8/a?b url=http://y:8/a?b host=y:8"),
		x("GET http://y", "GET http://y url=http://y host=y"),
		x("get /", "get / url=/ host=x"),
		x("ODD-1 /", "ODD-1 / url=/ host=x"),
		{name: "OPTIONS *", in: request("OPTIONS * HTTP/1.1"), h: target, want: "200 sized | open"},
		{name: "OPTIONS of a host, without a path", in: request("OPTIONS http://y HTTP/1.1"), h: target,
			want: "200 sized OPTIONS http://y url=http://y host=y | open", by: bareAbsolute, ours: "200 sized | open"},
		{name: "OPTIONS /", in: request("OPTIONS / HTTP/1.1"), h: target, want: "200 sized OPTIONS / url=/ host=x | open"},
		{name: "no Host in 1.0", in: get10, h: target, want: "200 sized GET / url=/ host= | closed"},
		{name: "LF alone", in: "GET /a HTTP/1.1\nHost: y\n\n", h: target, want: "200 sized GET /a url=/a host=y | open"},
	})
}

// A request's fields reach the handler: by canonical names, values without the
// blanks around them, repeated ones in their order, Host apart.
func TestRequestFields(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%q host=%q %s %d.%d", r.Header, r.Host, r.Proto, r.ProtoMajor, r.ProtoMinor)
			fmt.Fprintf(w, " length=%d %q close=%v tls=%v %s", r.ContentLength, r.TransferEncoding, r.Close, r.TLS != nil, r.RemoteAddr)
		}))
		for _, x := range []struct{ in, want string }{
			{
				request("POST /a HTTP/1.1", "HOST: y:1", "x-one:  a\tb \t", "X-TWO: 1", "x-two:2", "X-Empty:", "Content-Length: 0", "Cookie: c", "X-High: \xff"),
				`map["Content-Length":["0"] "Cookie":["c"] "X-Empty":[""] "X-High":["\xff"] "X-One":["a\tb"] "X-Two":["1" "2"]] host="y:1" HTTP/1.1 1.1 length=0 [] close=false tls=false `,
			},
			{
				request("POST /a HTTP/1.0", "Transfer: x", "Pragma: no-cache"),
				`map["Cache-Control":["no-cache"] "Pragma":["no-cache"] "Transfer":["x"]] host="" HTTP/1.0 1.0 length=0 [] close=true tls=false `,
			},
		} {
			c.send(x.in)
			if a := c.answer("POST"); a.body != x.want+c.LocalAddr().String() {
				t.Errorf("got  %s\nwant %s", a.body, x.want)
			}
		}
	})
}

// What a request says of its body.
func TestRequestLength(t *testing.T) {
	lengths := func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprintf(w, "%d %q %d %v %v", r.ContentLength, r.TransferEncoding, n, err, r.Body == http.NoBody)
	}
	converse(t, []exchange{
		{name: "none", in: get, h: lengths, want: "200 sized 0 [] 0 <nil> true | open"},
		{name: "0", in: request("POST / HTTP/1.1", "Content-Length: 0"), h: lengths, want: "200 sized 0 [] 0 <nil> true | open"},
		{name: "POST without", in: request("POST / HTTP/1.1"), h: lengths, want: "200 sized 0 [] 0 <nil> true | open"},
		{name: "3", in: request("POST / HTTP/1.1", "Content-Length: 3") + "abc", h: lengths, want: "200 sized 3 [] 3 <nil> false | open"},
		{name: "3 on GET", in: request("GET / HTTP/1.1", "Content-Length: 3") + "abc", h: lengths, want: "200 sized 3 [] 3 <nil> false | open"},
		{name: "leading zeros", in: request("POST / HTTP/1.1", "Content-Length: 0003") + "abc", h: lengths, want: "200 sized 3 [] 3 <nil> false | open"},
		{name: "chunked", in: request("POST / HTTP/1.1", "Transfer-Encoding: chunked") + chunked("abc", "de"), h: lengths, want: "200 sized -1 [\"chunked\"] 5 <nil> false | open"},
		{name: "Chunked", in: request("POST / HTTP/1.1", "transfer-encoding: Chunked") + chunked("abc", "de"), h: lengths, want: "200 sized -1 [\"chunked\"] 5 <nil> false | open"},
		{name: "3 in 1.0", in: request("POST / HTTP/1.0", "Content-Length: 3") + "abc", h: lengths, want: "200 sized 3 [] 3 <nil> false | closed"},
		{name: "none in 1.0", in: request("POST / HTTP/1.0") + "abc", h: lengths, want: "200 sized 0 [] 0 <nil> true | closed"},
	})
}

// The context knows the local address, and the server where there is one.
func TestContextValues(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			a, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
			_, known := r.Context().Value(http.ServerContextKey).(*http.Server)
			fmt.Fprint(w, a.Network(), " ", a, " ", known)
		}))
		want := fmt.Sprint("tcp ", c.RemoteAddr(), " ", !m.differs(serverKey))
		if a := c.get("/"); a.body != want {
			t.Errorf("%v; want %q", a, want)
		}
	})
}

// refusals are requests that are refused, here or there.
var refusals = []struct {
	name, in string
	want     int
	ours     int // where it differs
	by       difference
}{
	{"two Hosts", request("GET / HTTP/1.1", "Host: x", "Host: x"), 400, 0, ""},
	{"no Host", "GET / HTTP/1.1\r\n\r\n", 400, 0, ""},
	{"two Hosts in 1.0", request("GET / HTTP/1.0", "Host: x", "Host: x"), 400, 0, ""},
	{"a control byte in Host", request("GET / HTTP/1.1", "Host: \x06"), 400, 0, ""},
	{"a high byte in Host", request("GET / HTTP/1.1", "Host: \xff"), 400, 0, ""},
	{"a brace in Host", request("GET / HTTP/1.1", "Host: {"), 400, 0, ""},
	{"a high byte in Host in 1.0", request("GET / HTTP/1.0", "Host: \xff"), 400, 0, ""},
	{"0.9", "GET /\r\n\r\n", 400, 0, ""},
	{"a version of 0.9", request("GET / HTTP/0.9"), 505, 0, ""},
	{"a version of 2.0", request("GET / HTTP/2.0"), 505, 0, ""},
	{"a version of 3.0", request("GET / HTTP/3.0"), 505, 0, ""},
	{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 200, 505, otherVersion},
	{"no version", request("GET / HTTQ/1.1"), 400, 0, ""},
	{"a version of one digit", request("GET / HTTP/1"), 400, 0, ""},
	{"an odd method", request("GE(T / HTTP/1.1", "Host: x"), 400, 0, ""},
	{"no method", request(" / HTTP/1.1", "Host: x"), 400, 0, ""},
	{"no target", request("GET HTTP/1.1", "Host: x"), 400, 0, ""},
	{"a relative target", request("GET a HTTP/1.1"), 400, 0, ""},
	{"a bad escape", request("GET /%zz HTTP/1.1"), 400, 0, ""},
	{"a control byte in the target", request("GET /\x01 HTTP/1.1"), 400, 0, ""},
	{"NUL in the target", request("GET /\x00 HTTP/1.1"), 400, 0, ""},
	{"a blank before a colon", request("GET / HTTP/1.1", "Foo : bar"), 400, 0, ""},
	{"a tab before a colon", request("GET / HTTP/1.1", "Foo\t: bar"), 400, 0, ""},
	{"a blank in a name", request("GET / HTTP/1.1", "A b: c"), 400, 0, ""},
	{"an empty name", request("GET / HTTP/1.1", ": c"), 400, 0, ""},
	{"a line without a colon", request("GET / HTTP/1.1", "abc"), 400, 0, ""},
	{"a high byte in a name", request("GET / HTTP/1.1", "a\xffb: c"), 400, 0, ""},
	{"NUL in a name", request("GET / HTTP/1.1", "a\x00b: c"), 400, 0, ""},
	{"NUL in a value", request("GET / HTTP/1.1", "a: b\x00c"), 400, 0, ""},
	{"DEL in a value", request("GET / HTTP/1.1", "a: b\x7fc"), 400, 0, ""},
	{"CR in a value", request("GET / HTTP/1.1", "a: b\rc"), 400, 0, ""},
	{"CR twice at a line's end", "GET / HTTP/1.1\r\r\nHost: x\r\n\r\n", 400, 0, ""},
	{"a first line folded", "GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400, 0, ""},
	{"a folded line", request("GET / HTTP/1.1", "a: b", " c"), 200, 400, folding},
	{"a length of letters", request("POST / HTTP/1.1", "Content-Length: abc"), 400, 0, ""},
	{"a length with a sign", request("POST / HTTP/1.1", "Content-Length: +3") + "abc", 400, 0, ""},
	{"a length below 0", request("POST / HTTP/1.1", "Content-Length: -3") + "abc", 400, 0, ""},
	{"a length in hex", request("POST / HTTP/1.1", "Content-Length: 0x3") + "abc", 400, 0, ""},
	{"an empty length", request("POST / HTTP/1.1", "Content-Length:"), 400, 0, ""},
	{"a length past all numbers", request("POST / HTTP/1.1", "Content-Length: 99999999999999999999"), 400, 0, ""},
	{"a list of lengths", request("POST / HTTP/1.1", "Content-Length: 3, 3") + "abc", 400, 0, ""},
	{"two lengths", request("POST / HTTP/1.1", "Content-Length: 3", "Content-Length: 4") + "abc", 400, 0, ""},
	{"a length twice", request("POST / HTTP/1.1", "Content-Length: 3", "Content-Length: 3") + "abc", 200, 400, repeatedLength},
	{"a length and a coding", request("POST / HTTP/1.1", "Content-Length: 3", "Transfer-Encoding: chunked") + chunked("abc"), 200, 400, lengthAndCoding},
	{"a bad length and a coding", request("POST / HTTP/1.1", "Content-Length: abc", "Transfer-Encoding: chunked") + chunked(), 400, 0, ""},
	{"a coding in 1.0", request("POST / HTTP/1.0", "Transfer-Encoding: chunked") + chunked("abc"), 200, 400, codingIn10},
	{"an unknown coding", request("POST / HTTP/1.1", "Transfer-Encoding: fugazi"), 501, 0, ""},
	{"gzip, chunked", request("POST / HTTP/1.1", "Transfer-Encoding: gzip, chunked"), 501, 0, ""},
	{"a coding in quotes", request("POST / HTTP/1.1", "Transfer-Encoding: \" chunked\""), 501, 400, badCoding},
	{"an unknown expectation", request("POST / HTTP/1.1", "Expect: a-pony", "Content-Length: 0"), 417, 0, ""},
	{"a field too long", request("GET / HTTP/1.1", "a: "+strings.Repeat(long, 8)), 431, 0, ""},
	{"too many fields", request("GET / HTTP/1.1", strings.Repeat("abcdef: ghijkl\r\n", 10000)+"z: z"), 431, 0, ""},
	{"CONNECT without Host", "CONNECT example.org:443 HTTP/1.1\r\n\r\n", 200, 400, connectHost},
	{"* for GET", request("GET * HTTP/1.1"), 200, 400, starForm},
	{"port that is no number", "GET / HTTP/1.1\r\nHost: x:80x\r\n\r\n", 200, 400, hostPort},
	{"a line too long", request("GET /" + strings.Repeat(long, 8) + " HTTP/1.1"), 431, 414, longLine},
	{"a line too long for us", request("GET /" + long + " HTTP/1.1"), 200, 414, longLine},
}

var long = strings.Repeat("a", 20<<10)

// Bad requests get one answer and then the end; the handler never sees them.
func TestRefused(t *testing.T) {
	for _, x := range refusals {
		t.Run(x.name, func(t *testing.T) {
			each(t, func(t *testing.T, m mode) {
				want := x.want
				if x.by != "" && m.differs(x.by) {
					want = x.ours
				}
				s := m.serve(t, func(w http.ResponseWriter, r *http.Request) {
					if want >= 400 {
						t.Errorf("the handler got it: %s %.60s", r.Method, r.URL)
					}
				})
				c := dial(t, s)
				// The rest must not be taken for a request.
				c.send(x.in + request("GET /smuggled HTTP/1.1"))
				if a := c.answer("GET"); a.status != want || want >= 400 && a.header.Get("Connection") != "close" {
					t.Errorf("%v; want %d", a, want)
				}
				if want >= 400 {
					c.ended()
				}
			})
		})
	}
}

// Hosts that are fine, odd as some are.
func TestHosts(t *testing.T) {
	for _, host := range []string{"", "1.2.3.4", "foo.com", "foo-bar_baz.com", "foo.com:80", "::1", "[::1]", "[::1]:80", "[::1%25en0]:80"} {
		t.Run(host, func(t *testing.T) {
			each(t, func(t *testing.T, m mode) {
				c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) }))
				c.send(request("GET / HTTP/1.1", "Host: "+host))
				if a := c.answer("GET"); a.status != 200 || a.body != host {
					t.Errorf("%v; want %q", a, host)
				}
			})
		})
	}
}

// CONNECT's target is an authority.
func TestConnect(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Target", r.RequestURI+" "+r.URL.Host+" "+r.Host)
			w.WriteHeader(405)
		}))
		c.send(request("CONNECT example.org:443 HTTP/1.1", "Host: example.org:443"))
		if a := c.answer("CONNECT"); a.status != 405 || a.header.Get("X-Target") != "example.org:443 example.org:443 example.org:443" {
			t.Errorf("%v %v", a, a.header)
		}
	})
}

// A client that leaves within a head is told so at most; one that leaves before
// it has nothing to hear.
func TestLeaveInHead(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		s := m.serve(t, func(w http.ResponseWriter, r *http.Request) { t.Errorf("a request: %v", r) })
		for _, in := range []string{"", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\n"} {
			c := dial(t, s)
			c.send(in)
			c.CloseWrite()
			if a, err := c.read("GET"); err == nil && (in == "" || a.status != 400) {
				t.Errorf("after %q: %v", in, a)
			}
			c.ended()
		}
	})
}
