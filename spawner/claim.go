package spawner

import "context"

// step is a point between two writes to the memory. The tests end the process
// there.
type step uint8

const (
	stepPicked  step = iota // a slot is chosen
	stepCell                // its cell is ours
	stepTry                 // the slot is out, and to be tried again
	stepProbe               // by us
	stepCounted             // the request is one of the process
	stepGranted             // and of this place
	stepBit                 // the place may have waiters
	stepCount               // the request is in the count of the queue
	stepTicket              // it has its ticket
	stepWaiting             // and is in the queue
	stepLeave               // it is about to leave it, with a claim or without
	stepGone                // nobody has a ticket here, but the count is not yet down
	stepLeft                // it has left
	stepOutcome             // how the request went is written down
	stepFreed               // the cell is free
	stepTurn                // whose turn it is is known
	stepPending             // the owner is about to be told
	steps
)

var killPoint func(step)

func at(s step) {
	if killPoint != nil {
		killPoint(s)
	}
}

// Claim implements Ledger.
func (l *ledger) Claim(ctx context.Context, w Want) (Claim, error) {
	if _, awake := l.first(); !awake {
		if c, tell, ok := l.take(w); ok {
			if tell {
				l.notice()
			}
			return c, nil
		}
	}
	return l.wait(ctx, w)
}

// take claims a child that is free now. tell: the owner is to be told, whether
// or not there was one. Each attempt that fails is another's success, or an
// owner's word.
func (l *ledger) take(w Want) (c Claim, tell, ok bool) {
	for range len(l.slots) + 8 {
		i := l.pick(w)
		if i < 0 {
			return c, tell, false
		}
		at(stepPicked)
		var t bool
		c, t, ok = l.grab(i)
		tell = tell || t
		if ok {
			return c, tell || l.short(), true
		}
	}
	return c, tell, false
}

// grab claims a child of one slot. The cell comes first and the state after it:
// the owner, which retires a child and then counts its claims, sees ours, or we
// see that.
func (l *ledger) grab(i int) (c Claim, tell, ok bool) {
	s := &l.slots[i]
	word := l.word()
	cell := s.win(word)
	if cell < 0 {
		return c, false, false
	}
	at(stepCell)
	state := s.state.Load()
	key := state >> keyShift
	c = Claim{Slot: i, PID: keyPID(key), cell: cell, word: word, key: key}
	full := false
	if ok = State(state).leasable() && l.enter(s, word); ok {
		full, ok = s.count(c, l.opt.MaxRequests)
	}
	if !ok {
		s.unprobe(word)
		s.free(c)
		return c, s.drained(), false
	}
	at(stepCounted)
	if k := l.head.keeper.Load(); k != 0 && k < Places && int(k) != l.place { // others can write to it
		l.ring(int(k))
	}
	l.mine.served.Add(1)
	l.used(s)
	at(stepGranted)
	return c, full, true
}

// word is a new claim word: 0 is none.
func (l *ledger) word() uint64 {
	for {
		if n := l.seq.Add(1) & sequence; n != 0 {
			return uint64(l.place)<<placeShift | n
		}
	}
}

// win puts a claim word into a free cell; -1: there was none.
func (s *slot) win(word uint64) int {
	n := s.max
	i := int(s.hint.Load()) % n
	for range n {
		if s.cells[i].Load() == 0 && s.cells[i].CompareAndSwap(0, word) {
			s.hint.Store(uint32(i + 1))
			return i
		}
		if i++; i == n {
			i = 0
		}
	}
	return -1
}

// free gives a cell back.
func (s *slot) free(c Claim) bool {
	if c.word != 0 {
		return s.cells[c.cell].CompareAndSwap(c.word, 0)
	}
	return false
}

// freeAny gives back a cell of a place: its claims are alike.
func (s *slot) freeAny(place int) bool {
	for i := range s.cells {
		if w := s.cells[i].Load(); w != 0 && w>>placeShift == uint64(place) && s.cells[i].CompareAndSwap(w, 0) {
			return true
		}
	}
	return false
}

// claims counts the requests that a slot has.
func (s *slot) claims() int {
	n := 0
	for i := range s.cells {
		if s.cells[i].Load() != 0 {
			n++
		}
	}
	return n
}

// hasFree reports whether a cell is free.
func (s *slot) hasFree() bool {
	n := s.max
	i := int(s.hint.Load()) % n
	for range n {
		if s.cells[i].Load() == 0 {
			return true
		}
		if i++; i == n {
			i = 0
		}
	}
	return false
}

// drained reports that a child which retires has no request left.
func (s *slot) drained() bool { return State(s.state.Load()) == Retiring && s.claims() == 0 }

func (s *slot) isFinishing(key uint64) bool { return keyPID(key) != 0 && s.finishing.Load() == key }

// count makes a claim one of the requests of its process, which gets at most
// limit. full: it has had that many now.
func (s *slot) count(c Claim, limit int) (full, ok bool) {
	if c.PID == 0 {
		limit = 0
	}
	for {
		r := s.requests.Load()
		n := r & countMask
		if r>>serialShift != c.key>>(serialShift-keyShift) || limit > 0 && n >= uint64(limit) {
			return false, false
		}
		if s.requests.CompareAndSwap(r, r+1) {
			return limit > 0 && n+1 == uint64(limit), true
		}
	}
}

// uncount takes back a count: nothing was sent.
func (s *slot) uncount(c Claim) {
	for {
		r := s.requests.Load()
		if r>>serialShift != c.key>>(serialShift-keyShift) || r&countMask == 0 {
			s.past.Add(^uint64(0))
			return
		}
		if s.requests.CompareAndSwap(r, r-1) {
			return
		}
	}
}

// Release implements Ledger.
func (l *ledger) Release(c Claim, o Outcome) {
	s := &l.slots[c.Slot]
	now := uint64(Now())
	if o == Answered {
		s.heard.Store(now) // also where a successor answered in place of who was leased
	}
	if key := s.state.Load() >> keyShift; keyPID(key) == c.PID {
		switch o {
		case Answered:
			if s.finishing.Load() == key {
				s.finishing.Store(0)
			}
		case Cut:
			s.finishing.Store(key)
		}
	}
	l.judge(s, c.word, o)
	at(stepOutcome)
	if l.giveBack(s, c, now) || o == Answered && s.mourned() {
		l.notice()
	}
	l.wakeNext()
}

// giveBack frees a claim's cell; the owner is to be told: it was the last of a
// child that retires. The time is written first: a worker that is killed in
// between has no cell, so nobody would do it.
func (l *ledger) giveBack(s *slot, c Claim, now uint64) (tell bool) {
	s.idle.Store(now)
	if l.opt.Balance == BalanceRecent {
		s.used.Store(l.head.clock.Add(1))
	}
	if !s.free(c) && (c.word != 0 || !s.freeAny(l.place)) {
		return false
	}
	at(stepFreed)
	return s.drained()
}

// mourned reports that the child of a slot is held back since it died before it
// answered anything.
func (s *slot) mourned() bool { return State(s.state.Load()) == BackingOff }

// revoke takes back a grant that nobody was there to take. The caller has mu,
// and sees to it that another gets it.
func (l *ledger) revoke(c Claim) {
	s := &l.slots[c.Slot]
	s.uncount(c)
	s.unprobe(c.word)
	l.mine.served.Add(^uint64(0))
	if l.giveBack(s, c, uint64(Now())) {
		l.tell = true
	}
}
