package spawner

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

// roomyCrew has a ledger in memory that others could share, with room for more
// children than there are.
func roomyCrew(t *testing.T, o LedgerOptions, change func(*SupervisorOptions)) (*crew, *shared) {
	t.Helper()
	s := &shared{opt: o}
	s.arena, s.file = newArena(t, o)
	var err error
	s.owner, err = CreateLedger(o, s.mem, s.bells)
	must(t, err)
	t.Cleanup(s.bells.Listen(0, s.owner.Wake))
	c := newCrew(t, "accept", len(o.Slots), func(so *SupervisorOptions) {
		so.Ledger = s.owner
		change(so)
	})
	return c, s
}

// states counts the children by what they are.
func (c *crew) states() map[State]int {
	n := map[State]int{}
	for _, e := range c.Events() {
		n[e.State]++
	}
	return n
}

func (c *crew) awaitStates(want map[State]int) {
	c.t.Helper()
	eventually(c.t, 10*time.Second, fmt.Sprintf("%v (%v)\n%s", want, c.states(), &c.log), func() bool {
		got := c.states()
		for st, n := range want {
			if got[st] != n {
				return false
			}
		}
		return true
	})
}

// More children, fewer, none by themselves, and again: who stays keeps its pid,
// and who goes is idle.
func TestRetune(t *testing.T) {
	ledger := LedgerOptions{Queue: 8, Slots: make([]SlotOptions, 2), Room: Room{Slots: 8}}
	var opt SupervisorOptions
	c, s := roomyCrew(t, ledger, func(o *SupervisorOptions) { o.Scale = ScaleStatic; opt = *o })
	must(t, c.Start())
	first := []int{c.pid(0), c.pid(1)}

	retune := func(f func(*SupervisorOptions)) LedgerOptions {
		f(&opt)
		must(t, c.Grow(opt.Max))
		l := ledger
		l.Slots = make([]SlotOptions, opt.Max)
		l, ok := l.Within(ledger)
		if !ok {
			t.Fatal("no room")
		}
		s.owner.Retune(l)
		c.Retune(opt)
		return l
	}
	l := retune(func(o *SupervisorOptions) { o.Max = 5 })
	c.awaitStates(map[State]int{Ready: 5})
	if now := []int{c.pid(0), c.pid(1)}; !slices.Equal(now, first) {
		t.Errorf("pids %v, were %v", now, first)
	}
	if n := len(s.owner.Counts().Children); n != 5 {
		t.Errorf("%d children are counted", n)
	}
	for i := range 5 {
		if pid, err := c.ask(i); err != nil || pid != c.pid(i) {
			t.Errorf("child %d: pid %d, %v", i, pid, err)
		}
	}

	// A worker of an earlier configuration and a new one share them.
	old, err := OpenLedger(ledger, s.mem, s.bells, 1)
	must(t, err)
	fresh, err := OpenLedger(l, s.mem, s.bells, 2)
	must(t, err)
	var held []Claim
	for range 5 {
		held = append(held, claim(t, fresh, -1))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := old.Claim(ctx, Anyone); err == nil {
		t.Error("a sixth claim")
	}
	last := slices.IndexFunc(held, func(c Claim) bool { return c.Slot == 4 })
	busy := c.pid(4)
	retune(func(o *SupervisorOptions) { o.Max = 1 })
	for i, h := range held {
		if i != last {
			fresh.Release(h, Answered)
		}
	}
	c.awaitStates(map[State]int{Ready: 1, Retiring: 1, Absent: 3})
	if c.pid(4) != busy {
		t.Error("a child with a request was ended")
	}
	fresh.Release(held[last], Answered)
	c.awaitStates(map[State]int{Ready: 1, Absent: 4})
	if c.pid(0) != first[0] {
		t.Errorf("pid %d, was %d", c.pid(0), first[0])
	}
	if n, err := c.Restart(t.Context()); n != 1 || err != nil {
		t.Errorf("%d restarted, %v", n, err)
	}

	retune(func(o *SupervisorOptions) { o.Scale, o.IdleTimeout, o.Max = ScaleOnDemand, 50*time.Millisecond, 2 })
	c.awaitStates(map[State]int{Dormant: 2, Absent: 3})
	h := claim(t, old, -1)
	c.awaitStates(map[State]int{Ready: 1})
	old.Release(h, Answered)
	retune(func(o *SupervisorOptions) { o.Scale, o.Max = ScaleStatic, 3 })
	c.awaitStates(map[State]int{Ready: 3, Absent: 2})
}

// A new max_age counts for the children that there are.
func TestRetuneAge(t *testing.T) {
	var opt SupervisorOptions
	c := newCrew(t, "accept", 1, func(o *SupervisorOptions) { opt = *o })
	must(t, c.Start())
	was := c.pid(0)
	opt.MaxAge = 100 * time.Millisecond
	c.Retune(opt)
	eventually(t, 10*time.Second, "it has been retired", func() bool { return c.log.has("retired", fmt.Sprintf("pid=%d", was), "reason=max_age") })
	c.await(0, Ready)
}

func TestWithin(t *testing.T) {
	made := LedgerOptions{Queue: 4, Slots: []SlotOptions{{Connections: 4}}, Room: Room{Slots: 3}}
	for _, c := range []struct {
		name string
		opt  LedgerOptions
		fits bool
	}{
		{"the same", made, true},
		{"as many as there is room for", LedgerOptions{Slots: []SlotOptions{{Connections: 4}, {Connections: 4}, {Connections: 1}}}, true},
		{"one more", LedgerOptions{Slots: make([]SlotOptions, 4)}, false},
		{"more connections", LedgerOptions{Slots: []SlotOptions{{Connections: 5}}}, false},
		{"fewer", LedgerOptions{Slots: []SlotOptions{{Connections: 3}}}, true},
		{"failures count", LedgerOptions{Slots: []SlotOptions{{Connections: 4}}, MaxFails: 2}, false},
		{"another way to choose", LedgerOptions{Slots: []SlotOptions{{Connections: 4}}, Balance: BalanceHash}, false},
	} {
		a, _ := newArena(t, made)
		_, err := CreateLedger(made, a.mem, a.bells)
		must(t, err)
		o, fits := c.opt.Within(made)
		_, err = OpenLedger(o, a.mem, a.bells, 1)
		if fits != c.fits || (err == nil) != c.fits {
			t.Errorf("%s: %v, %v", c.name, fits, err)
		}
	}
}

// Who keeps connections hears of claims by others, and of no others.
func TestKeeper(t *testing.T) {
	s := share(t, LedgerOptions{Queue: 4, Slots: make([]SlotOptions, 2)}, 3)
	rung := func(place int) uint32 { return s.bells.places[place].rung.Load() }
	keeper, other := s.workers[0], s.workers[1]
	keeper.Keeper(true)
	before, third := rung(1), rung(3)
	own := claim(t, keeper, -1)
	if rung(1) != before {
		t.Error("it rings for its own claim")
	}
	c := claim(t, other, -1)
	if rung(1) == before || rung(3) != third {
		t.Error("the bell of the keeper does not ring, or another's does")
	}
	for slot, want := range map[int]bool{own.Slot: false, c.Slot: true} {
		if keeper.Elsewhere(slot) != want {
			t.Errorf("slot %d is claimed elsewhere: %v", slot, !want)
		}
	}
	other.Release(c, Answered)
	other.Keeper(true) // the last one is it
	keeper.Keeper(false)
	before = rung(2)
	keeper.Release(own, Answered)
	own = claim(t, keeper, -1)
	if rung(2) == before {
		t.Error("the next keeper does not hear of it")
	}
	s.owner.ClearPlace(2)
	before = rung(2)
	keeper.Release(own, Answered)
	keeper.Release(claim(t, keeper, -1), Answered)
	if rung(2) != before {
		t.Error("one that is gone is rung for")
	}
}
