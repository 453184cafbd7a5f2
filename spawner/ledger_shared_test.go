package spawner

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
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
	if d := time.Since(begin); d > requests*lookEvery/8 {
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
