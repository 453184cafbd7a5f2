package spawner

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// Restart gives every slot that has a process, or waits to start one, a new
// one, one slot after the other: the child gets no more requests, is stopped
// when it is idle, and the next slot's turn comes when its successor is ready.
// It returns how many have been restarted.
//
// Errors: the first successor that does not become ready, after which no other
// child is touched; the supervisor is stopped; the cause of ctx.
func (s *Supervisor) Restart(ctx context.Context) (done int, err error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	s.mu.Lock()
	slots := slices.Clone(s.slots)
	s.mu.Unlock()
	for _, k := range slots {
		renewed, err := k.renew(ctx)
		if err != nil {
			return done, fmt.Errorf("child %d of app %q: %w", k.slot, s.opt().App, err)
		}
		if renewed {
			done++
		}
	}
	return done, nil
}

var errStopped = errors.New("the supervisor is stopped")

// renew restarts the child of one slot; false: there is none.
func (k *keeper) renew(ctx context.Context) (bool, error) {
	s := k.s
	s.mu.Lock()
	lives := k.lives
	switch {
	case k.state == BackingOff && k.allowed():
		k.wanted = true
		k.wake()
	case k.state == Dormant && !k.wanted, !k.allowed():
		s.mu.Unlock()
		return false, nil
	default:
		k.ask(leave{why: restarted})
	}
	for {
		state, alive, failed, changed := k.state, k.child != nil, k.failed, s.changed
		again := k.lives > lives && !k.coming // until it is a child the state is its predecessor's
		s.mu.Unlock()
		switch {
		case state == Absent && k.allowed() || s.stopping():
			return false, errStopped
		case state == Dormant, !k.allowed(): // it was superfluous
			return false, nil
		case again && state == Ready && alive:
			return true, nil
		case again && state == BackingOff:
			return false, failed
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
		s.mu.Lock()
	}
}
