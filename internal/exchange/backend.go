package exchange

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"sluice/cgi"
	"sluice/fcgi"
	"sluice/internal/scoreboard"
	"sluice/spawner"
)

// Backend begins exchanges with the children of one app.
type Backend interface {
	// Begin gets a child and sends it the request. Errors are *Error; those
	// that say that nothing reached a child may be tried again.
	Begin(ctx context.Context, req *Request, body *Body, tried Tried) (Attempt, error)
}

// Attempt is one exchange with one child, and the hold on that child.
type Attempt interface {
	cgi.Conversation
	PID() int
	Slot() int
	// Address is where a child listens that is not sluice's own; else "".
	Address() string
	// Lost: the child was given up before it took the request.
	Lost() bool
	// Settle closes the conversation and gives the child back.
	Settle(spawner.Outcome, cgi.Closing)
	// Kept: the connection has had requests before.
	Kept() bool
	// Replace asks for the child to be stopped and started anew.
	Replace(why string)
	// Free says that nobody uses the attempt any more, which has been settled: it
	// may become another.
	Free()
}

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
	a := fcgiAttempts.Get().(*fcgiAttempt)
	if err := a.begin(ctx, b, req, body, tried); err != nil {
		a.Free()
		return nil, err
	}
	return a, nil
}

func (a *fcgiAttempt) begin(ctx context.Context, b *FastCGI, req *Request, body *Body, tried Tried) error {
	l := &a.lease
	if err := b.lease(ctx, l, req, tried); err != nil {
		return leaseError(err)
	}
	req.clock.waited()
	rec := req.Observer.Leased(l.Slot(), l.PID(), req.clock.now())
	nc, err := l.Conn(ctx, req.repeatable() && !tried.Stale)
	if err != nil {
		req.Observer.Released(rec)
		return b.notReached(ctx, l, err)
	}
	mayWait := !l.Kept() // an idle child takes a small request at once
	if mayWait {
		req.clock.waited()
	}
	a.req, a.errors = req, b.Stderr
	a.sent = fcgi.Request{
		Role:         b.Role,
		KeepConn:     l.KeepAlive(),
		Params:       a.params,
		Stdin:        body.Reader(),
		Stderr:       (*errorOutput)(a),
		WriteTimeout: b.WriteTimeout,
		Now:          req.clock.now(),
	}
	if body.data != nil {
		a.sent.Data, a.sent.Params = body.data.Content(), req.withData
	}
	if mayWait || a.sent.Stdin != nil {
		req.clock.waited()
	}
	if err := a.Exchange.Begin(nc, &a.sent); err != nil {
		req.Observer.Released(rec)
		return notSent(req, l, err)
	}
	body.hold()
	a.body, a.observer, a.rec = body, req.Observer, rec
	return nil
}

// chances is how often a ledger may offer a slot, for each that there is, which
// has refused the request.
const chances = 4

// otherKey makes a key one that may belong to any other slot.
const otherKey = 0x9e3779b97f4a7c15

