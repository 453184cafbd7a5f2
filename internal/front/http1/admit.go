package http1

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"time"

	"sluice/cgi"
	"sluice/internal/front/peer"
	"sluice/internal/front/wire"
)

// refusal is why a connection is not served.
type refusal uint8

const (
	welcome  refusal = iota
	atLimit          // the server has all its connections
	ofClient         // the client has
	noHeader         // no PROXY header where there has to be one
	refusals
)

// refused says how the log tells of a refusal, and whose fault it is.
var refused = [refusals]struct {
	level slog.Level
	text  string
}{
	atLimit:  {slog.LevelWarn, "connection refused: there are as many as there may be"},
	ofClient: {slog.LevelInfo, "connection refused: the client has as many as it may have"},
	noHeader: {slog.LevelInfo, "connection closed: no PROXY header"},
}

// Bounds of what is refused.
const (
	// refusedMost connections are refused politely at once; others are just closed.
	refusedMost = 1024
	// refusedWait is how long the client's request is waited for: to many clients
	// an answer that comes before it is a fault.
	refusedWait = time.Second
	// refusedIdle and refusedTotal bound the reading behind the answer.
	refusedIdle  = time.Second
	refusedTotal = 5 * time.Second
	// retryAfter is what the client is told, in seconds.
	retryAfter = 1
	// refusedLines of each kind are logged in a second; the others are counted.
	refusedLines = 5
)

// admission is what a server knows of the connections that it refuses.
type admission struct {
	n     int // that are open; under the server's lock
	lines [refusals]cgi.Cap
}

func (a *admission) init(log *slog.Logger) {
	for i := range a.lines {
		say := refused[i]
		a.lines[i] = cgi.Cap{Most: refusedLines, Per: time.Second, LeftOut: func(n int) {
			log.Log(context.Background(), say.level, say.text, "more", n)
		}}
	}
}

// noteRefusal logs a refusal; err is its cause, if there is more to say.
func (c *conn) noteRefusal(why refusal, err error) {
	s := c.s
	if !s.admission.lines[why].Admit(time.Now()) {
		return
	}
	args := []any{"client", c.remoteAddr()}
	if err != nil {
		args = append(args, "err", err)
	}
	s.opt.Log.Log(context.Background(), refused[why].level, refused[why].text, args...)
}

// admit decides about a connection that has been accepted: it may be one too
// many, of all or of its client's. The client behind a proxy is not known yet.
// false: it is to be closed.
func (c *conn) admit() bool {
	switch {
	case c.why != welcome:
		c.refusedSoon()
	case c.l.ProxyFrom != nil || c.s.opt.Seats != nil:
		client := c.client.Addr().Unmap()
		if c.proxied = c.l.ProxyFrom.Has(client); !c.proxied {
			return c.sit(client)
		}
	}
	return true
}

// sit takes a seat for the client, or has the connection refused. false: it is to
// be closed.
func (c *conn) sit(client netip.Addr) bool {
	seat, ok := c.s.opt.Seats.Take(client)
	if ok {
		c.seat = seat
		return true
	}
	if !c.s.surplus(c, ofClient) {
		return false
	}
	c.refusedSoon()
	return true
}

// refusedSoon has the connection refused when its request has begun.
func (c *conn) refusedSoon() {
	c.noteRefusal(c.why, nil)
	c.limit = time.Now().Add(refusedWait)
	c.pc.SetReadDeadline(c.limit)
}

// refuseNow answers that there is no room, in a way that the client can read.
func (c *conn) refuseNow() {
	w := c.work
	if w.r == w.w {
		n, err := c.pc.Read(w.in)
		if n == 0 && !errors.Is(err, os.ErrDeadlineExceeded) {
			c.release()
			c.close()
			return
		}
		w.r, w.w = 0, n
	}
	head := bytes.HasPrefix(w.in[w.r:w.w], []byte("HEAD "))
	c.idle.Store(false)
	bad := &wire.Error{Status: http.StatusServiceUnavailable}
	w.res.refuse(c, bad, !head)
	c.release()
	if c.pc.Broken() || !c.linger(refusedIdle, refusedTotal, nil) {
		c.close()
	}
}

// readProxyHeader reads the PROXY header that has to come first, and takes the
// addresses in it for the connection's own. false: the connection has ended.
func (c *conn) readProxyHeader() bool {
	w := c.work
	h, n, err := peer.Read(w.in[w.r:w.w])
	for n == 0 && err == nil {
		var k int
		if k, err = c.pc.Read(w.in[w.w:]); k > 0 {
			w.w += k
			h, n, err = peer.Read(w.in[w.r:w.w])
		}
	}
	if err != nil {
		// Who connects and leaves wanted to know whether somebody is here.
		if w.r < w.w || err != io.EOF {
			c.noteRefusal(noHeader, err)
		}
		c.release()
		c.close()
		return false
	}
	w.r += n
	c.proxied = false
	if h.Source == nil {
		return true // the proxy's own connection, which is no client's
	}
	c.pc.SetRemoteAddr(h.Source)
	c.pc.SetLocalAddr(h.Destination)
	c.client, c.remote = netip.AddrPort{}, ""
	if c.sit(peer.Addr(h.Source)) {
		return true
	}
	c.release()
	c.close()
	return false
}
