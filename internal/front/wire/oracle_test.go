package wire

import (
	"bufio"
	"bytes"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const testLimit = 64 << 10

// stricter are the reasons to refuse what http.ReadRequest accepts; net/http's
// server refuses some of it. Any other reason would be a bug.
var stricter = []*Error{
	errFold,       // joined there
	errBlankColon, // passes there
	errNoHost, errHost, errPort,
	errLength, errLengths, errLengthCoding,
	errCoding, errOldCoding, // not looked at there in HTTP/1.0
	errNoTarget, // of a CONNECT
	errTargetForm, errTargetLong,
	errExpectation, errHeadLong, errFields, errOtherMajor,
}

// read is http.ReadRequest, and how many bytes it took. Empty lines before the
// request are passed over, since only net/http's server does that.
func read(raw string) (*http.Request, int, error) {
	empty := 0
	for range maxEmptyLines {
		rest := raw[empty:]
		empty += len(rest) - len(strings.TrimPrefix(strings.TrimPrefix(rest, "\r\n"), "\n"))
		if strings.HasPrefix(rest, "\r\n\n") { // two at once
			empty--
		}
	}
	src := strings.NewReader(raw[empty:])
	br := bufio.NewReaderSize(src, 1<<17)
	r, err := http.ReadRequest(br)
	return r, len(raw) - src.Len() - br.Buffered(), err
}

// sameRequest compares every field that ParseHead fills.
func sameRequest(t testing.TB, got, want *http.Request) {
	t.Helper()
	same := func(name string, got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %#v, net/http has %#v", name, got, want)
		}
	}
	same("Method", got.Method, want.Method)
	same("URL", got.URL, want.URL)
	same("Proto", got.Proto, want.Proto)
	same("ProtoMajor", got.ProtoMajor, want.ProtoMajor)
	same("ProtoMinor", got.ProtoMinor, want.ProtoMinor)
	same("Header", got.Header, want.Header)
	same("Host", got.Host, want.Host)
	same("RequestURI", got.RequestURI, want.RequestURI)
	same("ContentLength", got.ContentLength, want.ContentLength)
	same("TransferEncoding", got.TransferEncoding, want.TransferEncoding)
	same("Close", got.Close, want.Close)
}

// againstOracle holds ParseHead against http.ReadRequest.
func againstOracle(t testing.TB, raw string) {
	t.Helper()
	var h Head
	n, err := ParseHead([]byte(raw), &h, testLimit)
	want, m, werr := read(raw)
	if n == 0 {
		if werr == nil && (err == nil || !slices.Contains(stricter, err.(*Error))) {
			t.Fatalf("net/http accepts %q, ParseHead does not: %v", raw, err)
		}
		return
	}
	if werr != nil {
		t.Fatalf("net/http refuses %q (%v), ParseHead does not", raw, werr)
	}
	if n != m {
		t.Errorf("the head of %q ends at %d, for net/http at %d", raw, n, m)
	}
	sameRequest(t, &h.Request, want)
}

// inParts feeds ParseHead byte by byte.
func inParts(t testing.TB, raw []byte, h *Head, limit int) (int, error) {
	t.Helper()
	raw = bytes.Clone(raw)
	for i := range len(raw) {
		n, err := ParseHead(raw[:i+1:i+1], h, limit)
		if n != 0 || err != nil {
			return n, err
		}
		if h.seen < i {
			t.Fatalf("of %d bytes, it will look at %d again", i+1, i+1-h.seen)
		}
	}
	return 0, nil
}

func statusOf(err error) int {
	if err == nil {
		return 0
	}
	return err.(*Error).Status
}

// longestSeed keeps the fuzzer from doing nothing but making long ones short.
const longestSeed = 2000

// FuzzParseHead: where both accept, net/http sees the same request; what it
// refuses is refused; and how the bytes arrive makes no difference.
func FuzzParseHead(f *testing.F) {
	for _, c := range headCases {
		if len(c.raw) <= longestSeed {
			f.Add([]byte(c.raw), uint16(0))
		}
	}
	f.Add([]byte(headCases[0].raw), uint16(20))
	f.Fuzz(func(t *testing.T, raw []byte, limit uint16) {
		againstOracle(t, string(raw))
		most := int(limit)
		if most == 0 {
			most = testLimit
		}
		var whole, parts Head
		buf := bytes.Clone(raw)
		n, err := ParseHead(buf, &whole, most)
		if !bytes.Equal(buf[n:], raw[n:]) && n > 0 || !bytes.Equal(bytes.ToLower(buf), bytes.ToLower(raw)) {
			t.Fatalf("%q has become %q", raw, buf)
		}
		pn, perr := inParts(t, raw, &parts, most)
		if n != pn || statusOf(err) != statusOf(perr) {
			t.Fatalf("whole %d, %v; byte by byte %d, %v", n, err, pn, perr)
		}
		if n > most {
			t.Fatalf("%d bytes are more than %d", n, most)
		}
		if n == 0 {
			return
		}
		sameRequest(t, &parts.Request, &whole.Request)
		if whole.KeepAlive != parts.KeepAlive || whole.Continue != parts.Continue {
			t.Fatal("another decision byte by byte")
		}
		// A used Head shows nothing of its past.
		again := parts
		m, err := ParseHead([]byte("GET /b?c HTTP/1.1\r\nHost: d\r\n\r\n"), &again, testLimit)
		if m == 0 || err != nil {
			t.Fatal(m, err)
		}
		want, _, _ := read("GET /b?c HTTP/1.1\r\nHost: d\r\n\r\n")
		sameRequest(t, &again.Request, want)
	})
}
