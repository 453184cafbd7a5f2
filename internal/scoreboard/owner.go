package scoreboard

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Owner is a scoreboard as the master has it. What the master wrote it has in
// private as well, whatever becomes of the memory.
type Owner struct {
	b *Board

	mu      sync.Mutex
	version string
	pid     int
	started time.Time
	gen     int
	gone    bool     // the memory is not touched any more
	workers []Worker // by place - 1
	apps    []App    // without requests
}

// Head says whose scoreboard it is.
type Head struct {
	Version    string // of the server, at most 40 bytes
	PID        int    // of the master
	Generation int
}

// Create formats the memory, which is to be all zero.
func Create(mem []byte, l Layout, h Head) (*Owner, error) {
	if err := l.check(); err != nil {
		return nil, fmt.Errorf("scoreboard: %w", err)
	}
	w, err := wordsOf(mem)
	if err != nil {
		return nil, fmt.Errorf("scoreboard: %w", err)
	}
	if len(w) < l.words() {
		return nil, fmt.Errorf("scoreboard: %d bytes, want %d", len(mem), l.Bytes())
	}
	o := &Owner{b: &Board{newBoard(w, l)}, version: h.Version, pid: h.PID, gen: h.Generation, started: time.Now(),
		workers: make([]Worker, l.Places)}
	for _, a := range l.Apps {
		app := App{Name: a.Name, Kind: a.Kind, Slots: make([]Slot, a.Slots)}
		for i, at := range a.Addresses {
			app.Slots[i].Address = at
		}
		o.apps = append(o.apps, app)
	}
	return o, safely(o.format)
}

// OwnerState is what an Owner has in private, for a successor in the same process.
type OwnerState struct {
	Version    string
	PID        int
	Started    time.Time
	Generation int
	Workers    []Worker
	Apps       []App
}

// Describe describes it.
func (o *Owner) Describe() OwnerState {
	o.mu.Lock()
	defer o.mu.Unlock()
	s := OwnerState{o.version, o.pid, o.started, o.gen, slices.Clone(o.workers), slices.Clone(o.apps)}
	for i := range s.Apps {
		s.Apps[i].Slots = slices.Clone(s.Apps[i].Slots)
	}
	return s
}

// Resume is the Owner of memory that was formatted for the same Layout by one that
// was in that State.
func Resume(mem []byte, l Layout, s OwnerState) (*Owner, error) {
	if err := l.check(); err != nil {
		return nil, fmt.Errorf("scoreboard: %w", err)
	}
	w, err := wordsOf(mem)
	if err != nil {
		return nil, fmt.Errorf("scoreboard: %w", err)
	}
	if len(w) < l.words() || len(s.Workers) != l.Places || len(s.Apps) != len(l.Apps) {
		return nil, errors.New("scoreboard: of another layout")
	}
	return &Owner{b: &Board{newBoard(w, l)}, version: s.Version, pid: s.PID, started: s.Started, gen: s.Generation, workers: s.Workers, apps: s.Apps}, nil
}

func (o *Owner) format() {
	h, l := o.b.head(), o.b.layout
	h[hLayout].Store(layoutVersion)
	h[hWords].Store(uint64(l.words()))
	h[hPlaces].Store(uint64(l.Places))
	h[hApps].Store(uint64(len(l.Apps)))
	if l.Times {
		h[hTimes].Store(1)
	}
	h[hPID].Store(uint64(o.pid))
	h[hGeneration].Store(uint64(o.gen))
	h[hStarted].Store(uint64(o.started.UnixNano()))
	h[hSeen].Store(uint64(o.started.UnixNano()))
	h[hVersion:].putText(o.version)
	for i, a := range l.Apps {
		w := o.b.app(i)
		w[aSlots].Store(uint64(a.Slots))
		w[aRecords].Store(uint64(a.Requests))
		w[aKind:aName].putText(a.Kind)
		w[aName:].putText(a.Name)
		for j, at := range a.Addresses {
			o.b.slot(i, j)[sAt:].putText(at)
		}
	}
	h[hMagic].Store(magic) // last: now it can be opened
}

// write changes the memory. That it has gone is said by Snapshot.
func (o *Owner) write(f func()) {
	if o.gone {
		return
	}
	safely(func() {
		f()
		o.b.head()[hSeen].Store(uint64(time.Now().UnixNano()))
	})
}

// Worker says that a place has a new worker.
func (o *Owner) Worker(place, pid, generation int, s WorkerState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.workers[place-1] = Worker{Place: place, PID: pid, Generation: generation, State: s.String()}
	o.write(func() {
		w := o.b.place(place - 1)
		w[pPID].Store(uint64(pid))
		w[pGeneration].Store(uint64(generation))
		w[pState].Store(uint64(s))
		w[pRequests].Store(0)
		w[pRoutines:].clear()
	})
}

