package fcgi

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"sluice/cgi"
)

// reading is an exchange whose answer is played.
func reading(t testing.TB, nc *played, errOut io.Writer) *Exchange {
	t.Helper()
	return begun(t, nc, &Request{Role: Responder, KeepConn: true, Stderr: errOut})
}

// streams are answers, whole; what they say and the errors they print.
var streams = []struct {
	name, stream string
	out, errs    string
}{
	{"nothing", end(0, 0), "", ""},
	{"one record", stdout("hello") + end(0, 0), "hello", ""},
	{"several", stdout("a") + stdout("bc") + stdout("defghijk") + end(0, 0), "abcdefghijk", ""},
	{"the stream ended", stdout("a") + stdout("") + end(0, 0), "a", ""},
	{"said after its end", stdout("a") + stdout("") + stdout("b") + end(0, 0), "ab", ""},
	{"errors before", stderr("oh") + stdout("a") + end(0, 0), "a", "oh"},
	{"errors between", stdout("a") + stderr("oh ") + stdout("b") + stderr("") + stderr("no") + stdout("c") + end(0, 0), "abc", "oh no"},
	{"errors only", stderr("oh") + stderr("") + end(0, 0), "", "oh"},
	{"without padding", rec(6, 1, "abc", 0) + rec(7, 1, "e", 0) + rec(3, 1, "\x00\x00\x00\x00\x00\x00\x00\x00", 0), "abc", "e"},
	{"padding of 255", rec(6, 1, "abc", 255) + rec(7, 1, "e", 255) + rec(6, 1, "", 255) + end(0, 0), "abc", "e"},
	{"the longest record", rec(6, 1, text(65535), 255) + rec(6, 1, "x", 0) + end(0, 0), text(65535) + "x", ""},
	{"more errors than a buffer", rec(7, 1, text(65535), 255) + rec(7, 1, text(65535), 0) + stdout("a") + end(0, 0), "a", text(65535) + text(65535)},
	{"unknown types", rec(99, 1, "junk", 3) + stdout("a") + rec(0, 1, "", 7) + rec(255, 1, text(65535), 255) + stdout("b") + rec(11, 0, "\x63\x00\x00\x00\x00\x00\x00\x00", 0) + end(0, 0), "ab", ""},
	{"what a server says itself", rec(1, 1, "xxxxxxxx", 0) + rec(2, 1, "", 0) + rec(4, 1, "p", 0) + rec(5, 1, "i", 0) + rec(8, 1, "d", 0) + stdout("a") + end(0, 0), "a", ""},
	{"management records", rec(10, 0, "\x0e\x01FCGI_MAX_CONNS1", 1) + stdout("a") + end(0, 0), "a", ""},
	{"other requests' records", rec(6, 2, "secret", 2) + rec(7, 256, "secret", 0) + rec(6, 0, "secret", 0) + rec(3, 2, "\x00\x00\x00\x09\x02\x00\x00\x00", 0) + stdout("a") + end(0, 0), "a", ""},
	{"another request's END_REQUEST, too short", rec(3, 7, "x", 0) + stdout("a") + end(0, 0), "a", ""},
	{"END_REQUEST longer than it is defined", stdout("a") + rec(3, 1, strings.Repeat("\x00", 300), 5), "a", ""},
}

// TestReadStreams: each answer, cut at every byte, in pieces of every length,
// into reads of every length, is the same.
func TestReadStreams(t *testing.T) {
	for _, c := range streams {
		t.Run(c.name, func(t *testing.T) {
			check := func(how string, nc *played, size int) {
				t.Helper()
				var errs strings.Builder
				ex := reading(t, nc, &errs)
				out := make([]byte, 0, len(c.out))
				b := make([]byte, size)
				for {
					n, err := ex.Read(b)
					out = append(out, b[:n]...)
					if err == io.EOF {
						break
					}
					if err != nil || n == 0 {
						t.Fatalf("%s: %d, %v", how, n, err)
					}
				}
				if string(out) != c.out || errs.String() != c.errs {
					t.Fatalf("%s: %.40q and %.40q; want %.40q and %.40q", how, out, errs.String(), c.out, c.errs)
				}
				if end, ok := ex.Ended(0); !ok || !end.OK() {
					t.Errorf("%s: %v, %v", how, end, ok)
				}
				if nc := ex.Keep(); nc == nil {
					t.Errorf("%s: not kept", how)
				}
			}
			for _, size := range []int{1, 3, 512, 16 << 10, 64 << 10} {
				check(fmt.Sprint("whole, reads of ", size), play(c.stream), size)
			}
			for _, n := range []int{1, 7, 8, 9, 4096, 32768, 32769} {
				if len(c.stream)/n < 20000 {
					check(fmt.Sprint("pieces of ", n), play(piecesOf(c.stream, n)...), 4096)
				}
			}
			if len(c.stream) < 1000 {
				for i := range len(c.stream) {
					check(fmt.Sprint("cut at ", i), play(piecesAt(c.stream, i)...), 100)
				}
			}
		})
	}
}

