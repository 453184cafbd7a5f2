package spawner

import (
	"testing"
	"time"
)

// onStep has f called once, when a claim comes to a step: another is quicker
// there.
func onStep(t *testing.T, s step, f func()) {
	t.Helper()
	did := false
	killPoint = func(now step) {
		if now == s && !did {
			did = true
			f()
		}
	}
	t.Cleanup(func() {
		killPoint = nil
		if !did {
			t.Errorf("no claim came to step %d", s)
		}
	})
}

// What the owner or another request does between two steps of a claim.
func TestLedgerRaces(t *testing.T) {
	for _, c := range []struct {
		name string
		opt  LedgerOptions
		at   step
		do   func(t *testing.T, l Ledger)
		slot int // what the claim gets; -1: it is refused
		pid  int
		uses [2]Use // Claims and Requests afterwards
		told bool
	}{
		{"retires before its cell is taken", LedgerOptions{}, stepPicked,
			func(t *testing.T, l Ledger) { l.Set(0, Retiring, 101) },
			1, 102, [2]Use{{}, {Claims: 1, Requests: 1}}, true},
		{"retires when its cell is taken", LedgerOptions{}, stepCell,
			func(t *testing.T, l Ledger) {
				l.Set(0, Retiring, 101)
				if l.Use(0).Claims != 1 {
					t.Error("the owner does not see the claim")
				}
			},
			1, 102, [2]Use{{}, {Claims: 1, Requests: 1}}, true},
		{"retires when the claim counts: its owner waits for it", LedgerOptions{}, stepCounted,
			func(t *testing.T, l Ledger) {
				l.Set(0, Retiring, 101)
				if l.Use(0).Claims != 1 {
					t.Error("the owner does not see the claim")
				}
			},
			0, 101, [2]Use{{Claims: 1, Requests: 1}, {}}, false},
		{"is another process by then", LedgerOptions{}, stepCell,
			func(t *testing.T, l Ledger) { l.Set(0, Starting, 201) },
			0, 201, [2]Use{{Claims: 1, Requests: 1}, {}}, false},
		{"another has its last request", LedgerOptions{MaxRequests: 1}, stepPicked,
			func(t *testing.T, l Ledger) { l.Release(claim(t, l, 1), Answered) },
			1, 102, [2]Use{{Requests: 1}, {Claims: 1, Requests: 1}}, true},
		{"another tries the slot that was out", LedgerOptions{MaxFails: 1, FailTimeout: time.Millisecond}, stepTry,
			func(t *testing.T, l Ledger) {
				if c := claim(t, l, 1); c.Slot != 0 {
					t.Errorf("%+v", c)
				}
			},
			1, 102, [2]Use{{Claims: 1, Requests: 2}, {Claims: 1, Requests: 1}}, false},
		{"another takes the last cell", LedgerOptions{Slots: make([]SlotOptions, 2)}, stepPicked,
			func(t *testing.T, l Ledger) { claim(t, l, 1) },
			1, 102, [2]Use{{Claims: 1, Requests: 1}, {Claims: 1, Requests: 1}}, false},
		{"there is no other", LedgerOptions{Slots: make([]SlotOptions, 1)}, stepCell,
			func(t *testing.T, l Ledger) { l.Set(0, BackingOff, 0) },
			-1, 0, [2]Use{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.opt.Slots == nil {
				c.opt.Slots = []SlotOptions{{Connections: 2}, {Connections: 2}}
			}
			l := ledgerOf(c.opt, 0)
			if c.opt.MaxFails > 0 {
				l.Release(claim(t, l, 1), Failed)
				time.Sleep(2 * c.opt.FailTimeout)
			}
			told := false
			l.Watch(func() { told = true })
			onStep(t, c.at, func() { c.do(t, l) })
			got, err := l.Claim(t.Context(), Want{Avoid: len(c.opt.Slots) - 1})
			switch {
			case c.slot < 0 && err != ErrNoChild:
				t.Errorf("%+v, %v", got, err)
			case c.slot >= 0 && (err != nil || got.Slot != c.slot || got.PID != c.pid):
				t.Errorf("%+v, %v, want slot %d, process %d", got, err, c.slot, c.pid)
			}
			for i := range c.opt.Slots {
				if u := l.Use(i); u.Claims != c.uses[i].Claims || u.Requests != c.uses[i].Requests {
					t.Errorf("slot %d: %+v, want %+v", i, u, c.uses[i])
				}
			}
			if told != c.told {
				t.Errorf("the owner is told: %v", told)
			}
		})
	}
}

// A claim that was to try a slot and is not granted leaves that to the next.
func TestFailsUnprobe(t *testing.T) {
	l := ledgerOf(LedgerOptions{MaxFails: 1, FailTimeout: time.Millisecond, MaxRequests: 2, Slots: []SlotOptions{{Connections: 2}, {Connections: 2}}}, 0)
	l.Release(claim(t, l, 1), Failed)
	time.Sleep(2 * time.Millisecond)
	slot := &l.(*ledger).slots[0]
	onStep(t, stepProbe, func() { slot.requests.Add(1) }) // the last one that it may have
	if c := claim(t, l, 1); c.Slot != 1 {
		t.Errorf("%+v", c)
	}
	slot.requests.Add(^uint64(0))
	if c := claim(t, l, 1); c.Slot != 0 {
		t.Errorf("nobody tries it any more: %+v", c)
	}
}
