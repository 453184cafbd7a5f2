package spawner

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// The owner's bell rings once for all that has happened since it looked.
func TestSharedNotices(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  LedgerOptions
		do   func(t *testing.T, s *shared)
		want bool
	}{
		{"a request", LedgerOptions{}, func(t *testing.T, s *shared) { s.workers[0].Release(claim(t, s.workers[0], -1), Answered) }, false},
		{"one waits, none can be started", LedgerOptions{}, func(t *testing.T, s *shared) {
			claim(t, s.workers[0], -1)
			claim(t, s.workers[0], -1)
			s.wait(t)
		}, false},
		{"one waits, one can be started", LedgerOptions{}, func(t *testing.T, s *shared) {
			s.owner.Set(1, Dormant, 0)
			claim(t, s.workers[0], -1)
			s.wait(t)
		}, true},
		{"enough are free", LedgerOptions{Spare: 1}, func(t *testing.T, s *shared) {
			s.owner.Set(2, Dormant, 0)
			claim(t, s.workers[0], -1)
		}, false},
		{"fewer than Spare are free", LedgerOptions{Spare: 2}, func(t *testing.T, s *shared) {
			s.owner.Set(2, Dormant, 0)
			claim(t, s.workers[0], -1)
		}, true},
		{"fewer than Spare, but none can be started", LedgerOptions{Spare: 2}, func(t *testing.T, s *shared) {
			s.owner.Set(2, Absent, 0)
			claim(t, s.workers[0], -1)
		}, false},
		{"the last of a retiring child", LedgerOptions{}, func(t *testing.T, s *shared) {
			c := claim(t, s.workers[0], -1)
			s.owner.Set(c.Slot, Retiring, c.PID)
			if u := s.owner.Use(c.Slot); u.Claims != 1 || u.Idle != 0 {
				t.Errorf("%+v", u)
			}
			s.workers[0].Release(c, Answered)
		}, true},
		{"the last request of a process", LedgerOptions{MaxRequests: 1}, func(t *testing.T, s *shared) { claim(t, s.workers[0], -1) }, true},
		{"not yet the last", LedgerOptions{MaxRequests: 2}, func(t *testing.T, s *shared) { claim(t, s.workers[0], -1) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.opt.Queue, c.opt.Slots = 4, make([]SlotOptions, 2)
			if c.opt.Spare > 0 {
				c.opt.Slots = make([]SlotOptions, 3)
			}
			s := share(t, c.opt, 1)
			var told atomic.Int32
			s.owner.Watch(func() { told.Add(1) })
			before := s.bells.places[0].rung.Load()
			c.do(t, s)
			if rung := s.bells.places[0].rung.Load() != before; rung != c.want {
				t.Errorf("rung: %v", rung)
			}
			if c.want {
				eventually(t, 5*time.Second, "the owner is told", func() bool { return told.Load() > 0 })
			} else if s.owner.Wake(); told.Load() != 0 {
				t.Error("told for nothing")
			}
		})
	}
}

// wait has a request wait for a little while.
func (s *shared) wait(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	got := s.queue(t, ctx, s.workers[0])
	leave()
	arrival(t, "it leaves", got)
}

func TestSharedNoticesJoin(t *testing.T) {
	o := LedgerOptions{MaxRequests: 1, Slots: make([]SlotOptions, 3)}
	a, _ := newArena(t, o)
	owner, err := CreateLedger(o, a.mem, a.bells)
	must(t, err)
	l, err := OpenLedger(o, a.mem, a.bells, 7)
	must(t, err)
	var told int
	owner.Watch(func() { told++ })
	for round := range 2 {
		before := a.bells.places[0].rung.Load()
		for i := range o.Slots {
			owner.Set(i, Ready, 10*round+i+1)
		}
		for range o.Slots {
			l.Release(claim(t, l, -1), Answered)
		}
		if n := a.bells.places[0].rung.Load() - before; n != 1 || told != round {
			t.Errorf("round %d: rung %d times, told %d times", round, n, told)
		}
		owner.Wake()
		owner.Wake()
		if told != round+1 {
			t.Errorf("round %d: told %d times", round, told)
		}
	}
}

// A worker that was to tell the owner was stopped before it rang: who waits does.
func TestSharedNoticeLost(t *testing.T) {
	s := share(t, oneSlot, 1)
	told := make(chan bool, 99)
	claim(t, s.owner, -1)
	s.owner.Watch(func() { told <- true })
	eventually(t, 5*time.Second, "the owner sleeps", func() bool { return s.bells.places[0].asleep.Load() == 1 })
	s.owner.(*ledger).head.pending.Store(1)
	ctx, leave := context.WithCancel(t.Context())
	got := s.queue(t, ctx, s.workers[0])
	arrival(t, "the owner is told", told)
	leave()
	<-got
}
