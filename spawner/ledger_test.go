package spawner

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// ledgerOf has slots of one connection each, all ready, with pids from 101 on.
func ledgerOf(o LedgerOptions, slots int) Ledger {
	if o.Slots == nil {
		o.Slots = make([]SlotOptions, slots)
	}
	l := NewLedger(o)
	for i := range o.Slots {
		l.Set(i, Ready, 101+i)
	}
	return l
}

func claim(t testing.TB, l Ledger, avoid int) Claim {
	t.Helper()
	c, err := l.Claim(t.Context(), Want{Avoid: avoid})
	must(t, err)
	return c
}

func TestLedgerOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledgerOf(LedgerOptions{Queue: 100}, 1)
		held := claim(t, l, -1)
		var order []int
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				c, err := l.Claim(t.Context(), Anyone)
				if err != nil {
					t.Error(err)
					return
				}
				order = append(order, i) // one at a time: the slot takes one
				time.Sleep(time.Millisecond)
				l.Release(c, Answered)
			})
			synctest.Wait()
		}
		if n := l.Counts(); n.Waiting != 100 || n.Children[0].Claims != 1 {
			t.Errorf("counts %+v", n)
		}
		l.Release(held, Answered)
		wg.Wait()
		for i, n := range order {
			if i != n {
				t.Fatalf("not first in first out: %v", order)
			}
		}
		if n := l.Counts(); n.Served != 101 || n.Waiting != 0 || n.Refused != 0 || n.Children[0].Requests != 101 {
			t.Errorf("counts %+v", n)
		}
	})
}

// One who comes while others wait does not pass them, even if a child is free
// at that moment.
func TestLedgerNobodyPasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledgerOf(LedgerOptions{Queue: 2}, 1)
		c := claim(t, l, -1)
		first := make(chan Claim)
		go func() { c, _ := l.Claim(t.Context(), Anyone); first <- c }()
		synctest.Wait()
		l.Release(c, Answered)
		got := make(chan Claim)
		go func() { c, _ := l.Claim(t.Context(), Anyone); got <- c }()
		synctest.Wait()
		select {
		case <-got:
			t.Fatal("the second has the child of the first")
		case c = <-first:
		}
		l.Release(c, Answered)
		<-got
	})
}

func TestLedgerBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const wait = 10 * time.Second
		l := ledgerOf(LedgerOptions{Queue: 2, QueueTimeout: wait}, 1)
		c := claim(t, l, -1)
		begin := time.Now()
		errs := make(chan error, 2)
		for range 2 {
			go func() { _, err := l.Claim(t.Context(), Anyone); errs <- err }()
		}
		synctest.Wait()
		if _, err := l.Claim(t.Context(), Anyone); !errors.Is(err, ErrQueueFull) || time.Since(begin) != 0 {
			t.Errorf("beyond the queue: %v after %v", err, time.Since(begin))
		}
		for range 2 {
			if err := <-errs; !errors.Is(err, ErrQueueTimeout) {
				t.Error(err)
			}
			if d := time.Since(begin); d < wait || d > wait+50*time.Millisecond {
				t.Errorf("waited %v", d)
			}
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("why")
		time.AfterFunc(time.Second, func() { cancel(why) })
		if _, err := l.Claim(ctx, Anyone); err != why {
			t.Errorf("cancelled: %v", err)
		}
		if n := l.Counts(); n.Waiting != 0 || n.Refused != 3 || n.Served != 1 {
			t.Errorf("counts %+v", n)
		}
		l.Release(c, Answered)
		claim(t, l, -1)
	})
}

func TestLedgerNoQueue(t *testing.T) {
	l := ledgerOf(LedgerOptions{}, 1)
	claim(t, l, -1)
	if _, err := l.Claim(t.Context(), Anyone); !errors.Is(err, ErrQueueFull) {
		t.Error(err)
	}
}

