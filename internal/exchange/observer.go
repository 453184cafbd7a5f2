package exchange

import (
	"time"

	"sluice/internal/scoreboard"
)

// Observer is told how far a request is, and when that was. Calls come from
// several goroutines, and for a child that was let go also after Serve has
// returned.
type Observer interface {
	// Phase: the request is in this phase from now on.
	Phase(p scoreboard.Phase, now time.Time)
	// Leased: a child has the request, which is in the phase Connect. pid is 0
	// for a program elsewhere.
	Leased(slot, pid int, now time.Time) scoreboard.Record
	// LetGo: the request goes on without the child that it has, and is in the
	// phase Send; the child has still to end it.
	LetGo(now time.Time)
	// Released: the child is done with the request. It comes once for each Leased.
	Released(scoreboard.Record)
}

// unobserved is the Observer of requests that have none.
type unobserved struct{}

func (unobserved) Phase(scoreboard.Phase, time.Time)                {}
func (unobserved) Leased(int, int, time.Time) (r scoreboard.Record) { return r }
func (unobserved) LetGo(time.Time)                                  {}
func (unobserved) Released(scoreboard.Record)                       {}

// clock reads the time once for what happens at once. It belongs to the
// goroutine that has the request.
type clock struct{ at time.Time }

// now is the time, as of the last reading if nothing has been waited for since.
func (c *clock) now() time.Time {
	if c.at.IsZero() {
		c.at = time.Now()
	}
	return c.at
}

// waited says that time has passed.
func (c *clock) waited() { c.at = time.Time{} }

// letChildGo says that the request goes on without its child.
func (x *run) letChildGo() { x.req.Observer.LetGo(x.req.clock.now()) }

func (r *Request) phase(p scoreboard.Phase) { r.Observer.Phase(p, r.clock.now()) }
