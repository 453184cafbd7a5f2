package fcgi

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/cgi"
)

// browserParams are the parameters of a browser's request.
func browserParams() func(func(name, value string)) {
	r := httptest.NewRequest("GET", "/index.php/a?b=c", nil)
	r.Header = http.Header{"Accept": {"text/html,application/xhtml+xml"}, "Accept-Encoding": {"gzip, deflate, br"}, "Accept-Language": {"en"},
		"Cookie": {"PHPSESSID=0123456789abcdef"}, "User-Agent": {"Mozilla/5.0 (X11; Linux x86_64)"}}
	m := &cgi.Meta{Request: r, ScriptName: "/index.php", ScriptFilename: "/srv/www/index.php", PathInfo: "/a", DocumentRoot: "/srv/www"}
	return m.Each
}

// replay plays the same answer again and again.
type replay struct {
	played
	answer string
	rest   string
}

func (r *replay) Read(b []byte) (int, error) {
	if r.rest == "" {
		r.rest = r.answer
	}
	n := copy(b, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *replay) Write(b []byte) (int, error) { return len(b), nil }

// small is a whole exchange with a small answer, over a kept connection.
func small(t testing.TB, ex *Exchange, nc *replay, req *Request, buf []byte) {
	err := ex.Begin(nc, req)
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = ex.Read(buf)
	}
	if err != io.EOF || ex.Keep() == nil {
		t.Fatal(err)
	}
}

const smallAnswer = "Content-Type: text/html\r\n\r\n<p>hello"

func BenchmarkSmall(b *testing.B) {
	nc := &replay{answer: stdout(smallAnswer) + end(0, 0)}
	req := &Request{Role: Responder, KeepConn: true, Params: browserParams()}
	buf := make([]byte, 4096)
	ex := &Exchange{}
	b.ReportAllocs()
	for b.Loop() {
		small(b, ex, nc, req, buf)
	}
}

func BenchmarkLargeAnswer(b *testing.B) {
	nc := &replay{answer: strings.Repeat(rec(6, 1, text(32760), 0), 32) + end(0, 0)}
	req := &Request{Role: Responder, KeepConn: true}
	buf := make([]byte, 32<<10)
	ex := &Exchange{}
	b.ReportAllocs()
	b.SetBytes(32 * 32760)
	for b.Loop() {
		small(b, ex, nc, req, buf)
	}
}

func BenchmarkBody(b *testing.B) {
	nc := &replay{answer: end(0, 0)}
	body := strings.NewReader(text(16 << 10))
	req := &Request{Role: Responder, KeepConn: true, Stdin: body}
	buf := make([]byte, 4096)
	ex := &Exchange{}
	b.ReportAllocs()
	b.SetBytes(16 << 10)
	for b.Loop() {
		body.Reset(text16k)
		small(b, ex, nc, req, buf)
	}
}

var text16k = text(16 << 10)

// TestAllocations holds what an exchange costs beside its parameters: nothing,
// but for what the race detector takes out of pools.
func TestAllocations(t *testing.T) {
	nc := &replay{answer: stdout(smallAnswer) + end(0, 0)}
	buf := make([]byte, 4096)
	ex := &Exchange{}
	list := params(pair{"A", "b"}, pair{"C", "d"})
	for _, c := range []struct {
		name   string
		budget float64
		req    *Request
	}{
		{"as little as possible", 1, &Request{Role: Responder, KeepConn: true}},
		{"with parameters", 1, &Request{Role: Responder, KeepConn: true, Params: list}},
	} {
		if got := testing.AllocsPerRun(200, func() { small(t, ex, nc, c.req, buf) }); got > c.budget {
			t.Errorf("%s: %v allocations, budget %v", c.name, got, c.budget)
		}
	}
}
