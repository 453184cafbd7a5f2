package sendfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
)

// Content is an io.ReadSeeker over a File with an offset of its own: it never uses the position of the descriptor. Its
// size is that of the moment of opening; a file that ends before is an error, not an end. It is safe for concurrent use,
// as http.ServeContent reads it from another goroutine for several ranges.
type Content struct {
	f    *File
	size int64

	resident residency // used by whoever sends

	mu   sync.Mutex
	off  int64
	err  error // the first one
	done bool  // no more reads
}

var errSeek = errors.New("seek to a negative offset")

// Read reads by pread(2) from the content's offset. It returns io.ErrUnexpectedEOF if the file is shorter than it was
// when it was opened. Errors are kept for Err.
func (c *Content) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done {
		return 0, os.ErrClosed
	}
	left := c.size - c.off
	if left <= 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.readAt(p[:min(int64(len(p)), left)], c.off)
	c.off += int64(n)
	switch {
	case err != nil:
		err = &os.PathError{Op: "pread", Path: c.f.name, Err: err}
	case n > 0:
		return n, nil
	default:
		err = fmt.Errorf("%s: %w at byte %d of %d", c.f.name, io.ErrUnexpectedEOF, c.off, c.size)
	}
	c.fail(err)
	return n, err
}

// readAt reads at off, within the bounds of Reads; less than p has is the end of the file.
func (c *Content) readAt(p []byte, off int64) (int, error) {
	if c.f.refs.Load() <= 0 {
		return 0, os.ErrClosed
	}
	return c.resident.reads.fill(c.resident.ctx, begun, c.f, p, off)
}

// admit makes sure, before anything is sent, that the first of n bytes from the offset are in memory. The error is ErrBusy
// or that of the context.
func (c *Content) admit(n int64) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	off := c.off
	c.mu.Unlock()
	if n = min(n, c.size-off); n <= 0 {
		return nil
	}
	_, err := c.resident.next(beginning, c.f, off, off+n)
	return err
}

// Seek sets the offset of the next Read or SendTo. An offset beyond the end is allowed.
func (c *Content) Seek(offset int64, whence int) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += c.off
	case io.SeekEnd:
		offset += c.size
	default:
		return 0, fmt.Errorf("seek: bad whence %d", whence)
	}
	if offset < 0 {
		return 0, errSeek
	}
	c.off = offset
	return offset, nil
}

// Err returns the first error of Read or SendTo; the end of the content is none. It is how the caller of
// http.ServeContent, which keeps such errors to itself, learns of them.
func (c *Content) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// SendTo sends n bytes from the content's offset with Copy, at most to its end, and advances the offset by what was
// sent.
func (c *Content) SendTo(rc syscall.RawConn, n int64, progress func(int64)) (int64, error) {
	c.mu.Lock()
	off, done := c.off, c.done
	c.mu.Unlock()
	if done {
		return 0, os.ErrClosed
	}
	moved, err := c.f.copy(rc, off, min(n, c.size-off), progress, &c.resident)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += moved
	c.fail(err)
	return moved, err
}

// Part unwraps what io.Copy, io.CopyN and http.ServeContent hand to a connection's ReadFrom: a *Content, or an
// *io.LimitedReader around one. n is how many bytes it would yield. The limit's N is the caller's to decrease, if it
// uses the reader again.
func Part(r io.Reader) (c *Content, n int64, ok bool) {
	limit := int64(-1)
	for {
		switch v := r.(type) {
		case *io.LimitedReader:
			if limit < 0 || v.N < limit {
				limit = max(v.N, 0)
			}
			r = v.R
		case *Content:
			v.mu.Lock()
			n = max(v.size-v.off, 0)
			v.mu.Unlock()
			if limit >= 0 {
				n = min(n, limit)
			}
			return v, n, true
		default:
			return nil, 0, false
		}
	}
}

// stop makes sure that no goroutine reads the file any more.
func (c *Content) stop() {
	c.mu.Lock()
	c.done = true
	c.mu.Unlock()
}

func (c *Content) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}
