package exchange

import (
	"errors"
	"fmt"
	"io"
	"net/http/httputil"
	"os"

	"sluice/cgi"
)

// answer is the body of a child's answer: it knows where the body ends and
// whether it ended well.
type answer struct {
	x     *run
	rest  []byte // was read together with the header
	left  int64  // of the Content-Length; -1: unknown
	more  bool   // the child said more than its Content-Length
	inner io.Reader
}

// answered is the body behind a header; rest has been read with it.
func (x *run) answered(h *cgi.Header, rest []byte) *answer {
	a := &x.body
	*a = answer{x: x, rest: rest, left: h.ContentLength}
	if h.Chunked {
		a.inner = httputil.NewChunkedReader(&raw{a})
	}
	return a
}

// Read reads the body. io.EOF is a complete end. os.ErrDeadlineExceeded leaves
// everything as it was, unless the body is chunked.
func (a *answer) Read(p []byte) (int, error) {
	if a.inner != nil {
		n, err := a.inner.Read(p)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = &Error{Kind: Died, Err: errors.New("the chunked body has no end")}
		}
		return n, err
	}
	return a.read(p)
}

// raw is the body before the transfer coding is removed.
type raw struct{ a *answer }

func (r *raw) Read(p []byte) (int, error) { return r.a.read(p) }

func (a *answer) read(p []byte) (int, error) {
	if a.left == 0 {
		a.more = len(a.rest) > 0
		return 0, io.EOF
	}
	if a.left > 0 && int64(len(p)) > a.left {
		p = p[:a.left]
	}
	var n int
	if len(a.rest) > 0 {
		n = copy(p, a.rest)
		a.rest = a.rest[n:]
	} else {
		var err error
		n, err = a.x.conv.Read(p)
		if n == 0 && err != nil {
			return 0, a.end(err)
		}
	}
	if a.left > 0 {
		a.left -= int64(n)
	}
	return n, nil
}

// end judges the end of the child's output.
func (a *answer) end(err error) error {
	switch {
	case err == io.EOF:
	case errors.Is(err, os.ErrDeadlineExceeded):
		return err
	default:
		return a.x.headerError(err) // the same kinds
	}
	if a.left > 0 {
		return &Error{Kind: Died, Err: fmt.Errorf("%d bytes short of its Content-Length", a.left)}
	}
	if end, ok := a.x.conv.Ended(crashWait); ok {
		if end.Signal != 0 {
			return &Error{Kind: Died, Err: errors.New(end.String())}
		}
		if end.Status != 0 && a.x.req.Command.Path == "" { // a script's is noted when it is reaped
			a.x.Log.Warn("child answered and ended badly", a.x.child(), "ending", end)
		}
	}
	return io.EOF
}

// complete reports whether the end is known to be reached, without a read.
func (a *answer) complete() bool { return a.inner == nil && a.left == 0 }
