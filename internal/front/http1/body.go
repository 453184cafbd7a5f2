package http1

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/front/wire"
)

// body is a request's body: http.Request's Body.
type body struct {
	c    *conn
	asks atomic.Uint32

	mu   sync.Mutex
	in   wire.Body
	over bool // the handler has returned, or has closed it
}

// What became of a client's wish for a 100 before it sends the body (RFC 9110
// section 10.1.1): it is answered when the handler reads first, unless the final
// answer has begun before.
const (
	noWish = iota
	wished
	granted
	passedOver
)

// maxLeft is how much of a body that the handler has not read is thrown away for
// the sake of the next request.
const maxLeft = 256 << 10

// body returns the request's body, and sets it in the request; nil: there is none.
func (c *conn) body(r *http.Request) *body {
	if r.ContentLength == 0 {
		r.Body = http.NoBody
		return nil
	}
	b := &body{c: c}
	b.in.Reset((*input)(c), r.ContentLength, c.s.opt.HeaderBytes)
	if c.work.head.Continue {
		b.asks.Store(wished)
	}
	r.Body = b
	return b
}

// Read implements io.Reader. The end of a body that has been cut off is
// io.ErrUnexpectedEOF.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.read(p)
}

func (b *body) read(p []byte) (int, error) {
	if len(p) > 0 && b.asks.CompareAndSwap(wished, granted) {
		if _, err := b.c.pc.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n")); err != nil {
			return 0, err
		}
	}
	return b.in.Read(p)
}

// Close implements io.Closer: nothing is read any more.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.over = true
	return nil
}

// short reports whether what is left can be thrown away: as far as is known it is
// not much, and the client sends it.
func (b *body) short() bool {
	if !b.mu.TryLock() {
		return true // it is being read, by a handler that writes meanwhile
	}
	defer b.mu.Unlock()
	return b.in.Done() || b.sending() && b.in.Left() <= maxLeft
}

// sending reports whether the client sends the body, or has.
func (b *body) sending() bool {
	a := b.asks.Load()
	return a == noWish || a == granted
}

// answered says that the final answer begins.
func (b *body) answered() { b.asks.CompareAndSwap(wished, passedOver) }

// lock waits for a read that is under way in another goroutine, and ends it.
func (b *body) lock() {
	if !b.mu.TryLock() {
		b.c.pc.SetReadDeadline(time.Unix(1, 0))
		b.mu.Lock()
	}
}

// leave is the end of the handler, or of its right to read.
func (b *body) leave() {
	b.lock()
	defer b.mu.Unlock()
	b.over = true
}

// leftTime is how long what is left of a body is waited for.
const leftTime = 5 * time.Second

// finish ends the body behind the handler, and reports whether all of it has been
// read; want throws away what is left, within bounds.
func (b *body) finish(want bool) bool {
	b.lock()
	defer b.mu.Unlock()
	b.over = true
	if b.in.Done() {
		return true
	}
	if !want || !b.sending() {
		return false
	}
	b.c.pc.SetReadDeadline(time.Now().Add(leftTime))
	n, err := io.CopyN(io.Discard, reader(b.read), maxLeft+1)
	b.c.pc.SetReadDeadline(time.Time{})
	return err == io.EOF && n <= maxLeft
}

type reader func([]byte) (int, error)

func (r reader) Read(p []byte) (int, error) { return r(p) }
