package http1

import (
	"bufio"
	"net"
	"net/http"
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

// Hijack implements http.Hijacker. What has been read of the connection is in
// the Reader. The request's context still ends when the client leaves, and with
// the handler.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.hijacked {
		return nil, nil, http.ErrHijacked
	}
	if w.status != 0 {
		if err := w.FlushError(); err != nil {
			return nil, nil, err
		}
	}
	w.hijacked = true
	c := w.c
	if w.body != nil {
		w.body.leave()
	}
	early := append([]byte(nil), c.work.in[c.work.r:c.work.w]...)
	c.pc.SetDeadline(time.Time{})
	if c.client.IsValid() {
		c.pc.SetRemoteAddr(net.TCPAddrFromAddrPort(c.client))
	}
	h := &Hijacked{Conn: c.pc, c: c, early: early}
	return h, bufio.NewReadWriter(bufio.NewReader(h), bufio.NewWriter(h)), nil
}
