package exchange

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sluice/cgi"
	"sluice/internal/scoreboard"
	"sluice/sendfile"
	"sluice/spawner"
)

// App is one application as the exchange sees it. It does not change.
type App struct {
	Name    string
	Backend Backend
	// Sender acts on send-file headers; nil: they are only removed.
	Sender *sendfile.Sender
	// Fetcher fetches what X-Reproxy-URL names; nil: Sender does not act on it.
	Fetcher *sendfile.Fetcher
	// LimitRate is how many bytes of an answer's body a client gets a second; 0: no
	// limit. X-Accel-Limit-Rate beats it.
	LimitRate int64
	Log       *slog.Logger

	HeaderBytes    int           // longest header block of a child
	HeaderTimeout  time.Duration // to the end of the header block
	ReadTimeout    time.Duration // between two reads of the body
	RequestTimeout time.Duration // of the whole exchange with the child; 0: none
	// Patience is how long a request waits for an address on which nobody
	// listens, when no other is left: a program that is restarted is back in a
	// moment. 0: it does not.
	Patience time.Duration

	Release        ReleasePolicy
	ReleaseBytes   int64         // drained at most
	ReleaseTimeout time.Duration // drained for at most

	Body     BodyLimits
	Response SpoolLimits
	Spare    Spare // for a request that finds no descriptor to reach a child by
}

// ReleasePolicy is how a child is let go after a send-file header.
type ReleasePolicy uint8

// The policies.
const (
	Drain  ReleasePolicy = iota // read and discard, within bounds, so that it can end its request
	Close                       // close at once
	Detach                      // read and discard until it ends by itself
)

// Answer is what an exchange did beside writing to the client.
type Answer struct {
	// Redirect is the path and query of a local redirect: nothing has been
	// sent, and the caller answers with that in place of this request.
	Redirect string
	// Accel is what X-Accel-Redirect asks for, likewise; nil: nothing.
	Accel *Accel
	// Allowed says that an authorizer lets the request go on; nothing has been
	// sent. Variables are for the environment of what answers it.
	Allowed   bool
	Variables map[string]string
}

// silence is how long a child may say nothing before what it has said is sent.
const silence = 20 * time.Millisecond

// crashWait is how long the end of a script's output may come before its exit
// status.
const crashWait = 100 * time.Millisecond

// Serve does the whole exchange. An error is an *Error, and unless it is
// Started nothing has been sent.
func (a *App) Serve(w http.ResponseWriter, req *Request) (Answer, error) {
	req.begin()
	if req.HTTP.ContentLength != 0 {
		req.phase(scoreboard.Upload)
	}
	body, err := ReadBody(w, req.HTTP, a.Body)
	if body != nothing {
		req.clock.waited()
	}
	if err != nil {
		if req.Data != nil {
			req.Data.Close()
		}
		return Answer{}, err
	}
	if req.Data != nil {
		body = body.with(req.Data)
	}
	defer body.Close()
	req.Meta.BodyLength = body.Len()
	req.Meta.HasBody = body.Len() > 0 || req.HTTP.ContentLength != 0
	if err := req.mapParams(); err != nil {
		return Answer{}, err
	}
	if a.RequestTimeout == 0 {
		return a.attempts(req.HTTP.Context(), w, req, body)
	}
	ctx, cancel := a.bounded(req)
	defer cancel()
	return a.attempts(ctx, w, req, body)
}

// bounded is the context of a request. The deadline itself is the reader's
// (run.limit); this one ends the wait for a child.
func (a *App) bounded(req *Request) (context.Context, context.CancelFunc) {
	if a.RequestTimeout > 0 {
		return context.WithTimeoutCause(req.HTTP.Context(), a.RequestTimeout, errRequestTimeout)
	}
	return req.HTTP.Context(), func() {}
}

var errRequestTimeout = errors.New("request_timeout is over")

// run is one attempt to do a request. It is used again for another when that is
// over, unless somebody in the background still has it.
type run struct {
	*App
	req    *Request // not in the background
	w      http.ResponseWriter
	ctx    context.Context
	conv   Attempt
	head   cgi.Header
	body   answer
	buf    *[]byte     // of the header block; nil: it has been given back
	wake   func()      // calls interrupt; made once
	asleep func() bool // takes back that the end of ctx will
	shared bool        // with another goroutine, which may outlive the attempt

	pid, slot int
	address   string      // of a child that runs elsewhere
	limit     time.Time   // of the attempt, from RequestTimeout; zero: none
	kept      bool        // the connection has had requests before
	heard     bool        // the child has said something
	streams   bool        // every read is passed on at once
	started   atomic.Bool // something may have reached the client
}

var runs = sync.Pool{New: func() any {
	x := &run{}
	x.wake = func() { x.conv.Interrupt() }
	return x
}}

func (a *App) newRun(ctx context.Context, w http.ResponseWriter, req *Request) *run {
	x := runs.Get().(*run)
	x.App, x.req, x.w, x.ctx = a, req, w, ctx
	x.streams = req.Stream
	return x
}

// free gives the run and its attempt back for another, if nobody else has them.
func (x *run) free() {
	if x.shared {
		return
	}
	if x.conv != nil {
		x.conv.Free()
	}
	x.App, x.req, x.w, x.ctx, x.conv, x.asleep = nil, nil, nil, nil, nil, nil
	x.body = answer{}
	x.pid, x.slot, x.address, x.limit, x.kept, x.heard = 0, 0, "", time.Time{}, false, false
	x.started.Store(false)
	clear(x.head.Fields)
	runs.Put(x)
}

