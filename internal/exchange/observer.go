package exchange

import "sluice/internal/scoreboard"

// Observer is told how far a request is. Calls come from several goroutines,
// and for a child that was let go also after Serve has returned.
type Observer interface {
	// Phase: the request is in this phase from now on.
	Phase(scoreboard.Phase)
	// Leased: a child has the request, which is in the phase Connect. pid is 0
	// for a program elsewhere.
	Leased(slot, pid int) scoreboard.Record
	// LetGo: the request goes on without the child that it has, and is in the
	// phase Send; the child has still to end it.
	LetGo()
	// Released: the child is done with the request. It comes once for each Leased.
	Released(scoreboard.Record)
}

func (r *Request) phase(p scoreboard.Phase) {
	if r.Observer != nil {
		r.Observer.Phase(p)
	}
}

func (r *Request) leased(slot, pid int) scoreboard.Record {
	if r.Observer == nil {
		return scoreboard.Record{}
	}
	return r.Observer.Leased(slot, pid)
}

func (r *Request) letGo() {
	if r.Observer != nil {
		r.Observer.LetGo()
	}
}

func (r *Request) released(rec scoreboard.Record) {
	if r.Observer != nil {
		r.Observer.Released(rec)
	}
}
