package cgi_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"sluice/cgi"
)

// pieces is a reader that gives one piece a Read.
type pieces struct {
	rest []string
	end  error
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, p.end
	}
	n := copy(b, p.rest[0])
	if p.rest[0] = p.rest[0][n:]; p.rest[0] == "" {
		p.rest = p.rest[1:]
	}
	return n, nil
}

// TestReadHeaderSplit: wherever the stream is cut, the header is the same, and
// nothing of the body is lost.
func TestReadHeaderSplit(t *testing.T) {
	for _, stream := range []string{
		"Status: 201\nX-A: 1\n\nbody\n\nmore",
		"Status: 201\r\nX-A: 1\r\n\r\nbody\r\n\r\nmore",
		"Status: 201\nX-A: 1\n\r\n\r\n\n",
		"Status: 201\r\nX-A: 1\r\n\n\nbody",
		"Status: 201\r\nX-A: 1\r\n\r\n",
	} {
		end := strings.Index(strings.ReplaceAll(stream, "\r", " "), "1") // of the value of X-A, after 201's
		end += strings.Index(stream[end:], "X-A: 1") + len("X-A: 1")
		body := strings.TrimPrefix(strings.TrimPrefix(stream[end:], "\r"), "\n")
		body = strings.TrimPrefix(strings.TrimPrefix(body, "\r"), "\n")
		check := func(how string, r io.Reader, buf []byte) {
			t.Helper()
			h, rest, _, err := cgi.ReadHeader(r, buf, 1000)
			if err != nil {
				t.Fatalf("%q %s: %v", stream, how, err)
			}
			all, _ := io.ReadAll(r)
			if h.Status != 201 || h.Fields.Get("X-A") != "1" || string(rest)+string(all) != body {
				t.Errorf("%q %s: %+v, body %q, want %q", stream, how, h, string(rest)+string(all), body)
			}
		}
		check("whole", strings.NewReader(stream), nil)
		check("whole, into a buffer", strings.NewReader(stream), make([]byte, 0, 4))
		check("byte by byte", iotest.OneByteReader(strings.NewReader(stream)), nil)
		check("with the end in the last read", iotest.DataErrReader(strings.NewReader(stream)), nil)
		for i := range stream {
			check(fmt.Sprint("cut at ", i), &pieces{[]string{stream[:i], stream[i:]}, io.EOF}, nil)
			check(fmt.Sprint("read before: ", i), strings.NewReader(stream[i:]), []byte(stream[:i]))
		}
	}
}

func TestReadHeaderLimit(t *testing.T) {
	const limit = 200
	block := func(n int) string { return "A: " + strings.Repeat("x", n-len("A: \n\n")) + "\n\n" }
	for _, c := range []struct {
		name   string
		stream string
		seen   int // of it, read before
		ok     bool
	}{
		{"exactly the limit", block(limit), 0, true},
		{"exactly the limit, and a body", block(limit) + "body", 0, true},
		{"one over", block(limit + 1), 0, false},
		{"one over, and a body", block(limit+1) + "body", 0, false},
		{"one over, read before", block(limit + 1), limit + 1, false},
		{"exactly the limit, read before with a body", block(limit) + "body", limit + 4, true},
		{"no end", strings.Repeat("A: 1\n", limit), 0, false},
		{"one line without an end", strings.Repeat("x", 10*limit), 0, false},
		{"exactly the limit in CRLF", "A: " + strings.Repeat("x", limit-7) + "\r\n\r\n", 0, true},
		{"one over in CRLF", "A: " + strings.Repeat("x", limit-6) + "\r\n\r\n", 0, false},
	} {
		for _, one := range []bool{false, true} {
			t.Run(fmt.Sprint(c.name, " one=", one), func(t *testing.T) {
				var r io.Reader = strings.NewReader(c.stream[c.seen:])
				if one {
					r = iotest.OneByteReader(r)
				}
				_, _, whole, err := cgi.ReadHeader(r, []byte(c.stream[:c.seen]), limit)
				var he *cgi.HeaderError
				switch {
				case c.ok && err != nil:
					t.Error(err)
				case !c.ok && !errors.As(err, &he):
					t.Errorf("%v, want a HeaderError", err)
				case len(whole) > max(limit, c.seen):
					t.Errorf("read %d bytes, limit %d", len(whole), limit)
				}
			})
		}
	}
}

