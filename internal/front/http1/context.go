package http1

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// requestContext is the context of a request: it ends when the client leaves or
// the handler has returned. It makes a channel only for who asks for one, and
// calls what AfterFunc was given without one.
type requestContext struct {
	c *conn

	mu    sync.Mutex
	done  chan struct{}
	err   error
	funcs []*func() // to be called at the end
}

// Deadline implements context.Context: there is none.
func (*requestContext) Deadline() (time.Time, bool) { return time.Time{}, false }

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Done implements context.Context.
func (x *requestContext) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.done != nil:
	case x.err != nil:
		x.done = closed
	default:
		x.done = make(chan struct{})
	}
	return x.done
}

// Err implements context.Context.
func (x *requestContext) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

// Value implements context.Context; it knows http.LocalAddrContextKey.
func (x *requestContext) Value(key any) any {
	if key == http.LocalAddrContextKey {
		return x.c.pc.LocalAddr()
	}
	return nil
}

// AfterFunc has f called in a goroutine of its own when the context ends; stop
// prevents that, and reports whether it did. It is what context.AfterFunc uses.
func (x *requestContext) AfterFunc(f func()) (stop func() bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		go f()
		return func() bool { return false }
	}
	p := &f
	x.funcs = append(x.funcs, p)
	return func() bool { return x.forget(p) }
}

func (x *requestContext) forget(p *func()) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i, q := range x.funcs {
		if p == q {
			x.funcs = append(x.funcs[:i], x.funcs[i+1:]...)
			return true
		}
	}
	return false
}

// cancel ends the context.
func (x *requestContext) cancel() {
	x.mu.Lock()
	if x.err != nil {
		x.mu.Unlock()
		return
	}
	x.err = context.Canceled
	funcs := x.funcs
	x.funcs = nil
	if x.done != nil {
		close(x.done)
	}
	x.mu.Unlock()
	for _, f := range funcs {
		go (*f)()
	}
}
