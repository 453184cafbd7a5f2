package front

import (
	"context"
	"net/http"
	"sync"
	"time"

	"sluice/internal/exchange"
)

// Shed is how files are refused that would have to wait for the disk too long.
type Shed struct {
	Type string // Content-Type of Body
	Body []byte // an image where images are asked for; none: the page of the status

	mu   sync.Mutex
	next time.Time // when the next refusal is due
}

// Clients that ask again as soon as they are refused would have the front do nothing
// but refuse: 2,000 of them made 400 reads a second 190, and files in memory, which
// are answered in 0.1 ms, wait for 20. So refusals leave at a pace, and one that
// would have to wait for longer than Retry-After says leaves then.
const (
	shedPace  = time.Millisecond
	shedLimit = time.Second
)

// hold waits until a refusal may leave, or the client has left.
func (s *Shed) hold(ctx context.Context) {
	wait := s.due(time.Now())
	if wait <= 0 {
		return
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// due is how long a refusal has to wait.
func (s *Shed) due(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next.Before(now) {
		s.next = now
	}
	wait := s.next.Sub(now)
	if wait >= shedLimit {
		return shedLimit
	}
	s.next = s.next.Add(shedPace)
	return wait
}

// answer is the body of a refusal.
func (s *Shed) answer(w *response) error {
	if len(s.Body) == 0 {
		return answer(w, exchange.FileShed.Status())
	}
	return page(w, http.StatusServiceUnavailable, s.Type, s.Body)
}
