package conformance

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// client is a raw connection to a server.
type client struct {
	*net.TCPConn
	t  testing.TB
	br *bufio.Reader
}

// dial connects; the test's end closes.
func dial(t testing.TB, s *server) *client {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return newClient(t, conn)
}

func newClient(t testing.TB, conn net.Conn) *client {
	conn.SetDeadline(time.Now().Add(bound))
	return &client{TCPConn: conn.(*net.TCPConn), t: t, br: bufio.NewReader(conn)}
}

// send writes bytes.
func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c.TCPConn, s); err != nil {
		c.t.Fatalf("send %.60q: %v", s, err)
	}
}

// reset closes with a reset instead of an end.
func (c *client) reset() {
	c.SetLinger(0)
	c.Close()
}

// quiet checks that nothing comes for a while: a server that is right is never
// found wrong by it, however slow the machine is.
func (c *client) quiet(what string) {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(60 * time.Millisecond))
	defer c.SetReadDeadline(time.Now().Add(bound))
	if b, err := c.br.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		more, _ := c.br.Peek(c.br.Buffered())
		c.t.Errorf("%s: got %q%q, %v; want nothing yet", what, b, more, err)
	}
}

// ended checks that the server has closed, with nothing more said.
func (c *client) ended() {
	c.t.Helper()
	b, err := c.br.ReadByte()
	if err == nil {
		more, _ := c.br.Peek(c.br.Buffered())
		c.t.Fatalf("got %q; want an end", string(b)+string(more))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal("the connection stays open")
	}
}

// get sends a small request and returns the answer.
func (c *client) get(target string) answer {
	c.t.Helper()
	c.send(request("GET " + target + " HTTP/1.1"))
	return c.answer("GET")
}

// answer reads an answer to its end.
func (c *client) answer(method string) answer {
	c.t.Helper()
	a, err := c.read(method)
	if err != nil {
		c.t.Fatalf("read an answer: %v", err)
	}
	return a
}

// request joins a request line and header lines. Without a Host it adds one.
func request(line string, headers ...string) string {
	all := strings.Join(append([]string{line}, headers...), "\r\n")
	if strings.HasSuffix(line, "HTTP/1.1") && !strings.Contains(strings.ToLower(all), "\r\nhost:") {
		all += "\r\nHost: x"
	}
	return all + "\r\n\r\n"
}

// chunked is a body as chunks.
func chunked(parts ...string) string {
	var b strings.Builder
	for _, p := range parts {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(p), p)
	}
	return b.String() + "0\r\n\r\n"
}

// framing is how an answer's end is known.
type framing string

const (
	bodyless   framing = "bodyless"
	sized      framing = "sized"
	inChunks   framing = "chunked"
	untilClose framing = "until-close"
)

// answer is a response as it came.
type answer struct {
	line    string // the status line
	status  int
	header  http.Header
	trailer http.Header
	framing framing
	body    string
	cut     error // the body ended before its end
}

// String is the short form that the tables compare: status, framing, what
// Connection says in brackets, body.
func (a answer) String() string {
	s := strconv.Itoa(a.status)
	if a.status >= 200 {
		s += " " + string(a.framing)
	}
	if v := a.header["Connection"]; v != nil {
		s += " [" + strings.Join(v, ",") + "]"
	}
	if body := shortened(a.body); body != "" {
		s += " " + body
	}
	if a.cut != nil {
		s += " CUT"
	}
	return s
}

// shortened makes a long body of one letter readable.
func shortened(s string) string {
	if len(s) < 60 {
		return s
	}
	if strings.Count(s, s[:1]) == len(s) {
		return fmt.Sprintf("%d*%s", len(s), s[:1])
	}
	return fmt.Sprintf("%.40q... (%d)", s, len(s))
}

var statusLine = regexp.MustCompile(`^HTTP/1\.[01] ([1-5]\d\d) [\x20-\x7e]*$`)

// read reads an answer; the error is of its head.
func (c *client) read(method string) (answer, error) { return readAnswer(c.br, method) }

// readAnswer takes nothing that RFC 9112 does not ask a server for.
func readAnswer(br *bufio.Reader, method string) (a answer, err error) {
	if a.line, err = readLine(br); err != nil {
		return a, err
	}
	m := statusLine.FindStringSubmatch(a.line)
	if m == nil {
		return a, fmt.Errorf("status line %q", a.line)
	}
	a.status, _ = strconv.Atoi(m[1])
	if a.header, err = readFields(br); err != nil {
		return a, err
	}
	return a, a.readBody(br, method)
}

