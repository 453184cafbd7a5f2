package conformance

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// stricter are the reasons for which our server may refuse what net/http takes.
// Any other one would be a bug.
var stricter = []string{
	"request: folded line",
	"request: blank before the colon of a field",
	"request: no Host",
	"request: bad byte in the host", // of a target that is a URI
	"request: a port that is no number",
	"request: malformed Content-Length", // that of 1.0 beside a coding
	"request: more than one Content-Length",
	"request: Content-Length beside a Transfer-Encoding",
	"request: malformed Transfer-Encoding, or chunked not once and last",
	"request: Transfer-Encoding in HTTP/1.0",
	"request: target is of no form that the method has",
	"request: target too long",
	"request: head too long",
	"request: too many fields",
	"request: version is not HTTP/1",
	"request: unknown expectation", // among others that are known

	"request: chunk extension too long, or with a control byte",
	"request: malformed trailer",
	"request: trailers too long",
}

// sight is a request as a handler saw it.
type sight struct {
	what  string // all that is known from the head
	body  string
	cut   string // why the body ended
	close bool   // close and keep-alive were both asked for, or 1.0 had several Connection fields
}

// witness is a handler that notes what it sees by the client's address, and a
// slog.Handler that notes why requests were refused.
type witness struct {
	mu      sync.Mutex
	sights  map[string][]sight
	reasons map[string]string
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var header []string
	for name, values := range r.Header {
		header = append(header, fmt.Sprintf("%s=%q", name, values))
	}
	slices.Sort(header)
	s := sight{what: fmt.Sprintf("%s %s url=%q path=%q %s host=%q length=%d %q close=%v %s", r.Method, r.RequestURI, r.URL, r.URL.Path,
		r.Proto, r.Host, r.ContentLength, r.TransferEncoding, r.Close, header)}
	c := strings.ToLower(strings.Join(r.Header["Connection"], ","))
	s.close = r.ProtoMinor == 0 && (strings.Contains(c, "close") || strings.Contains(c, ",") || strings.Contains(c, "keep-alive") && len(c) > 10)
	body, err := io.ReadAll(r.Body)
	if s.body = string(body); err != nil {
		s.cut = err.Error()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sights[r.RemoteAddr] = append(w.sights[r.RemoteAddr], s)
}

func (w *witness) Enabled(context.Context, slog.Level) bool { return true }
func (w *witness) WithAttrs([]slog.Attr) slog.Handler       { return w }
func (w *witness) WithGroup(string) slog.Handler            { return w }

func (w *witness) Handle(_ context.Context, r slog.Record) error {
	var client, reason string
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "client":
			client = a.Value.String()
		case "reason":
			reason = "request: " + a.Value.String()
		}
		return true
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reasons[client] = reason
	return nil
}

// of is what was seen and said of one client, which is then forgotten.
func (w *witness) of(client string) ([]sight, string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	defer delete(w.sights, client)
	defer delete(w.reasons, client)
	return w.sights[client], w.reasons[client]
}

// tellAll sends the bytes and waits for the server's end; the answers are read
// meanwhile.
func tellAll(t testing.TB, addr, raw string) (client string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.(*net.TCPConn).SetLinger(0) // or thousands of dead connections take all ports
	c.SetDeadline(time.Now().Add(bound))
	go func() {
		io.WriteString(c, raw)
		c.(*net.TCPConn).CloseWrite()
	}()
	_, err = io.Copy(io.Discard, c)
	if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Fatalf("no end behind %q", raw)
	}
	return c.LocalAddr().String()
}

// tidy removes the empty lines before requests: net/http passes them over only
// behind a POST.
func tidy(raw string) string {
	src := strings.NewReader(raw)
	br := bufio.NewReaderSize(src, 1<<17)
	at := func() int { return len(raw) - src.Len() - br.Buffered() }
	out := ""
	for {
		for b, _ := br.Peek(2); strings.HasPrefix(string(b), "\n") || string(b) == "\r\n"; b, _ = br.Peek(2) {
			br.ReadBytes('\n')
		}
		from := at()
		r, err := http.ReadRequest(br)
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		if err != nil {
			return out + raw[from:]
		}
		out += raw[from:at()]
	}
}

// FuzzServer sends the same bytes to both servers: the handlers see the same
// requests in the same order, ours up to where it has a reason to be stricter.
func FuzzServer(f *testing.F) {
	for _, x := range refusals {
		f.Add(x.in)
	}
	in, _, _ := mixed(8)
	f.Add(in)
	for _, body := range []string{chunked("abc", "de"), "3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n" + get, "hax\r\n" + get} {
		f.Add(request("POST /a HTTP/1.1", "Transfer-Encoding: chunked") + body)
	}
	f.Add(request("POST /a HTTP/1.1", "Expect: 100-continue", "Content-Length: 3") + "abc" + get)
	f.Add(request("GET http://y/a?b HTTP/1.1") + request("OPTIONS * HTTP/1.1") + get10)
	f.Add(request("GET / HTTP/1.0", "Connection: keep-alive") + request("GET / HTTP/1.0", "Connection: keep-alive, close") + get)

	theirs, ours := newWitness(), newWitness()
	library := startLibrary(f, options{handler: theirs})
	own := startOurs(f, options{handler: ours, answerHalfClosed: true, slog: slog.New(ours)})
	f.Fuzz(func(t *testing.T, raw string) {
		raw = tidy(raw)
		want, _ := theirs.of(tellAll(t, library.addr, raw))
		got, reason := ours.of(tellAll(t, own.addr, raw))
		compare(t, raw, got, want, reason)
	})
}

func newWitness() *witness {
	return &witness{sights: map[string][]sight{}, reasons: map[string]string{}}
}

func compare(t *testing.T, raw string, got, want []sight, reason string) {
	for i, g := range got {
		if i >= len(want) {
			if want != nil && want[i-1].close {
				return
			}
			t.Fatalf("%q: request %d is one for us alone: %+v", raw, i, g)
		}
		w := want[i]
		switch {
		case g.what != w.what:
			t.Fatalf("%q: request %d\nours %s\ntheirs %s", raw, i, g.what, w.what)
		case g.cut == "" && w.cut == "" && g.body != w.body:
			t.Fatalf("%q: request %d has the body %q, and %q", raw, i, g.body, w.body)
		case g.cut == "" && w.cut != "":
			t.Fatalf("%q: the body of request %d is whole for us alone: %q, theirs %s", raw, i, g.body, w.cut)
		case g.cut != "" && w.cut == "":
			if !slices.Contains(stricter, g.cut) {
				t.Fatalf("%q: the body of request %d is broken for us alone: %s", raw, i, g.cut)
			}
			return
		}
	}
	if len(got) < len(want) && !slices.Contains(stricter, reason) && (len(got) == 0 || !got[len(got)-1].close) {
		t.Fatalf("%q: of %d requests we saw %d, and refused the next: %q", raw, len(want), len(got), reason)
	}
}
