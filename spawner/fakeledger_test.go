package spawner

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sluice/cgi"
)

// fakeLedger hands requests, which are numbers only, to children. It gives the
// notices that a Ledger has to give, and no other.
type fakeLedger struct {
	mu       sync.Mutex
	children []ChildCounts
	uses     []Use
	waiting  int
	spare    int
	requests int // of one process
	watch    func()
	history  []Event
}

func (f *fakeLedger) Claim(context.Context, Want) (Claim, error) {
	return Claim{}, errors.New("not in this test")
}
func (f *fakeLedger) Release(Claim, Outcome) {}

func (f *fakeLedger) Watch(fn func()) { f.watch = fn }

func (f *fakeLedger) Set(slot int, s State, pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.history = append(f.history, Event{Slot: slot, State: s, PID: pid})
	if c := &f.children[slot]; pid != c.PID {
		f.uses[slot].Requests = 0
		if f.uses[slot].Claims == 0 {
			f.uses[slot].Idle = Now()
		}
		c.Finishing = false
	}
	f.children[slot].State, f.children[slot].PID = s, pid
	f.hand()
}

// told is what it has been told of the slots.
func (f *fakeLedger) told() []Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.history)
}

func (f *fakeLedger) State(slot int) State { return f.Counts().Children[slot].State }

func (f *fakeLedger) Down(int) bool { return false }

func (f *fakeLedger) Use(slot int) Use {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.uses[slot]
}

func (f *fakeLedger) Counts() Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	return Counts{Waiting: f.waiting, Children: append([]ChildCounts(nil), f.children...)}
}

// hand gives what waits to children that are free.
func (f *fakeLedger) hand() {
	free := 0
	for i := range f.children {
		u := &f.uses[i]
		if !f.children[i].State.leasable() || u.Claims > 0 || f.requests > 0 && u.Requests >= uint64(f.requests) {
			continue
		}
		if f.waiting == 0 {
			free++
			continue
		}
		f.waiting--
		u.Claims, u.Idle = 1, 0
		u.Requests++
	}
	if f.waiting > 0 || free < f.spare {
		f.watch()
	}
}

// want adds requests.
func (f *fakeLedger) want(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting += n
	f.hand()
}

// answer has the child of a slot answer its request.
func (f *fakeLedger) answer(slot int) { f.finish(slot, true) }

func (f *fakeLedger) finish(slot int, heard bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	u := &f.uses[slot]
	u.Claims, u.Idle = 0, Now()
	if heard {
		u.Heard = Now()
	}
	f.children[slot].Finishing = !heard
	if f.children[slot].State == Retiring || f.requests > 0 && u.Requests >= uint64(f.requests) {
		f.watch()
	}
	f.hand()
}

func (f *fakeLedger) answerAll() {
	for i := range f.children {
		if f.Use(i).Claims > 0 {
			f.answer(i)
		}
	}
}

func (f *fakeLedger) count(states ...State) (n int) {
	for _, c := range f.Counts().Children {
		for _, s := range states {
			if c.State == s {
				n++
			}
		}
	}
	return n
}

func (f *fakeLedger) alive() int { return f.count(Starting, Ready, Retiring, Stopping) }

// fakeRig is a supervisor of children that are no processes, and of requests
// that are none. A child that is stopped ends after a millisecond.
type fakeRig struct {
	fakeStart
	*Supervisor
	ledger fakeLedger
	ev     events
	log    logText
	began  time.Time

	onLog   atomic.Pointer[func(line string)]
	onEvent atomic.Pointer[func(Event)]
}

func (r *fakeRig) Write(line []byte) (int, error) {
	if f := r.onLog.Load(); f != nil {
		(*f)(string(line))
	}
	return r.log.Write(line)
}

// fakeAlong runs do beside a supervisor, in a time of its own.
func fakeAlong(t *testing.T, o SupervisorOptions, do func(t *testing.T, r *fakeRig)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := &fakeRig{began: time.Now()}
		r.ledger = fakeLedger{children: make([]ChildCounts, o.Max), uses: make([]Use, o.Max), spare: o.Spare, requests: o.MaxRequests}
		o.App, o.SocketDir, o.SocketGID, o.Ledger = "app", dir, -1, &r.ledger
		o.StartTimeout, o.StopGrace = 10*time.Second, time.Second
		o.Start, o.Event, o.Stderr, o.Log = r.start, r.event, noLines, slog.New(slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelDebug}))
		var err error
		r.Supervisor, err = NewSupervisor(o)
		must(t, err)
		if err := r.Start(); err != nil {
			t.Error(err)
		}
		synctest.Wait() // all slots are what they are in the beginning
		do(t, r)
		r.Stop(context.Background())
		if t.Failed() {
			t.Log(r.log.String())
		}
	})
}

func (r *fakeRig) event(e Event) {
	r.ev.add(e)
	if f := r.onEvent.Load(); f != nil {
		(*f)(e)
	}
	if e.State == Stopping {
		time.AfterFunc(time.Millisecond, func() { r.byPID(e.PID).fakeEndAs(cgi.Ending{Signal: syscall.SIGTERM}) })
	}
}

func (r *fakeRig) byPID(pid int) *Child {
	r.fakeStart.mu.Lock()
	defer r.fakeStart.mu.Unlock()
	return r.kids[slices.IndexFunc(r.kids, func(c *Child) bool { return c.pid == pid })]
}

// of is the child of a slot.
func (r *fakeRig) of(slot int) *Child { return r.byPID(r.ledger.Counts().Children[slot].PID) }

// die has the child of a slot die of a signal.
func (r *fakeRig) die(slot int, sig syscall.Signal) { r.of(slot).fakeEndAs(cgi.Ending{Signal: sig}) }

// starts are how many children have been started so far.
func (r *fakeRig) starts() int {
	r.fakeStart.mu.Lock()
	defer r.fakeStart.mu.Unlock()
	return len(r.times)
}

func (r *fakeRig) lastStart() time.Time {
	r.fakeStart.mu.Lock()
	defer r.fakeStart.mu.Unlock()
	return r.times[len(r.times)-1]
}

// lives is how the children fare that are started from now on; see fakeStart.
func (r *fakeRig) lives(life time.Duration, err error) {
	r.fakeStart.mu.Lock()
	defer r.fakeStart.mu.Unlock()
	r.life, r.err = life, err
}

// onStart has f called, once, when the next child is being started.
func (r *fakeRig) onStart(f func()) {
	r.fakeStart.mu.Lock()
	defer r.fakeStart.mu.Unlock()
	r.onNext = func(*Child) {
		r.onNext = nil
		r.fakeStart.mu.Unlock()
		f()
		r.fakeStart.mu.Lock()
	}
}

// at sleeps until so long after the begin.
func (r *fakeRig) at(d time.Duration) { time.Sleep(time.Until(r.began.Add(d))) }
