package exchange

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"sluice/cgi"
	"sluice/internal/scoreboard"
	"sluice/spawner"
)

// relayBuffers hold header blocks and pieces of bodies.
var relayBuffers = sync.Pool{New: func() any { b := make([]byte, relayBytes); return &b }}

const relayBytes = 32 << 10

// relay passes the body on. A body that is complete within one buffer and
// without a pause, as most are, leaves in one write with its length; any other
// is read into a spool as fast as the child writes it.
func (x *run) relay(h *cgi.Header, rest []byte) error {
	x.req.phase(scoreboard.Body)
	a := x.answered(h, rest)
	code := h.Code()
	copyHeader(x.w.Header(), h)
	if h.ContentLength >= 0 && code != http.StatusNoContent {
		x.w.Header()["Content-Length"] = []string{strconv.FormatInt(h.ContentLength, 10)}
	}
	if x.req.HTTP.Method == http.MethodHead || code == http.StatusNoContent || code == http.StatusNotModified {
		return x.noBody(a, code)
	}
	if x.streams && (!x.req.Whole || h.ContentLength >= 0) {
		return x.stream(a, code)
	}
	// Where the header has left room behind it the body need not move.
	buf := rest[:cap(rest)]
	if len(buf) < relayBytes/2 {
		bp := relayBuffers.Get().(*[]byte)
		defer relayBuffers.Put(bp)
		buf = *bp
	}
	n, err := x.gather(a, buf)
	switch {
	case err == io.EOF:
		return x.whole(a, code, buf[:n])
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		x.unsend()
		return x.fail(err)
	}
	return x.spooled(a, code, buf[:n], err != nil)
}

// unsend takes the child's fields off an answer that will be another.
func (x *run) unsend() {
	if !x.started.Load() {
		clear(x.w.Header())
	}
}

// gather reads until the buffer is full, the child pauses, or the body ends.
func (x *run) gather(a *answer, buf []byte) (n int, err error) {
	if a.inner != nil {
		return 0, nil // a decoder cannot be interrupted and go on
	}
	// What came with the header needs no deadline, and most often is all.
	x.conv.Interrupt()
	var limit time.Time
	for n < len(buf) {
		if a.complete() {
			a.more = len(a.rest) > 0
			return n, io.EOF
		}
		k, err := a.Read(buf[n:])
		n += k
		switch {
		case err == nil:
		case err == io.EOF, !errors.Is(err, os.ErrDeadlineExceeded):
			return n, err
		case limit.IsZero():
			limit = x.req.clock.now().Add(silence)
		default:
			if e := x.interrupted(); e != nil {
				return n, e
			}
			return n, err
		}
		if !limit.IsZero() {
			if err := x.arm(limit); err != nil {
				return n, err
			}
		}
	}
	return n, nil
}

