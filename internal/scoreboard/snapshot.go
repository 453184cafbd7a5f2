package scoreboard

import (
	"math"
	"time"
)

// Snapshot is a moment's view of a scoreboard. Its parts are not of the very
// same moment.
type Snapshot struct {
	Version    string    `json:"version"`
	PID        int       `json:"pid"`
	Generation int       `json:"generation"`
	Started    time.Time `json:"started"`
	Seen       time.Time `json:"seen"`           // when the master wrote here last
	Ended      time.Time `json:"ended,omitzero"` // zero: it runs, or has been killed
	Workers    []Worker  `json:"workers"`        // those that there are
	Apps       []App     `json:"apps"`
}

// Worker is a worker.
type Worker struct {
	Place       int         `json:"place"`
	PID         int         `json:"pid"`
	Generation  int         `json:"generation"`
	State       string      `json:"state"`
	Requests    uint64      `json:"requests"`
	Goroutines  int         `json:"goroutines"`
	Connections Connections `json:"connections"`
	Accepting
}

// Accepting is how a worker's acceptor has fared since it started.
type Accepting struct {
	Accepts uint64 `json:"accepts"` // connections
	Wakeups uint64 `json:"wakeups"`
	// Empty are the wake-ups that found no connection: another worker had been faster.
	Empty    uint64  `json:"empty_wakeups"`
	LockWait float64 `json:"lock_wait_seconds"`
}

// Connections are a worker's, by what they do.
type Connections struct {
	Reading   int `json:"reading"`
	Waiting   int `json:"waiting"`
	Working   int `json:"working"`
	Sending   int `json:"sending"`
	Idle      int `json:"idle"`
	Lingering int `json:"lingering"`
}

// App is an app.
type App struct {
	Name     string    `json:"name"`
	Kind     string    `json:"kind"`
	Queue    Queued    `json:"queue"`
	Slots    []Slot    `json:"slots"`
	Requests []Current `json:"requests"`
}

// Queued are the counts of an app's queue.
type Queued struct {
	Waiting int    `json:"waiting"`
	Served  uint64 `json:"served"`
	Refused uint64 `json:"refused"`
}

// Slot is a child, or an address. The numbers are of its present process.
type Slot struct {
	State uint8 `json:"state"` // as the spawner counts them
	// Finishing: it may still work for a request that we have ended.
	Finishing bool      `json:"finishing"`
	PID       int       `json:"pid"`
	Began     time.Time `json:"began,omitzero"`
	Requests  uint64    `json:"requests"`
	Memory    int64     `json:"memory"` // bytes
	Restarts  int       `json:"restarts"`
	Address   string    `json:"address,omitempty"`
}

// Current is a request that a child has.
type Current struct {
	Place  int       `json:"place"`
	Slot   int       `json:"slot"`
	PID    int       `json:"pid"` // 0: a program elsewhere
	Phase  Phase     `json:"phase"`
	Method string    `json:"method"`
	URL    string    `json:"url"`
	Client string    `json:"client"`
	Began  time.Time `json:"began,omitzero"` // zero: the layout has no times
	Leased time.Time `json:"leased,omitzero"`
	Since  time.Time `json:"since,omitzero"` // of the phase
}

// Snapshot reads all that there is.
func (b *Board) Snapshot() (s *Snapshot, err error) {
	err = safely(func() { s = b.snapshot() })
	return s, err
}

func (b *board) snapshot() *Snapshot {
	h := b.head()
	s := &Snapshot{Version: h[hVersion:].text(), PID: countOf(&h[hPID]), Generation: countOf(&h[hGeneration]),
		Started: timeOf(&h[hStarted]), Seen: timeOf(&h[hSeen]), Ended: timeOf(&h[hEnded]), Workers: []Worker{}, Apps: []App{}}
	for i := range b.layout.Places {
		if w := b.worker(i); w.PID != 0 {
			s.Workers = append(s.Workers, w)
		}
	}
	for i, l := range b.layout.Apps {
		w := b.app(i)
		a := App{Name: l.Name, Kind: l.Kind, Slots: []Slot{}, Requests: []Current{},
			Queue: Queued{countOf(&w[aWaiting]), w[aServed].Load(), w[aRefused].Load()}}
		for j := range l.Slots {
			a.Slots = append(a.Slots, readSlot(b.slot(i, j)))
		}
		for place := range b.layout.Places {
			for j := range l.Requests {
				if r, ok := readRecord(b.recordOf(place, i, j)); ok {
					r.Place = place + 1
					a.Requests = append(a.Requests, r)
				}
			}
		}
		s.Apps = append(s.Apps, a)
	}
	return s
}

func (b *board) worker(place int) Worker {
	w := b.place(place)
	conns := func(s ConnState) int { return countOf(&w[pConns+int(s)]) }
	return Worker{Place: place + 1, PID: countOf(&w[pPID]), Generation: countOf(&w[pGeneration]),
		State: WorkerState(min(w[pState].Load(), math.MaxUint8)).String(), Requests: w[pRequests].Load(), Goroutines: countOf(&w[pRoutines]),
		Connections: Connections{conns(Reading), conns(Waiting), conns(Working), conns(Sending), conns(Idle), conns(Lingering)},
		Accepting:   Accepting{w[pAccepts].Load(), w[pWakeups].Load(), w[pEmpty].Load(), time.Duration(min(w[pLockWait].Load(), math.MaxInt64)).Seconds()}}
}

func readSlot(w words) Slot {
	state := w[sState].Load()
	return Slot{State: uint8(state), Finishing: state&slotFinishing != 0, PID: countOf(&w[sPID]), Began: timeOf(&w[sBegan]),
		Requests: w[sRequests].Load(), Memory: int64(min(w[sMemory].Load(), math.MaxInt64)), Restarts: countOf(&w[sRestarts]),
		Address: w[sAt:].text()}
}

// readTries bounds how often a record is read that is being written. A writer
// takes less than a microsecond, unless it was killed at it.
const readTries = 16

func readRecord(w words) (r Current, ok bool) {
	for range readTries {
		seq := w[rSeq].Load()
		phase := w[rPhase].Load()
		if phase == 0 {
			return r, false
		}
		r = Current{Slot: countOf(&w[rSlot]), PID: countOf(&w[rPID]), Phase: Phase(phase >> phaseShift), Began: timeOf(&w[rBegan]), Leased: timeOf(&w[rLeased]),
			Method: w[rMethod:rClient].text(), Client: w[rClient:rURL].text(), URL: w[rURL:].text()}
		if us := phase & sinceMask; us != 0 {
			r.Since = time.UnixMicro(int64(us))
		}
		if seq&1 == 0 && w[rSeq].Load() == seq {
			return r, true
		}
	}
	return r, false
}
