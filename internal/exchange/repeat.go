package exchange

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"syscall"
	"time"

	"sluice/spawner"
)

// maxMoves bounds how often a request leaves the backlog of a child that died
// before it took it.
const maxMoves = 8

// Pauses before addresses that refused are tried once more: from the first on
// they double up to the last.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = 80 * time.Millisecond
)

// lastBreath is the pause before a request is repeated at the address where it
// died, since there is no other: processes of a program that is being stopped
// end one after the other, and the next might take it along, too.
const lastBreath = 200 * time.Millisecond

// Tried says where a request has been.
type Tried struct {
	Last    int   // slot of the child that failed last; -1: none
	Died    bool  // that child died of it, or before it could read it
	Stale   bool  // a kept connection was closed before it was read: no other is used
	Refused []int // slots that took no connection; they are not asked again
}

// attempts does the request on one child, and again on another where it may be
// repeated, once, or where no child took it.
func (a *App) attempts(ctx context.Context, w http.ResponseWriter, req *Request, body *Body) (Answer, error) {
	c := course{tried: Tried{Last: -1}, patience: a.Patience}
	for {
		x := a.newRun(ctx, w, req)
		ans, err := x.attempt(body, c.tried)
		again := false
		if err != nil {
			if again = c.spared(x, err); !again {
				err = c.next(x, err)
				again = err == nil
			}
		}
		x.free()
		if !again {
			return ans, plain(err)
		}
	}
}

// course is what a request has gone through so far.
type course struct {
	tried    Tried
	cause    error // of the repetition
	moves    int
	refusal  error // of the first slot that took no connection
	busy     error // of the first one whose backlog was full
	passing  []int // of tried.Refused: may be over in a moment
	spare    bool  // descriptors have been given back for it
	patience time.Duration
	until    time.Time // for how long that is waited for
	pause    time.Duration
}

// next decides what follows a failure: nil is another attempt, an error the
// answer.
func (c *course) next(x *run, err error) error {
	var u *unsent
	switch {
	case err == errAllRefused, err == errOthersBusy:
		return c.wait(x, err)
	case c.moves < maxMoves && x.lost(err):
		c.moves++
	case errors.As(err, &u) && u.unreached && x.mayRepeat():
		c.refused(u)
		if c.pause == 0 {
			x.Log.Info("child took no connection", x.child(), "cause", err)
		}
		c.tried.Last = x.slot
		return nil
	case !c.tried.Stale && x.stale(err):
		c.tried.Stale = true // which is not the one repetition: no child has seen it
	case c.cause == nil && x.repeat(err):
		c.cause = err
		c.tried.Died = isKind(err, Died)
	case c.cause != nil && noOther(err):
		return c.cause // it is as the first child left it
	case c.refusal != nil && isKind(err, NoChild):
		return c.refusal
	default:
		return err
	}
	x.Log.Info("request is repeated on another child", x.child(), "cause", err)
	c.tried.Last = x.slot
	return nil
}

// spared reports whether no child was reached for want of a descriptor, and some have been given back: once.
func (c *course) spared(x *run, err error) bool {
	if c.spare || x.conv != nil || !x.mayRepeat() || !x.Spare.helps(err) {
		return false
	}
	c.spare = true
	return true
}

// refused takes note of a slot that took no connection.
func (c *course) refused(u *unsent) {
	if c.until.IsZero() {
		c.until = time.Now().Add(c.patience)
	}
	c.tried.Refused = append(slices.Clip(c.tried.Refused), u.slot)
	c.tried.Died = false
	switch {
	case u.err.Kind == QueueFull && c.busy == nil:
		c.busy = u
	case u.err.Kind != QueueFull && c.refusal == nil:
		c.refusal = u
	}
	if passing(u) {
		c.passing = append(c.passing, u.slot)
	}
}

// passing reports whether a refusal may be over in a moment: nobody listens, as
// while a program is restarted.
func passing(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}

// wait is what is done when no slot is left that could be asked: those that may
// be back, or are only busy, are asked after a pause, as long as there is
// patience.
func (c *course) wait(x *run, err error) error {
	left := time.Until(c.until)
	if left <= 0 || len(c.passing) == 0 && err != errOthersBusy {
		switch {
		case c.cause != nil:
			return c.cause
		case err == errOthersBusy:
			return err
		case c.busy != nil:
			return c.busy
		}
		return c.refusal
	}
	if c.pause == 0 {
		x.Log.Info("no address takes the request: it waits", "within", c.patience, "cause", c.refusal)
	}
	c.pause = min(max(2*c.pause, firstPause), lastPause)
	if sleep(x.ctx, min(c.pause, left)); x.ctx.Err() != nil {
		return x.orTimeout(&Error{Kind: ClientGone})
	}
	c.tried.Refused = slices.DeleteFunc(slices.Clone(c.tried.Refused), func(s int) bool { return slices.Contains(c.passing, s) })
	c.passing = nil
	return nil
}

// sleep waits, but not for longer than ctx lasts.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// Attempts for which no slot was left.
var (
	errAllRefused error = &Error{Kind: NotReached, Err: errors.New("every address has refused the request")}
	errOthersBusy error = &Error{Kind: QueueFull, Err: errors.New("no address takes the request, or it is busy"), RetryAfter: 1}
)

func noOther(err error) bool {
	var e *Error
	return errors.As(err, &e) && !e.Started && (e.Kind == NoChild || e.Kind == QueueFull)
}

func isKind(err error, k Kind) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == k
}

// mayRepeat reports whether somebody still waits for an answer, of which
// nothing has been sent.
func (x *run) mayRepeat() bool { return !x.started.Load() && x.ctx.Err() == nil }

// repeat reports whether the request may be done once more, on another child:
// nothing reached the first, or it refused, or died before it answered a
// request that may be sent twice.
func (x *run) repeat(err error) bool {
	if !x.mayRepeat() {
		return false
	}
	var u *unsent
	if errors.As(err, &u) {
		return true
	}
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Kind {
	case Overloaded:
		return x.conv != nil
	case Died:
		return !x.heard && x.conv != nil && x.req.Command.Path == "" && x.req.repeatable()
	}
	return false
}

// stale reports whether the request went into a kept connection which its child
// closed without reading it, as one does that ends by itself after an answer.
// Had it read the request, the connection would have ended without a reset.
func (x *run) stale(err error) bool {
	return x.kept && x.repeat(err) && (errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE))
}

// lost reports whether the request waited in the backlog of a child that is
// given up: no child took it.
func (x *run) lost(err error) bool {
	return x.mayRepeat() && errors.Is(err, spawner.ErrLost)
}

// plain takes the wrapping for repeat off again, so that callers see *Error.
func plain(err error) error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return err
}
