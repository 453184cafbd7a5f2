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
	"sluice/spawner"
)

// relayBuffers hold header blocks and pieces of bodies.
var relayBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// relay passes the body on. A body that is complete within one buffer and
// without a pause, as most are, leaves in one write with its length; any other
// is read into a spool as fast as the child writes it.
func (x *run) relay(h *cgi.Header, rest []byte) error {
	a := newAnswer(x, h, rest)
	code := h.Code()
	copyHeader(x.w.Header(), h)
	if h.ContentLength >= 0 && code != http.StatusNoContent {
		x.w.Header().Set("Content-Length", strconv.FormatInt(h.ContentLength, 10))
	}
	if x.req.HTTP.Method == http.MethodHead || code == http.StatusNoContent || code == http.StatusNotModified {
		return x.noBody(a, code)
	}
	if x.req.Stream {
		return x.stream(a, code)
	}
	bp := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(bp)
	n, err := x.gather(a, *bp)
	switch {
	case err == io.EOF:
		return x.whole(a, code, (*bp)[:n])
	case err != nil && !errors.Is(err, os.ErrDeadlineExceeded):
		x.unsend()
		return x.fail(err)
	}
	return x.spooled(a, code, (*bp)[:n])
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
	limit := time.Now().Add(silence)
	for n < len(buf) {
		if a.complete() {
			a.more = len(a.rest) > 0
			return n, io.EOF
		}
		if len(a.rest) == 0 {
			if err := x.arm(limit); err != nil {
				return n, err
			}
		}
		k, err := a.Read(buf[n:])
		n += k
		if err != nil {
			if e := x.interrupted(); e != nil && errors.Is(err, os.ErrDeadlineExceeded) {
				return n, e
			}
			return n, err
		}
	}
	return n, nil
}

// whole sends an answer that is complete.
func (x *run) whole(a *answer, code int, body []byte) error {
	x.settle(a)
	if x.w.Header().Get("Content-Length") == "" {
		x.w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	x.w.WriteHeader(code)
	if _, err := x.w.Write(body); err != nil {
		return &Error{Kind: SendFailed, PID: x.pid, Started: true, Err: err}
	}
	return nil
}

// settle gives the child back after a complete body. What it still says, most
// often only the end of the request, is read in the background if it is not
// here yet.
func (x *run) settle(a *answer) {
	if a.more {
		x.Log.Warn("child said more than its Content-Length", "pid", x.pid)
	}
	if a.left != 0 && a.inner == nil {
		x.conv.Settle(spawner.Answered, cgi.Complete) // ended by the child
		return
	}
	if _, ended := x.conv.Ended(0); ended && x.req.Command.Path != "" {
		x.conv.Settle(spawner.Answered, cgi.Complete)
		return
	}
	x.conv.Interrupt()
	if !x.tail(a, time.Time{}) {
		go x.tail(a, time.Now().Add(x.ReadTimeout))
	}
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
			x.Log.Warn("child said more than its Content-Length", "pid", x.pid)
		}
		if err == nil {
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
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

// noBody answers with the header alone; what body there is, is discarded.
func (x *run) noBody(a *answer, code int) error {
	x.w.WriteHeader(code)
	x.started.Store(true)
	http.NewResponseController(x.w).Flush()
	bp := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(bp)
	for {
		_, err := x.readBody(a, *bp)
		if err == io.EOF {
			x.settle(a)
			return nil
		}
		if err != nil {
			x.fail(err)
			return nil // the client has its whole answer
		}
	}
}

// readBody reads from the body within the read timeout.
func (x *run) readBody(a *answer, p []byte) (int, error) {
	limit := time.Now().Add(x.ReadTimeout)
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
			return 0, &Error{Kind: Stalled, Err: fmt.Errorf("silent for %v", x.ReadTimeout)}
		}
	}
}

// stream passes every read on at once, without a spool.
func (x *run) stream(a *answer, code int) error {
	bp := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(bp)
	ctl := http.NewResponseController(x.w)
	for {
		n, err := x.readBody(a, *bp)
		if !x.started.Load() && (n > 0 || err == io.EOF) {
			x.w.WriteHeader(code)
			x.started.Store(true)
		}
		if n > 0 {
			_, werr := x.w.Write((*bp)[:n])
			if werr == nil {
				werr = ctl.Flush()
			}
			if werr != nil {
				return x.fail(&Error{Kind: SendFailed, Err: werr})
			}
			continue
		}
		if err == io.EOF {
			x.settle(a)
			return nil
		}
		x.unsend()
		return x.fail(err)
	}
}
