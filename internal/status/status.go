// Package status puts together what a server is doing: from the scoreboard, the
// ledgers and the supervisors. It is shown as JSON or as text.
package status

import (
	"cmp"
	"runtime"
	"slices"
	"time"

	"sluice/internal/scoreboard"
	"sluice/spawner"
)

// Status is a moment's view of a server. docs/status.md describes it.
type Status struct {
	Version    string    `json:"version"`
	PID        int       `json:"pid"`
	Generation int       `json:"generation"`
	Started    time.Time `json:"started"`
	Uptime     float64   `json:"uptime_seconds"`
	Goroutines int       `json:"goroutines"`   // of the master
	Memory     int64     `json:"memory_bytes"` // resident, of the master
	Workers    []Worker  `json:"workers"`
	Apps       []App     `json:"apps"`
}

// Worker is a worker.
type Worker struct {
	PID         int                    `json:"pid"`
	Generation  int                    `json:"generation"`
	State       string                 `json:"state"`
	Requests    uint64                 `json:"requests"`
	Goroutines  int                    `json:"goroutines"`   // a second ago, at most
	Memory      int64                  `json:"memory_bytes"` // resident
	Connections scoreboard.Connections `json:"connections"`
	scoreboard.Accepting
}

// App is an app.
type App struct {
	Name     string            `json:"name"`
	Kind     string            `json:"kind"`
	Queue    scoreboard.Queued `json:"queue"`
	Children []Child           `json:"children"`
}

// Child is a child, a running script, or an address.
type Child struct {
	PID      int    `json:"pid"`               // 0: there is no process, or none of ours
	Address  string `json:"address,omitempty"` // of a program elsewhere
	State    string `json:"state"`
	Claims   int    `json:"claims"`   // requests that it has now
	Requests uint64 `json:"requests"` // that it has been given
	Restarts int    `json:"restarts"`
	// AgeSeconds is 0 where it is not known, MemoryBytes too.
	AgeSeconds  float64  `json:"age_seconds"`
	MemoryBytes int64    `json:"memory_bytes"` // resident
	Request     *Request `json:"request"`      // the one that it has had for longest
}

// Request is a request that a child has.
type Request struct {
	Method  string  `json:"method"`
	URL     string  `json:"url"` // cut to 128 bytes
	Client  string  `json:"client"`
	Phase   string  `json:"phase"`
	Seconds float64 `json:"seconds"` // since it began; 0 without [status] extended
	// PhaseSeconds is how long it has been in its phase.
	PhaseSeconds float64 `json:"phase_seconds"`
}

// ChildInfo is what the supervisor of an app knows of the child of a slot.
type ChildInfo struct {
	Slot     int
	State    spawner.State
	PID      int
	Began    time.Time
	Requests uint64 // of the present process
	Memory   int64  // bytes; 0: is to be looked up
	Restarts int
}

// Sources are where a running server's state is found. Each func is asked once
// for each app and may be nil; what it does not know is said as the scoreboard
// has it.
type Sources struct {
	// Board is required. Where it returns both a Snapshot and an error, the
	// Snapshot is what there is.
	Board func() (*scoreboard.Snapshot, error)
	// Counts are those of an app's ledger.
	Counts func(app string) (spawner.Counts, bool)
	// Children are those that are supervised.
	Children func(app string) ([]ChildInfo, bool)
	// Shared is for Merge: which of the Sources before has the same children of an
	// app, or -1; nil: none has any.
	Shared func(app string) int
	// Memory is what a process has resident, in bytes; nil: not known.
	Memory func(pid int) int64
}

// Get puts a Status together. An error is the scoreboard's, and the Status holds
// what is known without it.
func (s Sources) Get() (*Status, error) {
	b, err := s.Board()
	if b == nil {
		return nil, err
	}
	st := s.assemble(b, time.Now())
	st.Goroutines, st.Memory = runtime.NumGoroutine(), s.memory(st.PID, 0)
	return st, err
}

// Merge is Get for a server with several generations, of which the first is the
// one that serves. Of the others there are the workers that still run, and what
// is left of apps that the first one has not, or not any more.
func Merge(all []Sources) (*Status, error) {
	boards := make([]*scoreboard.Snapshot, len(all))
	var first error
	for i, s := range all {
		b, err := s.Board()
		if err != nil && first == nil {
			first = err
		}
		if boards[i] = b; b != nil {
			s.handOn(b, boards)
		}
	}
	if boards[0] == nil {
		return nil, first
	}
	now := time.Now()
	st := all[0].assemble(boards[0], now)
	for i, b := range boards[1:] {
		if b != nil {
			st.add(all[i+1].assemble(b, now))
		}
	}
	st.Goroutines, st.Memory = runtime.NumGoroutine(), all[0].memory(st.PID, 0)
	return st, first
}

// handOn moves what a generation has of an app that it shares to the other.
func (s Sources) handOn(b *scoreboard.Snapshot, boards []*scoreboard.Snapshot) {
	if s.Shared == nil {
		return
	}
	b.Apps = slices.DeleteFunc(b.Apps, func(a scoreboard.App) bool {
		i := s.Shared(a.Name)
		if i < 0 || boards[i] == nil {
			return false
		}
		for j := range boards[i].Apps {
			if to := &boards[i].Apps[j]; to.Name == a.Name {
				to.Requests = append(to.Requests, a.Requests...)
			}
		}
		return true
	})
}

