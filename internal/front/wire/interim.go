// Package wire is HTTP/1.1 messages as bytes.
package wire

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"sort"
	"strings"
)

type Error struct {
	Status int
	Reason string
}

func (e *Error) Error() string { return fmt.Sprintf("%d: %s", e.Status, e.Reason) }

type Head struct {
	Request   http.Request
	KeepAlive bool
	Expect    bool
}

func (h *Head) Reset() { *h = Head{} }

func (h *Head) Parse(b []byte, max int) (int, error) {
	i := bytes.Index(b, []byte("\r\n\r\n"))
	if i < 0 {
		if len(b) > max {
			return 0, &Error{431, "head too long"}
		}
		return 0, nil
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(b[:i+4])))
	if err != nil {
		return 0, &Error{400, err.Error()}
	}
	h.Request = *r
	h.Expect = r.Header.Get("Expect") == "100-continue"
	h.KeepAlive = !r.Close && (r.ProtoAtLeast(1, 1) || strings.EqualFold(r.Header.Get("Connection"), "keep-alive"))
	return i + 4, nil
}

func AppendStatusLine(b []byte, status int) []byte {
	return fmt.Appendf(b, "HTTP/1.1 %d %s\r\n", status, http.StatusText(status))
}

func AppendFields(b []byte, h http.Header, skip func(string) bool) []byte {
	var names []string
	for k := range h {
		if skip == nil || !skip(k) {
			names = append(names, k)
		}
	}
	sort.Strings(names)
	for _, k := range names {
		for _, v := range h[k] {
			b = AppendField(b, k, v)
		}
	}
	return b
}

func AppendField(b []byte, k, v string) []byte { return fmt.Appendf(b, "%s: %s\r\n", k, v) }

var _ io.Reader
