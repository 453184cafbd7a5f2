package gofastbridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/yookoala/gofast"
)

// Client is a gofast.Client for one HTTP request: Do talks to the application
// with sluice's engine and writes the answer into the ResponseWriter that the
// Client was made with. Finish has to be called with what the session returned.
type Client struct {
	t *Transport
	w http.ResponseWriter

	mu     sync.Mutex
	state  state
	closed bool
	cancel context.CancelFunc // of the Do that is busy
	idle   chan struct{}      // closed when that Do has ended
	err    error              // of the last Do
}

var _ gofast.Client = (*Client)(nil)

// state is what has become of the answer.
type state uint8

const (
	unasked  state = iota // nothing has been sent to the client
	busy                  // a Do is running
	answered              // the whole answer has been sent
	broken                // a part of it has been sent, and there is no more
)

func (s state) String() string {
	return [...]string{"unasked", "busy", "answered", "broken"}[s]
}

// Errors of Do that are the caller's.
var (
	ErrBusy     = errors.New("gofastbridge: another Do is running on this client")
	ErrAnswered = errors.New("gofastbridge: the request has been answered")
	ErrClosed   = errors.New("gofastbridge: the client is closed")
)

// NewClient returns a Client for the request that w answers.
func NewClient(w http.ResponseWriter, t *Transport) *Client { return &Client{t: t, w: w} }

// finished is what Do returns. There is nothing in it: reading it ends at once.
var finished = func() *gofast.ResponsePipe {
	p := gofast.NewResponsePipe()
	p.Close()
	return p
}()

// Do sends the request to the application and writes the answer. It returns a
// ResponsePipe that has ended already. An error is an *Error, or one of the
// above; after one that has not Started, Do may be called again.
//
// The parameters are sent as they are; Transport.Repair is what makes them
// safe. The context is that of req.Raw; when it ends, the application gets
// ABORT_REQUEST.
func (c *Client) Do(req *gofast.Request) (*gofast.ResponsePipe, error) {
	ctx, end, err := c.begin(req)
	if err != nil {
		return nil, err
	}
	x := &attempt{Transport: c.t, w: c.w, ctx: ctx, req: req, in: newInput(req, c.w)}
	defer func() {
		closeStreams(req)
		end(x.started, err) // also after a panic
	}()
	err = errPanicked
	if err = x.do(); err != nil {
		return nil, err
	}
	return finished, nil
}

var errNoAnswer = &Error{Status: http.StatusInternalServerError, Err: errors.New("the session gave no answer")}

var errPanicked = errors.New("gofastbridge: panic")

// closeStreams closes what a middleware opened for the request, as gofast does.
func closeStreams(req *gofast.Request) {
	if req.Stdin != nil && !ownBody(req) {
		req.Stdin.Close()
	}
	if req.Data != nil {
		req.Data.Close()
	}
}

// begin marks the client as busy.
func (c *Client) begin(req *gofast.Request) (context.Context, func(started bool, err error), error) {
	if req.Role == gofast.RoleFilter && req.Data == nil {
		return nil, nil, &Error{Status: http.StatusInternalServerError, Err: errors.New("a filter request without a data stream")}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, nil, ErrClosed
	case c.state == busy:
		return nil, nil, ErrBusy
	case c.state != unasked:
		return nil, nil, ErrAnswered
	}
	parent := context.Background()
	if req.Raw != nil {
		parent = req.Raw.Context()
	}
	ctx, cancel := context.WithCancel(parent)
	idle := make(chan struct{})
	c.state, c.cancel, c.idle = busy, cancel, idle
	return ctx, func(started bool, err error) {
		cancel()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.err = err
		switch {
		case err == nil:
			c.state = answered
		case started:
			c.state = broken
		default:
			c.state = unasked
		}
		close(idle)
	}, nil
}

// Close ends a Do that is running, and lets no other begin. It may be called at
// any time, from any goroutine, any number of times; it does not wait.
func (c *Client) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.state == busy {
		c.cancel()
	}
	return nil
}

// Finish completes the answer with what the session returned:
//
//	c.Finish(session(c, gofast.NewRequest(r)))
//
// If nothing has been sent it answers: with the status of an *Error, with 500
// for another error, or with the pipe, if a middleware got one elsewhere. If a
// part of the answer has been sent and the rest will not come, it panics with
// http.ErrAbortHandler, so that the client does not take the part for the
// whole. That is why Do itself does not panic: a middleware may have called it
// in a goroutine of its own, where nobody recovers.
func (c *Client) Finish(resp *gofast.ResponsePipe, err error) {
	c.Close()
	c.mu.Lock()
	idle := c.idle
	c.mu.Unlock()
	if idle != nil {
		<-idle // a middleware did not wait for its Do
	}
	if c.state == unasked && err == nil && resp != nil && resp != finished {
		err = c.foreign(resp)
	} else if err == nil || c.state == broken {
		err = c.err
	}
	if err == nil && c.state == unasked {
		err = errNoAnswer
	}
	if err == nil {
		return
	}
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Status: http.StatusInternalServerError, Err: err}
	}
	c.t.failed(c.w, e, c.state != unasked, c.state == broken)
}

// foreign writes an answer that came from another gofast.Client.
func (c *Client) foreign(resp *gofast.ResponsePipe) error {
	g := &guard{w: c.w}
	if err := g.end(resp.WriteTo(g, io.Discard), nil); err != nil {
		if g.started {
			c.state = broken
		}
		return err
	}
	c.state = answered
	return nil
}

// failed answers a request that failed, or breaks its connection off.
func (t *Transport) failed(w http.ResponseWriter, e *Error, sent, broken bool) {
	if t.Log != nil {
		if e.Status == clientGone || e.Status/100 == 4 {
			t.Log.Info("request failed", "status", e.Status, "aborted", broken, "err", e.Err)
		} else {
			t.Log.Warn("request failed", "status", e.Status, "aborted", broken, "err", e.Err)
		}
	}
	if broken || !sent && e.Status == clientGone {
		panic(http.ErrAbortHandler)
	}
	if sent {
		return
	}
	if e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	text := fmt.Sprintf("%d %s\n", e.Status, http.StatusText(e.Status))
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(e.Status)
	io.WriteString(w, text)
}