// lease claims a child that has not refused the request. The ledger can be
// asked to pass over one slot only, so others that it offers are given back.
func (b *FastCGI) lease(ctx context.Context, l *spawner.Lease, req *Request, tried Tried) error {
	if len(tried.Refused) >= b.Pool.Slots() {
		return errAllRefused
	}
	want := spawner.Want{Avoid: tried.Last}
	if b.ByURL {
		want.Key = req.key()
	}
	for range chances * b.Pool.Slots() {
		if err := l.Claim(ctx, b.Pool, want); err != nil {
			return err
		}
		if !slices.Contains(tried.Refused, l.Slot()) {
			if tried.Died && l.Slot() == tried.Last && l.PID() == 0 {
				sleep(ctx, lastBreath)
			}
			return nil
		}
		l.Release(spawner.Unsent, nil)
		want.Avoid = l.Slot()
		want.Key += otherKey
	}
	return errOthersBusy
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
		return &unsent{err: e, slot: l.Slot(), kept: l.Kept()}
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

func leaseError(err error) error {
	switch {
	case err == errAllRefused, err == errOthersBusy:
		return err
	case errors.Is(err, spawner.ErrQueueFull), errors.Is(err, spawner.ErrQueueTimeout):
		return &Error{Kind: QueueFull, Err: err, RetryAfter: 1}
	case errors.Is(err, spawner.ErrNoChild):
		return &Error{Kind: NoChild, Err: err, RetryAfter: 1}
	}
	return &Error{Kind: ClientGone, Err: errors.New("while it waited for a child")}
}

// unsent is an attempt that did not reach a child.
type unsent struct {
	err       *Error
	slot      int
	unreached bool // there was no connection: any other slot may be asked
	kept      bool // the connection has had requests before
}

func (u *unsent) Error() string { return u.err.Error() }
func (u *unsent) Unwrap() error { return u.err }

// fcgiAttempt is all that an exchange over FastCGI needs, in one piece. A goroutine
// that has it longer than its request keeps it: see run.free.
type fcgiAttempt struct {
	fcgi.Exchange
	lease    spawner.Lease
	sent     fcgi.Request
	body     *Body
	errors   *cgi.ErrorLog
	stderr   *cgi.Lines // nil: the child has printed nothing
	observer Observer
	rec      scoreboard.Record

	req    *Request                           // while it is sent
	params func(set func(name, value string)) // made once
}

var fcgiAttempts = sync.Pool{New: func() any {
	a := &fcgiAttempt{}
	a.lease.Interrupt = a.Interrupt
	a.params = func(set func(name, value string)) { a.req.each(set) }
	return a
}}

// Free implements Attempt.
func (a *fcgiAttempt) Free() {
	a.sent = fcgi.Request{}
	a.body, a.errors, a.stderr, a.observer, a.req = nil, nil, nil, nil, nil
	a.rec = scoreboard.Record{}
	fcgiAttempts.Put(a)
}

// errorOutput is the child's standard error, which most never write to.
type errorOutput fcgiAttempt

func (e *errorOutput) Write(p []byte) (int, error) {
	if e.stderr == nil {
		if pid := e.lease.PID(); pid != 0 {
			e.stderr = e.errors.For(pid)
		} else {
			e.stderr = e.errors.At(e.lease.Target().Address)
		}
	}
	return e.stderr.Write(p)
}

func (a *fcgiAttempt) PID() int           { return a.lease.PID() }
func (a *fcgiAttempt) Slot() int          { return a.lease.Slot() }
func (a *fcgiAttempt) Address() string    { return address(&a.lease) }
func (a *fcgiAttempt) Lost() bool         { return a.lease.Lost() }
func (a *fcgiAttempt) Kept() bool         { return a.lease.Kept() }
func (a *fcgiAttempt) Replace(why string) { a.lease.Replace(why) }

func (a *fcgiAttempt) Settle(o spawner.Outcome, how cgi.Closing) {
	var keep net.Conn
	if o == spawner.Answered {
		keep = a.Keep()
	} else {
		a.Close(how)
	}
	a.body.Close()
	if a.stderr != nil {
		a.stderr.Flush()
	}
	a.observer.Released(a.rec)
	a.lease.Release(o, keep)
}

// Scripts is the Backend of a CGI app: every request starts a script.
type Scripts struct {
	Starter cgi.Starter
	Ledger  spawner.Ledger // a slot per script that may run at once
	Options cgi.Options
	Log     *slog.Logger
	// Loose bounds the scripts that work on after their answer; nobody waits
	// there. A script beyond it keeps its slot.
	Loose spawner.Ledger
}

// Begin implements Backend.
func (b *Scripts) Begin(ctx context.Context, req *Request, body *Body, _ Tried) (Attempt, error) {
	claim, err := b.Ledger.Claim(ctx, spawner.Anyone)
	if err != nil {
		return nil, leaseError(err)
	}
	req.clock.waited()
	req.phase(scoreboard.Connect)
	cmd := req.Command
	cmd.Env = environment(req.each)
	s, err := cgi.Run(b.Starter, cmd, body.Input(), b.Options)
	if err != nil {
		b.Ledger.Release(claim, spawner.Failed)
		return nil, startError(cmd, err)
	}
	req.clock.waited()
	rec := req.Observer.Leased(claim.Slot, s.PID(), req.clock.now())
	return &scriptAttempt{Script: s, b: b, claim: claim, observer: req.Observer, rec: rec}, nil
}

// environment is the meta-variables as an environment. A value cannot hold a
// NUL, so a variable that has one is left out.
func environment(each func(set func(name, value string))) []string {
	env := make([]string, 0, 48)
	each(func(name, value string) {
		for i := 0; i < len(value); i++ {
			if value[i] == 0 {
				return
			}
		}
		env = append(env, name+"="+value)
	})
	return env
}

func startError(cmd cgi.Command, err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return &Error{Kind: Forbidden, Err: err}
	case errors.Is(err, syscall.ENOEXEC):
		return &Error{Kind: CannotStart, Err: fmt.Errorf("%s: no interpreter: neither a program for this machine nor a script that begins with #!", cmd.Path)}
	case errors.Is(err, fs.ErrNotExist):
		if _, serr := os.Stat(cmd.Path); serr == nil {
			return &Error{Kind: CannotStart, Err: fmt.Errorf("%s: its interpreter does not exist", cmd.Path)}
		}
	}
	return &Error{Kind: CannotStart, Err: err}
}

type scriptAttempt struct {
	*cgi.Script
	b     *Scripts
	claim spawner.Claim

	observer Observer
	rec      scoreboard.Record
}

func (a *scriptAttempt) Slot() int       { return a.claim.Slot }
func (a *scriptAttempt) Address() string { return "" }
func (a *scriptAttempt) Lost() bool      { return false }
func (a *scriptAttempt) Kept() bool      { return false }
func (a *scriptAttempt) Replace(string)  {}
func (a *scriptAttempt) Free()           {}

// Settle frees the slot at once if the script has ended, or if it may work on
// without one.
func (a *scriptAttempt) Settle(o spawner.Outcome, how cgi.Closing) {
	a.Close(how)
	if end, ok := a.Ended(0); ok {
		a.observer.Released(a.rec)
		a.b.Ledger.Release(a.claim, o)
		a.note(end, how)
		return
	}
	a.observer.LetGo(time.Now())
	ledger, claim := a.b.Ledger, a.claim
	if loose, err := a.b.Loose.Claim(context.Background(), spawner.Anyone); err == nil {
		ledger.Release(claim, o)
		ledger, claim = a.b.Loose, loose
	}
	go func() {
		<-a.Done()
		a.observer.Released(a.rec)
		ledger.Release(claim, o)
		end, _ := a.Ended(0)
		a.note(end, how)
	}()
}

// note logs how a script ended that nobody stopped.
func (a *scriptAttempt) note(end cgi.Ending, how cgi.Closing) {
	if !end.OK() && how == cgi.Complete {
		a.b.Log.Warn("script ended badly", "pid", a.PID(), "ending", end)
	}
}