// whole sends an answer that is complete.
func (x *run) whole(a *answer, code int, body []byte) error {
	x.settle(a)
	if h := x.w.Header(); len(h["Content-Length"]) == 0 {
		h["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	x.w.WriteHeader(code)
	if _, err := x.w.Write(body); err != nil {
		return &Error{Kind: SendFailed, PID: x.pid, Started: true, Err: err}
	}
	return nil
}

// settle gives the child back after a complete body. What it still says is most
// often only the end of the request.
func (x *run) settle(a *answer) {
	x.letChildGo()
	if a.more {
		x.Log.Warn("child said more than its Content-Length", x.child())
	}
	if a.left != 0 && a.inner == nil {
		x.conv.Settle(spawner.Answered, cgi.Complete) // ended by the child
		return
	}
	if _, ended := x.conv.Ended(0); ended && x.req.Command.Path != "" {
		x.conv.Settle(spawner.Answered, cgi.Complete)
		return
	}
	x.finish(a)
}

// finish reads to the end of the request, in the background if that is not
// here yet.
func (x *run) finish(a *answer) {
	x.conv.Interrupt()
	if x.tail(a, time.Time{}) {
		return
	}
	limit := time.Now().Add(x.ReadTimeout)
	if !x.limit.IsZero() && x.limit.Before(limit) {
		limit = x.limit
	}
	x.shared = true
	go x.tail(a, limit)
}

// tail discards what comes behind a complete body, up to the end or the limit,
// and settles. Without a limit it takes what is here already, and reports
// whether that was all.
func (x *run) tail(a *answer, limit time.Time) bool {
	bp := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(bp)
	if !limit.IsZero() {
		x.conv.SetReadDeadline(limit)
	}
	for {
		n, err := x.conv.Read(*bp)
		if n > 0 && !a.more && a.inner == nil {
			a.more = true
			x.Log.Warn("child said more than its Content-Length", x.child())
		}
		if err == nil {
			continue
		}
		if err != io.EOF && errors.Is(err, os.ErrDeadlineExceeded) {
			if limit.IsZero() {
				return false
			}
			if time.Now().Before(limit) && !x.conv.Lost() {
				x.conv.SetReadDeadline(limit)
				continue
			}
		}
		settleEnd(x.conv, err)
		return true
	}
}

// noBody answers with the header alone. What body there is, is discarded behind
// it: the client has its whole answer and may well close now.
func (x *run) noBody(a *answer, code int) error {
	x.letChildGo()
	x.begin(code)
	err := http.NewResponseController(x.w).Flush()
	a.more = true // which is no fault here
	x.finish(a)
	if err != nil {
		return &Error{Kind: SendFailed, PID: x.pid, Started: true, Err: err}
	}
	return nil
}

// readBody reads from the body within the read timeout.
func (x *run) readBody(a *answer, p []byte) (int, error) {
	n, err := x.readWithin(a, p, x.ReadTimeout)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = &Error{Kind: Stalled, Err: fmt.Errorf("silent for %v", x.ReadTimeout)}
	}
	return n, err
}

// readWithin reads from the body; os.ErrDeadlineExceeded is a child that said
// nothing for so long.
func (x *run) readWithin(a *answer, p []byte, d time.Duration) (int, error) {
	limit := time.Now().Add(d)
	for {
		if len(a.rest) == 0 {
			if err := x.arm(limit); err != nil {
				return 0, err
			}
		}
		n, err := a.Read(p)
		if n > 0 {
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		if e := x.interrupted(); e != nil {
			return 0, e
		}
		if !time.Now().Before(limit) {
			return 0, err
		}
	}
}

// stream passes every read on at once, without a spool. The header leaves with
// the first of them, or alone when the child pauses behind it.
func (x *run) stream(a *answer, code int) error {
	bp := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(bp)
	n, err := 0, os.ErrDeadlineExceeded
	if a.inner == nil { // a decoder cannot be interrupted and go on
		n, err = x.readWithin(a, *bp, silence)
	}
	for {
		switch {
		case n > 0, errors.Is(err, os.ErrDeadlineExceeded):
			x.req.phase(scoreboard.Send)
			if werr := x.pass(code, (*bp)[:n]); werr != nil {
				return x.fail(&Error{Kind: SendFailed, Err: werr})
			}
			x.req.clock.waited()
			x.req.phase(scoreboard.Body)
		case err == io.EOF:
			x.begin(code)
			x.settle(a)
			return nil
		default:
			x.unsend()
			return x.fail(err)
		}
		n, err = x.readBody(a, *bp)
	}
}

// begin writes the header, once.
func (x *run) begin(code int) {
	if !x.started.Swap(true) {
		x.w.WriteHeader(code)
	}
}

// pass writes to the client, the header before it, and flushes.
func (x *run) pass(code int, p []byte) error {
	x.begin(code)
	if len(p) > 0 {
		if _, err := x.w.Write(p); err != nil {
			return err
		}
	}
	return http.NewResponseController(x.w).Flush()
}
