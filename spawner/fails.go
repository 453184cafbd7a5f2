package spawner

// A slot that failed too often is out for a while; then one request finds out
// how it is. Its word "out" is 0 while it is in; the time, by Now, until when it
// is out; or probing with the claim word of the request that tries it.
const (
	probing = 1 << 63
	expired = 1 // out, and to be tried at once
)

// outs is the time, where slots may be out, and whether all are: then all are in.
func (l *ledger) outs() (now uint64, allIn bool) {
	if l.opt.fails() == 0 {
		return 0, true
	}
	now = uint64(Now())
	return now, l.allOut(now)
}

func (l *ledger) allOut(now uint64) bool {
	for i := range l.slots {
		s := &l.slots[i]
		if State(s.state.Load()).leasable() && !l.isOut(s.out.Load(), now) {
			return false
		}
	}
	return true
}

// isOut reads a slot's word. A time further off than it can be is over: nobody
// wrote that.
func (l *ledger) isOut(out, now uint64) bool {
	return out&probing != 0 || out > now && out-now <= uint64(l.opt.FailTimeout+clockSlip)
}

// enter lets a claim into a slot, if need be as the one that tries it.
func (l *ledger) enter(s *slot, word uint64) bool {
	out := s.out.Load()
	if out == 0 || l.opt.fails() == 0 {
		return true
	}
	now := uint64(Now())
	if l.isOut(out, now) {
		return l.allOut(now)
	}
	ok := s.out.CompareAndSwap(out, probing|word)
	at(stepProbe)
	return ok
}

// unprobe lets another try the slot, if this claim was to.
func (s *slot) unprobe(word uint64) {
	if word != 0 && s.out.Load() == probing|word {
		s.out.CompareAndSwap(probing|word, expired)
	}
}

// comeBack makes a slot one that never failed.
func (s *slot) comeBack() {
	for i := range s.fails {
		s.fails[i].Store(0)
	}
	s.out.Store(0)
}

// judge notes how a request went.
func (l *ledger) judge(s *slot, word uint64, o Outcome) {
	if l.opt.fails() == 0 {
		return
	}
	now := uint64(Now())
	until := now + uint64(l.opt.FailTimeout)
	out := s.out.Load()
	switch {
	case o == Unsent:
		s.unprobe(word)
	case o != Failed:
		if out != 0 {
			s.comeBack()
		}
	case out == 0:
		if l.tooOften(s, now) {
			s.out.CompareAndSwap(0, until)
		}
	case out&probing == 0 || out == probing|word:
		s.out.CompareAndSwap(out, until)
	}
}

// tooOften notes a failure. The last ones stand in a ring, so that the next cell
// has the one that is MaxFails-1 before.
func (l *ledger) tooOften(s *slot, now uint64) bool {
	n := uint64(len(s.fails))
	i := s.failed.Add(1) % n
	s.fails[i].Store(now)
	first := s.fails[(i+1)%n].Load()
	return first != 0 && now-first < uint64(l.opt.FailTimeout)
}
