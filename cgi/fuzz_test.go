package cgi_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/cgi"
)

// chunks reads a text in pieces whose lengths the fuzzer chose.
type chunks struct {
	rest []byte
	cuts []byte
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := len(c.rest)
	if len(c.cuts) > 0 {
		n = int(c.cuts[0])%16 + 1
		c.cuts = c.cuts[1:]
	}
	n = copy(p[:min(n, len(p))], c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// FuzzReadHeader: however the stream is cut the result is the same; what is
// accepted can be sent to a client, and is what another reader of such fields
// understands.
func FuzzReadHeader(f *testing.F) {
	f.Add([]byte("Status: 200 OK\r\nContent-Type: a/b\r\nSet-Cookie: x\r\nSet-Cookie: y\r\n\r\nbody"), []byte("\x00\x01\x02"))
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		const limit = 4096
		h, body, err := readAll(bytes.NewReader(stream), limit)
		for _, r := range []io.Reader{&chunks{stream, cuts}, &chunks{stream, make([]byte, len(stream))}} {
			h2, body2, err2 := readAll(r, limit)
			if d := cmp.Diff(h, h2); d != "" || errorText(err) != errorText(err2) || !bytes.Equal(body, body2) {
				t.Fatalf("%q: cut differently: %s, %v and %v, bodies %q and %q", stream, d, err, err2, body, body2)
			}
		}
		if err != nil {
			var he *cgi.HeaderError
			if h != nil || !errors.As(err, &he) && !errors.Is(err, cgi.ErrNoHeader) {
				t.Fatalf("%q: %v, %v", stream, h, err)
			}
			return
		}
		if h.Status != 0 && (h.Status < 100 || h.Status > 599) || h.ContentLength < -1 || h.Chunked && h.ContentLength >= 0 {
			t.Errorf("%q: %+v", stream, h)
		}
		checkFields(t, h, stream[:len(stream)-len(body)])
	})
}

func readAll(r io.Reader, limit int) (*cgi.Header, []byte, error) {
	h, rest, _, err := cgi.ReadHeader(r, nil, limit)
	if err != nil {
		return nil, nil, err
	}
	more, _ := io.ReadAll(r)
	return h, slices.Concat(rest, more), nil
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// checkFields compares with net/textproto, which knows no fields by meaning.
func checkFields(t *testing.T, h *cgi.Header, block []byte) {
	oracle, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(block))).ReadMIMEHeader()
	if err != nil {
		t.Errorf("%q: textproto refuses it: %v", block, err)
	}
	for name, values := range h.Fields {
		if http.CanonicalHeaderKey(name) != name || name == "" || strings.ContainsAny(name, "\r\n\x00: \t") {
			t.Errorf("%q: name %q", block, name)
		}
		for _, v := range values {
			if strings.ContainsAny(v, "\r\n\x00") {
				t.Errorf("%q: value %q of %s", block, v, name)
			}
		}
		switch name {
		case "Status", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "Upgrade", "Trailer", "Te":
			t.Errorf("%q: %s was passed on", block, name)
		case "Content-Type", "Location": // the first that has a value
			if !slices.Contains(oracle[name], values[0]) || len(values) != 1 {
				t.Errorf("%q: %s is %q, textproto %q", block, name, values, oracle[name])
			}
		default:
			if !slices.Equal(values, oracle[name]) {
				t.Errorf("%q: %s is %q, textproto %q", block, name, values, oracle[name])
			}
		}
	}
}

// FuzzVariable: whatever a client calls its fields, variables have proper names,
// none poses as another, and the dangerous ones are never set.
func FuzzVariable(f *testing.F) {
	f.Add("X-Forwarded-For", "X_Forwarded_For")
	f.Fuzz(func(t *testing.T, a, b string) {
		va, vb := variableOf(t, a), variableOf(t, b)
		if va == vb && va != "" && !strings.EqualFold(a, b) {
			t.Errorf("%q and %q share %s", a, b, va)
		}
	})
}

func variableOf(t *testing.T, field string) (variable string) {
	r := &http.Request{Method: "GET", Proto: "HTTP/1.1", Header: http.Header{field: {"v"}}}
	r.URL = request("GET", "/").Request.URL
	(&cgi.Meta{Request: r}).Each(func(name, value string) {
		if !strings.HasPrefix(name, "HTTP_") {
			return
		}
		if variable != "" || value != "v" {
			t.Errorf("%q gives %s and %s=%q", field, variable, name, value)
		}
		variable = name
	})
	if strings.Trim(variable, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
		t.Errorf("%q gives %q", field, variable)
	}
	for _, never := range []string{"HTTP_PROXY", "HTTP_AUTHORIZATION", "HTTP_CONTENT_LENGTH", "HTTP_X_SENDFILE", "HTTP_X_ACCEL_"} {
		if variable == never || strings.HasPrefix(variable, never) && strings.HasSuffix(never, "_") {
			t.Errorf("%q gives %s", field, variable)
		}
	}
	return variable
}

// FuzzLines: how errors are cut into writes does not matter, no line is longer
// than asked for, and none has a line end.
func FuzzLines(f *testing.F) {
	f.Add("a\r\nbb\n\nlonger than it may be", []byte("\x00\x03"))
	f.Fuzz(func(t *testing.T, text string, cuts []byte) {
		want := cut(10, text)
		var writes []string
		r, b := &chunks{[]byte(text), cuts}, make([]byte, 16)
		for n, err := r.Read(b); err == nil; n, err = r.Read(b) {
			writes = append(writes, string(b[:n]))
		}
		if got := cut(10, writes...); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", writes, got, want)
		}
		for _, l := range want {
			if len(l) > 10 || l == "" || strings.ContainsAny(l, "\n") || strings.HasSuffix(l, "\r") {
				t.Errorf("%q gives the line %q", text, l)
			}
		}
	})
}
