package http1

import (
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/scoreboard"
)

// LingerMode is when a connection that the server closes first is kept for a
// while, half closed and read to its end: a close while something unread is
// queued, or is still to come, resets the connection, and the client may lose
// the end of the answer.
type LingerMode uint8

// The modes.
const (
	// LingerOff closes at once.
	LingerOff LingerMode = iota
	// LingerKernel (so_linger) closes with SO_LINGER: the close waits until what
	// was sent has been acknowledged, in one of a few threads. It does not help
	// against unread input.
	LingerKernel
	// LingerTimed lingers after every answer behind which the server closes first.
	LingerTimed
	// LingerAlways lingers also after timeouts, aborts, and a close that the
	// client asked for.
	LingerAlways
	// LingerAdaptive lingers only where input is queued, the request's body was
	// not read to its end, or the client believed that the connection persists.
	LingerAdaptive
)

var lingerNames = [...]string{"off", "so_linger", "timed", "always", "adaptive"}

// String is the mode's name in the configuration.
func (m LingerMode) String() string {
	if int(m) < len(lingerNames) {
		return lingerNames[m]
	}
	return fmt.Sprintf("linger mode %d", uint8(m))
}

// ParseLingerMode is the mode of a name.
func ParseLingerMode(s string) (LingerMode, error) {
	for i, n := range lingerNames {
		if n == s {
			return LingerMode(i), nil
		}
	}
	return 0, fmt.Errorf("no linger mode %q", s)
}

// Linger is how connections end that the server closes first.
type Linger struct {
	Mode  LingerMode
	Idle  time.Duration // without a byte from the client
	Total time.Duration // at most; the bound of so_linger, in whole seconds
	Max   int           // connections that linger at once; others close at once
}

// ending is what a connection's end is like.
type ending struct {
	aborted bool // in the middle of an answer
	timeout bool // the client was too slow
	asked   bool // the client wanted it
	unread  bool // there is more of the request
}

// lingers decides by the mode.
func (m LingerMode) lingers(e ending, queued func() int) bool {
	switch m {
	case LingerTimed:
		return !e.aborted && !e.timeout && (!e.asked || e.unread)
	case LingerAlways:
		return true
	case LingerAdaptive:
		return !e.aborted && !e.timeout && (e.unread || !e.asked) || queued() > 0
	}
	return false
}

// lingering is what a server knows of its lingering connections.
type lingering struct {
	n      atomic.Int64
	kernel chan struct{} // a token per close that may block
}

// kernelCloses bounds the threads in which a close waits for the kernel.
const kernelCloses = 64

// draining is the state of a lingering connection.
type draining struct {
	idle  time.Duration // without a byte from the client
	until time.Time
	count *atomic.Int64 // of such; nil: it is bounded otherwise
}

// leave ends a connection in its mode. Nobody serves it any more.
func (c *conn) leave(e ending) {
	o := &c.s.opt.Linger
	switch {
	case c.reset: // a half close would be the answer's clean end
		c.close()
	case o.Mode == LingerKernel && !e.aborted:
		c.closeInKernel()
	case o.Mode.lingers(e, c.pc.Queued) && !c.pc.Broken() && c.lingerCounted():
	default:
		c.close()
	}
}

// lingerCounted lingers unless there are too many that do.
func (c *conn) lingerCounted() bool {
	l, o := &c.s.linger, &c.s.opt.Linger
	if l.n.Add(1) <= int64(o.Max) && c.linger(o.Idle, o.Total, &l.n) {
		return true
	}
	l.n.Add(-1)
	return false
}

// linger half-closes the connection and parks it, so that what the client still
// sends is thrown away; false: it cannot. count is one less at the end.
func (c *conn) linger(idle, total time.Duration, count *atomic.Int64) bool {
	if c.pc.CloseWrite() != nil {
		return false
	}
	c.move(scoreboard.Lingering)
	now := time.Now()
	c.drain = draining{idle: idle, until: now.Add(total), count: count}
	c.awaitEnd(now)
	c.drained()
	return true
}

// awaitEnd bounds the wait for more of what is thrown away.
func (c *conn) awaitEnd(now time.Time) {
	limit := now.Add(c.drain.idle)
	if limit.After(c.drain.until) {
		limit = c.drain.until
	}
	c.pc.SetReadDeadline(limit)
}

// drained throws away what is there and waits for more, until the client's end or
// the time is over. It is the set's goroutine's, and that which began.
func (c *conn) drained() {
	for range drainTurns {
		n, done := c.pc.Discard()
		now := time.Now()
		if done || !now.Before(c.drain.until) || n == 0 && c.pc.Expired() {
			c.endLinger()
			return
		}
		if n > 0 {
			c.awaitEnd(now)
		}
		if c.pc.Park(c.drained) {
			return
		}
	}
	// One that sends without a pause must not hold up the others.
	go c.drained()
}

// drainTurns bounds the turns of one drained.
const drainTurns = 4

func (c *conn) endLinger() {
	if n := c.drain.count; n != nil {
		n.Add(-1)
	}
	c.close()
}

// closeInKernel has the kernel linger, in a goroutine whose thread blocks. Where
// there are too many of them the close is a plain one.
func (c *conn) closeInKernel() {
	l := &c.s.linger
	select {
	case l.kernel <- struct{}{}:
	default:
		c.close()
		return
	}
	c.move(scoreboard.Lingering)
	c.pc.SetLinger(int(max(1, c.s.opt.Linger.Total/time.Second)))
	fd, err := c.pc.Detach()
	if err != nil {
		<-l.kernel
		c.close()
		return
	}
	go func() {
		defer func() { <-l.kernel }()
		unix.SetNonblock(fd, false) // the close of one that does not block does not wait
		unix.Close(fd)
		c.close()
	}()
}
