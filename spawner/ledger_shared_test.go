package spawner

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// shared is a ledger with its owner and workers at the places from 1 on, all in
// this process, each with its bell. The slots are ready, with pids from 101 on.
type shared struct {
	*arena
	file    *os.File
	opt     LedgerOptions
	owner   Shared
	workers []Shared
}

func share(t testing.TB, o LedgerOptions, workers int) *shared {
	t.Helper()
	s := &shared{opt: o}
	s.arena, s.file = newArena(t, o)
	var err error
	s.owner, err = CreateLedger(o, s.mem, s.bells)
	must(t, err)
	t.Cleanup(s.bells.Listen(0, s.owner.Wake))
	for i := range workers {
		l, err := OpenLedger(o, s.mem, s.bells, i+1)
		must(t, err)
		s.workers = append(s.workers, l)
		t.Cleanup(s.bells.Listen(i+1, l.Wake))
	}
	for i := range o.Slots {
		s.owner.Set(i, Ready, 101+i)
	}
	return s
}

type answer struct {
	c   Claim
	err error
}

// queue has a worker claim, and returns when the request waits.
func (s *shared) queue(t *testing.T, ctx context.Context, l Ledger) <-chan answer {
	t.Helper()
	before := s.owner.Counts().Waiting
	got := make(chan answer, 1)
	go func() {
		c, err := l.Claim(ctx, Anyone)
		got <- answer{c, err}
	}()
	eventually(t, 5*time.Second, "the request waits", func() bool { return s.owner.Counts().Waiting == before+1 })
	return got
}

func arrival[T any](t *testing.T, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(5 * time.Second):
		t.Fatal("not in time:", what)
	}
	return v
}

// First in first out over all workers. Each hand-over is a bell's: by looking
// now and then alone it would take some 20 ms.
func TestSharedOrder(t *testing.T) {
	const requests = 300
	s := share(t, LedgerOptions{Queue: requests, Slots: make([]SlotOptions, 1)}, 3)
	held := claim(t, s.workers[0], -1)
	order := make(chan int, requests)
	var wg sync.WaitGroup
	for i := range requests {
		wg.Go(func() {
			l := s.workers[i%3]
			c, err := l.Claim(t.Context(), Anyone)
			if err != nil {
				t.Error(err)
				return
			}
			order <- i
			l.Release(c, Answered)
		})
		eventually(t, 5*time.Second, "it waits", func() bool { return s.owner.Counts().Waiting == i+1 })
	}
	begin := time.Now()
	s.workers[0].Release(held, Answered)
	wg.Wait()
	if d := time.Since(begin); d > requests*lookEvery/3 {
		t.Errorf("%d hand-overs took %v", requests, d)
	}
	close(order)
	n := 0
	for i := range order {
		if i != n {
			t.Fatalf("request %d is served after %d others", i, n)
		}
		n++
	}
	if n := s.owner.Counts(); n.Waiting != 0 || n.Served != requests+1 || n.Children[0].Requests != requests+1 || n.Refused != 0 {
		t.Errorf("%+v", n)
	}
}

// The places in the queue are those of all workers together; one that is free
// again is free at once.
func TestSharedQueue(t *testing.T) {
	s := share(t, LedgerOptions{Queue: 3, Slots: make([]SlotOptions, 1)}, 3)
	held := claim(t, s.workers[2], -1)
	ctx, leave := context.WithCancel(t.Context())
	first := s.queue(t, ctx, s.workers[0])
	second, third := s.queue(t, t.Context(), s.workers[0]), s.queue(t, t.Context(), s.workers[1])
	full := func(when string) {
		t.Helper()
		for i, l := range append([]Shared{s.owner}, s.workers...) {
			if _, err := l.Claim(t.Context(), Anyone); err != ErrQueueFull {
				t.Errorf("%s, place %d: %v", when, i, err)
			}
		}
	}
	full("three wait")
	leave()
	if a := arrival(t, "the first has left", first); a.err != context.Canceled {
		t.Error(a.err)
	}
	fourth := s.queue(t, t.Context(), s.workers[2])
	full("one has left and one has come")
	s.workers[2].Release(held, Answered)
	for i, got := range []<-chan answer{second, third, fourth} {
		a := arrival(t, "in turn", got)
		must(t, a.err)
		s.workers[i].Release(a.c, Answered)
	}
	if n := s.owner.Counts(); n.Waiting != 0 || n.Refused != 8 {
		t.Errorf("%+v", n)
	}
}

