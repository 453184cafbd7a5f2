package cgi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
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
	scanned := 0
	for {
		if n, ok := blockEnd(buf, scanned); ok && n <= limit {
			h, err = ParseHeader(buf[:n])
			return h, buf[n:], buf, err
		}
		// The last three bytes may be the beginning of the end.
		scanned = max(0, len(buf)-3)
		if len(buf) >= limit {
			return nil, nil, buf, &HeaderError{Cause: fmt.Sprintf("longer than %d bytes; it begins %q", limit, start(buf))}
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
				return nil, nil, buf, fmt.Errorf("%w: it said nothing", ErrNoHeader)
			}
			return nil, nil, buf, ErrNoHeader
		}
		if rerr != nil {
			return nil, nil, buf, rerr
		}
	}
}

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

// ParseHeader parses a header block, its empty line included. An error is a
// *HeaderError: a line without a colon, a blank before the colon or at the
// start of a line (folding), a name that is no token, a control byte, a Status
// that is not three digits from 100 to 599, a second Status or Content-Length,
// a Content-Length that is no number, a transfer coding other than chunked, or
// no field at all. A CGI field with an empty value counts as absent (RFC 3875
// section 6.3); of a repeated Location or Content-Type the first one counts.
func ParseHeader(block []byte) (*Header, error) {
	p := &headerParser{h: Header{ContentLength: -1, Fields: make(http.Header, 8)}}
	p.values = p.room[:0]
	h := &p.h
	text := string(block)
	for text != "" {
		line, more, _ := strings.Cut(text, "\n")
		text = more
		p.line++
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			break
		}
		if cause := p.add(line); cause != "" {
			return nil, &HeaderError{Line: p.line, Text: start([]byte(line)), Cause: cause}
		}
	}
	if p.seen == 0 {
		return nil, &HeaderError{Cause: "has no field"}
	}
	if h.Chunked {
		h.ContentLength = -1
	}
	h.Lone = h.Location != "" && p.seen-p.absent == 1
	p.dropNamed()
	return h, nil
}

// headerParser is one allocation with its result.
type headerParser struct {
	h      Header
	line   int
	seen   int
	absent int      // of those seen: no value, so as good as not sent
	named  []string // what Connection named
	values []string // one backing array for the values of all fields: room, while it lasts
	room   [8]string
}

// add takes one line and returns what is wrong with it.
func (p *headerParser) add(line string) (cause string) {
	if line[0] == ' ' || line[0] == '\t' {
		return "begins with a blank"
	}
	name, value, ok := strings.Cut(line, ":")
	switch {
	case !ok:
		return "no colon"
	case strings.HasSuffix(name, " ") || strings.HasSuffix(name, "\t"):
		return "blank before the colon"
	case !isToken(name):
		return "the name is not a token"
	}
	value = strings.Trim(value, " \t")
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return "control byte in the value"
		}
	}
	p.seen++
	key := http.CanonicalHeaderKey(name)
	if act, ok := responsePolicy[key]; ok {
		if value == "" {
			p.absent++
			return ""
		}
		return act(p, key, value)
	}
	p.put(key, value)
	return ""
}

func (p *headerParser) put(key, value string) {
	if have := p.h.Fields[key]; have != nil {
		p.h.Fields[key] = append(have, value)
		return
	}
	p.values = append(p.values, value)
	n := len(p.values)
	p.h.Fields[key] = p.values[n-1 : n : n]
}

// responsePolicy is what a field of an answer does on receipt. A field without
// a row is passed on.
var responsePolicy = map[string]func(p *headerParser, key, value string) string{
	"Status":            (*headerParser).status,
	"Location":          (*headerParser).location,
	"Content-Length":    (*headerParser).contentLength,
	"Content-Type":      (*headerParser).first,
	"Transfer-Encoding": (*headerParser).transferEncoding,
	"Connection":        (*headerParser).connection,
	"Proxy-Connection":  (*headerParser).drop,
	"Keep-Alive":        (*headerParser).drop,
	"Upgrade":           (*headerParser).drop,
	"Trailer":           (*headerParser).drop,
	"Te":                (*headerParser).drop,
}

func (p *headerParser) status(_, v string) string {
	if p.h.Status != 0 {
		return "a second Status"
	}
	if len(v) < 3 || len(v) > 3 && v[3] != ' ' && v[3] != '\t' {
		return "the status is not three digits"
	}
	n := 0
	for _, c := range []byte(v[:3]) {
		if c < '0' || c > '9' {
			return "the status is not three digits"
		}
		n = n*10 + int(c-'0')
	}
	if n < 100 || n > 599 {
		return "the status is not from 100 to 599"
	}
	p.h.Status = n
	return ""
}

func (p *headerParser) location(key, v string) string {
	if p.h.Location == "" {
		p.h.Location = v
		p.put(key, v)
	}
	return ""
}

func (p *headerParser) contentLength(_, v string) string {
	if p.h.ContentLength >= 0 {
		return "a second Content-Length"
	}
	for _, c := range []byte(v) {
		if c < '0' || c > '9' {
			return "the Content-Length is not a number"
		}
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return "the Content-Length is not a number"
	}
	p.h.ContentLength = n
	return ""
}

func (p *headerParser) transferEncoding(_, v string) string {
	if p.h.Chunked || !strings.EqualFold(v, "chunked") {
		return "a transfer coding other than chunked"
	}
	p.h.Chunked = true
	return ""
}

func (p *headerParser) connection(_, v string) string {
	for name := range strings.SplitSeq(v, ",") {
		p.named = append(p.named, http.CanonicalHeaderKey(strings.TrimSpace(name)))
	}
	return ""
}

func (p *headerParser) first(key, v string) string {
	if p.h.Fields[key] == nil {
		p.put(key, v)
	}
	return ""
}

func (p *headerParser) drop(_, _ string) string { return "" }

// dropNamed removes the fields that Connection named (RFC 9110 section 7.6.1);
// never those that an answer cannot do without.
func (p *headerParser) dropNamed() {
	for _, name := range p.named {
		switch name {
		case "Content-Type", "Location", "Set-Cookie", "Content-Encoding":
		default:
			delete(p.h.Fields, name)
		}
	}
}

func isToken(s string) bool {
	if s == "" {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !tokenByte[s[i]] {
			return false
		}
	}
	return true
}

// tokenByte is tchar of RFC 9110 section 5.6.2.
var tokenByte = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// start is the beginning of a text for a message.
func start(b []byte) string {
	if len(b) > 60 {
		b = b[:60]
	}
	return string(b)
}
