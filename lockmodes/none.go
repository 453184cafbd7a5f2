package lockmodes

import "sync/atomic"

// free is the lock of modes that have none.
type free struct{ stopped atomic.Bool }

func openNone(Options, material) (Lock, error) { return &free{}, nil }

func (l *free) TryLock() bool { return !l.stopped.Load() }

func (l *free) Lock() error {
	if l.stopped.Load() {
		return ErrStopped
	}
	return nil
}

func (l *free) Unlock() {}
func (l *free) Stop()   { l.stopped.Store(true) }

func (l *free) Close() error {
	l.Stop()
	return nil
}
