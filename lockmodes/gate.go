package lockmodes

import (
	"sync/atomic"
	"time"
)

// gate counts the calls that use memory, so that it is unmapped behind the last.
type gate struct{ users atomic.Int64 }

// shut is in users once no call may begin any more.
const shut = 1 << 32

// enter begins a call; false: it is too late.
func (g *gate) enter() bool {
	if g.users.Add(1) >= shut {
		g.leave()
		return false
	}
	return true
}

func (g *gate) leave() { g.users.Add(-1) }

// close keeps new calls out, and waits for those that are in, which nudge has
// end. It reports false if it was closed before.
func (g *gate) close(nudge func()) bool {
	if g.users.Add(shut) >= 2*shut {
		g.users.Add(-shut)
		return false
	}
	for nudge(); g.users.Load()&(shut-1) != 0; nudge() {
		time.Sleep(100 * time.Microsecond)
	}
	return true
}
