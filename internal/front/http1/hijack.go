package http1

import (
	"sync"
	"time"

	"sluice/internal/poll"
)

// Hijacked is a connection that a handler has taken over. It is on the
// scoreboard and counted until Close.
type Hijacked struct {
	*poll.Conn
	c     *conn
	early []byte // was read before the handler took it over
	once  sync.Once
}

// Read reads what was read before, and then from the connection.
func (h *Hijacked) Read(p []byte) (int, error) {
	if len(h.early) > 0 {
		n := copy(p, h.early)
		h.early = h.early[n:]
		return n, nil
	}
	return h.Conn.Read(p)
}

// SetWriteDeadline bounds Writes; there is no SendTimeout any more.
func (h *Hijacked) SetWriteDeadline(t time.Time) error {
	h.Conn.SetSendTimeout(0)
	return h.Conn.SetWriteDeadline(t)
}

// SetDeadline sets both.
func (h *Hijacked) SetDeadline(t time.Time) error {
	h.Conn.SetReadDeadline(t)
	return h.SetWriteDeadline(t)
}

// Close closes the connection.
func (h *Hijacked) Close() error {
	h.once.Do(h.c.close)
	return nil
}