func TestLedgerNoChild(t *testing.T) {
	for _, st := range []State{Absent, BackingOff} {
		t.Run(st.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := ledgerOf(LedgerOptions{Queue: 8, QueueTimeout: time.Minute}, 2)
				claim(t, l, -1)
				claim(t, l, -1)
				errs := make(chan error, 3)
				for range 3 {
					go func() { _, err := l.Claim(t.Context(), Anyone); errs <- err }()
				}
				synctest.Wait()
				l.Set(0, st, 0)
				synctest.Wait()
				if len(errs) > 0 {
					t.Fatal("told although another child lives")
				}
				begin := time.Now()
				l.Set(1, st, 0)
				for range 3 {
					if err := <-errs; err != ErrNoChild {
						t.Error(err)
					}
				}
				if _, err := l.Claim(t.Context(), Anyone); err != ErrNoChild || time.Since(begin) != 0 {
					t.Errorf("%v after %v", err, time.Since(begin))
				}
				if n := l.Counts(); n.Refused != 4 {
					t.Errorf("counts %+v", n)
				}
				l.Set(1, Starting, 7)
				go func() { _, err := l.Claim(t.Context(), Anyone); errs <- err }()
				synctest.Wait()
				l.Release(Claim{Slot: 1, PID: 102}, Failed)
				if err := <-errs; err != nil {
					t.Errorf("a child that starts is to be hoped for: %v", err)
				}
			})
		})
	}
}

// A child that is being replaced gets no request, but is worth waiting for.
func TestLedgerWaitsForReplacement(t *testing.T) {
	for _, st := range []State{Retiring, Stopping} {
		synctest.Test(t, func(t *testing.T) {
			l := ledgerOf(LedgerOptions{Queue: 1}, 1)
			l.Set(0, st, 101)
			got := make(chan Claim)
			go func() { c, _ := l.Claim(t.Context(), Anyone); got <- c }()
			synctest.Wait()
			if n := l.Counts(); n.Waiting != 1 {
				t.Errorf("%v: %+v", st, n)
			}
			l.Set(0, Starting, 102)
			if c := <-got; c.PID != 102 {
				t.Errorf("%+v", c)
			}
		})
	}
}

func TestLedgerPick(t *testing.T) {
	l := ledgerOf(LedgerOptions{}, 3)
	expect := func(what string, avoid, want int, o Outcome) {
		t.Helper()
		c := claim(t, l, avoid)
		if c.Slot != want {
			t.Errorf("%s: slot %d, want %d", what, c.Slot, want)
		}
		l.Release(c, o)
	}
	expect("fresh", -1, 0, Answered)
	expect("the one used last", -1, 0, Answered)
	expect("avoided", 0, 1, Answered)
	expect("the one used last", -1, 1, Cut)
	expect("finishing comes last", -1, 0, Cut)
	expect("finishing comes last", -1, 2, Answered)
	l.Set(2, Starting, 103)
	expect("starting before finishing", -1, 2, Answered)
	l.Set(2, BackingOff, 0)
	expect("finishing if there is no other", -1, 0, Answered)
	if l.Counts().Children[0].Finishing || !l.Counts().Children[1].Finishing {
		t.Errorf("finishing ends with the next answer: %+v", l.Counts())
	}
	l.Set(2, Starting, 203)
	expect("ready before starting", -1, 0, Answered)
	expect("avoided rather than nothing else", 0, 2, Answered)
	l.Set(1, Ready, 202)
	if l.Counts().Children[1].Finishing {
		t.Error("a new process is not finishing")
	}
	// The outcome of a request to a process that is gone says nothing about
	// its successor.
	c := claim(t, l, 0)
	l.Set(c.Slot, Starting, 999)
	l.Release(c, Cut)
	if l.Counts().Children[c.Slot].Finishing {
		t.Error("the successor counts as finishing")
	}
	only := ledgerOf(LedgerOptions{}, 1)
	if c := claim(t, only, 0); c.Slot != 0 || c.PID != 101 {
		t.Errorf("avoided is taken where there is no other: %+v", c)
	}
}

