package gofastbridge

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"os"
	"strconv"
	"sync"
	"time"

	"sluice/cgi"
)

// pieces hold header blocks and pieces of bodies.
var pieces = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// maxInterim bounds the interim answers before the final one.
const maxInterim = 16

// silence is how long an application may say nothing before what it has said is
// sent, so that progress and server-sent events flow.
const silence = 20 * time.Millisecond

// answer reads the header block, interim ones first, and then the body.
func (x *attempt) answer() error {
	bp := pieces.Get().(*[]byte)
	defer pieces.Put(bp)
	buf := (*bp)[:0]
	limit := after(x.HeaderTimeout)
	for range maxInterim {
		h, rest, whole, err := cgi.ReadHeader(&header{x, limit}, buf, x.headerBytes())
		switch {
		case err != nil:
			return x.fail(err)
		case h.Status == http.StatusEarlyHints:
			if x.req.Raw != nil {
				h.SendInterim(x.w, x.req.Raw)
			}
			buf = whole[:copy(whole, rest)]
		case h.Status >= 100 && h.Status < 200:
			return x.fail(fmt.Errorf("status %d is not for an application to send", h.Status))
		default:
			return x.relay(h, rest)
		}
	}
	return x.fail(fmt.Errorf("more than %d interim answers", maxInterim))
}

// header reads from the application up to the time by which the header block
// has to be here.
type header struct {
	x     *attempt
	limit time.Time
}

func (h *header) Read(p []byte) (int, error) {
	var d time.Duration
	if !h.limit.IsZero() {
		d = max(time.Until(h.limit), 1)
	}
	return h.x.read(p, d)
}

// relay passes the answer on. Nothing is sent before the application has filled
// a buffer, paused, or ended, so that an early death can still be a 502.
func (x *attempt) relay(h *cgi.Header, rest []byte) error {
	code := h.Code()
	b := &body{x: x, rest: rest, left: h.ContentLength}
	if h.Chunked {
		b.inner = httputil.NewChunkedReader(rawBody{b})
	}
	if code == http.StatusNoContent || code == http.StatusNotModified {
		x.send(h, code)
		x.settle(nil)
		return nil
	}
	if x.req.Raw != nil && x.req.Raw.Method == http.MethodHead {
		return x.head(h, b)
	}
	bp := pieces.Get().(*[]byte)
	defer pieces.Put(bp)
	for unsent := true; ; {
		n, err := b.next(*bp, unsent)
		whole := err == io.EOF
		if err != nil && err != errPause && !whole {
			return x.fail(err)
		}
		if !x.started {
			x.send(h, code)
		}
		if n > 0 {
			if _, err := x.w.Write((*bp)[:n]); err != nil {
				return x.fail(&Error{Status: clientGone, Err: err})
			}
		}
		if whole {
			x.settle(b.end)
			return nil
		}
		if unsent = err != errPause; !unsent {
			http.NewResponseController(x.w).Flush()
		}
	}
}

// head answers a HEAD. An application that wrote the body all the same has told
// its length, if it is not a long one.
func (x *attempt) head(h *cgi.Header, b *body) error {
	if b.left < 0 {
		bp := pieces.Get().(*[]byte)
		defer pieces.Put(bp)
		n, err := b.next(*bp, true)
		switch {
		case err == io.EOF && n > 0:
			h.ContentLength = int64(n)
		case err != nil && err != errPause && err != io.EOF:
			return x.fail(err)
		}
	}
	x.send(h, h.Code())
	x.settle(b.end)
	return nil
}

// send sends the header. An answer without a Content-Type stays without one:
// guessing could turn text into a page.
func (x *attempt) send(h *cgi.Header, code int) {
	out := x.w.Header()
	for k, v := range h.Fields {
		out[k] = v
	}
	if _, ok := out["Content-Type"]; !ok {
		out["Content-Type"] = nil
	}
	if h.ContentLength >= 0 && code != http.StatusNoContent {
		out.Set("Content-Length", strconv.FormatInt(h.ContentLength, 10))
	}
	x.started = true
	x.w.WriteHeader(code)
}

// body is the body of an answer: it knows where it ends, and how.
type body struct {
	x     *attempt
	rest  []byte // came with the header
	left  int64  // of the Content-Length; -1: unknown
	inner io.Reader
	end   error // io.EOF: END_REQUEST has been read; nil: it has not
}

// errPause is an application that says nothing for a moment.
var errPause = errors.New("pause")

// next reads until p is full, and then returns no error, or until the body
// pauses or ends. It waits as long as ReadTimeout for the first byte, unless
// there is something unsent: then that has to go out first.
func (b *body) next(p []byte, unsent bool) (n int, err error) {
	if b.inner != nil {
		// A decoder cannot be interrupted and go on.
		n, err = b.inner.Read(p)
		switch {
		case errors.Is(err, io.ErrUnexpectedEOF):
			err = fmt.Errorf("%w: the chunked body has no end", cgi.ErrDied)
		case err == nil:
			err = errPause
		}
		return n, err
	}
	for n < len(p) {
		wait := b.x.ReadTimeout
		brief := n > 0 || unsent
		if brief {
			wait = silence
		}
		k, err := b.read(p[n:], wait)
		n += k
		if brief && errors.Is(err, os.ErrDeadlineExceeded) {
			return n, errPause
		}
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// rawBody is the body before the transfer coding is removed.
type rawBody struct{ b *body }

func (r rawBody) Read(p []byte) (int, error) { return r.b.read(p, r.b.x.ReadTimeout) }

// read reads from the body. io.EOF is its end.
func (b *body) read(p []byte, d time.Duration) (n int, err error) {
	if b.left == 0 {
		return 0, io.EOF
	}
	if b.left > 0 && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	if len(b.rest) > 0 {
		n = copy(p, b.rest)
		b.rest = b.rest[n:]
	} else if n, err = b.x.read(p, d); err != nil {
		if err == io.EOF {
			b.end = io.EOF
			if b.left > 0 {
				err = fmt.Errorf("%w: %d bytes short of its Content-Length", cgi.ErrDied, b.left)
			}
		}
		return 0, err
	}
	if b.left > 0 {
		b.left -= int64(n)
	}
	return n, nil
}
