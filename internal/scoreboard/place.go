package scoreboard

import (
	"fmt"
	"sync"
	"time"
)

// Place is a worker's own part of a scoreboard. The nil Place keeps nothing.
type Place struct {
	w     words
	times bool
	apps  map[string]*Records
}

// Place returns the part of a worker, for the worker: places count from 1.
func (b *Board) Place(place int) (*Place, error) {
	if place < 1 || place > b.layout.Places {
		return nil, fmt.Errorf("scoreboard: no place %d of %d", place, b.layout.Places)
	}
	p := &Place{w: b.place(place - 1), times: b.layout.Times, apps: map[string]*Records{}}
	for i, a := range b.layout.Apps {
		r := &Records{times: p.times}
		for j := range a.Requests {
			r.all = append(r.all, b.recordOf(place-1, i, j))
			r.free = append(r.free, a.Requests-1-j)
		}
		p.apps[a.Name] = r
	}
	return p, nil
}

// Times reports whether requests have times.
func (p *Place) Times() bool { return p != nil && p.times }

// Request counts a request.
func (p *Place) Request() {
	if p != nil {
		p.w[pRequests].Add(1)
	}
}

// Goroutines says how many goroutines the worker has.
func (p *Place) Goroutines(n int) {
	if p != nil {
		p.w[pRoutines].Store(uint64(n))
	}
}

// Wakeup counts a wake-up of the acceptor: how many connections it accepted, and
// how long it had waited for the accept lock before.
func (p *Place) Wakeup(accepted int, waited time.Duration) {
	if p == nil {
		return
	}
	p.w[pWakeups].Add(1)
	if accepted > 0 {
		p.w[pAccepts].Add(uint64(accepted))
	} else {
		p.w[pEmpty].Add(1)
	}
	if waited > 0 {
		p.w[pLockWait].Add(uint64(waited))
	}
}

// Enter counts a connection that begins in the state.
func (p *Place) Enter(s ConnState) {
	if p != nil {
		p.w[pConns+int(s)].Add(1)
	}
}

// Leave counts a connection that ends in the state.
func (p *Place) Leave(s ConnState) {
	if p != nil {
		p.w[pConns+int(s)].Add(^uint64(0))
	}
}

// Move counts a connection on from a state to another.
func (p *Place) Move(from, to ConnState) {
	p.Enter(to)
	p.Leave(from)
}

// Records are a worker's records of the running requests of one app.
type Records struct {
	times bool
	all   []words
	mu    sync.Mutex
	free  []int
}

// Records returns those of an app; nil where there are none.
func (p *Place) Records(app string) *Records {
	if p == nil {
		return nil
	}
	return p.apps[app]
}

// Request is what a record says of a request when it begins.
type Request struct {
	Slot, PID           int
	Method, URL, Client string // cut to 16, 128 and 64 bytes
	Phase               Phase
	Began, Since        time.Time // of the request and of its phase; kept if the layout has times
}

// Record is a running request's. The zero Record keeps nothing.
type Record struct {
	r *Records
	i int
}

// Begin takes a record. Where all are taken, or r is nil, it is the zero Record.
func (r *Records) Begin(q Request) Record {
	if r == nil {
		return Record{}
	}
	r.mu.Lock()
	n := len(r.free) - 1
	if n < 0 {
		r.mu.Unlock()
		return Record{}
	}
	i := r.free[n]
	r.free = r.free[:n]
	r.mu.Unlock()
	w := r.all[i]
	seq := w[rSeq].Load() | 1 // it is odd already where a worker was killed while it wrote
	w[rSeq].Store(seq)
	w[rSlot].Store(uint64(q.Slot))
	w[rPID].Store(uint64(q.PID))
	var began, leased uint64
	if r.times {
		began, leased = uint64(q.Began.UnixNano()), uint64(q.Since.UnixNano())
	}
	w[rBegan].Store(began)
	w[rLeased].Store(leased)
	w[rMethod:rClient].putText(q.Method)
	w[rClient:rURL].putText(q.Client)
	w[rURL:].putText(q.URL)
	rec := Record{r, i}
	rec.Phase(q.Phase, q.Since)
	w[rSeq].Store(seq + 1)
	return rec
}

// Phase says how far the request is, and since when.
func (c Record) Phase(p Phase, since time.Time) {
	if c.r == nil {
		return
	}
	v := uint64(p) << phaseShift
	if c.r.times {
		v |= uint64(since.UnixMicro()) & sinceMask
	}
	c.r.all[c.i][rPhase].Store(v)
}

const (
	phaseShift = 56
	sinceMask  = 1<<phaseShift - 1
)

// End gives the record back. It must be called once.
func (c Record) End() {
	if c.r == nil {
		return
	}
	c.r.all[c.i][rPhase].Store(0)
	c.r.mu.Lock()
	c.r.free = append(c.r.free, c.i)
	c.r.mu.Unlock()
}
