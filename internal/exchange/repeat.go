package exchange

import (
	"context"
	"errors"
	"net/http"

	"sluice/spawner"
)

// maxMoves bounds how often a request leaves the backlog of a child that died
// before it took it.
const maxMoves = 8

// attempts does the request on one child, and again on another where it may be
// repeated, once, or where no child took it.
func (a *App) attempts(ctx context.Context, w http.ResponseWriter, req *Request, body *Body) (Answer, error) {
	var cause error // of the repetition
	for avoid, moves := -1, 0; ; {
		x := &run{App: a, req: req, w: w, ctx: ctx}
		ans, err := x.attempt(body, avoid)
		switch {
		case err == nil:
			return ans, nil
		case moves < maxMoves && x.lost(err):
			moves++
		case cause == nil && x.repeat(err):
			cause = err
		case cause != nil && noOther(err):
			return ans, plain(cause) // it is as the first child left it
		default:
			return ans, plain(err)
		}
		a.Log.Info("request is repeated on another child", "pid", x.pid, "cause", err)
		avoid = x.slot
	}
}

func noOther(err error) bool {
	var e *Error
	return errors.As(err, &e) && !e.Started && (e.Kind == NoChild || e.Kind == QueueFull)
}

// repeat reports whether the request may be done once more, on another child:
// nothing reached the first, or it refused, or died before it answered a
// request that may be sent twice.
func (x *run) repeat(err error) bool {
	if x.started.Load() || x.ctx.Err() != nil {
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

// lost reports whether the request waited in the backlog of a child that is
// given up: no child took it.
func (x *run) lost(err error) bool {
	return !x.started.Load() && x.ctx.Err() == nil && errors.Is(err, spawner.ErrLost)
}

// plain takes the wrapping for repeat off again, so that callers see *Error.
func plain(err error) error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return err
}
