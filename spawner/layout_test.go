package spawner

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestOpenLedger(t *testing.T) {
	o := LedgerOptions{Queue: 4, Slots: []SlotOptions{{Connections: 2, Weight: 1}, {}}}
	a, _ := newArena(t, o)
	if _, err := CreateLedger(o, a.mem[:o.Size()-64], nil); err != errLedgerMemory {
		t.Error("too small:", err)
	}
	if _, err := OpenLedger(o, a.mem, nil, 1); err != errLedgerLayout {
		t.Error("nothing there:", err)
	}
	owner, err := CreateLedger(o, a.mem, nil)
	must(t, err)
	other := func(f func(o *LedgerOptions)) LedgerOptions {
		p := o
		p.Slots = slices.Clone(o.Slots)
		f(&p)
		return p
	}
	for _, c := range []struct {
		name  string
		opt   LedgerOptions
		mem   []byte
		place int
		want  error
	}{
		{"a worker's", o, a.mem, 1, nil},
		{"the last place", o, a.mem, Places - 1, nil},
		{"no place", o, a.mem, Places, errLedgerPlace},
		{"below none", o, a.mem, -1, errLedgerPlace},
		{"not aligned", o, a.mem[1:], 1, errLedgerMemory},
		{"too small", o, a.mem[:o.Size()-1], 1, errLedgerMemory},
		{"other connections", other(func(o *LedgerOptions) { o.Slots[0].Connections = 3 }), a.mem, 1, errLedgerLayout},
		{"other weight", other(func(o *LedgerOptions) { o.Slots[0].Weight = 2 }), a.mem, 1, errLedgerLayout},
		{"the same weight, not written", other(func(o *LedgerOptions) { o.Slots[0].Weight = 0 }), a.mem, 1, nil},
		{"one slot fewer", other(func(o *LedgerOptions) { o.Slots = o.Slots[:1] }), a.mem, 1, errLedgerLayout},
		{"another queue is each one's own", other(func(o *LedgerOptions) { o.Queue = 5 }), a.mem, 1, nil},
		{"another limit, too", other(func(o *LedgerOptions) { o.MaxRequests = 5 }), a.mem, 1, nil},
		{"other way to fail", other(func(o *LedgerOptions) { o.MaxFails = 5 }), a.mem, 1, errLedgerLayout},
		{"another deadline is each one's own", other(func(o *LedgerOptions) { o.QueueTimeout = 5 }), a.mem, 1, nil},
	} {
		if _, err := OpenLedger(c.opt, c.mem, nil, c.place); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
	owner.(*ledger).head.version.Add(1)
	if _, err := OpenLedger(o, a.mem, nil, 1); err != errLedgerLayout {
		t.Error("another version:", err)
	}
	for _, o := range []LedgerOptions{o, {}, {MaxFails: 1 << 30, Slots: make([]SlotOptions, 3)}, {Slots: []SlotOptions{{Connections: 1000}}}} {
		if o.Size()%64 != 0 || o.Size() > 1<<17 {
			t.Errorf("%+v needs %d bytes", o, o.Size())
		}
	}
}

// An owner that executed itself anew goes on with the children that it has.
func TestSharedOwnerAnew(t *testing.T) {
	o := LedgerOptions{Queue: 4, MaxRequests: 3, Slots: make([]SlotOptions, 2)}
	s := share(t, o, 1)
	l := s.workers[0]
	c, d := claim(t, l, -1), claim(t, l, -1)
	owner, err := OpenLedger(o, s.mem, s.bells, 0)
	must(t, err)
	owner.Set(0, Ready, 101)
	owner.Set(1, Starting, 202)
	l.Release(d, Cut)
	if c.Slot != 0 || owner.Use(0) != (Use{Claims: 1, Requests: 1}) || owner.Use(1).Requests != 1 || owner.Use(1).Claims != 0 {
		t.Errorf("%+v %+v", owner.Use(0), owner.Use(1))
	}
	l.Release(c, Answered)
	for want := uint64(2); want <= 3; want++ {
		l.Release(claim(t, l, 1), Answered)
		if n := owner.Use(0).Requests; n != want {
			t.Errorf("%d requests, want %d", n, want)
		}
	}
	if c := claim(t, l, 1); c.PID != 202 || owner.Counts().Children[1].Finishing {
		t.Errorf("%+v %+v", c, owner.Counts())
	}
}

// A worker that went mad writes anything anywhere: nobody falls, nobody hangs,
// and when it has been cleared away the ledger works.
func TestSharedScribble(t *testing.T) {
	for _, b := range []Balance{BalanceRecent, BalanceLeastConn, BalanceRoundRobin, BalanceHash, BalanceRandomTwo} {
		o := LedgerOptions{Queue: 4, QueueTimeout: time.Millisecond, Balance: b, MaxRequests: 1 << 20, Spare: 1, MaxFails: 2, FailTimeout: time.Millisecond,
			Slots: []SlotOptions{{}, {Connections: 3, Weight: 5}, {}}}
		s := share(t, o, 3)
		s.owner.Watch(func() {})
		l := s.owner.(*ledger)
		stop := make(chan struct{})
		var wg sync.WaitGroup
		loop := func(f func()) {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						f()
					}
				}
			})
		}
		memory := l.scribbleWords(o)
		loop(func() {
			w := memory[rand.IntN(len(memory))]
			if rand.IntN(3) == 0 {
				w.Store(rand.Uint64())
			} else {
				w.Add(1 << rand.IntN(64))
			}
		})
		loop(func() { s.bells.places[rand.IntN(4)].rung.Store(rand.Uint32()) })
		for _, w := range s.workers {
			loop(func() {
				if c, err := w.Claim(t.Context(), Want{Avoid: -1, Key: rand.Uint64()}); err == nil {
					w.Release(c, Outcome(rand.IntN(4)))
				}
				w.Counts()
			})
		}
		loop(func() {
			i := rand.IntN(3)
			s.owner.Set(i, State(rand.IntN(7)), rand.IntN(1000))
			if u := s.owner.Use(i); u.Claims < 0 || u.Claims > 3 || u.Heard < 0 || u.Idle < 0 || u.Heard > Now() || u.Idle > Now() {
				t.Errorf("%+v", u)
			}
			for i, c := range s.owner.Counts().Children {
				if c.PID < 0 || c.PID >= 1000 || c.State > Dormant || c.Claims > l.slots[i].max {
					t.Errorf("%+v", c)
				}
			}
			s.owner.ClearPlace(rand.IntN(Places+2) - 1)
		})
		time.Sleep(300 * time.Millisecond)
		close(stop)
		wg.Wait()
		for i := range o.Slots {
			s.owner.Set(i, Ready, 2000+i)
		}
		for p := range Places {
			s.owner.ClearPlace(p)
		}
		l.head.places[0].count.Store(0) // what would be in nobody's place
		for i := range l.slots {
			l.slots[i].out.Store(0)
			for c := range l.slots[i].cells { // of the owner, which makes no requests here
				if w := l.slots[i].cells[c].Load(); w>>placeShift == 0 {
					l.slots[i].cells[c].Store(0)
				}
			}
		}
		for range 5 {
			claim(t, s.workers[0], -1)
		}
	}
}

// scribbleWords are all words behind what says which ledger it is.
func (l *ledger) scribbleWords(o LedgerOptions) []*atomic.Uint64 {
	var ws []*atomic.Uint64
	h := l.head
	ws = append(ws, &h.tickets, &h.clock, &h.turn, &h.pending, &h.waiting[0], &h.waiting[1])
	for i := range 4 {
		p := &h.places[i]
		ws = append(ws, &p.ticket, &p.count, &p.beat, &p.served, &p.refused)
	}
	for i := range l.slots {
		s := &l.slots[i]
		ws = append(ws, &s.state, &s.past, &s.finishing, &s.failed, &s.out, &s.requests, &s.used, &s.idle, &s.heard)
		for c := range s.cells {
			ws = append(ws, &s.cells[c])
		}
		for c := range s.fails {
			ws = append(ws, &s.fails[c])
		}
	}
	return ws
}
