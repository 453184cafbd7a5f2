package http1

import (
	"io"
	"net/http"
	"time"

	"sluice/internal/front/wire"
	"sluice/internal/scoreboard"
	"sluice/sendfile"
)

// response is the http.ResponseWriter of a request. It also implements
// http.Flusher, http.Hijacker, io.ReaderFrom, sendfile.HeaderJoiner, Connection,
// and what http.ResponseController knows.
type response struct {
	c      *conn
	r      *http.Request
	body   *body // nil: the request has none
	header http.Header

	status   int   // 0: not known yet
	declared int64 // Content-Length; -1: none
	taken    int64 // bytes of body that the handler has written
	fields   []byte
	pend     []byte // of the body, held back
	out      []byte
	err      error // of a write to the client
	pace     pacer

	sniff    bool // there is no Content-Type
	unsized  bool // the handler wants no Content-Length
	limited  bool // the handler has set a write deadline
	overrun  bool // the handler wrote more than its Content-Length
	bodiless bool // neither body nor framing: 1xx, 204, 304, and answers to HEAD
	head     bool // the answer to a HEAD
	framed   bool // it is decided how the body ends
	chunked  bool
	untilEnd bool // the body ends with the connection
	sent     bool // the header has been
	held     bool // what was sent last waits for the end of the connection
	close    bool // this is the connection's last answer
	hijacked bool
}

// Connection is what a handler may ask a ResponseWriter of this package, behind
// Unwrap, about its connection.
type Connection interface {
	// CanReset reports whether the connection can end in a way that is not the
	// orderly one.
	CanReset() bool
	// Reset makes the close to come a reset.
	Reset()
	// State says what the connection does, for the scoreboard.
	State(scoreboard.ConnState)
	// SetRate is how many bytes of body a second the client gets from now on; 0 is
	// no limit. The header does not count, nor does it wait.
	SetRate(bytesPerSecond int64)
}

// Bounds of what is held back: up to holdBytes of body wait for the end of the
// answer, which then gets its Content-Length and leaves in one piece; up to
// joinBytes are copied so that they leave in one piece with what is before them.
const (
	holdBytes = 4 << 10
	joinBytes = 32 << 10
)

func (w *response) init() { w.header = http.Header{} }

func (w *response) begin(c *conn, r *http.Request, b *body) {
	*w = response{c: c, r: r, body: b, header: w.header, declared: -1, head: r.Method == http.MethodHead,
		fields: w.fields[:0], pend: w.pend[:0], out: w.out[:0]}
	w.close = !c.work.head.KeepAlive
}