// When the last child that was to be hoped for has gone, all are told at once,
// wherever they wait.
func TestSharedNoChild(t *testing.T) {
	s := share(t, LedgerOptions{Queue: 8, Slots: make([]SlotOptions, 2)}, 3)
	claim(t, s.workers[0], -1)
	claim(t, s.workers[1], -1)
	var got []<-chan answer
	for i := range 6 {
		got = append(got, s.queue(t, t.Context(), s.workers[i%3]))
	}
	s.owner.Set(0, Dormant, 0)
	s.owner.Set(1, BackingOff, 0)
	for _, g := range got {
		if a := arrival(t, "told", g); a.err != ErrNoChild {
			t.Error(a.err)
		}
	}
	if _, err := s.workers[2].Claim(t.Context(), Anyone); err != ErrNoChild {
		t.Error(err)
	}
	// The owner's word is no worker's.
	s.workers[0].Set(1, Ready, 5)
	s.workers[0].ClearPlace(2)
	s.owner.ClearPlace(0)
	s.owner.ClearPlace(Places)
	if n := s.owner.Counts(); n.Refused != 7 || n.Children[1].State != BackingOff || n.Children[0].Claims+n.Children[1].Claims != 2 {
		t.Errorf("%+v", n)
	}
}

// A worker has ended: what it held is free and finishing, its places in the
// queue are others', and who waits gets the child.
func TestSharedClearPlace(t *testing.T) {
	o := LedgerOptions{Queue: 3, MaxFails: 1, FailTimeout: time.Minute, Slots: []SlotOptions{{Connections: 2}}}
	s := share(t, o, 3)
	claim(t, s.workers[0], -1)
	claim(t, s.workers[0], -1)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	s.queue(t, ctx, s.workers[0])
	s.queue(t, ctx, s.workers[0])
	third := s.queue(t, t.Context(), s.workers[1])
	dead := s.workers[0].(*ledger)
	dead.mu.Lock() // it does nothing any more
	told := make(chan bool, 8)
	s.owner.Watch(func() { told <- true })
	s.owner.ClearPlace(1)
	arrival(t, "the owner is told", told)
	a := arrival(t, "the child of the dead one", third)
	must(t, a.err)
	n := s.owner.Counts()
	if n.Waiting != 0 || n.Children[0].Claims != 1 || !n.Children[0].Finishing {
		t.Errorf("%+v", n)
	}
	b := claim(t, s.workers[2], -1)
	got := []<-chan answer{s.queue(t, t.Context(), s.workers[1]), s.queue(t, t.Context(), s.workers[2]), s.queue(t, t.Context(), s.workers[1])}
	if _, err := s.workers[2].Claim(t.Context(), Anyone); err != ErrQueueFull {
		t.Error(err)
	}
	s.workers[1].Release(a.c, Answered)
	s.workers[2].Release(b, Answered)
	for i, g := range got {
		a := arrival(t, "served", g)
		must(t, a.err)
		s.workers[1+i%2].Release(a.c, Answered)
	}
	if n := s.owner.Counts(); n.Children[0].Claims != 0 || n.Children[0].Finishing {
		t.Errorf("%+v", n)
	}
	end()
	dead.mu.Unlock()
	eventually(t, 5*time.Second, "the dead one's have left", dead.idleQueue)
}

func (l *ledger) idleQueue() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.list.Len() == 0
}

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

// The head of the queue is a worker that has been stopped: the others pass it
// soon, and it has its turn when it goes on. If it is killed instead, nothing of it is left.
func TestSharedStopped(t *testing.T) {
	for _, kill := range []bool{false, true} {
		s := share(t, oneSlot, 2)
		held := claim(t, s.workers[1], -1)
		cmd := tortureCommand(s.file, "one", 9, 0, 0)
		must(t, cmd.Start())
		defer func() { cmd.Process.Kill(); cmd.Wait() }()
		eventually(t, 10*time.Second, "it waits", func() bool { return s.owner.Counts().Waiting == 1 })
		must(t, cmd.Process.Signal(syscall.SIGSTOP))
		eventually(t, 10*time.Second, "it has stopped", func() bool { return halted(cmd.Process.Pid) })
		got := s.queue(t, t.Context(), s.workers[0])
		begin := time.Now()
		s.workers[1].Release(held, Answered)
		a := arrival(t, "the stopped one is passed", got)
		must(t, a.err)
		t.Logf("passed after %v", time.Since(begin))
		s.workers[0].Release(a.c, Answered)
		// Nobody waits for it any more.
		begin = time.Now()
		for range 50 {
			s.workers[1].Release(claim(t, s.workers[1], -1), Answered)
		}
		if d := time.Since(begin); d > 25*lookEvery {
			t.Errorf("50 requests took %v", d)
		}
		if n := s.owner.Counts(); n.Waiting != 1 {
			t.Errorf("%+v", n)
		}
		if kill {
			cmd.Process.Kill()
			cmd.Wait()
			s.owner.ClearPlace(9)
		} else {
			must(t, cmd.Process.Signal(syscall.SIGCONT))
			eventually(t, 10*time.Second, "it is served", func() bool { return s.w.up[9].Load() == 2 })
			must(t, cmd.Wait())
		}
		if n := s.owner.Counts(); n.Waiting != 0 || n.Children[0].Claims != 0 {
			t.Errorf("%+v", n)
		}
	}
}

