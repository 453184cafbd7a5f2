package spawner

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// failing is a slot that may fail, beside one that never does.
type failing struct {
	t *testing.T
	l Ledger
}

func newFailing(t *testing.T, fails int, timeout time.Duration) failing {
	l := NewLedger(LedgerOptions{Queue: 4, MaxFails: fails, FailTimeout: timeout,
		Slots: []SlotOptions{{Connections: 8}, {Connections: 1000}}})
	l.Set(0, Ready, 0)
	l.Set(1, Ready, 0)
	return failing{t, l}
}

// claim wants slot 0; ok: it has it.
func (f failing) claim() (c Claim, ok bool) {
	f.t.Helper()
	c = claim(f.t, f.l, 1)
	if c.Slot == 1 {
		f.l.Release(c, Answered)
	}
	return c, c.Slot == 0
}

func (f failing) request(o Outcome) (ok bool) {
	f.t.Helper()
	c, ok := f.claim()
	if ok {
		f.l.Release(c, o)
	}
	return ok
}

func (f failing) expect(what string, in bool, down bool) {
	f.t.Helper()
	if f.l.Counts().Children[0].Down != down {
		f.t.Errorf("%s: down is %v", what, !down)
	}
	if f.request(Unsent) != in {
		f.t.Errorf("%s: in is %v", what, !in)
	}
}

func TestFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFailing(t, 2, 10*time.Second)
		f.expect("new", true, false)
		f.request(Failed)
		f.expect("one failure", true, false)
		time.Sleep(10 * time.Second)
		f.request(Failed)
		f.expect("one failure within the time", true, false)
		time.Sleep(10*time.Second - 1)
		f.request(Failed)
		f.expect("two", false, true)
		time.Sleep(10*time.Second - 1)
		f.expect("still out", false, true)
		time.Sleep(1)
		probe, ok := f.claim()
		if !ok {
			t.Error("nobody tries it")
		}
		f.expect("while it is tried", false, true)
		f.l.Release(probe, Unsent)
		f.expect("that one did not find out", true, true)
		if !f.request(Failed) {
			t.Error("nobody tries it")
		}
		f.expect("out for another time", false, true)
		time.Sleep(10 * time.Second)
		f.request(Answered)
		f.expect("back", true, false)
		f.request(Failed)
		f.expect("with nothing held against it", true, false)
		f.request(Failed)
		time.Sleep(10 * time.Second)
		f.request(Cut)
		f.expect("it took the request", true, false)
		// What began before it went out counts too.
		old, _ := f.claim()
		f.request(Failed)
		f.request(Failed)
		f.expect("out", false, true)
		f.l.Release(old, Answered)
		f.expect("it answers after all", true, false)
		f.request(Failed)
		f.request(Failed)
		f.l.Set(0, Ready, 77)
		f.expect("another process", true, false)
	})
}

func TestFailsNever(t *testing.T) {
	f := newFailing(t, 0, time.Second)
	for range 100 {
		if !f.request(Failed) {
			t.Fatal("out")
		}
	}
}

// When all slots are out, all are in.
func TestFailsAllOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFailing(t, 1, 10*time.Second)
		f.request(Failed)
		f.expect("the other serves", false, true)
		other := claim(t, f.l, -1)
		f.l.Release(other, Failed)
		for range 3 {
			if !f.request(Failed) {
				t.Error("out, though no other is in")
			}
		}
		c := claim(t, f.l, 0)
		f.l.Release(c, Answered)
		f.expect("the other is back", false, true)
		// One that is not there does not count as in.
		f.l.Set(1, Absent, 0)
		f.expect("alone", true, true)
	})
}

// Exactly one request, of all workers', tries a slot.
func TestFailsOneProbe(t *testing.T) {
	o := LedgerOptions{MaxFails: 1, FailTimeout: time.Millisecond, Slots: []SlotOptions{{Connections: 64}, {Connections: 64}}}
	for range 30 {
		s := share(t, o, 4)
		for i := range o.Slots {
			s.owner.Set(i, Ready, 0)
		}
		s.owner.Release(claim(t, s.owner, 1), Failed)
		time.Sleep(2 * time.Millisecond)
		got := make(chan Claim)
		for p := range 8 {
			go func() {
				c, err := s.workers[p%4].Claim(t.Context(), Want{Avoid: 1})
				if err != nil {
					t.Error(err)
				}
				got <- c
			}()
		}
		probes, by := 0, 0
		for range 8 {
			if c := <-got; c.Slot == 0 {
				probes++
				by = int(c.word >> placeShift)
			}
		}
		if probes != 1 {
			t.Fatalf("%d requests try it", probes)
		}
		// The worker that tried it ends: another tries.
		s.owner.ClearPlace(by)
		if c := claim(t, s.workers[by%4], 1); c.Slot != 0 {
			t.Error("nobody tries it any more")
		}
	}
}

// Requests that wait when the time of a slot is over get it, though nobody
// releases anything.
func TestFailsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger(LedgerOptions{Queue: 4, MaxFails: 1, FailTimeout: time.Second, Slots: make([]SlotOptions, 2)})
		l.Set(0, Ready, 0)
		l.Set(1, Ready, 0)
		l.Release(claim(t, l, 1), Failed)
		begin := time.Now()
		claim(t, l, -1)
		c := claim(t, l, -1)
		if d := time.Since(begin); c.Slot != 0 || d < time.Second || d > time.Second+50*time.Millisecond {
			t.Errorf("slot %d after %v", c.Slot, d)
		}
	})
}

// failModel is the rule in short.
type failModel struct {
	max     int
	timeout time.Duration
	fails   []time.Duration
	out     bool
	until   time.Duration
	probe   Claim
}

func (m *failModel) claims(now time.Duration) bool {
	return !m.out || m.probe == Claim{} && now >= m.until
}

func (m *failModel) release(c Claim, o Outcome, now time.Duration) {
	mine := m.probe == c
	switch {
	case o == Unsent:
		if mine {
			m.until, m.probe = 0, Claim{}
		}
	case o != Failed:
		if m.out {
			*m = failModel{max: m.max, timeout: m.timeout}
		}
	case m.out:
		if mine || m.probe == (Claim{}) {
			m.until, m.probe = now+m.timeout, Claim{}
		}
	default:
		m.fails = append(m.fails, now)
		for now-m.fails[0] >= m.timeout {
			m.fails = m.fails[1:]
		}
		if len(m.fails) >= m.max {
			m.out, m.until = true, now+m.timeout
		}
	}
}

func TestFailsModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 40 {
			m := &failModel{max: 1 + rand.IntN(4), timeout: 100 * time.Millisecond}
			f := newFailing(t, m.max, m.timeout)
			var held []Claim
			for n := range 500 {
				time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
				if len(held) > 0 && (len(held) == 7 || rand.IntN(2) == 0) {
					i := rand.IntN(len(held))
					c, o := held[i], Outcome(rand.IntN(4))
					held = append(held[:i], held[i+1:]...)
					m.release(c, o, Now())
					f.l.Release(c, o)
				} else {
					want, tried := m.claims(Now()), m.out
					c, ok := f.claim()
					if ok != want {
						t.Fatalf("step %d: in is %v, want %v; %+v", n, ok, want, m)
					}
					if ok {
						held = append(held, c)
						if tried {
							m.probe = c
						}
					}
				}
				if down := f.l.Counts().Children[0].Down; down != m.out {
					t.Fatalf("step %d: down is %v; %+v", n, down, m)
				}
			}
		}
	})
}
