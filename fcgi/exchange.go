package fcgi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"sluice/cgi"
)

// Exchange is the conversation with an application about one request. It
// implements cgi.Conversation. One that is over may Begin another.
type Exchange struct {
	nc     net.Conn
	stderr io.Writer

	pooled *[]byte // what buf is of
	buf    []byte  // buf[r:w] has been read from the connection
	r, w   int

	kind recordType // of the current record
	left int        // content of the current record not read yet
	pad  int        // padding behind it

	keep  bool // the request asked for FCGI_KEEP_CONN
	err   error
	end   cgi.Ending
	ended bool

	mu          sync.Mutex
	open        bool      // Interrupt must not reach the connection's next request
	interrupted bool      // no Read waits until the next SetReadDeadline
	reading     bool      // a Read is in the connection
	deadline    time.Time // of the Reads to come
	set         time.Time // what the connection has been told of it
	inputErr    error     // why the upload closed the connection

	uploadDone chan struct{} // nil: the whole input went out with the request
	uploadErr  error
}

const readBuffer = 32 << 10

var readBuffers = sync.Pool{New: func() any { b := make([]byte, readBuffer); return &b }}

// start makes the exchange that of a request which has been sent.
func (e *Exchange) start(nc net.Conn, req *Request) {
	e.nc, e.stderr, e.keep = nc, req.Stderr, req.KeepConn
	e.pooled = readBuffers.Get().(*[]byte)
	e.buf, e.r, e.w = *e.pooled, 0, 0
	e.kind, e.left, e.pad = 0, 0, 0
	e.err, e.end, e.ended = nil, cgi.Ending{}, false
	e.uploadDone, e.uploadErr = nil, nil
	e.mu.Lock()
	defer e.mu.Unlock()
	e.open, e.interrupted, e.reading, e.inputErr = true, false, false, nil
	e.deadline, e.set = time.Time{}, time.Time{}
}

// Read reads the application's standard output. It is io.EOF at END_REQUEST,
// a *StatusError where that refuses the request, and wraps cgi.ErrDied where
// the connection ended, or ceased to make sense, before it; an *InputError
// where it is the input that failed.
func (e *Exchange) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for e.err == nil {
		if e.left > 0 && e.kind == typeStdout {
			return e.content(p)
		}
		if err := e.step(); err != nil {
			return 0, err
		}
	}
	return 0, e.err
}

// content copies from the current STDOUT record.
func (e *Exchange) content(p []byte) (int, error) {
	if e.r == e.w {
		if len(p) >= len(e.buf)/2 {
			// A long read into an empty buffer needs no copy.
			n, err := e.read(p[:min(len(p), e.left)])
			e.left -= n
			if n > 0 {
				return n, nil
			}
			return 0, e.readError(err)
		}
		if err := e.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p[:min(len(p), e.left)], e.buf[e.r:e.w])
	e.r += n
	e.left -= n
	return n, nil
}

// step makes progress up to the next STDOUT content or the end. Whatever it
// has taken is remembered, so that it may fail for a deadline at any byte.
func (e *Exchange) step() error {
	switch {
	case e.left > 0 && e.kind == typeEnd:
		return e.endRequest()
	case e.left > 0 && e.kind == typeStderr && e.stderr != nil:
		return e.errorOutput()
	case e.left > 0:
		return e.skip(&e.left)
	case e.pad > 0:
		return e.skip(&e.pad)
	}
	if err := e.need(headerLen); err != nil {
		return err
	}
	h := e.buf[e.r : e.r+headerLen]
	e.r += headerLen
	if h[0] != version {
		return e.broken(fmt.Errorf("record of version %d", h[0]))
	}
	e.kind = recordType(h[1])
	e.left = int(binary.BigEndian.Uint16(h[4:]))
	e.pad = int(h[6])
	if id := binary.BigEndian.Uint16(h[2:]); id != requestID {
		e.kind = 0 // another request's: skipped
	} else if e.kind == typeEnd && e.left < 8 {
		return e.broken(fmt.Errorf("END_REQUEST of %d bytes", e.left))
	}
	return nil
}

func (e *Exchange) errorOutput() error {
	if e.r == e.w {
		if err := e.fill(); err != nil {
			return err
		}
	}
	n := min(e.left, e.w-e.r)
	e.stderr.Write(e.buf[e.r : e.r+n])
	e.r += n
	e.left -= n
	return nil
}

func (e *Exchange) skip(n *int) error {
	if e.r == e.w {
		if err := e.fill(); err != nil {
			return err
		}
	}
	k := min(*n, e.w-e.r)
	e.r += k
	*n -= k
	return nil
}

