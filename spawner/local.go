package spawner

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// LedgerOptions are the bounds of a Ledger.
type LedgerOptions struct {
	Queue        int           // requests that may wait
	QueueTimeout time.Duration // how long one may; 0 is no bound
	Slots        []SlotOptions
	Balance      Balance
	// MaxRequests is how many requests one process gets; 0 is no limit. It is
	// exact: the process is never given another.
	MaxRequests int
	// Spare is how many ready children without a request are wanted: when there
	// are fewer, Watch is told.
	Spare int
	// MaxFails is how many failures within FailTimeout take a slot out for
	// FailTimeout; then one request finds out how it is. 0: none ever. When all
	// are out, all are in.
	MaxFails    int
	FailTimeout time.Duration
}

// SlotOptions say what one slot can take.
type SlotOptions struct {
	Connections int // requests at once; 0 is 1
	Weight      int // a slot of weight 2 gets twice as many; 0 is 1
}

// NewLedger returns a Ledger for one process. Its slots begin as Absent.
func NewLedger(o LedgerOptions) Ledger {
	l := &local{opt: o, slots: make([]slot, len(o.Slots))}
	for i, s := range o.Slots {
		l.slots[i].max = max(1, s.Connections)
		l.slots[i].weight = max(1, s.Weight)
	}
	return l
}

type local struct {
	opt LedgerOptions

	mu      sync.Mutex
	slots   []slot
	waiters list.List // of *waiter
	clock   uint64    // of the order of use; see slot.used
	served  uint64
	refused uint64
	watch   func()
}

type slot struct {
	state       State
	pid         int
	max, weight int
	claims      int
	finishing   bool
	requests    uint64
	ofPID       uint64 // requests of the present process
	heard, idle time.Duration
	// used is the clock of the last release, or where turns are taken the turn of the
	// slot: each grant moves it on by turn/weight, so that among slots which
	// are equally busy one of weight 2 comes twice as often.
	used uint64
}

// turn is how far a grant moves the turn of a slot of weight 1.
const turn = 1 << 20

type waiter struct {
	avoid   int
	granted chan Claim // buffered; closed without a claim: no child
}

func (l *local) spread() bool { return l.opt.Balance != BalanceRecent }

func (l *local) Claim(ctx context.Context, want Want) (Claim, error) {
	avoid := want.Avoid
	l.mu.Lock()
	if l.waiters.Len() == 0 {
		if i := l.pick(avoid); i >= 0 {
			c := l.grant(i)
			l.mu.Unlock()
			return c, nil
		}
	}
	if err := l.admit(); err != nil {
		l.refused++
		l.mu.Unlock()
		return Claim{}, err
	}
	w := &waiter{avoid: avoid, granted: make(chan Claim, 1)}
	e := l.waiters.PushBack(w)
	l.mu.Unlock()
	return l.wait(ctx, w, e)
}

// admit says whether a request may wait.
func (l *local) admit() error {
	switch {
	case !l.anyHope():
		return ErrNoChild
	case l.waiters.Len() >= l.opt.Queue:
		return ErrQueueFull
	}
	return nil
}

func (l *local) wait(ctx context.Context, w *waiter, e *list.Element) (Claim, error) {
	var timeout <-chan time.Time
	if l.opt.QueueTimeout > 0 {
		t := time.NewTimer(l.opt.QueueTimeout)
		defer t.Stop()
		timeout = t.C
	}
	var err error
	select {
	case c, ok := <-w.granted:
		if !ok {
			return Claim{}, ErrNoChild
		}
		return c, nil
	case <-timeout:
		err = ErrQueueTimeout
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case c, ok := <-w.granted:
		// The grant came at the same moment: it goes to the next.
		if ok && err != ErrQueueTimeout {
			l.revoke(c.Slot)
			l.hand()
			return Claim{}, err
		}
		if ok {
			return c, nil
		}
		return Claim{}, ErrNoChild
	default:
	}
	l.waiters.Remove(e)
	if err == ErrQueueTimeout {
		l.refused++
	}
	return Claim{}, err
}

