package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

const trailerLimit = 200

// bodyCases are chunked bodies and what becomes of them: -1 for those that are
// cut. What comes behind the body is "next".
var bodyCases = []struct {
	name, raw string
	status    int
	data      string // also of those that are refused: what was good
}{
	{"one chunk", "5\r\n12345\r\n0\r\n\r\nnext", 0, "12345"},
	{"two chunks", "1\r\na\r\n2\r\nbc\r\n0\r\n\r\nnext", 0, "abc"},
	{"no chunk", "0\r\n\r\nnext", 0, ""},
	{"digits of both cases", "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\nnext", 0, "01234567890123456789"},
	{"zeros", "0005\r\n12345\r\n00000\r\n\r\nnext", 0, "12345"},
	{"15 digits", "000000000000005\r\n12345\r\n0\r\n\r\nnext", 0, "12345"},
	{"16 digits", "0000000000000005\r\n12345\r\n0\r\n\r\nnext", 400, ""},
	{"largest size of 64 bits", "ffffffffffffffff\r\n", 400, ""},
	{"size beyond 64 bits", "10000000000000005\r\n12345\r\n0\r\n\r\nnext", 400, ""},
	{"data with line ends", "8\r\n\r\n0\r\n\r\n\n\r\n0\r\n\r\nnext", 0, "\r\n0\r\n\r\n\n"},
	{"empty size", "\r\n\r\nnext", 400, ""},
	{"no size", ";a\r\n\r\nnext", 400, ""},
	{"bad digit", "g\r\n", 400, ""},
	{"bad digit behind a good one", "5g\r\n12345\r\n", 400, ""},
	{"at sign", "@\r\n", 400, ""},
	{"backquote", "`\r\n", 400, ""},
	{"colon", ":\r\n", 400, ""},
	{"sign", "+5\r\n12345\r\n", 400, ""},
	{"minus", "-5\r\n12345\r\n", 400, ""},
	{"0x", "0x5\r\n12345\r\n", 400, ""},
	{"underscore", "1_0\r\n", 400, ""},
	{"byte above ASCII", "\xb5\r\n12345\r\n", 400, ""},
	{"blank before the size", " 5\r\n12345\r\n", 400, ""},
	{"blank behind the size", "5 \r\n12345\r\n0\r\n\r\nnext", 400, ""},
	{"tab behind the size", "5\t\r\n12345\r\n0\r\n\r\nnext", 400, ""},
	{"blank before the extension", "5 ;a\r\n12345\r\n0\r\n\r\nnext", 400, ""},
	{"LF behind the size", "5\n12345\r\n0\r\n\r\nnext", 400, ""},
	{"CR behind the size", "5\r12345\r\n0\r\n\r\nnext", 400, ""},
	{"two CR behind the size", "5\r\r\n12345\r\n0\r\n\r\nnext", 400, ""},
	{"LF behind the data", "5\r\n12345\n0\r\n\r\nnext", 400, "12345"},
	{"CR behind the data", "5\r\n12345\r0\r\n\r\nnext", 400, "12345"},
	{"nothing behind the data", "5\r\n123450\r\n\r\nnext", 400, "12345"},
	{"more data than the size", "5\r\n123456\r\n0\r\n\r\nnext", 400, "12345"},

	{"extension", "5;a\r\n12345\r\n0;b=c;d\r\n\r\nnext", 0, "12345"},
	{"empty extension", "5;\r\n12345\r\n0\r\n\r\nnext", 0, "12345"},
	{"quoted extension", "5;a=\"b c;\\\"\" ; d\r\n12345\r\n0\r\n\r\nnext", 0, "12345"},
	{"longest extension", "5;" + strings.Repeat("a", maxExtension-2) + "\r\n12345\r\n0\r\n\r\nnext", 0, "12345"},
	{"extension too long", "5;" + strings.Repeat("a", maxExtension) + "\r\n12345\r\n0\r\n\r\nnext", 400, ""},
	{"LF in the extension", "5;a\nb\r\n12345\r\n0\r\n\r\nnext", 400, ""},
	{"CR in the extension", "5;a\rb\r\n12345\r\n0\r\n\r\nnext", 400, ""},
	{"NUL in the extension", "5;a\x00\r\n12345\r\n0\r\n\r\nnext", 400, ""},
	{"one byte a chunk", strings.Repeat("1\r\na\r\n", 10000) + "0\r\n\r\nnext", 0, strings.Repeat("a", 10000)},
	{"one extension and many chunks", "1;" + strings.Repeat("a", 1000) + "\r\nb\r\n" + strings.Repeat("1\r\nb\r\n", 100) + "0\r\n\r\nnext", 0, strings.Repeat("b", 101)},
	{"nothing but extensions", strings.Repeat("1;"+strings.Repeat("a", 1000)+"\r\nb\r\n", 100) + "0\r\n\r\nnext", 400, strings.Repeat("b", 16)},

	{"trailers", "1\r\na\r\n0\r\nA: b\r\nC:\r\n\r\nnext", 0, "a"},
	{"trailer of LF", "0\r\nA: b\n\r\nnext", 400, ""},
	{"end of LF", "0\r\n\nnext", 400, ""},
	{"end of LF behind a trailer", "0\r\nA: b\r\n\nnext", 400, ""},
	{"end of CR", "0\r\n\rnext", 400, ""},
	{"last chunk of LF", "0\n\r\nnext", 400, ""},
	{"trailer without colon", "0\r\nA\r\n\r\nnext", 400, ""},
	{"trailer without name", "0\r\n: a\r\n\r\nnext", 400, ""},
	{"trailer with a blank before the colon", "0\r\nA : b\r\n\r\nnext", 400, ""},
	{"folded trailer", "0\r\nA: b\r\n c\r\n\r\nnext", 400, ""},
	{"blank as a trailer", "0\r\n \r\n\r\nnext", 400, ""},
	{"CR in a trailer", "0\r\nA: b\rc\r\n\r\nnext", 400, ""},
	{"NUL in a trailer", "0\r\nA: b\x00\r\n\r\nnext", 400, ""},
	{"request for a trailer", "0\r\nGET / HTTP/1.1\r\n\r\nnext", 400, ""},
	{"longest trailers", "0\r\nA: " + strings.Repeat("a", trailerLimit-5) + "\r\n\r\nnext", 0, ""},
	{"trailers too long", "0\r\nA: " + strings.Repeat("a", trailerLimit-4) + "\r\n\r\nnext", 431, ""},
	{"many trailers", "0\r\n" + strings.Repeat("A: b\r\n", 40) + "\r\nnext", 431, ""},

	{"nothing", "", -1, ""},
	{"cut in the size", "5", -1, ""},
	{"cut in the extension", "5;a", -1, ""},
	{"cut behind the size", "5\r\n", -1, ""},
	{"cut in the data", "5\r\n123", -1, "123"},
	{"cut behind the data", "5\r\n12345", -1, "12345"},
	{"cut behind a chunk", "5\r\n12345\r\n", -1, "12345"},
	{"cut behind the last chunk", "5\r\n12345\r\n0\r\n", -1, "12345"},
	{"cut in a trailer", "0\r\nA: b", -1, ""},
	{"cut behind a trailer", "0\r\nA: b\r\n", -1, ""},
	{"cut before the last LF", "0\r\n\r", -1, ""},
}

