package spawner

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Nobody who waits has to look by itself: each cause of a free child, or of there
// being none, rings where it should.
func TestSharedBellsSuffice(t *testing.T) {
	hold := func(l Shared) (free func()) { // it comes to nothing meanwhile
		l.(*ledger).mu.Lock()
		return l.(*ledger).mu.Unlock
	}
	for _, c := range []struct {
		name string
		do   func(t *testing.T, s *shared, held []Claim, leave func())
		errs []error // of the requests that wait: one at each worker
	}{
		{"a child is free", func(t *testing.T, s *shared, held []Claim, _ func()) {
			s.owner.Release(held[0], Answered)
			s.owner.Release(held[1], Answered)
		}, []error{nil, nil}},
		{"two are, before the first comes to it", func(t *testing.T, s *shared, held []Claim, _ func()) {
			defer hold(s.workers[0])()
			s.owner.Release(held[0], Answered)
			s.owner.Release(held[1], Answered)
		}, []error{nil, nil}},
		{"the first leaves, before it comes to it", func(t *testing.T, s *shared, held []Claim, leave func()) {
			defer hold(s.workers[0])()
			s.owner.Release(held[0], Answered)
			leave()
			time.Sleep(5 * time.Millisecond)
		}, []error{context.Canceled, nil}},
		{"a successor", func(t *testing.T, s *shared, held []Claim, _ func()) {
			for i := range held {
				s.owner.Set(i, Stopping, 101+i)
				s.owner.Release(held[i], Answered)
			}
			s.owner.Set(0, Starting, 201)
			s.owner.Set(1, Starting, 202)
		}, []error{nil, nil}},
		{"no hope", func(t *testing.T, s *shared, held []Claim, _ func()) {
			s.owner.Set(0, BackingOff, 0)
			s.owner.Set(1, BackingOff, 0)
		}, []error{ErrNoChild, ErrNoChild}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := share(t, LedgerOptions{Queue: 4, Slots: make([]SlotOptions, 2)}, 2)
			for _, w := range s.workers {
				w.(*ledger).queue.looking = true // so that it does not
			}
			held := []Claim{claim(t, s.owner, 1), claim(t, s.owner, 0)}
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			got := []<-chan answer{s.queue(t, ctx, s.workers[0]), s.queue(t, t.Context(), s.workers[1])}
			c.do(t, s, held, leave)
			for i, g := range got {
				if a := arrival(t, fmt.Sprint("worker ", i), g); a.err != c.errs[i] {
					t.Errorf("worker %d: %v, want %v", i, a.err, c.errs[i])
				}
			}
		})
	}
}

func TestBells(t *testing.T) {
	a, _ := newArena(t, oneSlot)
	var calls atomic.Int32
	in, out := make(chan struct{}), make(chan struct{})
	stop := a.bells.Listen(3, func() {
		calls.Add(1)
		in <- struct{}{}
		<-out
	})
	arrival(t, "what rang before", in)
	out <- struct{}{}
	a.bells.Ring(2)
	eventually(t, 5*time.Second, "it sleeps", func() bool { return a.bells.places[3].asleep.Load() == 1 })
	a.bells.Ring(3)
	arrival(t, "the bell is heard", in)
	for range 10 {
		a.bells.Ring(3) // while f runs
	}
	out <- struct{}{}
	arrival(t, "what rang meanwhile is heard", in)
	out <- struct{}{}
	eventually(t, 5*time.Second, "it sleeps", func() bool { return a.bells.places[3].asleep.Load() == 1 })
	if n := calls.Load(); n != 3 {
		t.Errorf("%d calls", n)
	}
	for range 100 { // asleep or about to be
		a.bells.Ring(3)
		arrival(t, "heard", in)
		out <- struct{}{}
	}
	close(out)
	go func() {
		for range in {
		}
	}()
	stop()
	n := calls.Load()
	a.bells.Ring(3)
	time.Sleep(20 * time.Millisecond)
	if calls.Load() != n {
		t.Error("called after the end")
	}
	close(in)
	if !errors.Is(futex(&a.bells.places[3].rung, futexWait, 1<<31), syscall.EAGAIN) {
		t.Error("the futex does not compare")
	}
}