// end forgets the request, and keeps the buffers unless they have grown large.
func (w *response) end() {
	clear(w.header)
	w.c, w.r, w.body = nil, nil, nil
	if cap(w.out) > 2*joinBytes {
		w.out = nil
	}
	if cap(w.fields) > joinBytes {
		w.fields = nil
	}
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	if w.hijacked {
		return 0, http.ErrHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.err != nil {
		return 0, w.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if w.bodiless && !w.head {
		return 0, http.ErrBodyNotAllowed
	}
	if w.overrun || w.declared >= 0 && w.taken+int64(len(p)) > w.declared {
		w.overrun = true
		return 0, http.ErrContentLength
	}
	w.taken += int64(len(p))
	if w.head {
		if !w.framed {
			w.detect(p)
		}
		return len(p), nil
	}
	if w.taken != w.declared && len(w.pend)+len(p) <= holdBytes {
		w.pend = append(w.pend, p...)
		return len(p), nil
	}
	if err := w.emit(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteString implements io.StringWriter.
func (w *response) WriteString(s string) (int, error) { return w.Write([]byte(s)) }

// emit sends what has been held back and p behind it, with the header if that
// has not been sent; last is the end of a chunked body.
func (w *response) emit(p []byte, last bool) error {
	if w.err != nil {
		return w.err
	}
	body := w.pend
	if len(body) == 0 {
		body = p
	}
	w.frame(last || w.taken == w.declared, body)
	n := len(w.pend) + len(p)
	if n > 0 && w.paced() {
		return w.emitPaced(p, last)
	}
	b := w.outHeader()
	if w.chunked && n > 0 {
		b = wire.AppendChunkSize(b, int64(n))
	}
	b = append(b, w.pend...)
	w.pend = w.pend[:0]
	if len(b)+len(p) > joinBytes {
		w.out = b
		w.send(b, true)
		w.send(p, w.chunked)
		b = b[:0]
	} else {
		b = append(b, p...)
	}
	if w.chunked && n > 0 {
		b = append(b, "\r\n"...)
	}
	if w.chunked && last {
		b = append(b, "0\r\n\r\n"...)
	}
	w.out = b
	whole := last || w.taken == w.declared && w.taken == int64(n)
	w.held = whole && w.waitsForEnd()
	w.send(b, w.held)
	return w.err
}

// outHeader begins what is sent: with the header, if that has not been sent.
func (w *response) outHeader() []byte {
	b := w.out[:0]
	if !w.sent {
		b = append(b, w.fields...)
		w.sent = true
	}
	return b
}

// waitsForEnd reports whether the end of the answer shall wait for that of the
// connection, so that both leave in one segment: that is a packet, and a wake-up
// of the client, less. Where the client has sent more than was read, the end may
// be a reset, which must not overtake anything.
func (w *response) waitsForEnd() bool {
	c := w.c
	return w.close && w.body == nil && c.l.TCP && c.work.r == c.work.w && !c.pc.Readable()
}

// send sends to the client. A client that takes nothing any more has left.
func (w *response) send(p []byte, more bool) {
	if w.err != nil || len(p) == 0 {
		return
	}
	if more {
		_, w.err = w.c.pc.WriteMore(p)
	} else {
		_, w.err = w.c.pc.Write(p)
	}
	w.failed()
}

func (w *response) failed() {
	if w.err == nil {
		return
	}
	w.close = true
	if ctx := w.c.current.Load(); ctx != nil {
		ctx.cancel()
	}
}

// Flush implements http.Flusher.
func (w *response) Flush() { w.FlushError() }

// FlushError is Flush for http.ResponseController.
func (w *response) FlushError() error {
	if w.hijacked {
		return http.ErrHijacked
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.sent && len(w.pend) == 0 {
		if w.held {
			w.held = false
			w.err = w.c.pc.Push()
			w.failed()
		}
		return w.err
	}
	return w.emit(nil, false)
}

// finish completes the answer behind the handler; false: it is not complete, and
// the connection's end has to say so.
func (w *response) finish() bool {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	short := !w.bodiless && w.declared >= 0 && w.taken < w.declared
	if !w.sent || len(w.pend) > 0 || w.chunked {
		w.emit(nil, !short)
	}
	if w.err == nil && short {
		w.c.s.opt.Log.Warn("answer is shorter than its Content-Length", "request", w.r.RequestURI, "sent", w.taken, "declared", w.declared)
	}
	w.close = w.close || w.overrun && !w.bodiless // the handler is not to be trusted
	return w.err == nil && !short
}

// SetReadDeadline is for http.ResponseController. It ends with the request.
func (w *response) SetReadDeadline(t time.Time) error { return w.c.pc.SetReadDeadline(t) }

// SetWriteDeadline is for http.ResponseController. It takes the place of the
// server's SendTimeout up to the end of the request.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.limited = true
	if t.IsZero() {
		w.c.pc.SetSendTimeout(w.c.s.opt.SendTimeout)
	} else {
		w.c.pc.SetSendTimeout(0)
	}
	return w.c.pc.SetWriteDeadline(t)
}

// EnableFullDuplex is for http.ResponseController: it is always so.
func (w *response) EnableFullDuplex() error { return nil }

// CanReset implements Connection.
func (w *response) CanReset() bool { return w.c.l.TCP }

// Reset implements Connection.
func (w *response) Reset() {
	w.c.reset = true
	w.c.pc.SetLinger(0)
}

// State implements Connection.
func (w *response) State(s scoreboard.ConnState) { w.c.move(s) }

var _ interface {
	http.ResponseWriter
	http.Flusher
	http.Hijacker
	io.ReaderFrom
	sendfile.HeaderJoiner
	Connection
} = (*response)(nil)
