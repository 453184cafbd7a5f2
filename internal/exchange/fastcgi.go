package exchange

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"

	"sluice/cgi"
	"sluice/fcgi"
	"sluice/spawner"
)

// FastCGI is the Backend of a FastCGI app.
type FastCGI struct {
	Pool         *spawner.Pool
	Role         fcgi.Role
	WriteTimeout time.Duration
	Stderr       *cgi.ErrorLog
	// ByURL has requests for one host and path go to one slot where the ledger
	// balances by key.
	ByURL bool
}

// Begin implements Backend.
func (b *FastCGI) Begin(ctx context.Context, req *Request, body *Body, tried Tried) (Attempt, error) {
	l, err := b.lease(ctx, req, tried)
	if err != nil {
		return nil, leaseError(err)
	}
	if tried.Died && l.Slot() == tried.Last && l.PID() == 0 {
		sleep(ctx, lastBreath)
	}
	nc, err := l.Conn(ctx, req.repeatable())
	if err != nil {
		return nil, b.notReached(ctx, l, err)
	}
	stderr := b.stderr(l)
	r := &fcgi.Request{
		Role:         b.Role,
		KeepConn:     l.KeepAlive(),
		Params:       req.each,
		Stdin:        body.Reader(),
		Stderr:       stderr,
		WriteTimeout: b.WriteTimeout,
	}
	if body.data != nil {
		r.Data, r.Params = body.data.Content(), req.withData
	}
	ex, err := fcgi.Begin(nc, r)
	if err != nil {
		return nil, notSent(req, l, err)
	}
	body.hold()
	return &fcgiAttempt{Exchange: ex, lease: l, body: body, stderr: stderr}, nil
}

// lastBreath is the pause before a request is repeated at the address where it
// died, since there is no other: processes of a program that is being stopped
// end one after the other, and the next might take it along, too.
const lastBreath = 50 * time.Millisecond

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// chances is how often a ledger may offer a slot, for each that there is, which
// has refused the request.
const chances = 4

// otherKey makes a key one that may belong to any other slot.
const otherKey = 0x9e3779b97f4a7c15

// lease claims a child that has not refused the request. The ledger can be
// asked to pass over one slot only, so others that it offers are given back.
func (b *FastCGI) lease(ctx context.Context, req *Request, tried Tried) (*spawner.Lease, error) {
	if len(tried.Refused) >= b.Pool.Slots() {
		return nil, errAllRefused
	}
	want := spawner.Want{Avoid: tried.Last}
	if b.ByURL {
		want.Key = req.key()
	}
	for range chances * b.Pool.Slots() {
		l, err := b.Pool.Lease(ctx, want)
		if err != nil || !slices.Contains(tried.Refused, l.Slot()) {
			return l, err
		}
		l.Release(spawner.Unsent, nil)
		want.Avoid = l.Slot()
		want.Key += otherKey
	}
	return nil, errOthersBusy
}

func (b *FastCGI) stderr(l *spawner.Lease) *cgi.Lines {
	if l.PID() == 0 {
		return b.Stderr.At(l.Target().Address)
	}
	return b.Stderr.For(l.PID())
}

// notReached ends a lease whose connection was not made.
func (b *FastCGI) notReached(ctx context.Context, l *spawner.Lease, err error) error {
	e := connError(err)
	e.PID, e.Address = l.PID(), address(l)
	switch {
	case ctx.Err() != nil:
		l.Release(spawner.Unsent, nil)
		return &Error{Kind: ClientGone, PID: l.PID()}
	case e.Kind == QueueFull:
		l.Release(spawner.Unsent, nil)
	default:
		l.Release(spawner.Failed, nil)
	}
	return &unsent{err: e, slot: l.Slot(), unreached: true}
}

func connError(err error) *Error {
	switch {
	case errors.Is(err, spawner.ErrLost):
		return &Error{Kind: NoChild, Err: err, RetryAfter: 1}
	case errors.Is(err, syscall.EAGAIN):
		return &Error{Kind: QueueFull, Err: fmt.Errorf("its backlog is full: %w", err), RetryAfter: 1}
	}
	return &Error{Kind: NotReached, Err: err}
}

// notSent ends a lease to whose child the request could not be sent.
func notSent(req *Request, l *spawner.Lease, err error) error {
	e := &Error{Kind: Died, PID: l.PID(), Address: address(l), Err: err}
	var in *fcgi.InputError
	if errors.As(err, &in) {
		l.Release(spawner.Unsent, nil)
		e.Kind = req.inputKind()
		return e
	}
	l.Release(spawner.Failed, nil)
	var we *fcgi.WriteError
	if errors.As(err, &we) && (we.Written == 0 || req.repeatable()) {
		return &unsent{err: e, slot: l.Slot()}
	}
	return e
}

// address is where a child listens that is not sluice's own; else "".
func address(l *spawner.Lease) string {
	if l.PID() != 0 {
		return ""
	}
	return l.Target().Address
}

type fcgiAttempt struct {
	*fcgi.Exchange
	lease  *spawner.Lease
	body   *Body
	stderr *cgi.Lines
}

func (a *fcgiAttempt) PID() int           { return a.lease.PID() }
func (a *fcgiAttempt) Slot() int          { return a.lease.Slot() }
func (a *fcgiAttempt) Address() string    { return address(a.lease) }
func (a *fcgiAttempt) Lost() bool         { return a.lease.Lost() }
func (a *fcgiAttempt) Replace(why string) { a.lease.Replace(why) }

func (a *fcgiAttempt) Settle(o spawner.Outcome, how cgi.Closing) {
	var keep net.Conn
	if o == spawner.Answered {
		keep = a.Keep()
	} else {
		a.Close(how)
	}
	a.body.Close()
	a.stderr.Flush()
	a.lease.Release(o, keep)
}
