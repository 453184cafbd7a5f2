package exchange

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/cgi"
	"sluice/sendfile"
)

// BodyLimits bound what is taken in of a request's body.
type BodyLimits struct {
	Bytes   int64         // longest body
	Memory  int64         // what stays in memory; the rest goes to a file
	Dir     string        // of the unlinked file
	Timeout time.Duration // without a byte from the client; 0: none
	Rate    int64         // bytes a second that must come in any ten seconds; 0: none
	Spare   Spare         // for the file
}

// Body is a request's body, complete.
type Body struct {
	mem  []byte
	file *os.File
	n    int64
	data *sendfile.File // what a filter is given beside it
	more atomic.Int32   // holders beside the first
}

// nothing is the body of requests that have none: nobody's to give up.
var nothing = &Body{}

// with is the body and the data stream of a filter.
func (b *Body) with(data *sendfile.File) *Body {
	if b == nothing {
		b = &Body{}
	}
	b.data = data
	return b
}

// ReadBody reads the whole body. Its errors are of kind BodyTooLarge (where the
// client announced the length, before a byte has been read), BodyBroken,
// BodyTimeout, ClientGone or SpoolFailed.
func ReadBody(w http.ResponseWriter, r *http.Request, l BodyLimits) (*Body, error) {
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return nothing, nil
	}
	b := &Body{}
	if r.ContentLength > l.Bytes {
		return nil, &Error{Kind: BodyTooLarge, Err: fmt.Errorf("%d bytes, limit %d", r.ContentLength, l.Bytes)}
	}
	src := &clientBody{r: r.Body, left: l.Bytes, ctl: http.NewResponseController(w), timeout: l.Timeout, pace: pace{rate: l.Rate}}
	err := b.read(src, r.ContentLength, l)
	if l.Timeout > 0 || l.Rate > 0 {
		src.ctl.SetReadDeadline(time.Time{})
	}
	if err == nil {
		return b, nil
	}
	b.Close()
	var e *Error
	if errors.As(err, &e) {
		return nil, err
	}
	switch {
	case errors.Is(err, errPace):
		return nil, &Error{Kind: BodyTimeout, Err: fmt.Errorf("slower than %d bytes a second after %d bytes", l.Rate, b.n)}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &Error{Kind: BodyTimeout, Err: fmt.Errorf("nothing for %v after %d bytes", l.Timeout, b.n)}
	case context.Cause(r.Context()) != nil, errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return nil, &Error{Kind: ClientGone, Err: fmt.Errorf("after %d bytes of the body", b.n)}
	}
	return nil, &Error{Kind: BodyBroken, Err: err}
}

func (b *Body) read(src *clientBody, length int64, l BodyLimits) error {
	room := l.Memory
	if length >= 0 {
		room = min(room, length)
	}
	b.mem = make([]byte, 0, max(room, 512))
	for int64(len(b.mem)) < l.Memory {
		if len(b.mem) == cap(b.mem) {
			b.mem = append(b.mem, 0)[:len(b.mem)]
		}
		n, err := src.Read(b.mem[len(b.mem):min(int64(cap(b.mem)), l.Memory)])
		b.mem = b.mem[:len(b.mem)+n]
		b.n += int64(n)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	// Full. One byte more decides whether a file is needed.
	var one [1]byte
	n, err := io.ReadFull(src, one[:])
	if n == 0 {
		if err == io.EOF {
			err = nil
		}
		return err
	}
	return b.toFile(src, one[:], l)
}

func (b *Body) toFile(src io.Reader, head []byte, l BodyLimits) error {
	f, err := unlinkedFile(l.Dir, l.Spare)
	if err != nil {
		return &Error{Kind: SpoolFailed, Err: err}
	}
	b.file = f
	for _, p := range [][]byte{b.mem, head} {
		if _, err := f.Write(p); err != nil {
			return &Error{Kind: SpoolFailed, Err: err}
		}
	}
	b.n += int64(len(head))
	b.mem = nil
	buf := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(buf)
	for {
		n, err := src.Read(*buf)
		if n > 0 {
			if _, werr := f.Write((*buf)[:n]); werr != nil {
				return &Error{Kind: SpoolFailed, Err: werr}
			}
			b.n += int64(n)
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// clientBody reads from the client within the limit, with a deadline for each
// read.
type clientBody struct {
	r       io.Reader
	left    int64
	ctl     *http.ResponseController
	timeout time.Duration
	pace    pace
}

func (c *clientBody) Read(p []byte) (int, error) {
	if c.left == 0 {
		p = p[:1] // is there more than the limit?
	} else if int64(len(p)) > c.left {
		p = p[:c.left]
	}
	n, err := c.timed(p)
	if c.left == 0 && n > 0 {
		return 0, &Error{Kind: BodyTooLarge, Err: errors.New("longer than the limit")}
	}
	c.left -= int64(n)
	return n, err
}

// errPace says that the client is too slow.
var errPace = errors.New("too slow")

// timed reads within the time that there is for it.
func (c *clientBody) timed(p []byte) (int, error) {
	if c.pace.rate == 0 {
		if c.timeout > 0 {
			c.ctl.SetReadDeadline(time.Now().Add(c.timeout))
		}
		return c.r.Read(p)
	}
	left := c.pace.left()
	if left == 0 {
		return 0, errPace
	}
	begin, limit := time.Now(), left
	if c.timeout > 0 {
		limit = min(limit, c.timeout)
	}
	c.ctl.SetReadDeadline(begin.Add(limit))
	n, err := c.r.Read(p)
	if limit == left && n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, errPace
	}
	c.pace.took(n, time.Since(begin))
	return n, err
}

// Len is the length in bytes.
func (b *Body) Len() int64 { return b.n }

// Reader reads the body from its beginning; nil for an empty one.
func (b *Body) Reader() io.Reader {
	switch {
	case b.file != nil:
		return io.NewSectionReader(b.file, 0, b.n)
	case len(b.mem) > 0:
		return bytes.NewReader(b.mem)
	}
	return nil
}

// Input is the body as a script's standard input.
func (b *Body) Input() cgi.Input { return cgi.Input{Memory: b.mem, File: b.file} }

// hold makes one more Close necessary: a child may still be sent the body when
// its answer is known.
func (b *Body) hold() {
	if b != nothing {
		b.more.Add(1)
	}
}

// Close gives the body up.
func (b *Body) Close() {
	if b == nothing || b.more.Add(-1) >= 0 {
		return
	}
	if b.file != nil {
		b.file.Close()
		b.file = nil
	}
	if b.data != nil {
		b.data.Close()
		b.data = nil
	}
	b.mem = nil
}

// unlinkedFile opens a temporary file that has no name, so that nothing is left
// behind whatever happens.
func unlinkedFile(dir string, spare Spare) (*os.File, error) {
	f, err := os.CreateTemp(dir, "sluice-*")
	if spare.helps(err) {
		f, err = os.CreateTemp(dir, "sluice-*")
	}
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
