package http1

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// requestContext is the context of a request: it ends when the client leaves or
// the handler has returned. It makes a channel only for who asks for one, and
// calls what AfterFunc was given without one.
type requestContext struct {
	c *conn

	mu      sync.Mutex
	watched bool // somebody has asked for the channel
	done    chan struct{}
	err     error
	last    uint64     // the number of the last function
	first   numbered   // the one that is most often alone; 0: none
	more    []numbered // the others, to be called at the end as well
}

// numbered is a function to be called at the end.
type numbered struct {
	n uint64
	f func()
}

// Deadline implements context.Context: there is none.
func (*requestContext) Deadline() (time.Time, bool) { return time.Time{}, false }

var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// Done implements context.Context.
func (x *requestContext) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.watched = true
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
	x.last++
	c := numbered{x.last, f}
	if x.first.n == 0 {
		x.first = c
	} else {
		x.more = append(x.more, c)
	}
	n := x.last
	return func() bool { return x.forget(n) }
}

func (x *requestContext) forget(n uint64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.first.n == n {
		x.first = numbered{}
		return true
	}
	for i, c := range x.more {
		if c.n == n {
			x.more = slices.Delete(x.more, i, i+1)
			return true
		}
	}
	return false
}

// isWatched reports whether somebody has asked for the channel.
func (x *requestContext) isWatched() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.watched
}

// cancel ends the context.
func (x *requestContext) cancel() {
	x.mu.Lock()
	if x.err != nil {
		x.mu.Unlock()
		return
	}
	x.err = context.Canceled
	first, more := x.first, x.more
	x.first, x.more = numbered{}, nil
	if x.done != nil {
		close(x.done)
	}
	x.mu.Unlock()
	if first.n != 0 {
		go first.f()
	}
	for _, c := range more {
		go c.f()
	}
}
