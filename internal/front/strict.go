package front

import "bytes"

// strict watches what a client sends for what net/http lets pass although RFC
// 9112 does not: a folded line (section 5.2), a bare CR (section 2.2), a NUL, a
// second Content-Length, a Content-Length beside a Transfer-Encoding (section
// 6.3), and a Transfer-Encoding in HTTP/1.0. Where a front end and what stands before it disagree on the
// end of a request, the rest is taken for another's request.
//
// It follows the messages byte by byte, just far enough to know where each head
// begins. A head that breaks a rule is cut there and ended with a line that
// net/http refuses: 400 and close.
type strict struct {
	state strictState
	cr    bool // the last byte was a CR

	line   []byte  // name and beginning of the value of the line, lower case
	last   [8]byte // of the request line: its version
	empty  bool    // the line has no byte yet
	first  bool    // the line is the request line
	length int64   // Content-Length; -1: none
	coded  bool    // there was a Transfer-Encoding

	left    int64  // of the body, or of the chunk
	refusal []byte // what is still to be handed out in place of input
	refused bool
}

type strictState uint8

const (
	inHead strictState = iota
	inBody
	inChunkSize
	inChunk
	inChunkEnd
	inTrailer
)

// maxKept is how much of a line is looked at: the longest name and any length.
const maxKept = 64

// refusalText ends any head in the middle of any line so that it is no head.
const refusalText = "\x00\r\n\r\n"

func newStrict() strict { return strict{empty: true, first: true, length: -1} }

// see looks at what was read. It returns how many bytes of it are good: all, or
// those before the fault, and then fill has the rest.
func (s *strict) see(p []byte) int {
	for i := 0; i < len(p); {
		if s.state == inBody || s.state == inChunk {
			n := min(int64(len(p)-i), s.left)
			s.left -= n
			i += int(n)
			if s.left == 0 {
				s.bodyDone()
			}
			continue
		}
		if !s.next(p[i]) {
			s.refused, s.refusal = true, []byte(refusalText)
			return i
		}
		i++
	}
	return len(p)
}

// fill hands out the refusal.
func (s *strict) fill(p []byte) int {
	n := copy(p, s.refusal)
	s.refusal = s.refusal[n:]
	return n
}

func (s *strict) bodyDone() {
	if s.state == inChunk {
		s.state = inChunkEnd
		return
	}
	*s = strict{empty: true, first: true, length: -1, line: s.line[:0]}
}

// next takes one byte outside of a body; false: it breaks a rule.
func (s *strict) next(c byte) bool {
	if s.state != inHead {
		return s.nextCoded(c)
	}
	if c == 0 || s.cr && c != '\n' {
		return false
	}
	s.cr = c == '\r'
	switch {
	case c == '\n':
		return s.endOfLine()
	case c == '\r':
		return true
	case s.empty && !s.first && (c == ' ' || c == '\t'):
		return false // obs-fold
	}
	s.empty = false
	switch {
	case s.first:
		copy(s.last[:], s.last[1:])
		s.last[len(s.last)-1] = c
	case len(s.line) < maxKept:
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		s.line = append(s.line, c)
	}
	return true
}

// endOfLine looks at a whole line of the head.
func (s *strict) endOfLine() bool {
	switch {
	case s.first:
		// Empty lines before a request line are passed over (section 2.2).
		s.first = s.empty
	case s.empty:
		s.endOfHead()
	default:
		name, value, _ := bytes.Cut(s.line, []byte(":"))
		switch string(name) {
		case "content-length":
			n, ok := decimal(bytes.Trim(value, " \t"))
			if !ok || s.length >= 0 || s.coded {
				return false
			}
			s.length = n
		case "transfer-encoding":
			// HTTP/1.0 does not know it: whoever does not ignore it sees another
			// end (section 6.1).
			if s.length >= 0 || string(s.last[:]) != "HTTP/1.1" {
				return false
			}
			s.coded = true
		}
	}
	s.line, s.empty = s.line[:0], true
	return true
}

func (s *strict) endOfHead() {
	switch {
	case s.coded:
		s.state, s.left = inChunkSize, 0
	case s.length > 0:
		s.state, s.left = inBody, s.length
	default:
		s.bodyDone()
	}
}

// nextCoded follows a chunked body. What is wrong with it, the reader of the
// body finds: here it only has to end where that one ends.
func (s *strict) nextCoded(c byte) bool {
	switch s.state {
	case inChunkEnd:
		if c == '\n' {
			s.state, s.left, s.empty = inChunkSize, 0, true
		}
	case inChunkSize:
		s.chunkSize(c)
	case inTrailer:
		if c != '\n' {
			s.empty = s.empty && c == '\r'
			break
		}
		if s.empty {
			s.bodyDone()
			break
		}
		s.empty = true
	}
	return true
}

// chunkSize takes a byte of the line with a chunk's size. empty is true up to
// the end of the digits.
func (s *strict) chunkSize(c byte) {
	digit := int64(-1)
	switch {
	case '0' <= c && c <= '9':
		digit = int64(c - '0')
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		digit = int64(c|0x20-'a') + 10
	}
	switch {
	case c == '\n' && s.left == 0:
		s.state, s.empty = inTrailer, true
	case c == '\n':
		s.state = inChunk
	case digit < 0:
		s.empty = false // an extension, or the CR
	case s.empty && s.left < 1<<55:
		s.left = s.left<<4 | digit
	}
}

// decimal is a number of digits only.
func decimal(b []byte) (n int64, ok bool) {
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