// State says what became of the worker of a place.
func (o *Owner) State(place int, s WorkerState) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.workers[place-1].State = s.String()
	o.write(func() { o.b.place(place - 1)[pState].Store(uint64(s)) })
}

// ClearPlace says that the worker of a place is gone: it has no connection and
// no request any more. It has to have been reaped.
func (o *Owner) ClearPlace(place int) {
	o.State(place, Gone)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.write(func() {
		o.b.place(place - 1)[pConns : pConns+int(ConnStates)].clear()
		for i, a := range o.b.layout.Apps {
			for j := range a.Requests {
				if r := o.b.recordOf(place-1, i, j); r[rPhase].Load() != 0 || r[rSeq].Load()&1 != 0 {
					r[rPhase].Store(0) // first: for a reader it is free from now on
					r.clear()
				}
			}
		}
	})
}

// Child says what became of the child of a slot. Its Address stays what it is.
func (o *Owner) Child(app string, slot int, s Slot) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := o.index(app); i >= 0 && slot >= 0 && slot < len(o.apps[i].Slots) {
		o.setSlot(i, slot, s)
	}
}

// Refresh is Child for what was found out about a slot of a Snapshot: if
// something else has been said of the slot since, that is left.
func (o *Owner) Refresh(app string, slot int, was, s Slot) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if i := o.index(app); i >= 0 && slot >= 0 && slot < len(o.apps[i].Slots) && o.apps[i].Slots[slot] == was {
		o.setSlot(i, slot, s)
	}
}

func (o *Owner) setSlot(i, slot int, s Slot) {
	s.Address = o.apps[i].Slots[slot].Address
	o.apps[i].Slots[slot] = s
	o.write(func() {
		w := o.b.slot(i, slot)
		state := uint64(s.State)
		if s.Finishing {
			state |= slotFinishing
		}
		w[sState].Store(state)
		w[sPID].Store(uint64(s.PID))
		w[sBegan].Store(0)
		if !s.Began.IsZero() {
			w[sBegan].Store(uint64(s.Began.UnixNano()))
		}
		w[sRequests].Store(s.Requests)
		w[sMemory].Store(uint64(s.Memory))
		w[sRestarts].Store(uint64(s.Restarts))
	})
}

// Queue says how it goes in the queue of an app.
func (o *Owner) Queue(app string, q Queued) {
	o.mu.Lock()
	defer o.mu.Unlock()
	i := o.index(app)
	if i < 0 {
		return
	}
	o.apps[i].Queue = q
	o.write(func() {
		w := o.b.app(i)
		w[aWaiting].Store(uint64(q.Waiting))
		w[aServed].Store(q.Served)
		w[aRefused].Store(q.Refused)
	})
}

// End says that the server has ended in order.
func (o *Owner) End() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.write(func() { o.b.head()[hEnded].Store(uint64(time.Now().UnixNano())) })
}

var errClosed = errors.New("scoreboard: closed")

// Close lets go of the memory: what is said from now on is not written there.
func (o *Owner) Close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gone = true
}

func (o *Owner) index(app string) int {
	for i := range o.apps {
		if o.apps[i].Name == app {
			return i
		}
	}
	return -1
}

// Snapshot reads what the workers wrote, and says of the rest what the master
// knows itself. Where the memory has gone it says that alone, with the error.
func (o *Owner) Snapshot() (*Snapshot, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var read *Snapshot
	seen := make([]Worker, len(o.workers))
	err := errClosed
	if !o.gone {
		err = safely(func() {
			read = o.b.snapshot()
			for i := range seen {
				seen[i] = o.b.worker(i)
			}
		})
	}
	s := &Snapshot{Version: o.version, PID: o.pid, Generation: o.gen, Started: o.started, Seen: time.Now(), Workers: []Worker{}, Apps: []App{}}
	for _, w := range o.workers {
		if w.PID == 0 {
			continue
		}
		its := seen[w.Place-1]
		its.Place, its.PID, its.Generation, its.State = w.Place, w.PID, w.Generation, w.State
		s.Workers = append(s.Workers, its)
	}
	for i, a := range o.apps {
		a.Slots = append([]Slot{}, a.Slots...)
		a.Requests = []Current{}
		if err == nil {
			a.Requests = read.Apps[i].Requests
		}
		s.Apps = append(s.Apps, a)
	}
	return s, err
}
