package spawner

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func init() {
	if at := os.Getenv(tortureAt); at != "" {
		f := strings.Fields(at)
		n := make([]int, 3)
		for i := range n {
			n[i], _ = strconv.Atoi(f[i+1])
		}
		if f[0] == "one" {
			oneWaiter(n[0])
		}
		tortureWorker(tortureConfigs[f[0]], n[0], step(n[1]), int64(n[2]))
	}
}

// tortureWorker is a worker process; its memory is descriptor 3.
func tortureWorker(o LedgerOptions, place int, last step, passes int64) {
	time.AfterFunc(20*time.Second, func() { os.Exit(3) }) // its parent has gone
	a, err := openArena(3, o)
	if err != nil {
		os.Exit(2)
	}
	o.QueueTimeout = 3 * time.Millisecond
	l, err := OpenLedger(o, a.mem, a.bells, place)
	if err != nil {
		a.w.complain("%v", err)
		os.Exit(2)
	}
	var left atomic.Int64
	left.Store(passes)
	killPoint = func(s step) {
		a.w.queued(place, s)
		if rand.IntN(50) == 0 {
			time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond) // others come in between
		}
		if s == last && left.Add(-1) == 0 {
			a.w.died[s].Add(1)
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
	a.bells.Listen(place, l.Wake)
	a.w.up[place].Store(1)
	for range 4 {
		go func() {
			for {
				tortureRequest(a, &o, l, place)
			}
		}()
	}
	select {}
}

func tortureRequest(a *arena, o *LedgerOptions, l Ledger, place int) {
	ctx := context.Background()
	if rand.IntN(4) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(1000))*time.Microsecond)
		defer cancel()
	}
	c, err := l.Claim(ctx, Want{Avoid: rand.IntN(tortureSlots+1) - 1, Key: rand.Uint64()})
	switch {
	case err == nil:
		a.w.held(o, place, c)
		if rand.IntN(2) == 0 {
			time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
		}
		a.w.released(place, c)
		l.Release(c, Outcome(rand.IntN(4)))
	case errors.Is(err, ErrQueueFull):
		time.Sleep(time.Duration(rand.IntN(100)) * time.Microsecond)
	case !errors.Is(err, ErrQueueTimeout) && !errors.Is(err, context.DeadlineExceeded):
		a.w.complain("%v", err)
	}
}

// tortureOwner is the supervisor in short: it replaces a process that has had its
// requests when it is idle, and goes by nothing but the notices.
type tortureOwner struct {
	a        *arena
	l        Shared
	now      chan struct{}
	state    [tortureSlots]State
	pid      [tortureSlots]int
	last     int
	replaced int
}

func (o *tortureOwner) begin(i int) {
	o.last = o.last%(1<<16-1) + 1
	o.a.w.procs[o.last].Store(0)
	o.state[i], o.pid[i] = Ready, o.last
	o.l.Set(i, Starting, o.last)
	o.l.Set(i, Ready, o.last)
}

func (o *tortureOwner) look() {
	for i := range o.state {
		u := o.l.Use(i)
		if o.state[i] == Ready && (u.Requests >= tortureMax || rand.IntN(200) == 0) {
			o.state[i] = Retiring
			o.l.Set(i, Retiring, o.pid[i])
			u = o.l.Use(i)
		}
		if o.state[i] == Retiring && u.Claims == 0 {
			o.a.w.procs[o.pid[i]].Or(procDead)
			o.replaced++
			o.begin(i)
		}
	}
}

func (o *tortureOwner) run(stop <-chan struct{}) {
	for {
		select {
		case <-o.now:
			o.look()
		case <-stop:
			return
		}
	}
}

func TestLedgerTorture(t *testing.T) {
	total := 0
	for _, name := range []string{"children", "addresses"} {
		t.Run(name, func(t *testing.T) { total += torture(t, name, 510) })
	}
	if total < 1000 {
		t.Errorf("%d kills", total)
	}
}

const (
	tortureWorkers = 5
	observer       = tortureWorkers + 1 // a place in this process, at which every request must be served
)

func torture(t *testing.T, config string, kills int) int {
	o := tortureConfigs[config]
	a, f := newArena(t, o)
	l, err := CreateLedger(o, a.mem, a.bells)
	must(t, err)
	own := &tortureOwner{a: a, l: l, now: make(chan struct{}, 1)}
	l.Watch(func() {
		select {
		case own.now <- struct{}{}:
		default:
		}
	})
	defer a.bells.Listen(0, l.Wake)()
	stop := make(chan struct{})
	var others sync.WaitGroup
	for i := range o.Slots {
		if config == "children" {
			own.begin(i)
		} else {
			l.Set(i, Ready, 0)
		}
	}
	if config == "children" {
		others.Go(func() { own.run(stop) })
	}
	served := observe(t, a, o, stop, &others)

	var killed atomic.Int64
	var workers sync.WaitGroup
	for p := range tortureWorkers {
		workers.Go(func() {
			for n := p; int(killed.Load()) < kills && !t.Failed(); n += tortureWorkers {
				if tortureKill(t, a, f, config, p+1, n) {
					killed.Add(1)
				}
				a.w.forget(p + 1)
				l.ClearPlace(p + 1)
				for i := range o.Slots {
					noteHeld(t, l.(*ledger), i, p+1)
				}
			}
		})
	}
	workers.Wait()
	close(stop)
	others.Wait()
	tortureEnd(t, a, o, l)
	themselves := uint64(0)
	for s := range a.w.died {
		// Only addresses are tried again, and only there nobody tells the owner.
		only := map[step]string{stepTry: "addresses", stepProbe: "addresses", stepPending: "children"}[step(s)]
		want := only == "" || only == config
		n := a.w.died[s].Load()
		if themselves += n; want && n < 4 {
			t.Errorf("killed at step %d only %d times", s, n)
		}
	}
	if config == "children" && own.replaced < 100 {
		t.Errorf("%d processes replaced", own.replaced)
	}
	t.Logf("%d kills, %d by themselves; %d served to the observer, %d in all; %d processes", killed.Load(),
		themselves, served.Load(), l.Counts().Served, own.replaced)
	return int(killed.Load())
}