func TestLedgerSpread(t *testing.T) {
	sequence := func(l Ledger, n int) (s string) {
		for range n {
			c := claim(t, l, -1)
			s += fmt.Sprint(c.Slot)
			l.Release(c, Answered)
		}
		return s
	}
	slots := []SlotOptions{{Connections: 8}, {Connections: 8}, {Connections: 8}}
	if s := sequence(ledgerOf(LedgerOptions{Balance: BalanceLeastConn, Slots: slots}, 3), 9); s != "012012012" {
		t.Errorf("turns: %s", s)
	}
	slots = []SlotOptions{{Connections: 16, Weight: 2}, {Connections: 16}}
	l := ledgerOf(LedgerOptions{Balance: BalanceLeastConn, Slots: slots}, 2)
	s := sequence(l, 30)
	count := [2]int{}
	for _, c := range s {
		count[c-'0']++
	}
	if count[0] != 20 || count[1] != 10 {
		t.Errorf("weight 2 and 1, one after the other: %v (%s)", count, s)
	}
	for range 12 { // at once
		claim(t, l, -1)
	}
	if n := l.Counts().Children; n[0].Claims != 8 || n[1].Claims != 4 {
		t.Errorf("weight 2 and 1, at once: %+v", n)
	}
	// The least busy one is next, whatever the turns say; a slot that was out
	// does not get everything when it is back.
	l = ledgerOf(LedgerOptions{Balance: BalanceLeastConn, Slots: []SlotOptions{{Connections: 8}, {Connections: 8}}}, 2)
	l.Set(1, Absent, 0)
	sequence(l, 50)
	l.Set(1, Ready, 0)
	if s := sequence(l, 6); s != "101010" {
		t.Errorf("after a time away: %s", s)
	}
	c := claim(t, l, -1)
	for range 3 {
		d := claim(t, l, -1)
		if d.Slot == c.Slot {
			t.Error("the busier one was chosen")
		}
		l.Release(d, Answered)
	}
}

// Grants race with those who give up waiting: no slot is lost or given twice.
func TestLedgerStress(t *testing.T) {
	slots := []SlotOptions{{Connections: 1}, {Connections: 3}, {Connections: 2}}
	l := NewLedger(LedgerOptions{Queue: 6, QueueTimeout: 300 * time.Microsecond, Slots: slots})
	for i := range slots {
		l.Set(i, Ready, i+1)
	}
	var busy [3]atomic.Int32
	var granted, cancelled, timedOut, full atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 1500 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(400))*time.Microsecond)
				c, err := l.Claim(ctx, Want{Avoid: rand.IntN(4) - 1})
				switch {
				case err == nil:
					granted.Add(1)
					if n := busy[c.Slot].Add(1); int(n) > slots[c.Slot].Connections {
						t.Errorf("slot %d has %d claims", c.Slot, n)
					}
					time.Sleep(time.Duration(rand.IntN(60)) * time.Microsecond)
					busy[c.Slot].Add(-1)
					l.Release(c, Outcome(rand.IntN(3)))
				case errors.Is(err, ErrQueueFull):
					full.Add(1)
				case errors.Is(err, ErrQueueTimeout):
					timedOut.Add(1)
				case errors.Is(err, context.DeadlineExceeded):
					cancelled.Add(1)
				default:
					t.Error(err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	n := l.Counts()
	var requests uint64
	for i, c := range n.Children {
		requests += c.Requests
		if c.Claims != 0 {
			t.Errorf("slot %d is held by nobody: %+v", i, c)
		}
	}
	if n.Waiting != 0 || n.Served != uint64(granted.Load()) || requests != n.Served || n.Refused != uint64(full.Load()+timedOut.Load()) {
		t.Errorf("counts %+v; granted %d, full %d, timed out %d", n, granted.Load(), full.Load(), timedOut.Load())
	}
	for range 6 {
		if _, err := l.Claim(t.Context(), Anyone); err != nil {
			t.Fatal("a slot was lost:", err)
		}
	}
	t.Logf("granted %d, full %d, timed out %d, cancelled %d", granted.Load(), full.Load(), timedOut.Load(), cancelled.Load())
}
