package wire

import "io"

// Input is what a connection has sent, and will send. *bufio.Reader is one.
type Input interface {
	// Read reads into p, from what is buffered if anything is.
	io.Reader
	// Buffered is how many bytes can be had without waiting.
	Buffered() int
	// Peek returns the next n bytes and takes none; it waits for them if they
	// are not buffered. Fewer come with an error.
	Peek(n int) ([]byte, error)
	// Discard takes the next n bytes.
	Discard(n int) (int, error)
}

// Bounds of a chunked body.
const (
	maxSizeDigits = 15
	maxExtension  = 1 << 10  // bytes of the extensions of one chunk
	maxOverhead   = 16 << 10 // see overhead
)

// Body reads the body of a request, and from its Input nothing beyond it.
//
// The error at its end is io.EOF, io.ErrUnexpectedEOF where the connection ends
// first, an *Error where a chunk breaks the grammar; these stay. Any other error
// is the Input's, and reading may go on after it.
type Body struct {
	in    Input
	at    bodyPlace
	left  int64 // of the body, or of the chunk
	fixed bool
	err   error

	digits    int   // of the size
	extension int   // bytes
	overhead  int64 // bytes of framing that no data makes up for
	trailers  int   // bytes that they may still have
}

// bodyPlace is where in a body reading stands.
type bodyPlace uint8

const (
	inData bodyPlace = iota
	inSize
	inExtension
	behindSize // its LF is missing
	behindData // its CR is missing
	behindDataCR
	atTrailer
	inTrailerName
	inTrailerValue
	behindTrailer // its LF is missing
	atEnd         // the last LF is missing
)

// Reset begins a body of the length; -1: it is chunked, and then its trailers
// may have so many bytes.
func (b *Body) Reset(in Input, length int64, trailers int) {
	*b = Body{in: in, left: length, fixed: length >= 0, trailers: trailers}
	if length == 0 {
		b.err = io.EOF
	}
	if length < 0 {
		b.left, b.at = 0, inSize
	}
}

// Done reports whether the body has been read to its end, trailers and all: what
// the Input has next is another message.
func (b *Body) Done() bool { return b.err == io.EOF }

// Left is how many bytes of the body have not been read; -1: the sender has not
// said yet, since the body is chunked.
func (b *Body) Left() int64 {
	if b.fixed || b.Done() {
		return b.left
	}
	return -1
}

// Read implements io.Reader. It waits for the first byte and for no other.
func (b *Body) Read(p []byte) (n int, err error) {
	if len(p) == 0 && b.err == nil {
		return 0, nil
	}
	for b.err == nil {
		if n == len(p) && b.at == inData || n > 0 && b.in.Buffered() == 0 {
			return n, nil
		}
		if b.at != inData {
			if err := b.framing(); err != nil {
				return n, err
			}
			continue
		}
		k, err := b.in.Read(p[n:][:min(int64(len(p)-n), b.left)])
		n += k
		b.left -= int64(k)
		switch {
		case b.left == 0 && b.fixed:
			b.err = io.EOF
		case b.left == 0:
			b.at = behindData
		case err != nil:
			return n, b.cut(err)
		case k == 0:
			return n, nil
		}
	}
	return n, b.err
}

// cut is the error for one of the Input.
func (b *Body) cut(err error) error {
	if err == io.EOF {
		b.err = io.ErrUnexpectedEOF
		return b.err
	}
	return err
}

// framing takes what stands between the data, as far as it is there.
func (b *Body) framing() error {
	in, err := b.in.Peek(max(1, b.in.Buffered()))
	if len(in) == 0 {
		return b.cut(err)
	}
	i := 0
	for i < len(in) && b.at != inData && b.err == nil {
		if e := b.next(in[i]); e != nil {
			b.err = e
		}
		i++
	}
	b.in.Discard(i)
	return nil
}

// next takes one byte of the framing (RFC 9112 section 7.1).
func (b *Body) next(c byte) *Error {
	switch b.at {
	case inSize:
		return b.size(c)
	case inExtension:
		b.extension++
		switch {
		case c == '\r':
			b.at = behindSize
		case class[c]&isText == 0 || b.extension > maxExtension:
			return errExtension
		}
	case behindSize:
		if c != '\n' {
			return errChunkSize
		}
		return b.sized()
	case behindData, behindDataCR:
		if c != "\r\n"[b.at-behindData] {
			return errChunkEnd
		}
		b.at++
		if b.at > behindDataCR {
			b.at, b.digits, b.extension = inSize, 0, 0
		}
	default:
		return b.trailer(c)
	}
	return nil
}

func (b *Body) size(c byte) *Error {
	digit := c - '0'
	if digit > 9 {
		if digit = c | 0x20 - 'a' + 10; digit < 10 || digit > 15 {
			digit = 0xff
		}
	}
	switch {
	case digit <= 15 && b.digits < maxSizeDigits:
		b.left = b.left<<4 | int64(digit)
		b.digits++
	case digit <= 15 || b.digits == 0:
		return errChunkSize
	case c == ';':
		b.at, b.extension = inExtension, 1
	case c == '\r':
		b.at = behindSize
	default:
		return errChunkSize
	}
	return nil
}

// sized is for the line with a size, which has been read. Small chunks are
// right, and so is an extension now and then; but a sender must not keep us busy
// with them. The measure is net/http's: 16 bytes a chunk, and 2 for each byte of
// data.
func (b *Body) sized() *Error {
	b.overhead = max(0, b.overhead+int64(b.digits+b.extension+2)-16-2*b.left)
	switch {
	case b.overhead > maxOverhead:
		return errOverhead
	case b.left == 0:
		b.at = atTrailer
	default:
		b.at = inData
	}
	return nil
}

// trailer takes one byte behind the last chunk. Trailers are fields, and
// nothing is done with them; the limit is on their lines.
func (b *Body) trailer(c byte) *Error {
	switch {
	case b.at == atTrailer && c == '\r':
		b.at = atEnd
		return nil
	case b.at == atEnd && c == '\n':
		b.err = io.EOF
		return nil
	}
	if b.trailers--; b.trailers < 0 {
		return errTrailerLong
	}
	switch {
	case (b.at == atTrailer || b.at == inTrailerName) && class[c]&inToken != 0:
		b.at = inTrailerName
	case b.at == inTrailerName && c == ':':
		b.at = inTrailerValue
	case b.at == inTrailerValue && class[c]&isText != 0:
	case b.at == inTrailerValue && c == '\r':
		b.at = behindTrailer
	case b.at == behindTrailer && c == '\n':
		b.at = atTrailer
	default:
		return errTrailer
	}
	return nil
}