// add adds what an earlier generation has.
func (st *Status) add(old *Status) {
	for _, w := range old.Workers {
		if w.State != scoreboard.Gone.String() {
			st.Workers = append(st.Workers, w)
		}
	}
	for _, a := range old.Apps {
		i := slices.IndexFunc(st.Apps, func(b App) bool { return b.Name == a.Name })
		if i < 0 {
			st.Apps = append(st.Apps, a)
			continue
		}
		to := &st.Apps[i]
		to.Queue.Waiting += a.Queue.Waiting
		for _, c := range a.Children {
			if c.PID != 0 {
				to.Children = append(to.Children, c)
			}
		}
	}
}

// Last is the state that the scoreboard of a server shows that runs no longer.
func Last(b *scoreboard.Snapshot) *Status {
	at := b.Seen
	for _, a := range b.Apps {
		for _, r := range a.Requests {
			if r.Since.After(at) {
				at = r.Since // a worker wrote last
			}
		}
	}
	return Sources{}.assemble(b, at)
}

func (s Sources) assemble(b *scoreboard.Snapshot, now time.Time) *Status {
	st := &Status{Version: b.Version, PID: b.PID, Generation: b.Generation, Started: b.Started, Uptime: seconds(now, b.Started),
		Workers: []Worker{}, Apps: []App{}}
	for _, w := range b.Workers {
		st.Workers = append(st.Workers, Worker{PID: w.PID, Generation: w.Generation, State: w.State, Requests: w.Requests,
			Goroutines: w.Goroutines, Memory: s.memory(w.PID, 0), Connections: w.Connections, Accepting: w.Accepting})
	}
	s.Complete(b)
	for i := range b.Apps {
		st.Apps = append(st.Apps, s.app(&b.Apps[i], now))
	}
	return st
}

// Complete puts what the ledgers and the supervisors know in place of what the
// scoreboard has.
func (s Sources) Complete(b *scoreboard.Snapshot) {
	for i := range b.Apps {
		a := &b.Apps[i]
		if s.Counts != nil {
			if c, ok := s.Counts(a.Name); ok {
				addCounts(a, c)
			}
		}
		if s.Children != nil {
			if c, ok := s.Children(a.Name); ok {
				addChildren(a, c)
			}
		}
		for j := range a.Slots {
			a.Slots[j].Memory = s.memory(a.Slots[j].PID, a.Slots[j].Memory)
		}
	}
}

func addCounts(a *scoreboard.App, c spawner.Counts) {
	a.Queue = scoreboard.Queued{Waiting: c.Waiting, Served: c.Served, Refused: c.Refused}
	for i := range min(len(a.Slots), len(c.Children)) {
		k, s := c.Children[i], &a.Slots[i]
		if k.Down {
			k.State = spawner.BackingOff
		}
		s.State, s.Requests, s.Finishing = uint8(k.State), k.Requests, k.Finishing
		if k.Down && s.Address != "" {
			s.State = uint8(spawner.BackingOff) // an address itself is always ready
		}
	}
}

func addChildren(a *scoreboard.App, all []ChildInfo) {
	for _, c := range all {
		if c.Slot >= 0 && c.Slot < len(a.Slots) {
			s := &a.Slots[c.Slot]
			s.State, s.PID, s.Began, s.Requests = uint8(c.State), c.PID, c.Began, c.Requests
			s.Memory, s.Restarts = c.Memory, c.Restarts
		}
	}
}

func (s Sources) app(a *scoreboard.App, now time.Time) App {
	app := App{Name: a.Name, Kind: a.Kind, Queue: a.Queue, Children: []Child{}}
	slices.SortStableFunc(a.Requests, func(x, y scoreboard.Current) int { return x.Began.Compare(y.Began) })
	if len(a.Slots) == 0 {
		for _, r := range a.Requests {
			app.Children = append(app.Children, s.script(r, now))
		}
		slices.SortStableFunc(app.Children, func(x, y Child) int { return cmp.Compare(y.AgeSeconds, x.AgeSeconds) })
		return app
	}
	for i, slot := range a.Slots {
		c := Child{PID: slot.PID, Address: slot.Address, State: stateName(slot), Requests: slot.Requests, Restarts: slot.Restarts,
			MemoryBytes: slot.Memory}
		if slot.PID != 0 {
			c.AgeSeconds = seconds(now, slot.Began)
		}
		for _, r := range a.Requests {
			if r.Slot != i {
				continue
			}
			if c.Claims++; c.Request == nil {
				c.Request = request(r, now)
			}
		}
		app.Children = append(app.Children, c)
	}
	return app
}

// script is the child that runs for a request alone.
func (s Sources) script(r scoreboard.Current, now time.Time) Child {
	return Child{PID: r.PID, State: "running", Claims: 1, Requests: 1, AgeSeconds: seconds(now, r.Leased),
		MemoryBytes: s.memory(r.PID, 0), Request: request(r, now)}
}

// stateName is what is said of a slot: an address is up or down.
func stateName(s scoreboard.Slot) string {
	state := spawner.State(s.State)
	switch {
	case s.Address == "" && s.Finishing:
		return "finishing"
	case s.Address == "":
		return state.String()
	case state == spawner.Ready:
		return "up"
	}
	return "down"
}

func (s Sources) memory(pid int, known int64) int64 {
	if known != 0 || pid == 0 || s.Memory == nil {
		return known
	}
	return s.Memory(pid)
}

func request(r scoreboard.Current, now time.Time) *Request {
	return &Request{Method: r.Method, URL: r.URL, Client: r.Client, Phase: r.Phase.String(),
		Seconds: seconds(now, r.Began), PhaseSeconds: seconds(now, r.Since)}
}

// seconds is how long ago a time is, to the millisecond; 0 for none.
func seconds(now, then time.Time) float64 {
	if then.IsZero() {
		return 0
	}
	return max(0, now.Sub(then)).Round(time.Millisecond).Seconds()
}