// readBody reads a chunked body, by pieces of the size, and what is behind it.
func readBody(in *bufio.Reader, piece, limit int) (data, rest string, err error) {
	var b Body
	b.Reset(in, -1, limit)
	var out bytes.Buffer
	p := make([]byte, piece)
	for err == nil {
		var n int
		n, err = b.Read(p)
		out.Write(p[:n])
	}
	if n, again := b.Read(p); n != 0 || again != err {
		return "", "", errors.New("the error does not stay")
	}
	if err == io.EOF {
		err = nil
	}
	if b.Done() != (err == nil) || (b.Left() == 0) != b.Done() {
		return "", "", errors.New("Done or Left is something else than io.EOF")
	}
	r, _ := io.ReadAll(in)
	return out.String(), string(r), err
}

var inputs = []struct {
	name string
	open func(raw string) *bufio.Reader
}{
	{"at once", func(raw string) *bufio.Reader { return bufio.NewReaderSize(strings.NewReader(raw), 64<<10) }},
	{"small buffer", func(raw string) *bufio.Reader { return bufio.NewReaderSize(strings.NewReader(raw), 16) }},
	{"by bytes", func(raw string) *bufio.Reader { return bufio.NewReader(iotest.OneByteReader(strings.NewReader(raw))) }},
	{"error with the data", func(raw string) *bufio.Reader { return bufio.NewReader(iotest.DataErrReader(strings.NewReader(raw))) }},
}

