package wire

import (
	"bytes"
	"net/http"
	"net/url"
)

// Bounds of a head that nobody has to configure.
const (
	MaxTarget = 16 << 10 // bytes of the target; beyond it 414
	MaxFields = 1000     // beyond it 431

	// maxEmptyLines are passed over before a request (RFC 9112 section 2.2):
	// there are clients that end a body with one.
	maxEmptyLines = 2
)

// Head is the head of a request. It is used again for the next one on its
// connection, with everything that hangs on it but the strings: Request, its URL
// and its Header, with the slices in it, are the handler's until Reset. Strings
// may be kept for as long as anybody likes.
//
// So Reset is for when the handler has returned and its answer is written, and
// only where nobody else can still have the request: not after a hijack, or a
// panic. Whoever cannot tell leaves this Head to that request and takes a new
// one.
type Head struct {
	// Request is as net/http fills it, except that Body is http.NoBody, that
	// Trailer is nil (trailers are dropped) and that there is no RemoteAddr, no
	// TLS and no context: these are the caller's. ContentLength says whether
	// there is a body: 0 for none, -1 for a chunked one.
	Request http.Request
	// KeepAlive says that the client wants the connection to live on (RFC 9112
	// section 9.3).
	KeepAlive bool
	// Continue says that the client waits for 100 Continue before it sends the
	// body (RFC 9110 section 10.1.1).
	Continue bool

	at    place
	empty int // lines before the request line
	begin int // of the request line
	line  int // begin of the current line
	seen  int // what is before it has been looked at

	method, target, version int // where each ends, or begins

	fields []field
	url    url.URL
	header http.Header
	values []string // one for each field; the slices in header are parts of it
	coding [1]string
}

// place is where in a head parsing stands.
type place uint8

const (
	beforeHead place = iota
	atMethod
	atTarget
	atVersion
	atFields
	behindHead
)

// field is where a field stands, from the beginning of the request line on.
type field struct{ name, colon, value, end int32 }

// manyFields is how many make it not worth while to keep what was made for them.
const manyFields = 64

// Reset makes h ready for the next request.
func (h *Head) Reset() {
	clear(h.values)
	if max(len(h.fields), len(h.header)) > manyFields {
		h.fields, h.header, h.values = nil, nil, nil
	}
	clear(h.header)
	*h = Head{fields: h.fields[:0], header: h.header, values: h.values[:0]}
}

// ParseHead reads a head at the beginning of buf, and returns its length: 0 where
// it is not complete. Then it is to be called again with the same bytes and more
// behind them; it does not look at the old ones again. A head of more than limit
// bytes is refused. The error is an *Error, as soon as there is reason for one.
//
// It writes to buf: names of fields become canonical in place.
func ParseHead(buf []byte, h *Head, limit int) (n int, err error) {
	if h.at == behindHead {
		h.Reset()
	}
	n, e := h.parse(buf, limit)
	if e != nil {
		return 0, e
	}
	return n, nil
}

// parse finds faults in the order of the bytes, so that how they arrived makes
// no difference.
func (h *Head) parse(buf []byte, limit int) (int, *Error) {
	in := buf[:min(len(buf), limit)]
	if h.at == beforeHead {
		if err := h.skipEmpty(in); err != nil {
			return 0, err
		}
	}
	if h.at >= atMethod && h.at <= atVersion {
		if err := h.requestLine(in); err != nil {
			return 0, err
		}
	}
	if h.at == atFields {
		n, err := h.fieldLines(in)
		if err != nil {
			return 0, err
		}
		if n > 0 {
			h.at = behindHead
			return n, h.fill(string(in[h.begin:n]))
		}
	}
	if len(buf) >= limit {
		return 0, errHeadLong
	}
	return 0, nil
}

// skipEmpty passes over empty lines.
func (h *Head) skipEmpty(in []byte) *Error {
	for h.seen < len(in) {
		i := h.seen
		if in[i] == '\r' {
			if i+1 == len(in) {
				return nil
			}
			i++
		}
		if in[i] != '\n' {
			if i > h.seen {
				return errMethod // a bare CR
			}
			h.at, h.begin = atMethod, i
			return nil
		}
		if h.empty++; h.empty > maxEmptyLines {
			return errEmptyLines
		}
		h.seen = i + 1
	}
	return nil
}