// TestReadHeaderLongLines: lines far longer than the 1024 bytes at which gofast
// hangs and net/http/cgi gives up.
func TestReadHeaderLongLines(t *testing.T) {
	for _, n := range []int{1023, 1024, 1025, 4096, 65536, 200 << 10} {
		v := strings.Repeat("v", n)
		h, rest, _, err := cgi.ReadHeader(iotest.HalfReader(strings.NewReader("Set-Cookie: "+v+"\nB: 1\n\nbody")), nil, 256<<10)
		if err != nil {
			t.Errorf("%d: %v", n, err)
			continue
		}
		if h.Fields.Get("Set-Cookie") != v || h.Fields.Get("B") != "1" || !strings.HasPrefix("body", string(rest)) {
			t.Errorf("%d: value of %d, rest %q", n, len(h.Fields.Get("Set-Cookie")), rest)
		}
	}
}

func TestReadHeaderEnds(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range []struct {
		name   string
		stream string
		end    error
		want   error
	}{
		{"nothing said", "", io.EOF, cgi.ErrNoHeader},
		{"in a name", "Con", io.EOF, cgi.ErrNoHeader},
		{"before the empty line", "A: 1\n", io.EOF, cgi.ErrNoHeader},
		{"in the empty line", "A: 1\n\r", io.EOF, cgi.ErrNoHeader},
		{"reader fails at once", "", broken, broken},
		{"reader fails later", "A: 1\n", broken, broken},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, whole, err := cgi.ReadHeader(&pieces{[]string{c.stream}, c.end}, nil, 1000)
			if !errors.Is(err, c.want) || string(whole) != c.stream {
				t.Errorf("%q, %v; want %v", whole, err, c.want)
			}
		})
	}
	if _, _, _, err := cgi.ReadHeader(strings.NewReader(""), nil, 1000); err == nil || !strings.Contains(err.Error(), "said nothing") {
		t.Error(err)
	}
}

// TestReadHeaderGoesOn: a deadline that passes at any byte loses nothing.
func TestReadHeaderGoesOn(t *testing.T) {
	const stream = "Status: 201\r\nX-A: 1\r\n\r\nbody"
	for i := range len(stream) - len("body") {
		r := &pieces{[]string{stream[:i], "", stream[i:]}, io.EOF}
		var buf []byte
		late := 0
		for {
			h, rest, whole, err := cgi.ReadHeader(&lateReader{r}, buf, 1000)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				late++
				buf = whole
				continue
			}
			if err != nil || h.Status != 201 || h.Fields.Get("X-A") != "1" || string(rest) != "body" || late == 0 {
				t.Errorf("late at %d (%d times): %+v, rest %q, %v", i, late, h, rest, err)
			}
			break
		}
	}
}

// lateReader passes its deadline where there is an empty piece.
type lateReader struct{ *pieces }

func (l *lateReader) Read(b []byte) (int, error) {
	if len(l.rest) > 0 && l.rest[0] == "" {
		l.rest = l.rest[1:]
		return 0, os.ErrDeadlineExceeded
	}
	return l.pieces.Read(b)
}

// TestReadHeaderTwice: an interim block and the final one, as the exchange
// reads them.
func TestReadHeaderTwice(t *testing.T) {
	stream := "Status: 103\nLink: </a.css>\n\nStatus: 200\nContent-Type: a/b\n\nbody"
	for _, r := range []io.Reader{strings.NewReader(stream), iotest.OneByteReader(strings.NewReader(stream))} {
		h, rest, whole, err := cgi.ReadHeader(r, make([]byte, 0, 100), 100)
		if err != nil || h.Status != 103 {
			t.Fatal(h, err)
		}
		h, rest, _, err = cgi.ReadHeader(r, whole[:copy(whole, rest)], 100)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r)
		want := &cgi.Header{Status: 200, ContentLength: -1, Fields: fields("Content-Type", "a/b")}
		if d := cmp.Diff(want, h); d != "" || string(append(bytes.Clone(rest), body...)) != "body" {
			t.Errorf("%s rest %q body %q", d, rest, body)
		}
	}
}