// observe makes requests which no bound ends: each has to be served.
func observe(t *testing.T, a *arena, o LedgerOptions, stop <-chan struct{}, wg *sync.WaitGroup) *atomic.Int64 {
	l, err := OpenLedger(o, a.mem, a.bells, observer)
	must(t, err)
	quiet := a.bells.Listen(observer, l.Wake)
	t.Cleanup(quiet)
	var served atomic.Int64
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				c, err := l.Claim(ctx, Anyone)
				cancel()
				switch {
				case err == nil:
					served.Add(1)
					a.w.held(&o, observer, c)
					a.w.released(observer, c)
					l.Release(c, Answered)
				case !errors.Is(err, ErrQueueFull):
					t.Errorf("a request that lives is not served: %v; %+v", err, l.Counts())
					return
				}
				time.Sleep(200 * time.Microsecond)
			}
		})
	}
	return &served
}

func tortureCommand(f *os.File, config string, place int, last step, passes int) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = []string{fmt.Sprintf("%s=%s %d %d %d", tortureAt, config, place, last, passes), "GOMAXPROCS=2", quick}
	cmd.ExtraFiles = []*os.File{f}
	cmd.Stderr = os.Stderr
	return cmd
}

// tortureKill starts a worker and kills it; every other one kills itself.
func tortureKill(t *testing.T, a *arena, f *os.File, config string, place, n int) bool {
	last, passes := steps, 0
	if n%2 == 0 {
		last, passes = step(n/2)%steps, 1+rand.IntN(1+rand.IntN(30))
	}
	cmd := tortureCommand(f, config, place, last, passes)
	if err := cmd.Start(); err != nil {
		t.Error(err)
		return false
	}
	// A worker that does not come to its step in time is killed like the others.
	life := 300 * time.Millisecond
	if last == steps {
		life = time.Duration(rand.IntN(12)) * time.Millisecond
		for limit := time.Now().Add(10 * time.Second); a.w.up[place].Load() == 0 && time.Now().Before(limit); {
			time.Sleep(200 * time.Microsecond)
		}
	}
	kill := time.AfterFunc(life, func() { cmd.Process.Kill() })
	cmd.Wait()
	kill.Stop()
	ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if !ws.Signaled() || ws.Signal() != syscall.SIGKILL {
		t.Errorf("a worker ended by itself: %v; %s", cmd.ProcessState, a.w.complaint())
	}
	return true
}

func noteHeld(t *testing.T, l *ledger, slot, place int) {
	for c := range l.slots[slot].cells {
		if w := l.slots[slot].cells[c].Load(); w != 0 && w>>placeShift == uint64(place) {
			t.Errorf("slot %d is held by place %d, which is dead", slot, place)
		}
	}
}

// tortureEnd looks at what is left when everybody has ended.
func tortureEnd(t *testing.T, a *arena, o LedgerOptions, l Shared) {
	if s := a.w.complaint(); s != "" {
		t.Error(s)
	}
	n := l.Counts()
	if n.Waiting != 0 || l.(*ledger).waiting() != 0 {
		t.Errorf("nobody is left and %d wait", n.Waiting)
	}
	for i, c := range n.Children {
		if c.Claims != 0 {
			t.Errorf("nobody is left and slot %d has %d claims", i, c.Claims)
		}
		if c.PID != 0 {
			l.Set(i, Ready, 60000+i)
		}
	}
	// One that is out takes a single request, and no more before it is answered.
	down := func() bool {
		return slices.ContainsFunc(l.Counts().Children, func(c ChildCounts) bool { return c.Down })
	}
	eventually(t, 10*time.Second, "all slots are in", func() bool {
		for range 5 {
			if c, err := l.Claim(t.Context(), Anyone); err == nil {
				l.Release(c, Answered)
			}
		}
		return !down()
	})
	for range 5 { // as many as the slots take
		c, err := l.Claim(t.Context(), Anyone)
		if err != nil {
			t.Fatal("a slot was lost:", err)
		}
		defer l.Release(c, Answered)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if c, err := l.Claim(ctx, Anyone); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one more than the slots take: %+v, %v", c, err)
	}
}
