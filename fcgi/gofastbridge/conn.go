package gofastbridge

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/yookoala/gofast"

	"sluice/cgi"
)

// ConnFactory returns a gofast.ConnFactory whose connections come from t and
// are a *Conn each. gofast tells it neither the request nor its context, so
// ClientFactory, which learns them, is the better choice wherever a
// gofast.ClientFactory can be given.
func ConnFactory(t *Transport) gofast.ConnFactory {
	return func() (net.Conn, error) { return t.conn(context.Background(), false) }
}

func (t *Transport) conn(ctx context.Context, repeatable bool) (*Conn, error) {
	nc, done, err := t.Dial(ctx, repeatable)
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: nc, t: t, done: done, keep: t.KeepConn}, nil
}

// Conn is a connection to an application under gofast's client. It watches the
// records that go by, and so knows what gofast does not look at: how the
// request ended. Each operation has the deadline of its Transport. One request
// at a time can be on it; a second one is an error for both.
type Conn struct {
	net.Conn
	t    *Transport
	done Done
	once sync.Once
	keep bool

	wmu sync.Mutex // a record is written as a whole

	mu     sync.Mutex
	active bool // a request has begun
	filter bool
	sent   bool // its input has been written to its end
	heard  bool
	in     *input
	watch  watch
	err    error
	stop   func() bool
}

var (
	errTwo       = errors.New("gofastbridge: a request began while another was on the connection")
	errNotRecord = errors.New("gofastbridge: a write that is not a FastCGI record")
)

// Err says what went wrong with the request: it wraps cgi.ErrDied where the
// connection ended before END_REQUEST did, which gofast takes for a complete
// answer, and is a *fcgi.StatusError where END_REQUEST refuses the request. nil:
// the answer is complete, or still coming.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Ended says what END_REQUEST said.
func (c *Conn) Ended() (cgi.Ending, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watch.end, c.watch.ended
}

// bind aborts the request when ctx ends.
func (c *Conn) bind(ctx context.Context, in *input) {
	c.in = in
	c.stop = context.AfterFunc(ctx, func() { c.abort(ctxError(ctx)) })
}

// abortTimeout bounds the write of an ABORT_REQUEST.
const abortTimeout = 10 * time.Millisecond

// abort tells the application that nobody waits any longer, unless it would
// have to wait for a record that is being written, and closes the connection.
func (c *Conn) abort(cause error) {
	c.mu.Lock()
	id, active, ended := c.watch.id, c.active, c.watch.ended
	c.mu.Unlock()
	if ended {
		return
	}
	if active && c.wmu.TryLock() {
		c.Conn.SetWriteDeadline(time.Now().Add(abortTimeout))
		c.Conn.Write([]byte{1, recordAbort, byte(id >> 8), byte(id), 0, 0, 0, 0})
		c.wmu.Unlock()
	}
	c.fail(cause)
}

// fail closes the connection below gofast, which is the one way to end its
// goroutines that does it no harm. The first cause counts.
func (c *Conn) fail(err error) error {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	err = c.err
	in := c.in
	c.mu.Unlock()
	in.interrupt()
	c.Conn.Close()
	return err
}

// Read reads from the application. The end of the connection before the end of
// the request is io.ErrUnexpectedEOF.
func (c *Conn) Read(p []byte) (int, error) {
	c.mu.Lock()
	wait := c.t.ReadTimeout
	if !c.heard {
		wait = c.t.HeaderTimeout
	}
	c.mu.Unlock()
	c.Conn.SetReadDeadline(after(wait))
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	c.heard = c.heard || n > 0
	bad := c.watch.take(p[:n])
	ended, in := c.watch.ended, c.in
	c.mu.Unlock()
	if ended {
		in.interrupt() // whatever of the input was not read is not wanted
	}
	if bad != nil {
		return 0, c.fail(bad)
	}
	if err == nil || ended {
		return n, err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return n, c.fail(&Error{Status: http.StatusGatewayTimeout, Err: err})
	}
	c.fail(fmt.Errorf("gofastbridge: %w: %w", cgi.ErrDied, err))
	return n, err
}

// Write takes one record, as gofast writes them.
func (c *Conn) Write(p []byte) (int, error) {
	if len(p) < headerLen || p[0] != 1 {
		return 0, c.fail(errNotRecord)
	}
	if drop, err := c.record(p); drop || err != nil {
		return len(p), err
	}
	if p[1] == recordBegin && len(p) >= headerLen+3 && !c.keep {
		p = append([]byte(nil), p...)
		p[headerLen+2] &^= 1 // gofast always sets FCGI_KEEP_CONN
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.Conn.SetWriteDeadline(after(c.t.WriteTimeout))
	n, err := c.Conn.Write(p)
	if err != nil && c.t.WriteTimeout > 0 {
		// Somebody has to end the reading, which may have no bound.
		var late net.Error
		if errors.As(err, &late) && late.Timeout() {
			c.fail(err)
		}
	}
	return n, err
}

// record looks at a record that gofast writes; drop keeps it from being sent.
func (c *Conn) record(p []byte) (drop bool, err error) {
	id := binary.BigEndian.Uint16(p[2:])
	empty := p[4] == 0 && p[5] == 0
	c.mu.Lock()
	switch kind := p[1]; {
	case kind == recordBegin && c.active && !c.watch.ended:
		err = errTwo
	case kind == recordBegin:
		c.active, c.sent, c.heard = true, false, false
		c.watch = watch{id: id}
		c.filter = len(p) > headerLen+1 && p[headerLen+1] == byte(gofast.RoleFilter)
	case kind == recordAbort:
		// gofast's word for an input that broke off.
		drop = c.watch.ended || id != c.watch.id
	case kind == recordStdin && empty:
		// gofast ends the input properly when its source failed, and the
		// application would take the part for the whole.
		if cause := c.in.failed(); cause != nil {
			err = inputError(cause)
		} else {
			c.sent = !c.filter
		}
	case kind == recordData && empty:
		c.sent = true
	}
	ended := c.watch.ended
	c.mu.Unlock()
	if err != nil && ended {
		return false, err // the answer is complete, and stays so
	}
	if err != nil {
		c.fail(err)
	}
	return drop, err
}

// Close gives the connection back, once. It can be used again if the request
// ended as it should, both ways.
func (c *Conn) Close() error {
	c.once.Do(func() {
		if c.stop != nil {
			c.stop()
		}
		c.mu.Lock()
		whole := c.active && c.watch.ended && c.err == nil
		keep := whole && c.sent && c.keep
		if c.active && !whole && c.err == nil {
			c.err = net.ErrClosed
		}
		err := c.err
		in := c.in
		c.mu.Unlock()
		if keep {
			c.Conn.SetDeadline(time.Time{})
			c.done(c.Conn, nil)
			return
		}
		in.interrupt()
		c.Conn.Close()
		c.done(nil, err)
	})
	return nil
}
