package http1

import "sync"

// crew are the goroutines that serve connections. One that is done with its
// connection takes the next: a new one has a small stack, which is copied two or
// three times before its first request is answered, and that is a tenth of what
// a connection costs.
type crew struct {
	mu    sync.Mutex
	idle  []*hand // the last is the one that has worked last
	busy  int
	ended bool // nobody idles any more
}

// hand is one of the goroutines.
type hand struct{ next chan *conn }

const (
	// idleHands wait for another connection.
	idleHands = 64
	// manyHands are so many that none of them waits for its client's next request.
	manyHands = 256
)

// serve has a connection served. It does not block.
func (s *Server) serve(c *conn) {
	w := &s.crew
	w.mu.Lock()
	w.busy++
	n := len(w.idle) - 1
	if n < 0 {
		w.mu.Unlock()
		go s.work(&hand{next: make(chan *conn, 1)}, c)
		return
	}
	h := w.idle[n]
	w.idle = w.idle[:n]
	w.mu.Unlock()
	h.next <- c
}

// work serves one connection after the other.
func (s *Server) work(h *hand, c *conn) {
	for c != nil {
		c.serve()
		if !s.crew.rest(h) {
			return
		}
		c = <-h.next
	}
}

// rest has a goroutine wait for a connection; false: it has to end.
func (w *crew) rest(h *hand) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.busy--
	if w.ended || len(w.idle) == idleHands {
		return false
	}
	w.idle = append(w.idle, h)
	return true
}

// many reports whether many connections are being served.
func (w *crew) many() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.busy > manyHands
}

// end ends those that idle; others end when they are done.
func (w *crew) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	for _, h := range w.idle {
		h.next <- nil
	}
	w.idle = nil
}
