package master

import (
	"errors"
	"os"
	"sync"
)

// gate is where who reads from a worker, or from a client of the control socket,
// waits while nothing may be taken in. A reader is stopped by a deadline in the
// past; at each deadline it comes by.
type gate struct {
	mu     sync.Mutex
	opened chan struct{} // nil: it is open
	late   bool          // the reader has not met the deadline of the last time that it was shut
	at     bool          // the reader waits
	gone   bool          // or reads no more
}

func (g *gate) shut() {
	g.mu.Lock()
	g.opened, g.late = make(chan struct{}), true
	g.mu.Unlock()
}

func (g *gate) open() {
	g.mu.Lock()
	if g.opened != nil {
		close(g.opened)
		g.opened, g.at = nil, false
	}
	g.mu.Unlock()
}

// held reports whether nothing is read any more.
func (g *gate) held() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.at || g.gone
}

// over reports whether the reader has ended.
func (g *gate) over() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.gone
}

// left says that the reader has ended.
func (g *gate) left() {
	g.mu.Lock()
	g.gone = true
	g.mu.Unlock()
}

// passes is for a reader with an error: true when that was the deadline of a gate
// which is open again by now, or was before the reader noticed, so that it reads on.
func (g *gate) passes(err error) bool {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return false
	}
	g.mu.Lock()
	opened, late := g.opened, g.late
	g.at, g.late = opened != nil, false
	g.mu.Unlock()
	if opened == nil {
		return late
	}
	<-opened
	return true
}
