package exchange

import (
	"errors"
	"fmt"
	"log/slog"

	"sluice/cgi"
	"sluice/fcgi"
	"sluice/spawner"
)

// headerError gives an error of the header block its kind.
func (x *run) headerError(err error) error {
	var e *Error
	var status *fcgi.StatusError
	var bad *cgi.HeaderError
	var in *fcgi.InputError
	switch {
	case errors.As(err, &e):
		return err
	case errors.As(err, &status):
		return statusError(status)
	case errors.As(err, &in):
		return &Error{Kind: x.req.inputKind(), Err: err}
	case errors.As(err, &bad):
		return &Error{Kind: BadHeader, Err: err}
	case errors.Is(err, cgi.ErrNoHeader):
		if end, ok := x.conv.Ended(crashWait); ok {
			err = fmt.Errorf("%w (%v)", err, end)
		}
		return &Error{Kind: BadHeader, Err: err}
	}
	return &Error{Kind: Died, Err: err}
}

func statusError(s *fcgi.StatusError) error {
	switch {
	case s.Refused():
		return &Error{Kind: Overloaded, Err: s, RetryAfter: 1}
	case s.UnknownRole():
		return &Error{Kind: UnknownRole, Err: s}
	}
	return &Error{Kind: ProtocolStatus, Err: s}
}

// fail ends an exchange that went wrong: it settles with the child, as the kind
// of the error wants it, and completes the error.
func (x *run) fail(err error) error {
	var e *Error
	if errors.As(err, &e) {
		own := *e // it may be everybody's
		e = &own
	} else {
		e = &Error{Kind: Died, Err: err}
	}
	e.PID, e.Address, e.Started = x.pid, x.address, x.started.Load()
	switch e.Kind {
	case HeaderTimeout, Stalled:
		x.conv.Replace(e.Error())
		x.conv.Settle(x.silent(), cgi.Abort)
	case RequestTimeout:
		x.conv.Replace(e.Error())
		x.conv.Settle(x.cut(), cgi.Abort)
	case Overloaded:
		x.conv.Settle(spawner.Unsent, cgi.Stop)
	case ClientGone, SendFailed:
		x.conv.Settle(x.cut(), cgi.Abort)
	case Died, NoChild, UnknownRole, ProtocolStatus:
		x.conv.Settle(spawner.Failed, cgi.Stop)
	default:
		x.conv.Settle(spawner.Cut, cgi.Stop)
	}
	return e
}

// silent is what the silence of a child means: one of sluice's own works on and
// is replaced, while of another only its ledger can keep requests away.
func (x *run) silent() spawner.Outcome {
	if x.address != "" {
		return spawner.Failed
	}
	return spawner.Cut
}

// cut is what it means that we closed first: one of sluice's own may compute on,
// while of another, as long as it has said nothing, nothing is known.
func (x *run) cut() spawner.Outcome {
	if x.address != "" && !x.heard {
		return spawner.Unsent
	}
	return spawner.Cut
}

// childAttr names a child in the log: by its pid, or by its address where it is
// not sluice's own.
func childAttr(pid int, address string) slog.Attr {
	if address != "" {
		return slog.String("address", address)
	}
	return slog.Int("pid", pid)
}

func (x *run) child() slog.Attr { return childAttr(x.pid, x.address) }
