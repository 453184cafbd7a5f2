package spawner

import (
	"fmt"
	"slices"
	"time"
)

// Scale is how many children run.
type Scale uint8

const (
	ScaleStatic   Scale = iota // Max, always
	ScaleDynamic               // from Min to Max, so that Spare are idle
	ScaleOnDemand              // from none to Max, as many as the requests want
)

func (s Scale) String() string {
	switch s {
	case ScaleStatic:
		return "static"
	case ScaleDynamic:
		return "dynamic"
	case ScaleOnDemand:
		return "ondemand"
	}
	return fmt.Sprintf("scale %d", uint8(s))
}

// firstStep is how many children may start in the first second in which more
// are wanted: where none may be idle, a burst finds none.
func (s Scale) firstStep() int {
	if s == ScaleOnDemand {
		return rampMost
	}
	return 1
}

// surveyPause joins the notices of a busy Ledger.
const surveyPause = 2 * time.Millisecond

// mind surveys the children whenever there is something to see, until the end.
func (s *Supervisor) mind() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	weighed := Now()
	for {
		select {
		case <-s.notice:
		case <-timer.C:
		case <-s.stop:
			return
		}
		next := s.survey()
		if s.opt().MaxMemory > 0 {
			if Now()-weighed >= weighEvery {
				s.weigh()
				weighed = Now()
			}
			next = sooner(next, weighed+weighEvery)
		}
		time.Sleep(surveyPause)
		timer.Stop()
		if next != 0 {
			timer.Reset(next - Now())
		}
	}
}

// sooner is the earlier of two times, of which 0 is never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// survey looks at what the requests want, starts children and retires some. It
// says when, by Now, something is due that nobody gives notice of; 0: nothing.
func (s *Supervisor) survey() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.opt().Ledger == nil || s.stopping() {
		return 0
	}
	for _, k := range s.slots {
		use := k.use()
		switch {
		case k.state == Retiring && use.Claims == 0, k.state == BackingOff && use.Heard > k.born:
			k.wake()
		case k.state.leasable() && !k.allowed():
			k.ask(leave{why: lowered})
		case k.state.leasable() && s.opt().MaxRequests > 0 && use.Requests >= uint64(s.opt().MaxRequests):
			k.ask(leave{why: maxRequests})
		}
	}
	t := s.tally(nil)
	missing := 0
	if !s.down() {
		missing = min(s.goal(t)-t.alive, len(t.dormant))
	}
	may, next := s.ramp.allow(missing, Now())
	if !s.down() {
		s.begin(t, may)
	}
	return sooner(next, s.shrink(t))
}

// tally is what the children do, and what the requests want.
type tally struct {
	alive   int // or being started, or about to have a successor
	claims  int
	cut     int // children that may compute on without a request
	waiting int
	idle    []*keeper // that are ready, the longest first
	dormant []*keeper // that may be started, those that have requests first
}

// tally counts all slots but one. The table is locked.
func (s *Supervisor) tally(except *keeper) (t tally) {
	if s.opt().Ledger == nil {
		return t
	}
	counts := s.opt().Ledger.Counts()
	t.waiting = counts.Waiting
	for i, k := range s.slots {
		use := k.use()
		switch {
		case k == except:
			t.claims += use.Claims
			continue
		case k.leave.why == idleTimeout:
			continue // its requests, if any, find an end without it
		case k.state == Starting, k.state == Ready, k.state == Retiring, k.state == Stopping, k.wanted:
			t.alive++
			t.claims += use.Claims
		case k.state == Dormant:
			// A request may have been given to a child that died since.
			t.claims += use.Claims
			if use.Claims > 0 {
				t.dormant = slices.Insert(t.dormant, 0, k)
			} else {
				t.dormant = append(t.dormant, k)
			}
		}
		if k.state != Ready || k.leave.why != "" || use.Claims > 0 {
			continue
		}
		t.idle = append(t.idle, k)
		// A ledger that has been told of a lower max before the supervisor was knows
		// less children.
		if i < len(counts.Children) && counts.Children[i].Finishing && Now()-k.idleSince() < s.opt().IdleTimeout {
			t.cut++
		}
	}
	slices.SortStableFunc(t.idle, func(a, b *keeper) int { return int(a.idleSince() - b.idleSince()) })
	return t
}

// idleSince is since when a child that is ready has had nothing to do, by Now.
func (k *keeper) idleSince() time.Duration { return max(k.use().Idle, k.ready) }

// goal is how many children are wanted.
func (s *Supervisor) goal(t tally) int {
	busy := (t.claims+t.waiting+s.opt().Connections-1)/s.opt().Connections + t.cut
	return min(max(busy+s.opt().Spare, s.opt().Min), s.opt().Max)
}

// lacks reports whether fewer children are alive than are wanted, if that of
// this slot has no successor. The table is locked.
func (s *Supervisor) lacks(k *keeper) bool {
	if !k.allowed() {
		return false
	}
	t := s.tally(k)
	return t.alive < s.goal(t)
}

// succeeds reports whether a process has a successor: one that was in use has,
// since recycling is no reason to be fewer. The table is locked.
func (k *keeper) succeeds(o obituary) bool {
	if !k.allowed() {
		return false
	}
	used := o.err == nil && k.use().Requests > 0
	return used && o.why != idleTimeout || o.why == restarted || k.s.lacks(k)
}

// begin starts so many dormant children, and each that has a request already.
func (s *Supervisor) begin(t tally, n int) {
	for i, k := range t.dormant {
		if i < n || k.use().Claims > 0 {
			k.wanted = true
			k.wake()
		}
	}
}

// shrink retires those that have been idle for too long, and says when the next
// one will have been.
func (s *Supervisor) shrink(t tally) (next time.Duration) {
	if s.opt().Scale == ScaleStatic {
		return 0
	}
	now := Now()
	idle := len(t.idle) - t.cut
	for _, k := range t.idle {
		if idle <= s.opt().Spare || t.alive <= s.opt().Min {
			break
		}
		if due := k.idleSince() + s.opt().IdleTimeout; due > now {
			return due
		}
		k.ask(leave{why: idleTimeout})
		idle--
		t.alive--
	}
	if t.alive <= s.opt().Min {
		return 0
	}
	return now + s.opt().IdleTimeout // nobody says when one becomes idle
}

// rampMost is how many children may start in one second.
const rampMost = 32

// ramp bounds how fast children are added: as many as its first step, and in
// each further second in which they were too few twice as many.
type ramp struct {
	first int // step
	step  int // of this second
	left  int // of the step
	until time.Duration
	short bool // more are wanted than could be started
}

// allow says how many of so many may start now, and when to ask again.
func (r *ramp) allow(want int, now time.Duration) (n int, next time.Duration) {
	if want <= 0 {
		r.short = false
		return 0, 0
	}
	if r.step == 0 || now >= r.until {
		step := r.first
		if r.short {
			step = min(2*r.step, rampMost)
		}
		r.step, r.left, r.until = step, step, now+time.Second
	}
	n = min(want, r.left)
	r.left -= n
	if r.short = want > n; r.short {
		next = r.until
	}
	return n, next
}