// readBody reads by the framing that section 6.3 finds.
func (a *answer) readBody(br *bufio.Reader, method string) error {
	length, coding := a.header["Content-Length"], a.header["Transfer-Encoding"]
	var body []byte
	switch {
	case length != nil && coding != nil || len(length) > 1:
		return fmt.Errorf("lengths %q and codings %q", length, coding)
	case a.status < 200 || a.status == 204 || a.status == 304 || method == "HEAD":
		a.framing = bodyless
	case method == "CONNECT" && a.status < 300:
		a.framing = bodyless
	case coding != nil && coding[len(coding)-1] == "chunked":
		a.framing = inChunks
		if body, a.cut = io.ReadAll(httputil.NewChunkedReader(br)); a.cut == nil {
			a.trailer, a.cut = readFields(br)
		}
	case length != nil:
		a.framing = sized
		n, err := strconv.ParseUint(length[0], 10, 31)
		if err != nil {
			return err
		}
		body = make([]byte, n)
		k, err := io.ReadFull(br, body)
		body, a.cut = body[:k], err
	default:
		a.framing = untilClose
		body, a.cut = io.ReadAll(br)
	}
	a.body = string(body)
	return nil
}

// readLine reads one that ends as it must.
func readLine(br *bufio.Reader) (string, error) {
	line, err := br.ReadString('\n')
	if err != nil {
		if line != "" {
			return "", fmt.Errorf("line %q: %w", line, err)
		}
		return "", err
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(text, "\r\x00") {
		return "", fmt.Errorf("line %q", line)
	}
	return text, nil
}

// readFields reads header lines up to the empty one.
func readFields(br *bufio.Reader) (http.Header, error) {
	h := make(http.Header)
	for {
		line, err := readLine(br)
		if err != nil {
			return nil, err
		}
		if line == "" {
			return h, nil
		}
		name, value, ok := strings.Cut(line, ": ")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, fmt.Errorf("header line %q", line)
		}
		h[textproto.CanonicalMIMEHeaderKey(name)] = append(h[textproto.CanonicalMIMEHeaderKey(name)], value)
	}
}

var requestLine = regexp.MustCompile(`(?m)^([A-Z]+) \S+ HTTP/1`)

// exchange is a conversation: what a client sends at once, and what it gets.
type exchange struct {
	name string
	in   string
	h    http.HandlerFunc
	want string   // the answers, and whether the connection then takes another request, joined by " | "
	has  []string // lines that the first final answer must have; with "!" before the name, none of that name
	ours string   // want, where the difference holds
	by   difference
}

// converse runs the exchanges over every kind of server.
func converse(t *testing.T, table []exchange) {
	each(t, func(t *testing.T, m mode) {
		for _, x := range table {
			t.Run(x.name, func(t *testing.T) {
				want := x.want
				if x.by != "" && m.differs(x.by) {
					want = x.ours
				}
				x.run(t, m, want)
			})
		}
	})
}

func (x exchange) run(t *testing.T, m mode, want string) {
	c := dial(t, m.serve(t, x.h))
	c.send(x.in)
	var methods []string
	for _, found := range requestLine.FindAllStringSubmatch(x.in, -1) {
		methods = append(methods, found[1])
	}
	got, final, err := c.all(methods, strings.Count(want, " | "))
	if err != nil {
		got = append(got, err.Error())
	} else if strings.HasSuffix(want, "| open") {
		got = append(got, c.probe())
	} else if strings.HasSuffix(want, "| whatever") {
		got = append(got, "whatever")
	} else {
		c.ended()
		got = append(got, "closed")
	}
	if s := strings.Join(got, " | "); s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	for _, line := range x.has {
		final.check(t, line)
	}
}

// all reads n answers; the first final one is returned as well.
func (c *client) all(methods []string, n int) (got []string, first answer, err error) {
	for i := 0; len(got) < n; {
		method := "GET"
		if i < len(methods) {
			method = methods[i]
		}
		a, err := c.read(method)
		if err != nil {
			return got, first, err
		}
		got = append(got, a.String())
		if a.status >= 200 {
			if i == 0 {
				first = a
			}
			i++
		}
	}
	return got, first, nil
}

// probe finds out whether the connection is good for another request.
func (c *client) probe() string {
	c.send(request("GET /probe HTTP/1.1"))
	a, err := c.read("GET")
	if err != nil || a.body != "probe" {
		return fmt.Sprintf("not open: %v, %v", a, err)
	}
	return "open"
}

// check checks for a line, or for none of a name.
func (a answer) check(t *testing.T, line string) {
	t.Helper()
	if name, no := strings.CutPrefix(line, "!"); no {
		if v := a.header[name]; v != nil {
			t.Errorf("%s: %q; want none", name, v)
		}
		return
	}
	name, value, _ := strings.Cut(line, ": ")
	if v := a.header[name]; len(v) != 1 || v[0] != value {
		t.Errorf("%s: %q; want %q", name, v, value)
	}
}
