package scoreboard

import "fmt"

// Phase is how far a request is.
type Phase uint8

// The phases, in the words that the log and the status use.
const (
	NoPhase Phase = iota
	Upload        // its body is read from the client
	Queue         // waits for a child
	Connect       // has a child, which is being reached, or started
	Header        // the child computes, up to the end of its header block
	Body          // the child writes its answer
	Send          // waits for the client
	Drain         // goes on without the child, which has still to end it
	Phases        // how many there are
)

var phases = [Phases]struct{ name, waitsFor string }{
	NoPhase: {"none", "nobody"},
	Upload:  {"upload", "client"},
	Queue:   {"queue", "a free child"},
	Connect: {"connect", "child"},
	Header:  {"header", "child"},
	Body:    {"body", "child"},
	Send:    {"send", "client"},
	Drain:   {"drain", "child"},
}

func (p Phase) String() string {
	if p < Phases {
		return phases[p].name
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

// MarshalText is for JSON.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is its counterpart.
func (p *Phase) UnmarshalText(text []byte) error {
	for i := range phases {
		if phases[i].name == string(text) {
			*p = Phase(i)
			return nil
		}
	}
	return fmt.Errorf("no phase %q", text)
}

// WaitsFor says who a request in this phase waits for.
func (p Phase) WaitsFor() string {
	if p < Phases {
		return phases[p].waitsFor
	}
	return "nobody"
}

// ConnState is what a connection does.
type ConnState uint8

// The states of a connection.
const (
	Reading    ConnState = iota // a request's head or body
	Waiting                     // for a child
	Working                     // a child computes
	Sending                     // the answer
	Idle                        // between two requests
	Lingering                   // has been closed on our side
	ConnStates                  // how many there are
)

// WorkerState is where a worker is on its way.
type WorkerState uint8

// The states of a worker.
const (
	Gone WorkerState = iota
	Starting
	Running
	Stopping
	Draining // a later generation has taken its place
)

func (s WorkerState) String() string {
	switch s {
	case Gone:
		return "gone"
	case Starting:
		return "starting"
	case Running:
		return "running"
	case Stopping:
		return "stopping"
	case Draining:
		return "draining"
	}
	return fmt.Sprintf("state %d", uint8(s))
}
