package cgi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// Header is the header block of a child's answer (RFC 3875 section 6.3),
// parsed and checked.
type Header struct {
	// Status is the status code, 100 to 599; 0 when the child gave none.
	Status int
	// Location is the Location field, "" without one. It is in Fields too.
	Location string
	// ContentLength is the length that the child announced; -1 without one.
	// After Chunked it is -1.
	ContentLength int64
	// Chunked says that the child applied the chunked transfer coding to its
	// body, which nobody asked it to do; the body has to be decoded.
	Chunked bool
	// Fields are the fields that may go to the client, by canonical name. It
	// has no Status, Content-Length or Transfer-Encoding, no Connection field
	// nor what that names, and no other field of one connection.
	Fields http.Header
	// Lone says that Location is the only field that has a value, which makes a
	// path a local redirect (RFC 3875 section 6.2.2).
	Lone bool
}

// HeaderError is a header block that cannot be used; Line counts from 1.
type HeaderError struct {
	Line  int
	Text  string // the start of the line
	Cause string
}

func (e *HeaderError) Error() string {
	if e.Line == 0 {
		return "header: " + e.Cause
	}
	return fmt.Sprintf("header line %d (%q): %s", e.Line, e.Text, e.Cause)
}

// ErrNoHeader is an answer that ended before its header block did.
var ErrNoHeader = errors.New("answer ended before the end of its header")

// LocalRedirect returns the path and query of a local redirect, or "". A
// Location that begins with "//" names another host (RFC 3986 section 4.2), and
// one with a fragment is for the client, which alone can use it.
func (h *Header) LocalRedirect() string {
	if h.Lone && h.Status == 0 && strings.HasPrefix(h.Location, "/") && !strings.HasPrefix(h.Location, "//") && !strings.Contains(h.Location, "#") {
		return h.Location
	}
	return ""
}

// Code is the status to answer with: the child's, else 302 where it gave a
// Location (RFC 3875 section 6.2.3), else 200.
func (h *Header) Code() int {
	switch {
	case h.Status != 0:
		return h.Status
	case h.Location != "":
		return http.StatusFound
	}
	return http.StatusOK
}

// ReadHeader reads from r up to the end of the header block, into buf, which
// it lets grow to at most limit bytes. It returns the header, and what was read
// beyond it: the beginning of the body, a part of the buffer returned last.
//
// A block whose end does not come within limit bytes, or that breaks the rules
// of ParseHeader, is a *HeaderError; an end of the stream is ErrNoHeader; any
// other error is the reader's, and ReadHeader may be called again with what it
// returned as buf and seen to go on (a deadline that passed, for instance).
func ReadHeader(r io.Reader, buf []byte, limit int) (h *Header, rest, whole []byte, err error) {
	h = &Header{}
	if rest, whole, err = h.Read(r, buf, limit); err != nil {
		return nil, nil, whole, err
	}
	return h, rest, whole, nil
}

// Read is ReadHeader with a Header that may have been another answer's: its map
// is used again.
func (h *Header) Read(r io.Reader, buf []byte, limit int) (rest, whole []byte, err error) {
	scanned := 0
	for {
		if n, ok := blockEnd(buf, scanned); ok && n <= limit {
			return buf[n:], buf, h.parse(buf[:n], make([]string, 0, bytes.Count(buf[:n], newline)))
		}
		// The last three bytes may be the beginning of the end.
		scanned = max(0, len(buf)-3)
		if len(buf) >= limit {
			return nil, buf, &HeaderError{Cause: fmt.Sprintf("longer than %d bytes; it begins %q", limit, start(buf))}
		}
		if len(buf) == cap(buf) {
			buf = slices.Grow(buf, min(limit-len(buf), max(len(buf), firstRead)))
		}
		n, rerr := r.Read(buf[len(buf):min(cap(buf), limit)])
		buf = buf[:len(buf)+n]
		if n > 0 {
			continue
		}
		if rerr == io.EOF {
			if len(buf) == 0 {
				return nil, buf, fmt.Errorf("%w: it said nothing", ErrNoHeader)
			}
			return nil, buf, ErrNoHeader
		}
		if rerr != nil {
			return nil, buf, rerr
		}
	}
}

var newline = []byte{'\n'}

// firstRead is the size of a buffer that ReadHeader has to make itself.
const firstRead = 4096

// blockEnd finds the end of the header block: an empty line, where a line ends
// with LF or CRLF (RFC 3875 section 7.2). It looks from the offset on.
func blockEnd(b []byte, from int) (int, bool) {
	if from == 0 {
		if len(b) > 0 && b[0] == '\n' {
			return 1, true
		}
		if len(b) > 1 && b[0] == '\r' && b[1] == '\n' {
			return 2, true
		}
	}
	for i := from; ; {
		j := bytes.IndexByte(b[i:], '\n')
		if j < 0 {
			return 0, false
		}
		i += j + 1
		if i < len(b) && b[i] == '\n' {
			return i + 1, true
		}
		if i+1 < len(b) && b[i] == '\r' && b[i+1] == '\n' {
			return i + 2, true
		}
	}
}

// start is the beginning of a text for a message.
func start(b []byte) string {
	if len(b) > 60 {
		b = b[:60]
	}
	return string(b)
}
