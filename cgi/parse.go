package cgi

import (
	"net/http"
	"strconv"
	"strings"
)

// ParseHeader parses a header block, its empty line included. An error is a
// *HeaderError: a line without a colon, a blank before the colon or at the
// start of a line (folding), a name that is no token, a control byte, a Status
// that is not three digits from 100 to 599, a second Status or Content-Length,
// a Content-Length that is no number, a transfer coding other than chunked, or
// no field at all. A CGI field with an empty value counts as absent (RFC 3875
// section 6.3); of a repeated Location or Content-Type the first one counts.
func ParseHeader(block []byte) (*Header, error) {
	h := &struct {
		Header
		values [8]string
	}{}
	if err := h.parse(block, h.values[:0]); err != nil {
		return nil, err
	}
	return &h.Header, nil
}

// parse makes h what the block says. The values of all fields are appended to
// values; the answer may outlive h, and they must.
func (h *Header) parse(block []byte, values []string) error {
	fields := h.Fields
	if fields == nil {
		fields = make(http.Header, 8)
	}
	clear(fields)
	*h = Header{ContentLength: -1, Fields: fields}
	p := headerParser{h: h, values: values}
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
			return &HeaderError{Line: p.line, Text: start([]byte(line)), Cause: cause}
		}
	}
	if p.seen == 0 {
		return &HeaderError{Cause: "has no field"}
	}
	if h.Chunked {
		h.ContentLength = -1
	}
	h.Lone = h.Location != "" && p.seen-p.absent == 1
	p.dropNamed()
	return nil
}

type headerParser struct {
	h      *Header
	line   int
	seen   int
	absent int      // of those seen: no value, so as good as not sent
	named  []string // what Connection named
	values []string // one backing array for the values of all fields, while it lasts
}

// add takes one line and returns what is wrong with it.
func (p *headerParser) add(line string) (cause string) {
	if line[0] == ' ' || line[0] == '\t' {
		return "begins with a blank"
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return "no colon"
	}
	key, ok := fieldName(name)
	switch {
	case strings.HasSuffix(name, " ") || strings.HasSuffix(name, "\t"):
		return "blank before the colon"
	case !ok:
		return "the name is not a token"
	}
	value = strings.Trim(value, " \t")
	for i := 0; i < len(value); i++ {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return "control byte in the value"
		}
	}
	p.seen++
	act := responsePolicy[key]
	if act != passOn && value == "" {
		p.absent++
		return ""
	}
	switch act {
	case takeStatus:
		return p.status(value)
	case takeLocation:
		return p.location(key, value)
	case takeLength:
		return p.contentLength(value)
	case takeFirst:
		return p.first(key, value)
	case takeCoding:
		return p.transferEncoding(value)
	case takeConnection:
		return p.connection(value)
	case dropped:
		return ""
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

// action is what a field of an answer does on receipt.
type action uint8

const (
	passOn action = iota // on to the client
	takeStatus
	takeLocation
	takeLength
	takeFirst // of several the first is passed on
	takeCoding
	takeConnection
	dropped
)

// responsePolicy are the fields that are not just passed on.
var responsePolicy = map[string]action{
	"Status":            takeStatus,
	"Location":          takeLocation,
	"Content-Length":    takeLength,
	"Content-Type":      takeFirst,
	"Transfer-Encoding": takeCoding,
	"Connection":        takeConnection,
	"Proxy-Connection":  dropped,
	"Keep-Alive":        dropped,
	"Upgrade":           dropped,
	"Trailer":           dropped,
	"Te":                dropped,
}

func (p *headerParser) status(v string) string {
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

func (p *headerParser) contentLength(v string) string {
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

func (p *headerParser) transferEncoding(v string) string {
	if p.h.Chunked || !strings.EqualFold(v, "chunked") {
		return "a transfer coding other than chunked"
	}
	p.h.Chunked = true
	return ""
}

func (p *headerParser) connection(v string) string {
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

// fieldName is the canonical form of a field's name; false: it is no token. Most
// names are canonical already, and none is looked at twice for that.
func fieldName(name string) (string, bool) {
	canonical, upper := true, true
	for i := 0; i < len(name); i++ {
		c := name[i]
		if !tokenByte[c] {
			return "", false
		}
		if upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			canonical = false
		}
		upper = c == '-'
	}
	if !canonical {
		name = http.CanonicalHeaderKey(name)
	}
	return name, name != ""
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