func (e *Exchange) endRequest() error {
	if err := e.need(8); err != nil {
		return err
	}
	body := e.buf[e.r : e.r+8]
	e.r += 8
	e.left -= 8
	e.ended = true
	e.end = cgi.Ending{Status: int(int32(binary.BigEndian.Uint32(body)))}
	if s := body[4]; s != statusComplete {
		e.err = &StatusError{Status: s}
	} else {
		e.err = io.EOF
	}
	// What is left of the record is taken along if it is here already.
	k := min(e.left+e.pad, e.w-e.r)
	e.r += k
	e.pad -= k - min(k, e.left)
	e.left -= min(k, e.left)
	return nil
}

// need fills the buffer up to n bytes.
func (e *Exchange) need(n int) error {
	if e.r > 0 && len(e.buf)-e.r < n {
		e.w = copy(e.buf, e.buf[e.r:e.w])
		e.r = 0
	}
	for e.w-e.r < n {
		if err := e.fill(); err != nil {
			return err
		}
	}
	return nil
}

func (e *Exchange) fill() error {
	if e.r == e.w {
		e.r, e.w = 0, 0
	}
	n, err := e.read(e.buf[e.w:])
	e.w += n
	if n > 0 {
		return nil
	}
	return e.readError(err)
}

func (e *Exchange) readError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return os.ErrDeadlineExceeded
	}
	e.mu.Lock()
	cause := e.inputErr
	e.mu.Unlock()
	if cause != nil {
		e.err = cause
		return e.err
	}
	if err == io.EOF || err == nil {
		return e.broken(errors.New("connection closed"))
	}
	return e.broken(err)
}

func (e *Exchange) broken(cause error) error {
	e.err = fmt.Errorf("fcgi: %w: %w", cgi.ErrDied, cause)
	return e.err
}

// read reads from the connection. What an answer brings along needs no deadline:
// the connection is told of it only here.
func (e *Exchange) read(p []byte) (int, error) {
	e.mu.Lock()
	if e.interrupted {
		e.mu.Unlock()
		return 0, os.ErrDeadlineExceeded
	}
	e.tell(e.deadline)
	e.reading = true
	e.mu.Unlock()
	n, err := e.nc.Read(p)
	e.mu.Lock()
	e.reading = false
	e.mu.Unlock()
	return n, err
}

// tell tells the connection its deadline. The caller has mu.
func (e *Exchange) tell(t time.Time) {
	if t != e.set {
		e.nc.SetReadDeadline(t)
		e.set = t
	}
}

// SetReadDeadline bounds the Reads to come.
func (e *Exchange) SetReadDeadline(t time.Time) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.open {
		return os.ErrClosed
	}
	e.deadline, e.interrupted = t, false
	return nil
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// Interrupt wakes a waiting Read.
func (e *Exchange) Interrupt() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.open {
		return
	}
	e.interrupted = true
	if e.reading {
		e.tell(longAgo)
	}
}

// Ended says what END_REQUEST said; it never waits.
func (e *Exchange) Ended(time.Duration) (cgi.Ending, bool) { return e.end, e.ended }

// Close ends the exchange. Abort sends ABORT_REQUEST first (FastCGI 1.0
// section 5.4); every manner closes the connection unless Keep took it.
func (e *Exchange) Close(how cgi.Closing) {
	if !e.open {
		return
	}
	if how == cgi.Abort && e.err == nil && e.uploaded() {
		// In the middle of an upload it could land inside another record; the
		// close says the same.
		e.nc.SetWriteDeadline(time.Now().Add(abortTimeout))
		e.nc.Write(appendHeader(nil, typeAbort, 0))
	}
	e.nc.Close()
	e.release()
}

// abortTimeout bounds the write of an ABORT_REQUEST: eight bytes, which a
// socket takes at once unless its application has not read for long.
const abortTimeout = 10 * time.Millisecond

// Keep ends the exchange without closing the connection, and returns it for
// another request. It returns nil, and closes, where that is not safe: the
// request did not ask for it or has not ended, its input was not sent to the
// end, or more than its answer came. The connection has no deadline then.
func (e *Exchange) Keep() net.Conn {
	if !e.open {
		return nil
	}
	if !e.keep || e.err != io.EOF || e.left+e.pad > 0 || e.r != e.w || !e.uploaded() {
		e.Close(cgi.Complete)
		return nil
	}
	nc := e.nc
	e.release()
	nc.SetDeadline(time.Time{})
	return nc
}

// release waits for the upload, which a closed connection ends, so that the
// input is nobody's any more, and gives the buffer back.
func (e *Exchange) release() {
	e.mu.Lock()
	e.open = false
	e.mu.Unlock()
	if e.uploadDone != nil {
		<-e.uploadDone
	}
	e.buf = nil
	if e.err == nil {
		e.err = os.ErrClosed
	}
	readBuffers.Put(e.pooled)
}
