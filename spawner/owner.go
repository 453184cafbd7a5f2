package spawner

import (
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// ledger is one process's hold of a Ledger, whether others share it or not.
type ledger struct {
	opt   LedgerOptions
	place int
	bells *Bells // nil: nobody else is to be woken
	alone bool   // in the memory of one process

	head  *headWords
	mine  *placeWords
	slots []slot
	rota  rota
	seq   atomic.Uint64 // of claim words

	mu    sync.Mutex
	queue queue
	tell  bool    // the owner is to be told once mu is free
	own   []child // what the owner last Set; it is not read back

	watch atomic.Pointer[func()]
}

// child is what the owner knows of a slot.
type child struct {
	state  State
	pid    int
	serial uint64
}

func (c child) key() uint64  { return c.serial<<(serialShift-keyShift) | uint64(c.pid)&pidMask }
func (c child) word() uint64 { return c.key()<<keyShift | uint64(c.state) }

// NewLedger returns a Ledger for one process. Its slots begin as Absent.
func NewLedger(o LedgerOptions) Ledger {
	w := make([]uint64, o.Size()/8)
	l := &ledger{opt: o, alone: true}
	l.create(unsafe.Slice((*byte)(unsafe.Pointer(&w[0])), o.Size()))
	return l
}

// CreateLedger makes a ledger of memory that others will open, and returns the
// owner's hold of it, at place 0. The memory is aligned to 8 bytes, has at least
// o.Size() of them, and stays as long as the ledger is used. Its slots begin as
// Absent. Who calls bells.Listen(0, f) has f call Wake.
func CreateLedger(o LedgerOptions, mem []byte, bells *Bells) (Shared, error) {
	l := &ledger{opt: o, bells: bells}
	if err := l.create(mem); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *ledger) create(mem []byte) error {
	if err := l.lay(mem); err != nil {
		return err
	}
	l.format(mem)
	l.own = make([]child, len(l.slots))
	l.start()
	return nil
}

// OpenLedger returns a worker's hold of a ledger, at a place below Places that
// nobody else has. The options are those with which it was created: other ones,
// and memory of another version, are refused. Who calls bells.Listen for the
// place has f call Wake. At place 0 it is the owner's, who has executed itself
// anew: it Sets every slot then, and a child that is the same keeps its counts.
func OpenLedger(o LedgerOptions, mem []byte, bells *Bells, place int) (Shared, error) {
	if place < 0 || place >= Places {
		return nil, errLedgerPlace
	}
	l := &ledger{opt: o, place: place, bells: bells}
	if err := l.lay(mem); err != nil {
		return nil, err
	}
	if err := l.verify(); err != nil {
		return nil, err
	}
	if l.owner() {
		l.recall()
	}
	l.start()
	return l, nil
}

// recall takes the children from the memory. What a worker may have made of them
// lasts until Set.
func (l *ledger) recall() {
	l.own = make([]child, len(l.slots))
	for i := range l.own {
		w := l.slots[i].state.Load()
		l.own[i] = child{state: State(w), pid: keyPID(w >> keyShift), serial: w >> serialShift}
	}
}

func (l *ledger) start() {
	l.mine = &l.head.places[l.place]
	if l.opt.Balance == BalanceRoundRobin {
		l.rota = newRota(l.opt.Slots)
	}
	l.publish()
}

func (l *ledger) owner() bool { return l.place == 0 }

func (l *ledger) ring(place int) {
	if l.bells != nil {
		l.bells.Ring(place)
	}
}

// Set implements Ledger. A new process has its own count before anybody can read
// its name. It begins with the requests that the slot still has: those that wait
// in the socket are its own to answer.
func (l *ledger) Set(i int, st State, pid int) {
	if !l.owner() {
		return
	}
	l.mu.Lock()
	defer l.unlock()
	s, c := &l.slots[i], &l.own[i]
	if c.pid != pid {
		c.serial = (c.serial + 1) & serialMask
		left := l.inherited(s, pid)
		s.past.Add(s.requests.Swap(c.serial<<serialShift|left)&countMask - left)
		s.finishing.Store(0)
		s.idle.Store(uint64(Now()))
		s.comeBack()
	}
	c.state, c.pid = st, pid
	s.state.Store(c.word())
	l.serve()
	if !l.hope() {
		l.ringAll()
	}
	// Who began to wait before had nobody to ask for it.
	if place, _ := l.first(); st == Dormant && (place >= 0 || l.short()) {
		l.tell = true
	}
}

// inherited is how many requests of its predecessor a new process may have to
// answer. One is left to it: else it would have to go before it had any, for
// one which the predecessor may have answered.
func (l *ledger) inherited(s *slot, pid int) uint64 {
	if l.opt.MaxRequests == 0 || pid == 0 {
		return 0
	}
	return uint64(min(s.claims(), l.opt.MaxRequests-1))
}

// ringAll wakes every place at which requests wait.
func (l *ledger) ringAll() {
	for place := range l.waitingPlaces {
		if place != l.place {
			l.ring(place)
		}
	}
}

// Keeper implements Shared.
func (l *ledger) Keeper(on bool) {
	if on {
		l.head.keeper.Store(uint64(l.place))
	} else {
		l.head.keeper.CompareAndSwap(uint64(l.place), 0)
	}
}

// Elsewhere implements Shared.
func (l *ledger) Elsewhere(i int) bool {
	s := &l.slots[i]
	for j := range s.cells {
		if w := s.cells[j].Load(); w != 0 && w>>placeShift != uint64(l.place) {
			return true
		}
	}
	return false
}

// Retune implements Shared.
func (l *ledger) Retune(o LedgerOptions) {
	if !l.owner() {
		return
	}
	l.mu.Lock()
	defer l.unlock()
	l.opt.Queue, l.opt.QueueTimeout, l.opt.MaxRequests, l.opt.Spare = o.Queue, o.QueueTimeout, o.MaxRequests, o.Spare
	l.opt.Slots = o.Slots[:min(len(o.Slots), len(l.slots))]
	l.tell = true
}

// ClearPlace implements Clearer.
func (l *ledger) ClearPlace(place int) {
	if !l.owner() || place < 1 || place >= Places {
		return
	}
	l.mu.Lock()
	defer l.unlock()
	for i := range l.slots {
		l.slots[i].repair(l.own[i])
		l.slots[i].clearPlace(l.own[i], place)
	}
	p := &l.head.places[place]
	p.ticket.Store(0)
	p.count.Store(0)
	l.head.keeper.CompareAndSwap(uint64(place), 0)
	l.head.waiting[place/64].And(^(1 << (place % 64)))
	l.tell = true // a call that it was about to make is made here
	l.serve()
	l.ringAll()
}

// repair writes down again what the owner alone may write: a worker that went
// mad before it died may have done so.
func (s *slot) repair(c child) {
	s.state.Store(c.word())
	if r := s.requests.Load(); r>>serialShift != c.serial {
		s.requests.CompareAndSwap(r, c.serial<<serialShift)
	}
}

// clearPlace frees a place's cells, and those of a place that cannot be.
func (s *slot) clearPlace(c child, place int) {
	if o := s.out.Load(); o&probing != 0 && o&^probing>>placeShift == uint64(place) {
		s.out.CompareAndSwap(o, expired)
	}
	for i := range s.cells {
		w := s.cells[i].Load()
		if p := w >> placeShift; w == 0 || p != uint64(place) && p < Places {
			continue
		}
		if c.pid != 0 {
			s.finishing.Store(c.key())
		}
		s.idle.Store(uint64(Now()))
		s.cells[i].CompareAndSwap(w, 0)
	}
}

// State implements Ledger.
func (l *ledger) State(i int) State { return State(l.slots[i].state.Load()) }

// Down implements Ledger.
func (l *ledger) Down(i int) bool { return l.slots[i].out.Load() != 0 }

// Use implements Ledger.
func (l *ledger) Use(i int) Use {
	s := &l.slots[i]
	u := Use{Claims: s.claims(), Requests: s.requests.Load() & countMask, Heard: past(&s.heard)}
	if u.Claims == 0 {
		u.Idle = past(&s.idle)
	}
	return u
}

// past reads a time, which is not in the future whatever the memory holds.
func past(w *atomic.Uint64) time.Duration {
	return time.Duration(min(w.Load(), uint64(Now())))
}

// Counts implements Ledger.
func (l *ledger) Counts() Counts {
	n, most := len(l.slots), l.opt.Queue
	if l.owner() {
		l.mu.Lock()
		n, most = len(l.opt.Slots), l.opt.Queue
		l.mu.Unlock()
	}
	c := Counts{Waiting: min(l.waiting(), most), Children: make([]ChildCounts, n)}
	for i := range l.head.places {
		c.Served += l.head.places[i].served.Load()
		c.Refused += l.head.places[i].refused.Load()
	}
	for i := range c.Children {
		s := &l.slots[i]
		w := s.state.Load()
		if l.owner() {
			w = l.ownWord(i)
		}
		key := w >> keyShift
		c.Children[i] = ChildCounts{State: State(w), PID: keyPID(key), Claims: s.claims(),
			Requests:  s.past.Load() + s.requests.Load()&countMask,
			Finishing: s.isFinishing(key), Down: l.Down(i)}
	}
	return c
}

func (l *ledger) ownWord(i int) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.own[i].word()
}