func TestChunked(t *testing.T) {
	for _, c := range bodyCases {
		t.Run(c.name, func(t *testing.T) {
			for _, in := range inputs {
				for _, piece := range []int{1, 3, 4096} {
					data, rest, err := readBody(in.open(c.raw), piece, trailerLimit)
					var e *Error
					switch {
					case c.status < 0 && err != io.ErrUnexpectedEOF,
						c.status > 0 && (!errors.As(err, &e) || e.Status != c.status),
						c.status == 0 && (err != nil || rest != "next"),
						data != c.data:
						t.Fatalf("%s, pieces of %d: %q, %v, and behind it %q", in.name, piece, data, err, rest)
					}
				}
			}
		})
	}
}

// stricterBodies are the reasons to refuse a body that net/http reads.
var stricterBodies = []*Error{errChunkSize, errExtension, errTrailer, errTrailerLong}

// FuzzChunked: net/http finds the same data and the same end; what it refuses is
// refused; how the bytes arrive and are read makes no difference.
func FuzzChunked(f *testing.F) {
	for _, c := range bodyCases {
		if len(c.raw) <= longestSeed {
			f.Add(c.raw)
		}
	}
	f.Fuzz(func(t *testing.T, raw string) {
		data, rest, err := readBody(inputs[0].open(raw), 4096, trailerLimit)
		for _, in := range inputs[1:] {
			d, r, e := readBody(in.open(raw), 1+rand.IntN(5), trailerLimit)
			if d != data || e != err || err == nil && r != rest {
				t.Fatalf("at once %q, %v, %q; %s %q, %v, %q", data, err, rest, in.name, d, e, r)
			}
		}
		src := strings.NewReader("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
		br := bufio.NewReaderSize(src, 1<<17)
		r, oerr := http.ReadRequest(br)
		if oerr != nil {
			t.Fatal(oerr)
		}
		want, oerr := io.ReadAll(r.Body)
		var e *Error
		switch {
		case err == nil && oerr != nil:
			t.Fatalf("net/http refuses %q: %v", raw, oerr)
		case errors.As(err, &e) && oerr == nil && !slices.Contains(stricterBodies, e):
			t.Fatalf("net/http reads %q, and here it is %v", raw, err)
		case err == io.ErrUnexpectedEOF && oerr == nil:
			t.Fatalf("net/http finds an end in %q", raw)
		case err == nil:
			wantRest, _ := io.ReadAll(br)
			if data != string(want) || rest != string(wantRest) {
				t.Fatalf("%q and %q, for net/http %q and %q", data, rest, want, wantRest)
			}
		}
	})
}

func TestFixedLength(t *testing.T) {
	tests := []struct {
		name   string
		length int64
		raw    string
		data   string
		err    error
	}{
		{"whole", 5, "12345next", "12345", nil},
		{"nothing", 0, "next", "", nil},
		{"cut", 5, "123", "123", io.ErrUnexpectedEOF},
		{"cut before it", 5, "", "", io.ErrUnexpectedEOF},
		{"larger than any buffer", 100000, strings.Repeat("a", 100000) + "next", strings.Repeat("a", 100000), nil},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			for _, in := range inputs {
				br := in.open(c.raw)
				var b Body
				b.Reset(br, c.length, 0)
				if b.Left() != c.length {
					t.Errorf("%s: of %d bytes, %d are left", in.name, c.length, b.Left())
				}
				data, err := io.ReadAll(&b)
				rest, _ := io.ReadAll(br)
				if string(data) != c.data || err != c.err || b.Done() != (c.err == nil) {
					t.Errorf("%s: %q, %v, Done %v", in.name, data, err, b.Done())
				}
				if want := c.length - int64(len(c.data)); b.Left() != want {
					t.Errorf("%s: %d are left at the end, not %d", in.name, b.Left(), want)
				}
				if want := c.raw[len(c.data):]; string(rest) != want {
					t.Errorf("%s: left %q", in.name, rest)
				}
			}
		})
	}
}

