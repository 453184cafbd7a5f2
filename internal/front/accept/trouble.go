package accept

import (
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sys/unix"
)

// transient are errors of accept(2) that are about one connection, which has
// gone, or about nothing: the next may be accepted at once. Those of the network
// are said of a connection that failed before it was accepted.
func transient(e unix.Errno) bool {
	switch e {
	case unix.EINTR, unix.ECONNABORTED, unix.EPROTO, unix.EPERM,
		unix.ENETDOWN, unix.ENOPROTOOPT, unix.EHOSTDOWN, unix.ENONET, unix.EHOSTUNREACH, unix.EOPNOTSUPP, unix.ENETUNREACH, unix.ETIMEDOUT:
		return true
	}
	return false
}

// Bounds of a pause after any other error: descriptors or memory are exhausted,
// or the listener is broken. The connection waits, and would wake us again at
// once.
const (
	pauseLeast = 10 * time.Millisecond
	pauseMost  = time.Second
	logEvery   = time.Second
)

// trouble is how long accepting pauses, and what is said of it.
type trouble struct {
	log    *slog.Logger
	short  func()        // gives descriptors back; may be nil
	pause  time.Duration // the last; 0: it goes well
	logged time.Time
	unsaid int // errors since
}

// fine ends the trouble.
func (t *trouble) fine() { t.pause = 0 }

// next is how long to pause after an error.
func (t *trouble) next(cause error) time.Duration {
	if t.short != nil && (errors.Is(cause, unix.EMFILE) || errors.Is(cause, unix.ENFILE)) {
		t.short()
	}
	t.pause = min(max(2*t.pause, pauseLeast), pauseMost)
	if now := time.Now(); now.Sub(t.logged) < logEvery {
		t.unsaid++
	} else {
		t.log.Error("no connection can be accepted: accepting pauses", "err", cause, "pause", t.pause, "before", t.unsaid)
		t.logged, t.unsaid = now, 0
	}
	return t.pause
}
