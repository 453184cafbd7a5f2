package cgi_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/cgi"
)

// fields makes a header of names and values in turn.
func fields(kv ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(kv); i += 2 {
		h[kv[i]] = append(h[kv[i]], kv[i+1])
	}
	return h
}

// TestParseHeaderAccepts: what a good block becomes.
func TestParseHeaderAccepts(t *testing.T) {
	long := strings.Repeat("v", 20000)
	for _, c := range []struct {
		name, block string
		want        cgi.Header // ContentLength 0 is none here, -1 is 0
	}{
		{"one field", "Content-Type: text/plain\n\n", cgi.Header{Fields: fields("Content-Type", "text/plain")}},
		{"CRLF", "A: 1\r\nB: 2\r\n\r\n", cgi.Header{Fields: fields("A", "1", "B", "2")}},
		{"LF and CRLF mixed", "A: 1\r\nB: 2\nC: 3\r\n\n", cgi.Header{Fields: fields("A", "1", "B", "2", "C", "3")}},
		{"end in CRLF after LF", "A: 1\n\r\n", cgi.Header{Fields: fields("A", "1")}},
		{"no blank behind the colon", "A:1\n\n", cgi.Header{Fields: fields("A", "1")}},
		{"blanks and tabs around the value", "A: \t 1 \t \n\n", cgi.Header{Fields: fields("A", "1")}},
		{"tab within the value", "A: 1\t2\n\n", cgi.Header{Fields: fields("A", "1\t2")}},
		{"colons within the value", "A: b:c::d\n\n", cgi.Header{Fields: fields("A", "b:c::d")}},
		{"bytes above 127 in the value", "A: \xc3\xa4\xff\n\n", cgi.Header{Fields: fields("A", "\xc3\xa4\xff")}},
		{"name of every kind of token byte", "x!#$%&'*+-.^_`|~09: 1\n\n", cgi.Header{Fields: fields("X!#$%&'*+-.^_`|~09", "1")}},
		{"name in lower case", "content-type: a/b\n\n", cgi.Header{Fields: fields("Content-Type", "a/b")}},
		{"repeated field", "Set-Cookie: a\nSet-Cookie: b\nset-cookie: c\n\n", cgi.Header{Fields: fields("Set-Cookie", "a", "Set-Cookie", "b", "Set-Cookie", "c")}},
		{"more fields than room was made for", "A:1\nB:2\nC:3\nD:4\nE:5\nF:6\nG:7\nH:8\nI:9\nJ:10\nA:11\n\n",
			cgi.Header{Fields: fields("A", "1", "A", "11", "B", "2", "C", "3", "D", "4", "E", "5", "F", "6", "G", "7", "H", "8", "I", "9", "J", "10")}},
		{"empty value of a field of no meaning here", "X-A:\n\n", cgi.Header{Fields: fields("X-A", "")}},
		{"value longer than 1024", "A: " + long + "\n\n", cgi.Header{Fields: fields("A", long)}},
		{"name longer than 1024", "A" + strings.Repeat("a", 2000) + ": 1\n\n", cgi.Header{Fields: fields("A"+strings.Repeat("a", 2000), "1")}},
		{"what follows the empty line", "A: 1\n\nB: 2\n", cgi.Header{Fields: fields("A", "1")}},

		{"Status", "Status: 404 Not Found\n\n", cgi.Header{Status: 404, Fields: fields()}},
		{"Status without a reason", "Status: 404\n\n", cgi.Header{Status: 404, Fields: fields()}},
		{"Status with blanks behind", "Status: 404  \n\n", cgi.Header{Status: 404, Fields: fields()}},
		{"Status with a tab and a reason", "Status: 404\tNo\n\n", cgi.Header{Status: 404, Fields: fields()}},
		{"status in lower case", "status: 404\n\n", cgi.Header{Status: 404, Fields: fields()}},
		{"STATUS in upper case", "STATUS: 404\n\n", cgi.Header{Status: 404, Fields: fields()}},
		{"Status 100, the lowest", "Status: 100\n\n", cgi.Header{Status: 100, Fields: fields()}},
		{"Status 103", "Status: 103\nLink: </a>\n\n", cgi.Header{Status: 103, Fields: fields("Link", "</a>")}},
		{"Status 599, the highest", "Status: 599\n\n", cgi.Header{Status: 599, Fields: fields()}},
		{"Status of no registered meaning", "Status: 299 Odd\n\n", cgi.Header{Status: 299, Fields: fields()}},
		{"Status with no value is none", "Status:\nA: 1\n\n", cgi.Header{Fields: fields("A", "1")}},
		{"Status with no value and another", "Status:\nStatus: 201\n\n", cgi.Header{Status: 201, Fields: fields()}},

		{"Content-Length", "Content-Length: 12\n\n", cgi.Header{ContentLength: 12, Fields: fields()}},
		{"Content-Length 0", "Content-Length: 0\n\n", cgi.Header{ContentLength: -1, Fields: fields()}},
		{"Content-Length with zeros before", "Content-Length: 0012\n\n", cgi.Header{ContentLength: 12, Fields: fields()}},
		{"Content-Length, the longest", "Content-Length: 9223372036854775807\n\n", cgi.Header{ContentLength: 1<<63 - 1, Fields: fields()}},
		{"Content-Length with no value is none", "Content-Length:\nA: 1\n\n", cgi.Header{Fields: fields("A", "1")}},
		{"Content-Type with no value is none", "Content-Type: \t\nA: 1\n\n", cgi.Header{Fields: fields("A", "1")}},
		{"of two Content-Types the first", "Content-Type: a/a\nContent-Type: b/b\n\n", cgi.Header{Fields: fields("Content-Type", "a/a")}},
		{"of two Locations the first", "Location: /a\nLocation: /b\n\n", cgi.Header{Location: "/a", Fields: fields("Location", "/a")}},

		{"chunked", "Transfer-Encoding: chunked\nA: 1\n\n", cgi.Header{Chunked: true, Fields: fields("A", "1")}},
		{"Chunked, in any case", "transfer-encoding: ChunKed\n\n", cgi.Header{Chunked: true, Fields: fields()}},
		{"chunked beats Content-Length", "Content-Length: 5\nTransfer-Encoding: chunked\n\n", cgi.Header{Chunked: true, Fields: fields()}},
		{"Content-Length behind chunked", "Transfer-Encoding: chunked\nContent-Length: 5\n\n", cgi.Header{Chunked: true, Fields: fields()}},

		{"fields of one connection", "Connection: close\nKeep-Alive: 5\nUpgrade: h2c\nTrailer: X\nTE: gzip\nProxy-Connection: close\nA: 1\n\n",
			cgi.Header{Fields: fields("A", "1")}},
		{"what Connection names", "X-Hop: 1\nConnection: close, x-HOP ,X-Other\nX-Other: 2\nA: 1\n\n", cgi.Header{Fields: fields("A", "1")}},
		{"what a second Connection names", "Connection: x-a\nConnection: x-b\nX-A: 1\nX-B: 2\nC: 3\n\n", cgi.Header{Fields: fields("C", "3")}},
		{"Connection names what an answer needs", "Connection: content-type, location, set-cookie, content-encoding, status, content-length\n" +
			"Content-Type: a/a\nLocation: /a\nSet-Cookie: c\nContent-Encoding: br\nStatus: 303\nContent-Length: 3\n\n",
			cgi.Header{Status: 303, Location: "/a", ContentLength: 3, Fields: fields("Content-Type", "a/a", "Location", "/a", "Set-Cookie", "c", "Content-Encoding", "br")}},
		{"Connection names nothing", "Connection: , ,\nA: 1\n\n", cgi.Header{Fields: fields("A", "1")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			switch c.want.ContentLength {
			case 0:
				c.want.ContentLength = -1
			case -1:
				c.want.ContentLength = 0
			}
			got, err := cgi.ParseHeader([]byte(c.block))
			if err != nil {
				t.Fatal(err)
			}
			got.Lone = false // TestLocalRedirect
			if d := cmp.Diff(&c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestParseHeaderRefuses: each rule of CONTRACT section 3, and where it says
// that it was broken.
func TestParseHeaderRefuses(t *testing.T) {
	for _, c := range []struct {
		name, block string
		line        int
		cause       string
	}{
		{"nothing but the empty line", "\n", 0, "no field"},
		{"nothing but the empty line, CRLF", "\r\n", 0, "no field"},
		{"no colon", "A: 1\nhello\n\n", 2, "no colon"},
		{"a PHP warning", "PHP Warning:  x in /y on line 3\n\n", 1, "not a token"},
		{"an NPH status line", "HTTP/1.1 200 OK\nA: 1\n\n", 1, "no colon"},
		{"blank before the colon", "A : 1\n\n", 1, "blank before the colon"},
		{"tab before the colon", "A\t: 1\n\n", 1, "blank before the colon"},
		{"folded line", "A: 1\n 2\n\n", 2, "begins with a blank"},
		{"folded line, tab", "A: 1\r\n\t2\r\n\r\n", 2, "begins with a blank"},
		{"line of blanks", "A: 1\n  \n\n", 2, "begins with a blank"},
		{"first line begins with a blank", " A: 1\n\n", 1, "begins with a blank"},
		{"empty name", ": 1\n\n", 1, "not a token"},
		{"blank within the name", "A B: 1\n\n", 1, "not a token"},
		{"NUL in the name", "A\x00: 1\n\n", 1, "not a token"},
		{"CR in the name", "A\rB: 1\n\n", 1, "not a token"},
		{"byte above 127 in the name", "\xc3\xa4: 1\n\n", 1, "not a token"},
		{"DEL in the name", "A\x7f: 1\n\n", 1, "not a token"},
		{"separator in the name", "A(b): 1\n\n", 1, "not a token"},
		{"NUL in the value", "A: 1\x002\n\n", 1, "control byte"},
		{"bare CR in the value", "A: 1\r2\n\n", 1, "control byte"},
		{"two CRs at the end of a line", "A: 1\r\r\n\n", 1, "control byte"},
		{"bare CR that would split an answer", "A: 1\rSet-Cookie: x\n\n", 1, "control byte"},
		{"control byte in the value", "A: \x01\n\n", 1, "control byte"},
		{"escape in the value", "A: \x1b[31m\n\n", 1, "control byte"},
		{"DEL in the value", "A: 1\x7f\n\n", 1, "control byte"},
		{"vertical tab around the value", "A: \v1\n\n", 1, "control byte"},
		{"control byte in a field that is not passed on", "Keep-Alive: \x01\n\n", 1, "control byte"},

		{"Status 99", "Status: 99\n\n", 1, "three digits"},
		{"Status 099", "Status: 099\n\n", 1, "100 to 599"},
		{"Status 000", "Status: 000\n\n", 1, "100 to 599"},
		{"Status 600", "Status: 600\n\n", 1, "100 to 599"},
		{"Status 999", "Status: 999 x\n\n", 1, "100 to 599"},
		{"Status 2000", "Status: 2000\n\n", 1, "three digits"},
		{"Status 200abc", "Status: 200abc\n\n", 1, "three digits"},
		{"Status abc", "Status: abc\n\n", 1, "three digits"},
		{"Status +20", "Status: +20\n\n", 1, "three digits"},
		{"Status -200", "Status: -200\n\n", 1, "three digits"},
		{"Status 2 00", "Status: 2 00\n\n", 1, "three digits"},
		{"Status HTTP/1.1 200 OK", "Status: HTTP/1.1 200 OK\n\n", 1, "three digits"},
		{"Status in foreign digits", "Status: \xd9\xa2\xd9\xa0\xd9\xa0\n\n", 1, "three digits"},
		{"two Statuses", "Status: 200\nStatus: 404\n\n", 2, "second Status"},
		{"two equal Statuses", "Status: 200\nstatus: 200\n\n", 2, "second Status"},

		{"Content-Length 3x", "Content-Length: 3x\n\n", 1, "not a number"},
		{"Content-Length -3", "Content-Length: -3\n\n", 1, "not a number"},
		{"Content-Length +3", "Content-Length: +3\n\n", 1, "not a number"},
		{"Content-Length 3,3", "Content-Length: 3,3\n\n", 1, "not a number"},
		{"Content-Length 3 4", "Content-Length: 3 4\n\n", 1, "not a number"},
		{"Content-Length 0x10", "Content-Length: 0x10\n\n", 1, "not a number"},
		{"Content-Length 1_000", "Content-Length: 1_000\n\n", 1, "not a number"},
		{"Content-Length 3.0", "Content-Length: 3.0\n\n", 1, "not a number"},
		{"Content-Length too long for 63 bits", "Content-Length: 9223372036854775808\n\n", 1, "not a number"},
		{"Content-Length too long for 64 bits", "Content-Length: 99999999999999999999\n\n", 1, "not a number"},
		{"two Content-Lengths", "Content-Length: 3\nContent-Length: 4\n\n", 2, "second Content-Length"},
		{"two equal Content-Lengths", "Content-Length: 3\nContent-Length: 3\n\n", 2, "second Content-Length"},
		{"two Content-Lengths, the first 0", "Content-Length: 0\nContent-Length: 3\n\n", 2, "second Content-Length"},

		{"Transfer-Encoding gzip", "Transfer-Encoding: gzip\n\n", 1, "other than chunked"},
		{"Transfer-Encoding identity", "Transfer-Encoding: identity\n\n", 1, "other than chunked"},
		{"Transfer-Encoding gzip, chunked", "Transfer-Encoding: gzip, chunked\n\n", 1, "other than chunked"},
		{"Transfer-Encoding chunked twice", "Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n", 2, "other than chunked"},
		{"Transfer-Encoding xchunked", "Transfer-Encoding: xchunked\n\n", 1, "other than chunked"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := cgi.ParseHeader([]byte(c.block))
			var he *cgi.HeaderError
			if !errors.As(err, &he) {
				t.Fatalf("%v, %v; want a HeaderError", h, err)
			}
			if he.Line != c.line || !strings.Contains(he.Cause, c.cause) {
				t.Errorf("line %d: %q; want line %d: %q", he.Line, he.Cause, c.line, c.cause)
			}
			if strings.ContainsAny(err.Error(), "\r\n\x00\x1b") {
				t.Errorf("a message for the log with a control byte: %q", err)
			}
		})
	}
}

// TestControlBytes: no control byte but the tab gets through, at any place.
func TestControlBytes(t *testing.T) {
	for c := range 256 {
		b := string([]byte{byte(c)})
		_, inValue := cgi.ParseHeader([]byte("A: x" + b + "y\n\n"))
		if bad := c < ' ' && c != '\t' && c != '\n' || c == 0x7f || c == '\n'; (inValue != nil) != bad {
			t.Errorf("value with %#02x: %v", c, inValue)
		}
		h, inName := cgi.ParseHeader([]byte("x" + b + "y: 1\n\n"))
		token := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c < 128 && strings.Contains("!#$%&'*+-.^_`|~", b)
		if c == ':' {
			token = true // and ends the name
		}
		if (inName == nil) != token {
			t.Errorf("name with %#02x: %v %v", c, h, inName)
		}
	}
}

func TestHeaderErrorText(t *testing.T) {
	_, err := cgi.ParseHeader([]byte("A: 1\n" + strings.Repeat("x", 100) + "\n\n"))
	want := `header line 2 ("` + strings.Repeat("x", 60) + `"): no colon`
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant %v", err, want)
	}
	_, err = cgi.ParseHeader([]byte("\n"))
	if err == nil || err.Error() != "header: has no field" {
		t.Error(err)
	}
}