func (l *local) anyHope() bool {
	for i := range l.slots {
		if l.slots[i].state.hopeful() {
			return true
		}
	}
	return false
}

// pick chooses a slot: ready before starting before finishing, then the least
// loaded, then by use; the avoided one last. -1 for none.
func (l *local) pick(avoid int) int {
	best := -1
	for i := range l.slots {
		s := &l.slots[i]
		if !s.state.leasable() || s.claims >= s.max {
			continue
		}
		if best < 0 || l.better(i, best, avoid) {
			best = i
		}
	}
	return best
}

func (l *local) better(i, j, avoid int) bool {
	a, b := &l.slots[i], &l.slots[j]
	if (i == avoid) != (j == avoid) {
		return j == avoid
	}
	if ra, rb := a.rank(), b.rank(); ra != rb {
		return ra < rb
	}
	if la, lb := a.claims*b.weight, b.claims*a.weight; la != lb {
		return la < lb
	}
	if l.spread() {
		return a.used < b.used // its turn comes first
	}
	return a.used > b.used
}

func (s *slot) rank() int {
	switch {
	case s.finishing:
		return 2
	case s.state == Starting:
		return 1
	}
	return 0
}

func (l *local) grant(i int) Claim {
	s := &l.slots[i]
	s.claims++
	s.requests++
	s.ofPID++
	l.served++
	if l.spread() {
		// A slot that was out for a while does not catch up.
		l.clock = max(l.clock, s.used)
		s.used = l.clock + max(1, turn/uint64(s.weight))
	}
	return Claim{Slot: i, PID: s.pid}
}

func (l *local) giveBack(i int) {
	s := &l.slots[i]
	if s.claims--; s.claims == 0 {
		s.idle = Now()
	}
	if !l.spread() {
		l.clock++
		s.used = l.clock
	}
}

// revoke takes a grant back that nobody was there to take.
func (l *local) revoke(i int) {
	l.slots[i].requests--
	l.served--
	l.giveBack(i)
}

func (l *local) Release(c Claim, o Outcome) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.slots[c.Slot]
	l.giveBack(c.Slot)
	if s.pid == c.PID && c.PID != 0 {
		switch o {
		case Answered:
			s.finishing = false
			s.heard = Now()
		case Cut:
			s.finishing = true
		}
	}
	l.hand()
}

func (l *local) Set(i int, st State, pid int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.slots[i]
	if s.pid != pid {
		s.finishing, s.ofPID, s.idle = false, 0, Now()
	}
	s.state, s.pid = st, pid
	l.hand()
}

// hand gives free children to those who wait longest; when there is no child
// left to hope for, it tells them all.
func (l *local) hand() {
	for l.waiters.Len() > 0 {
		e := l.waiters.Front()
		w := e.Value.(*waiter)
		i := l.pick(w.avoid)
		if i >= 0 {
			l.waiters.Remove(e)
			w.granted <- l.grant(i)
			continue
		}
		if l.anyHope() {
			return
		}
		l.waiters.Remove(e)
		l.refused++
		close(w.granted)
	}
}

func (l *local) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := Counts{Waiting: l.waiters.Len(), Served: l.served, Refused: l.refused}
	for i := range l.slots {
		s := &l.slots[i]
		c.Children = append(c.Children, ChildCounts{State: s.state, PID: s.pid, Claims: s.claims,
			Requests: s.requests, Finishing: s.finishing})
	}
	return c
}

func (l *local) Watch(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watch = f
}

func (l *local) Use(i int) Use {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := &l.slots[i]
	u := Use{Claims: s.claims, Requests: s.ofPID, Heard: s.heard}
	if s.claims == 0 {
		u.Idle = s.idle
	}
	return u
}
