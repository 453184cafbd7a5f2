package gofastbridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/yookoala/gofast"

	"sluice/cgi"
	"sluice/fcgi"
)

// attempt is one request on its way through a Client: one exchange with the
// application, or two if the first connection turned out to be dead.
type attempt struct {
	*Transport
	w   http.ResponseWriter
	ctx context.Context
	req *gofast.Request
	in  *input

	ex     *fcgi.Exchange
	done   Done
	stderr *cgi.Lines

	heard   bool // the application has said something
	started bool // something may have reached the client
}

func (x *attempt) do() error {
	twice := repeatable(x.req)
	err := x.once(twice)
	if twice && !x.heard && x.ctx.Err() == nil && errors.Is(err, cgi.ErrDied) {
		// A kept connection may be closed while the request is on its way.
		err = x.once(false)
	}
	if err == nil {
		return nil
	}
	e := *asError(err)
	e.Started = x.started
	return &e
}

// repeatable reports whether a request may be sent twice: it changes nothing
// (RFC 9110 section 9.2.1), and has no body.
func repeatable(req *gofast.Request) bool {
	if req.Stdin != nil && req.Stdin != http.NoBody || req.Data != nil || req.Raw == nil {
		return false
	}
	switch req.Raw.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

func (x *attempt) once(repeatable bool) error {
	nc, done, err := x.Dial(x.ctx, repeatable)
	if err != nil {
		if x.ctx.Err() != nil {
			return ctxError(x.ctx)
		}
		return err
	}
	x.done = done
	if x.in != nil {
		defer whenDone(x.ctx, x.in.interrupt)()
	}
	r := &fcgi.Request{
		Role:         fcgi.Role(x.req.Role),
		KeepConn:     x.req.KeepConn,
		Params:       x.params,
		WriteTimeout: x.WriteTimeout,
	}
	if x.in != nil {
		r.Stdin = x.in
	}
	if x.req.Data != nil {
		r.Data = strict{x.req.Data}
	}
	if x.Errors != nil {
		x.stderr = x.Errors.For(0)
		r.Stderr = x.stderr
	}
	if x.ex, err = fcgi.Begin(nc, r); err != nil {
		return x.unsent(err)
	}
	defer whenDone(x.ctx, x.ex.Interrupt)()
	return x.answer()
}

func (x *attempt) params(set func(name, value string)) {
	for k, v := range x.req.Params {
		set(k, v)
	}
}

// unsent is a request that could not be sent.
func (x *attempt) unsent(err error) error {
	var we *fcgi.WriteError
	if errors.As(err, &we) {
		err = fmt.Errorf("%w: %w", cgi.ErrDied, err)
	}
	if x.ctx.Err() != nil {
		err = ctxError(x.ctx)
	}
	x.done(nil, err)
	return err
}

// whenDone calls f when ctx ends. The function it returns prevents that, or
// waits for it.
func whenDone(ctx context.Context, f func()) (stop func()) {
	over := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(over)
		f()
	})
	return func() {
		if !cancel() {
			<-over
		}
	}
}

// read reads from the application within d; 0 is no bound. The order matters:
// the end of the context interrupts by a deadline in the past, which this one
// may undo.
func (x *attempt) read(p []byte, d time.Duration) (int, error) {
	x.ex.SetReadDeadline(after(d))
	if x.ctx.Err() != nil {
		return 0, ctxError(x.ctx)
	}
	n, err := x.ex.Read(p)
	if n > 0 {
		x.heard = true
		return n, nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && x.ctx.Err() != nil {
		err = ctxError(x.ctx)
	}
	return 0, err
}

func after(d time.Duration) time.Time {
	if d <= 0 {
		return time.Time{}
	}
	return time.Now().Add(d)
}

// fail ends an exchange that went wrong.
func (x *attempt) fail(err error) error {
	how := cgi.Stop
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = &Error{Status: http.StatusGatewayTimeout, Err: err}
	}
	if e := asError(err); e.Status == clientGone || e.Status == http.StatusGatewayTimeout {
		how = cgi.Abort
	}
	x.close(how, err)
	return err
}

// close gives the connection up.
func (x *attempt) close(how cgi.Closing, err error) {
	x.in.interrupt() // Close waits for the upload
	x.ex.Close(how)
	x.flushErrors()
	x.done(nil, err)
}

// keep gives the connection back after END_REQUEST. An application that has
// answered may not have wanted the rest of the input.
func (x *attempt) keep() {
	x.in.interrupt()
	nc := x.ex.Keep()
	x.flushErrors()
	x.done(nc, nil)
}

func (x *attempt) flushErrors() {
	if x.stderr != nil {
		x.stderr.Flush()
	}
}

// tailTimeout is how long an application may take from the end of its body to
// the end of its request. Its client has the whole answer by then.
const tailTimeout = time.Minute

var errTail = errors.New("the application did not end its request after its answer")

// settle ends the exchange after a whole body. If the end of the request is not
// here yet it is waited for in the background, which touches nothing of the
// client's any more; tailTimeout bounds that.
func (x *attempt) settle(end error) {
	if end == io.EOF {
		x.keep()
		return
	}
	x.ex.Interrupt()
	switch err := x.discard(); {
	case err == io.EOF:
		x.keep()
	case errors.Is(err, os.ErrDeadlineExceeded) && x.in.complete():
		go func() {
			x.ex.SetReadDeadline(time.Now().Add(tailTimeout))
			if x.discard() == io.EOF {
				x.keep()
				return
			}
			x.close(cgi.Stop, errTail)
		}()
	default:
		x.close(cgi.Stop, errTail)
	}
}

// discard reads on until the exchange ends or the deadline passes.
func (x *attempt) discard() error {
	bp := pieces.Get().(*[]byte)
	defer pieces.Put(bp)
	for {
		if _, err := x.ex.Read(*bp); err != nil {
			return err
		}
	}
}
