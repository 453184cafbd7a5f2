package spawner

import "fmt"

// State is where a child is on its way.
type State uint8

// The states, in the words that the log and the status use.
const (
	Absent     State = iota // no process and none wanted
	Starting                // forked, not yet seen waiting for requests
	Ready                   // waits for requests, or answers one
	Retiring                // gets no more requests, and is stopped when idle
	Stopping                // has been told to end
	BackingOff              // died before it answered anything; waits for its next start
	Dormant                 // no process; one is started when a request wants it
)

func (s State) String() string {
	switch s {
	case Absent:
		return "absent"
	case Starting:
		return "starting"
	case Ready:
		return "ready"
	case Retiring:
		return "retiring"
	case Stopping:
		return "stopping"
	case BackingOff:
		return "backoff"
	case Dormant:
		return "dormant"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// leasable reports whether a request may be given to a child in this state: one
// that is starting has its socket already, so the request waits there.
func (s State) leasable() bool { return s == Starting || s == Ready }

// givenUp reports that there is no process, and none to come before something
// else happens.
func (s State) givenUp() bool { return s == Absent || s == BackingOff }

// hopeful reports whether a child in this state is worth waiting for: one that
// ends in order has a successor, or becomes Absent. Of one that is Dormant see
// ledger.hope.
func (s State) hopeful() bool { return s.leasable() || s == Retiring || s == Stopping }

// Event is what became of a child: the supervisor's word to the pools.
type Event struct {
	App   string `json:"app"`
	Slot  int    `json:"slot"`
	State State  `json:"state"`
	PID   int    `json:"pid,omitempty"`
	Began int64  `json:"began,omitempty"` // when the process was started, in nanoseconds of Unix time
}

// Report is what a request saw of a child: a pool's word to the supervisor.
type Report struct {
	App  string `json:"app"`
	Slot int    `json:"slot"`
	PID  int    `json:"pid"`
	// Replace: the child is silent, and has to be stopped and started anew.
	Replace string `json:"replace,omitempty"` // why
}