// Watch implements Ledger.
func (l *ledger) Watch(f func()) { l.watch.Store(&f) }

// notice has the owner look. In another process its bell rings once until it
// has.
func (l *ledger) notice() {
	if l.owner() {
		l.look()
		return
	}
	if l.head.pending.Load() == 0 && l.head.pending.Swap(1) == 0 {
		at(stepPending)
		l.ring(0)
	}
}

// look calls the watcher. What happens from now on rings again.
func (l *ledger) look() {
	l.head.pending.Store(0)
	if f := l.watch.Load(); f != nil && *f != nil {
		(*f)()
	}
}

// unlock frees mu, and then tells the owner what was found meanwhile: its watcher
// may have locks of its own.
func (l *ledger) unlock() {
	tell := l.tell
	l.tell = false
	l.mu.Unlock()
	if tell {
		l.notice()
	}
}

// Wake implements Shared.
func (l *ledger) Wake() {
	if l.owner() && l.head.pending.Load() != 0 {
		l.look()
	}
	l.mu.Lock()
	defer l.unlock()
	l.serve()
}

// short reports that the owner may want to start a child: one sleeps, and fewer
// than Spare are free.
func (l *ledger) short() bool {
	if l.opt.Spare <= 0 {
		return false
	}
	free := 0
	for i := range l.slots {
		if State(l.slots[i].state.Load()) == Ready && l.slots[i].claims() == 0 {
			free++
		}
	}
	return free < l.opt.Spare && l.anyDormant()
}

func (l *ledger) anyDormant() bool {
	for i := range l.slots {
		if State(l.slots[i].state.Load()) == Dormant {
			return true
		}
	}
	return false
}