// halted reports that every thread of a process has stopped.
func halted(pid int) bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, name := range tasks {
		b, _ := os.ReadFile(name)
		if !strings.Contains(string(b), ") T ") {
			return false
		}
	}
	return len(tasks) > 0
}

var oneSlot = LedgerOptions{Queue: 2, Slots: make([]SlotOptions, 1)}

// oneWaiter is a worker process that makes one request.
func oneWaiter(place int) {
	time.AfterFunc(20*time.Second, func() { os.Exit(3) })
	a, err := openArena(3, oneSlot)
	if err != nil {
		os.Exit(2)
	}
	l, err := OpenLedger(oneSlot, a.mem, a.bells, place)
	if err != nil {
		os.Exit(2)
	}
	a.bells.Listen(place, l.Wake)
	c, err := l.Claim(context.Background(), Anyone)
	if err != nil {
		os.Exit(4)
	}
	l.Release(c, Answered)
	a.w.up[place].Store(2)
	os.Exit(0)
}

// Who comes while another worker's request waits does not pass it.
func TestSharedNobodyPasses(t *testing.T) {
	o := LedgerOptions{Queue: 2, Slots: make([]SlotOptions, 1)}
	a, _ := newArena(t, o)
	owner, err := CreateLedger(o, a.mem, a.bells)
	must(t, err)
	owner.Set(0, Ready, 101)
	s := &shared{arena: a, owner: owner}
	for p := range 2 { // nobody hears their bells
		l, err := OpenLedger(o, a.mem, a.bells, p+1)
		must(t, err)
		s.workers = append(s.workers, l)
	}
	held := claim(t, owner, -1)
	first := s.queue(t, t.Context(), s.workers[0])
	first0 := s.workers[0].(*ledger)
	first0.mu.Lock() // it has been woken and does not come to it yet
	owner.Release(held, Answered)
	second := make(chan answer, 1)
	go func() {
		c, err := s.workers[1].Claim(t.Context(), Anyone)
		second <- answer{c, err}
	}()
	eventually(t, 5*time.Second, "the second waits", func() bool { return owner.Counts().Waiting == 2 || len(second) > 0 })
	first0.mine.beat.Store(uint64(Now()))
	first0.mu.Unlock()
	x := arrival(t, "the first is served", first)
	if len(second) > 0 {
		t.Error("the second has passed the first")
	}
	s.workers[0].Release(x.c, Answered)
	// No bell is heard, so it looks by itself.
	y := arrival(t, "the second is served", second)
	must(t, y.err)
}

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
		{"other queue", other(func(o *LedgerOptions) { o.Queue = 5 }), a.mem, 1, errLedgerLayout},
		{"other limit", other(func(o *LedgerOptions) { o.MaxRequests = 5 }), a.mem, 1, errLedgerLayout},
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
	if c.Slot != 0 || owner.Use(0) != (Use{State: Ready, Claims: 1, Requests: 1}) || owner.Use(1).Requests != 0 || owner.Use(1).Claims != 0 {
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

func TestBells(t *testing.T) {
	a, _ := newArena(t, oneSlot)
	var calls atomic.Int32
	in, out := make(chan struct{}), make(chan struct{})
	stop := a.bells.Listen(3, func() {
		calls.Add(1)
		in <- struct{}{}
		<-out
	})
	a.bells.Ring(2)
	a.bells.Ring(3)
	arrival(t, "the bell is heard", in)
	for range 10 {
		a.bells.Ring(3) // while f runs
	}
	out <- struct{}{}
	arrival(t, "what rang meanwhile is heard", in)
	out <- struct{}{}
	eventually(t, 5*time.Second, "it sleeps", func() bool { return a.bells.places[3].asleep.Load() == 1 })
	if n := calls.Load(); n != 2 {
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