// piecesOf cuts a stream, but not its end: what comes together with that is
// one write of every application.
func piecesOf(s string, n int) (all []string) {
	last := strings.LastIndex(s, "\x01\x03\x00\x01")
	for head := s[:last]; head != ""; {
		k := min(n, len(head))
		all, head = append(all, head[:k]), head[k:]
	}
	return append(all, s[last:])
}

func piecesAt(s string, i int) []string {
	if last := strings.LastIndex(s, "\x01\x03\x00\x01"); i >= last+16 {
		return []string{s}
	}
	return []string{s[:i], s[i:]}
}

// TestReadNothing: an empty slice reads nothing, and ends nothing.
func TestReadNothing(t *testing.T) {
	ex := reading(t, play(stdout("a")+end(0, 0)), nil)
	if n, err := ex.Read(nil); n != 0 || err != nil {
		t.Error(n, err)
	}
	if got := answer(t, ex); got != "a" {
		t.Error(got)
	}
	for range 2 {
		if n, err := ex.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Error("after the end:", n, err)
		}
	}
}

// TestErrorsComeAtOnce: standard error is handed on as it comes, not at the end
// of the request; and nobody has to want it.
func TestErrorsComeAtOnce(t *testing.T) {
	var errs strings.Builder
	ex := reading(t, play(stderr("first"), stdout("a"), stderr("second"), end(0, 0)), &errs)
	ex.Read(make([]byte, 1))
	if errs.String() != "first" {
		t.Errorf("%q", errs.String())
	}
	answer(t, ex)
	if errs.String() != "firstsecond" {
		t.Errorf("%q", errs.String())
	}
	ex = reading(t, play(stderr(text(100))+stdout("a")+end(0, 0)), nil)
	if got := answer(t, ex); got != "a" {
		t.Error(got)
	}
}

// TestErrorsAreNotTaken: a writer that fails does not disturb the answer.
func TestErrorsAreNotTaken(t *testing.T) {
	r, w := io.Pipe()
	r.Close()
	ex := reading(t, play(stderr("x")+stdout("a")+end(0, 0)), w)
	if got := answer(t, ex); got != "a" {
		t.Error(got)
	}
}

// TestHeaderReader: the header reader and the exchange together.
func TestHeaderReader(t *testing.T) {
	s := "Status: 404\r\nX-A: " + strings.Repeat("v", 5000) + "\r\n\r\nbody"
	for _, n := range []int{1, 100, len(s)} {
		var stream string
		for rest := s; rest != ""; {
			k := min(n, len(rest))
			stream, rest = stream+stdout(rest[:k])+stderr("e"), rest[k:]
		}
		ex := reading(t, play(stream+end(0, 0)), nil)
		h, rest, _, err := cgi.ReadHeader(ex, nil, 64<<10)
		if err != nil || h.Status != 404 || len(h.Fields.Get("X-A")) != 5000 {
			t.Fatal(n, h, err)
		}
		if body := string(rest) + answer(t, ex); body != "body" {
			t.Errorf("%d: %q", n, body)
		}
	}
}

// TestBufferBorder: the header and the end of a request lie across the end of
// the read buffer, at every byte.
func TestBufferBorder(t *testing.T) {
	for k := range 40 {
		first := text(readBuffer - headerLen - k)
		ex := reading(t, play(rec(6, 1, first, 0)+stdout("xy")+end(3, 0)), nil)
		if got := answer(t, ex); got != first+"xy" {
			t.Errorf("%d: %d bytes", k, len(got))
		}
		if end, ok := ex.Ended(0); !ok || end.Status != 3 {
			t.Error(k, end, ok)
		}
	}
}