// The last bytes come with the end: one read less.
func TestEndComesWithTheData(t *testing.T) {
	for _, c := range []struct {
		raw    string
		length int64
	}{{"12345", 5}, {"5\r\n12345\r\n0\r\n\r\n", -1}} {
		var b Body
		b.Reset(bufio.NewReader(strings.NewReader(c.raw)), c.length, 0)
		if n, err := b.Read(make([]byte, 10)); n != 5 || err != io.EOF {
			t.Errorf("%q: %d, %v", c.raw, n, err)
		}
		b.Reset(bufio.NewReader(strings.NewReader(c.raw)), c.length, 0)
		if n, err := b.Read(nil); n != 0 || err != nil {
			t.Errorf("reading nothing of %q: %d, %v", c.raw, n, err)
		}
	}
}

// stutter fails between any two bytes.
type stutter struct {
	r    io.Reader
	fail bool
}

func (s *stutter) Read(p []byte) (int, error) {
	if s.fail = !s.fail; s.fail {
		return 0, os.ErrDeadlineExceeded
	}
	return s.r.Read(p[:1])
}

// A deadline that passes is not the end of the body.
func TestReadingGoesOnAfterADeadline(t *testing.T) {
	for _, c := range []struct {
		raw    string
		length int64
	}{{"12345", 5}, {"5\r\n12345\r\n0\r\nA: b\r\n\r\n", -1}} {
		var b Body
		b.Reset(bufio.NewReader(&stutter{r: strings.NewReader(c.raw)}), c.length, trailerLimit)
		var data []byte
		p := make([]byte, 10)
		late := 0
		for range 1000 {
			n, err := b.Read(p)
			data = append(data, p[:n]...)
			if err == io.EOF {
				break
			}
			if err != nil && err != os.ErrDeadlineExceeded {
				t.Fatal(err)
			}
			if err != nil {
				late++
			}
		}
		if string(data) != "12345" || !b.Done() || late == 0 {
			t.Errorf("%q: %q, Done %v, %d times late", c.raw, data, b.Done(), late)
		}
	}
}

// What has come is handed out before anything is waited for.
func TestReadDoesNotWaitForMore(t *testing.T) {
	for _, c := range []struct {
		raw    string
		length int64
	}{{"123", 5}, {"3\r\n123", -1}, {"3\r\n123\r\n", -1}, {"3\r\n123\r\n2", -1}, {"1\r\n1\r\n2\r\n23\r\n0\r\n", -1}} {
		r, w := io.Pipe()
		go io.WriteString(w, c.raw)
		var b Body
		b.Reset(bufio.NewReader(r), c.length, 0)
		if n, err := b.Read(make([]byte, 100)); n != 3 || err != nil {
			t.Errorf("%q: %d, %v", c.raw, n, err)
		}
		w.Close()
	}
}
