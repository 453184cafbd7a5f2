package spawner

import "time"

// reason is why a child was told to end.
type reason string

const (
	maxRequests reason = "max_requests"
	maxAge      reason = "max_age"
	maxMemory   reason = "max_memory"
	idleTimeout reason = "idle_timeout"
	restarted   reason = "restart"
	replaced    reason = "replaced"
	lowered     reason = "max"
	shutDown    reason = "stop"
)

// leave is a child's order to end; the zero value is none.
type leave struct {
	why reason
	now bool // whatever it does; otherwise when it is idle
}

// ask orders the present process to end. A restart is meant for the one that is just
// being started, too: it may have read what has been changed since. The table is
// locked.
func (k *keeper) ask(l leave) {
	switch {
	case k.child == nil && !(k.coming && l.why == restarted):
		return
	case k.leave.why == "":
		k.leave = l
	case l.now && !k.leave.now:
		k.leave.now = true
	default:
		return // it is ordered already
	}
	k.wake()
}

// retire ends a child that was ordered to, unless it has to be waited for: then
// it gets no more requests, and the survey says when it is idle.
func (k *keeper) retire(c *Child) reason {
	k.s.mu.Lock()
	l := k.leave
	k.s.mu.Unlock()
	if l.why == "" {
		return ""
	}
	if !l.now {
		k.set(Retiring, c)
		if k.use().Claims > 0 {
			return ""
		}
	}
	k.end(c)
	return l.why
}

// weighEvery is how often the memory of the children is looked at.
const weighEvery = time.Second

// weigh retires the children that have more memory than they may.
func (s *Supervisor) weigh() {
	most := s.opt().MaxMemory
	for _, c := range s.Children() {
		if most <= 0 || c.Memory <= most {
			continue
		}
		s.mu.Lock()
		if k := s.slots[c.Slot]; k.pid == c.PID && k.leave.why == "" {
			k.ask(leave{why: maxMemory})
		}
		s.mu.Unlock()
	}
}

// memory is what the child of a slot uses, in bytes.
func (s *Supervisor) memory(slot, pid int) int64 {
	if s.opt().Cgroup != nil {
		if n, ok := s.opt().Cgroup.memory(slot); ok {
			return n
		}
	}
	return TreeMemory(pid)
}
