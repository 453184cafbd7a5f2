package spawner

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The torture of a ledger: workers, which are processes, claim, wait, give up and
// release at random, and are killed at random or kill themselves between two
// writes. A witness in the same memory, which does not go by the ledger, says
// what they do.
type witness struct {
	holds [tortureSlots][Places]atomic.Int64 // claims, before they are released
	waits [Places]atomic.Int64               // requests between the two ends of the queue
	procs [1 << 16]atomic.Uint64             // by pid: requests, and procDead
	up    [Places]atomic.Uint64              // the worker has begun
	died  [steps]atomic.Uint64               // of workers that killed themselves
	wrong [256]atomic.Uint32                 // the first breach of a rule, in letters
}

const (
	tortureSlots = 3
	procDead     = 1 << 63
	tortureMax   = 40 // MaxRequests
	tortureQueue = 6
	tortureAt    = "LEDGER_TORTURE" // config, place, step, how many times it is passed
)

var tortureConfigs = map[string]LedgerOptions{
	"children": {Queue: tortureQueue, MaxRequests: tortureMax,
		Slots: []SlotOptions{{}, {Connections: 3}, {}}},
	"addresses": {Queue: tortureQueue, Balance: BalanceRoundRobin, MaxFails: 2, FailTimeout: 2 * time.Millisecond,
		Slots: []SlotOptions{{}, {Connections: 3, Weight: 3}, {}}},
}

// arena is the shared memory of a torture.
type arena struct {
	mem   []byte
	bells *Bells
	w     *witness
}

const witnessBytes = int(unsafe.Sizeof(witness{}))

func arenaSize(o LedgerOptions) int { return o.Size() + BellsSize + witnessBytes }

func openArena(fd int, o LedgerOptions) (*arena, error) {
	m, err := unix.Mmap(fd, 0, arenaSize(o), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &arena{m, NewBells(m[o.Size():]), (*witness)(unsafe.Pointer(&m[o.Size()+BellsSize]))}, nil
}

func newArena(t testing.TB, o LedgerOptions) (*arena, *os.File) {
	t.Helper()
	fd, err := unix.MemfdCreate("ledger", unix.MFD_CLOEXEC)
	must(t, err)
	f := os.NewFile(uintptr(fd), "ledger")
	t.Cleanup(func() { f.Close() })
	must(t, f.Truncate(int64(arenaSize(o))))
	a, err := openArena(fd, o) // for good: a ledger that still looks by itself may outlive the test
	must(t, err)
	return a, f
}

func (w *witness) complain(format string, args ...any) {
	for i, c := range []byte(fmt.Sprintf(format, args...)) {
		if i < len(w.wrong) && (i > 0 || w.wrong[0].Load() == 0) {
			w.wrong[i].CompareAndSwap(0, uint32(c))
		}
	}
}

func (w *witness) complaint() string {
	var b strings.Builder
	for i := range w.wrong {
		if c := w.wrong[i].Load(); c != 0 {
			b.WriteByte(byte(c))
		}
	}
	return b.String()
}

// held is called with a claim and until it is released.
func (w *witness) held(o *LedgerOptions, place int, c Claim) {
	w.holds[c.Slot][place].Add(1)
	n := int64(0)
	for p := range Places {
		n += w.holds[c.Slot][p].Load()
	}
	if n > int64(o.Slots[c.Slot].connections()) {
		w.complain("slot %d has %d requests", c.Slot, n)
	}
	if c.PID == 0 {
		return
	}
	p := w.procs[c.PID].Add(1)
	if p&procDead != 0 {
		w.complain("slot %d: claimed %d, which was retired and idle", c.Slot, c.PID)
	}
	if n := p &^ procDead; n > tortureMax {
		w.complain("slot %d: process %d has had %d requests", c.Slot, c.PID, n)
	}
}

func (w *witness) released(place int, c Claim) { w.holds[c.Slot][place].Add(-1) }

// queued is the hook of a worker: who stands in the queue.
func (w *witness) queued(place int, s step) {
	switch s {
	case stepWaiting:
		w.waits[place].Add(1)
		n := int64(0)
		for p := range Places {
			n += w.waits[p].Load()
		}
		if n > tortureQueue {
			w.complain("%d requests wait", n)
		}
	case stepLeave:
		w.waits[place].Add(-1)
	}
}

// forget drops what a worker did that has ended: before the ledger does.
func (w *witness) forget(place int) {
	for i := range w.holds {
		w.holds[i][place].Store(0)
	}
	w.waits[place].Store(0)
	w.up[place].Store(0)
}

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
		want := step(s) != stepProbe && step(s) != stepPending || config == "addresses" == (step(s) == stepProbe)
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
