package front

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"sluice/internal/leak"
)

// echoServer answers each request with its method, path and the length of its
// body.
func echoServer(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := New(Options{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			if err != nil {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			fmt.Fprintf(w, "%s %s %d", r.Method, r.URL.Path, n)
		}),
		Log:           slog.New(slog.DiscardHandler),
		Connections:   100,
		HeaderBytes:   64 << 10,
		HeaderTimeout: 5 * time.Second,
		KeepaliveIdle: 5 * time.Second,
	})
	go s.Serve(l)
	t.Cleanup(func() { s.http.Close() })
	return l.Addr().String()
}

// talk sends raw bytes and returns a word for each answer: its status, and for
// 200 its body.
func talk(t testing.TB, addr, raw string) []string {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).CloseWrite()
	var got []string
	for br := bufio.NewReader(c); ; {
		res, err := http.ReadResponse(br, nil)
		if err != nil {
			return got
		}
		body, _ := io.ReadAll(res.Body)
		if res.StatusCode == 200 {
			got = append(got, string(body))
		} else {
			got = append(got, fmt.Sprint(res.StatusCode))
		}
		if res.Close {
			return got
		}
	}
}

var strictCases = []struct {
	name, raw string
	want      string // answers, joined by "; "
}{
	{"two requests", "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a 0; GET /b 0"},
	{"line ends without CR", "GET /a HTTP/1.1\nHost: x\n\nGET /b HTTP/1.1\nHost: x\n\n", "GET /a 0; GET /b 0"},
	{"body with anything in it", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n\x00\r a\n\n b\rGET /b HTTP/1.1\r\nHost: x\r\n\r\n", "POST /a 9; GET /b 0"},
	{"chunked body", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nA;x=y\r\n0123456789\r\n2\r\n\x00\r\r\n0\r\nX: y\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n", "POST /a 12; GET /b 0"},
	{"chunked body without trailers", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n000\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n", "POST /a 0; GET /b 0"},
	{"an empty length", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n", "POST /a 0; GET /b 0"},
	{"folded line", "GET /a HTTP/1.1\r\nHost: x\r\nX-Fold: a\r\n b\r\n\r\n", "400"},
	{"folded by a tab", "GET /a HTTP/1.1\r\nHost: x\r\nX-Fold: a\r\n\tb\r\n\r\n", "400"},
	{"folded first line", "GET /a HTTP/1.1\r\n Host: x\r\n\r\n", "400"},
	{"length and coding", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
	{"coding and length", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\ncontent-LENGTH: 5\r\n\r\n0\r\n\r\n", "400"},
	{"length and coding, with a request in the body", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"coding in HTTP/1.0", "POST /a HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
	{"two lengths, equal", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n12345", "400"},
	{"two lengths, not equal", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345", "400"},
	{"a list of lengths", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n\r\n12345", "400"},
	{"length with a sign", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n12345", "400"},
	{"length in hex", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\n12345", "400"},
	{"no length", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", "400"},
	{"length too long", "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999999999999\r\n\r\n", "400"},
	{"bare CR in a value", "GET /a HTTP/1.1\r\nHost: x\r\nX-A: a\rb\r\n\r\n", "400"},
	{"bare CR in a name", "GET /a HTTP/1.1\r\nHost: x\r\nX\r-A: a\r\n\r\n", "400"},
	{"bare CR in the request line", "GET /a\r HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"two CR", "GET /a HTTP/1.1\r\r\nHost: x\r\n\r\n", "400"},
	{"NUL in a value", "GET /a HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n", "400"},
	{"NUL in the request line", "GET /a\x00 HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
	{"two Hosts", "GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400"},
	{"no Host", "GET /a HTTP/1.1\r\n\r\n", "400"},
	{"bad size of a chunk", "POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
	{"good, then bad", "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\nX: a\r\n b\r\n\r\nGET /c HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a 0; 400"},
}

func TestStrict(t *testing.T) {
	addr := echoServer(t)
	for _, c := range strictCases {
		t.Run(c.name, func(t *testing.T) {
			if got := strings.Join(talk(t, addr, c.raw), "; "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// filtered is what a reader behind strict sees.
func filtered(raw string, wrap func(io.Reader) io.Reader) string {
	s := newStrict()
	r := wrap(strings.NewReader(raw))
	var out bytes.Buffer
	buf := make([]byte, 100)
	for {
		n, err := r.Read(buf)
		good := s.see(buf[:n])
		out.Write(buf[:good])
		if s.refused {
			out.Write(s.refusal)
			return out.String()
		}
		if err != nil {
			return out.String()
		}
	}
}

// FuzzStrict: what is let through is what came, whatever the reads; a fault ends
// it; and net/http finds the same requests in it, with the same bodies.
func FuzzStrict(f *testing.F) {
	for _, c := range strictCases {
		f.Add(c.raw)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		plain := filtered(raw, func(r io.Reader) io.Reader { return r })
		if one := filtered(raw, iotest.OneByteReader); one != plain {
			t.Fatalf("by single bytes %q, by more %q", one, plain)
		}
		body, cut := strings.CutSuffix(plain, refusalText)
		if !strings.HasPrefix(raw, body) || !cut && plain != raw {
			t.Fatalf("%q became %q", raw, plain)
		}
		// Where net/http can read all requests to their ends, strict stands at
		// the beginning of one as well.
		if s := newStrict(); !cut && allRead(raw) {
			s.see([]byte(raw))
			if s.state != inHead || !s.first {
				t.Fatalf("state %d, in the first line %v, behind %q", s.state, s.first, raw)
			}
		}
	})
}

// allRead reports whether the bytes are whole requests for net/http.
func allRead(raw string) bool {
	br := bufio.NewReader(strings.NewReader(raw))
	for {
		if _, err := br.Peek(1); err == io.EOF {
			return raw != ""
		}
		r, err := http.ReadRequest(br)
		if err != nil {
			return false
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return false
		}
	}
}

// TestMain checks that the tests leave nothing behind.
func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }
