package exchange

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"syscall"

	"sluice/cgi"
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
	// Replace asks for the child to be stopped and started anew.
	Replace(why string)
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
}

func (u *unsent) Error() string { return u.err.Error() }
func (u *unsent) Unwrap() error { return u.err }

// Scripts is the Backend of a CGI app: every request starts a script.
type Scripts struct {
	Starter cgi.Starter
	Ledger  spawner.Ledger // a slot per script that may run at once
	Options cgi.Options
	Log     *slog.Logger
	// Loose bounds the scripts that work on after their answer; a channel of
	// that capacity. A script beyond it keeps its slot.
	Loose chan struct{}
}

// Begin implements Backend.
func (b *Scripts) Begin(ctx context.Context, req *Request, body *Body, _ Tried) (Attempt, error) {
	claim, err := b.Ledger.Claim(ctx, spawner.Anyone)
	if err != nil {
		return nil, leaseError(err)
	}
	cmd := req.Command
	cmd.Env = environment(req.each)
	s, err := cgi.Run(b.Starter, cmd, body.Input(), b.Options)
	if err != nil {
		b.Ledger.Release(claim, spawner.Failed)
		return nil, startError(cmd, err)
	}
	return &scriptAttempt{Script: s, b: b, claim: claim}, nil
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
}

func (a *scriptAttempt) Slot() int       { return a.claim.Slot }
func (a *scriptAttempt) Address() string { return "" }
func (a *scriptAttempt) Lost() bool      { return false }
func (a *scriptAttempt) Replace(string)  {}

// Settle frees the slot at once if the script has ended, or if it may work on
// without one.
func (a *scriptAttempt) Settle(o spawner.Outcome, how cgi.Closing) {
	a.Close(how)
	if end, ok := a.Ended(0); ok {
		a.b.Ledger.Release(a.claim, o)
		a.note(end, how)
		return
	}
	loose := false
	select {
	case a.b.Loose <- struct{}{}:
		loose = true
		a.b.Ledger.Release(a.claim, o)
	default:
	}
	go func() {
		<-a.Done()
		if loose {
			<-a.b.Loose
		} else {
			a.b.Ledger.Release(a.claim, o)
		}
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