// watch has the end of ctx interrupt the child's answer. What a context calls by
// itself spares the watching goroutine or list of others.
func (x *run) watch() {
	if c, ok := x.ctx.(interface{ AfterFunc(func()) func() bool }); ok {
		x.asleep = c.AfterFunc(x.wake)
	} else {
		x.asleep = context.AfterFunc(x.ctx, x.wake)
	}
}

// unwatch ends that. An interruption that is under way has the run.
func (x *run) unwatch() {
	if !x.asleep() {
		x.shared = true
	}
}

func (x *run) attempt(body *Body, tried Tried) (Answer, error) {
	x.req.phase(scoreboard.Queue)
	conv, err := x.Backend.Begin(x.ctx, x.req, body, tried)
	if err != nil {
		var u *unsent
		if errors.As(err, &u) {
			x.slot, x.pid, x.address, x.kept = u.slot, u.err.PID, u.err.Address, u.kept
		}
		return Answer{}, x.orTimeout(err)
	}
	x.conv, x.pid, x.slot, x.address, x.kept = conv, conv.PID(), conv.Slot(), conv.Address(), conv.Kept()
	if x.RequestTimeout > 0 {
		x.limit, _ = x.ctx.Deadline()
	}
	x.watch()
	defer x.unwatch()
	x.req.phase(scoreboard.Header)
	if x.req.NPH {
		return Answer{}, x.passRaw()
	}
	x.buf = relayBuffers.Get().(*[]byte)
	defer x.giveBack()
	return x.answer((*x.buf)[:0])
}

// giveBack gives the buffer of the header back, when nothing in it is needed any
// more.
func (x *run) giveBack() {
	if x.buf != nil {
		relayBuffers.Put(x.buf)
		x.buf = nil
	}
}

// orTimeout tells a request whose time is over from a client that left.
func (x *run) orTimeout(err error) error {
	var e *Error
	if errors.As(err, &e) && e.Kind == ClientGone && context.Cause(x.ctx) == errRequestTimeout {
		return &Error{Kind: RequestTimeout, PID: e.PID, Err: fmt.Errorf("after %v", x.App.RequestTimeout)}
	}
	return err
}

// answer reads the header block, interim ones first, and acts on it.
func (x *run) answer(buf []byte) (Answer, error) {
	limit := x.req.clock.now().Add(x.HeaderTimeout)
	h := &x.head
	for range maxInterim {
		rest, whole, err := x.header(buf, limit)
		if err != nil {
			return Answer{}, x.fail(x.headerError(err))
		}
		if h.Status >= 100 && h.Status < 200 {
			if h.Status != http.StatusEarlyHints {
				return Answer{}, x.fail(&Error{Kind: BadHeader, Err: fmt.Errorf("status %d is not for a child to send", h.Status)})
			}
			if !x.req.asks {
				sendfile.Strip(h.Fields)
				h.SendInterim(x.w, x.req.HTTP)
			}
			buf = whole[:copy(whole, rest)]
			continue
		}
		if path := h.LocalRedirect(); path != "" {
			x.release()
			return Answer{Redirect: path}, nil
		}
		if x.req.asks && h.Code() == http.StatusOK {
			return x.allowed(h, rest, limit)
		}
		return x.final(h, rest)
	}
	return Answer{}, x.fail(&Error{Kind: BadHeader, Err: fmt.Errorf("more than %d interim answers", maxInterim)})
}

// maxInterim bounds the interim answers before the final one.
const maxInterim = 16

// header reads one header block before the limit.
func (x *run) header(buf []byte, limit time.Time) (rest, whole []byte, err error) {
	for {
		if err := x.arm(limit); err != nil {
			return nil, nil, err
		}
		rest, whole, err := x.head.Read((*heard)(x), buf, x.HeaderBytes)
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return rest, whole, err
		}
		if e := x.interrupted(); e != nil {
			return nil, nil, e
		}
		if !time.Now().Before(limit) {
			return nil, nil, &Error{Kind: HeaderTimeout, Err: fmt.Errorf("within %v", x.HeaderTimeout)}
		}
		buf = whole
	}
}

// heard reads from the child and remembers that it spoke.
type heard run

func (h *heard) Read(p []byte) (int, error) {
	n, err := h.conv.Read(p)
	if n > 0 {
		h.heard = true
	}
	return n, err
}

// arm sets the deadline of the reads to come. The order matters: what
// interrupts does so by a deadline in the past, which this one may undo, so the
// reasons are looked at after it is set.
func (x *run) arm(t time.Time) error {
	if !x.limit.IsZero() && x.limit.Before(t) {
		t = x.limit
	}
	x.conv.SetReadDeadline(t)
	if e := x.interrupted(); e != nil {
		return e
	}
	x.req.clock.waited()
	return nil
}

// interrupted says why a read was interrupted; nil: its deadline passed.
func (x *run) interrupted() error {
	switch {
	case x.conv.Lost():
		return &Error{Kind: NoChild, Err: spawner.ErrLost, RetryAfter: 1}
	case x.timedOut():
		return &Error{Kind: RequestTimeout, Err: fmt.Errorf("after %v", x.App.RequestTimeout)}
	case x.ctx.Err() != nil:
		return &Error{Kind: ClientGone}
	}
	return nil
}

// timedOut reports whether the request's own time is over.
func (x *run) timedOut() bool {
	if x.RequestTimeout == 0 {
		return false
	}
	return context.Cause(x.ctx) == errRequestTimeout || !x.limit.IsZero() && !time.Now().Before(x.limit)
}