// requestLine reads the line as far as it is there (RFC 9112 section 3).
func (h *Head) requestLine(in []byte) *Error {
	i := h.seen
	defer func() { h.seen = i }()
	if h.at == atMethod {
		for i < len(in) && class[in[i]]&inToken != 0 {
			i++
		}
		switch {
		case i-h.begin > MaxTarget:
			return errTargetLong // so is the line
		case i == len(in):
			return nil
		case in[i] != ' ' || i == h.begin:
			return errMethod
		}
		h.method = i
		i++
		h.at, h.target = atTarget, i
	}
	if h.at == atTarget {
		for i < len(in) && class[in[i]]&inTarget != 0 {
			i++
		}
		switch {
		case i-h.target > MaxTarget:
			return errTargetLong
		case i == len(in):
			return nil
		case in[i] != ' ':
			return errTarget
		case i == h.target:
			return errNoTarget
		}
		i++
		h.at, h.version = atVersion, i
	}
	for ; i < len(in); i++ {
		k := i - h.version
		if k < len(versionForm) {
			if c := in[i]; c != versionForm[k] && (versionForm[k] != '1' || c < '0' || c > '9') {
				return errVersion
			}
			continue
		}
		switch {
		case in[i] == '\n':
			if in[h.version+len("HTTP/")] != '1' {
				return errOtherMajor
			}
			i++
			h.at, h.line = atFields, i
			return nil
		case in[i] != '\r' || k > len(versionForm):
			return errVersion
		}
	}
	return nil
}

// versionForm has a 1 for any digit.
const versionForm = "HTTP/1.1"

// fieldLines reads the fields that are there, and returns the length of the head
// if its end is.
func (h *Head) fieldLines(in []byte) (int, *Error) {
	for {
		i := bytes.IndexByte(in[h.seen:], '\n')
		if i < 0 {
			return 0, h.partLine(in)
		}
		begin, end := h.line, h.seen+i
		h.line, h.seen = end+1, end+1
		if end > begin && in[end-1] == '\r' {
			end--
		}
		if end == begin {
			return h.line, nil
		}
		if err := h.fieldLine(in[:end], begin); err != nil {
			return 0, err
		}
	}
}

// fieldLine reads the field from begin to the end of in (RFC 9112 section 5).
func (h *Head) fieldLine(in []byte, begin int) *Error {
	i, word := begin, 1
	for i < len(in) {
		c := canonical[word][in[i]]
		if c == 0 {
			break
		}
		in[i] = c
		word = 0
		if c == '-' {
			word = 1
		}
		i++
	}
	if i == begin || i == len(in) || in[i] != ':' {
		return nameError(in[begin:], i-begin)
	}
	f := field{name: int32(begin - h.begin), colon: int32(i - h.begin)}
	i++
	end := len(in)
	for i < end && isBlank(in[i]) {
		i++
	}
	for end > i && isBlank(in[end-1]) {
		end--
	}
	if isControlled(in[i:end]) {
		return errControl
	}
	if len(h.fields) == MaxFields {
		return errFields
	}
	f.value, f.end = int32(i-h.begin), int32(end-h.begin)
	h.fields = append(h.fields, f)
	return nil
}

// nameError says what is wrong with a line whose name ends at i, without its
// colon.
func nameError(line []byte, i int) *Error {
	switch {
	case isBlank(line[0]):
		return errFold
	case i == len(line):
		return errNoColon
	case i > 0 && isBlank(line[i]):
		return errBlankColon
	}
	return errName
}

// partLine looks for what is a fault wherever the line ends: nobody waits for
// the end of what is no HTTP at all.
func (h *Head) partLine(in []byte) *Error {
	for i := h.seen; i < len(in); i++ {
		if class[in[i]]&isText != 0 {
			continue
		}
		if in[i] != '\r' || i+1 < len(in) {
			return errControl
		}
		h.seen = i
		return nil
	}
	h.seen = len(in)
	return nil
}
