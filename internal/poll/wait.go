package poll

import (
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// waiter is what one direction waits with.
type waiter struct {
	ready    atomic.Bool  // the kernel has something to do since the last try
	waiting  atomic.Bool  // a goroutine waits for the bell
	deadline atomic.Int64 // by the set's clock; 0: none
	bell     atomic.Pointer[bell]
}

// bell wakes a goroutine. It is made by the first wait, and an idle connection
// that is parked has none.
type bell chan struct{}

// post says that something may be done, and wakes who waits for that.
func (w *waiter) post() {
	w.ready.Store(true)
	w.rouse()
}

func (w *waiter) rouse() {
	if !w.waiting.Load() {
		return
	}
	if b := w.bell.Load(); b != nil {
		select {
		case *b <- struct{}{}:
		default:
		}
	}
}

// expired reports whether the deadline has passed.
func (w *waiter) expired(now int64) bool {
	d := w.deadline.Load()
	return d != 0 && d <= now
}

// wait waits until something may be done: there is an edge, or the peer has gone
// in one of these ways.
func (c *Conn) wait(w *waiter, gone uint32) error {
	b := w.bell.Load()
	if b == nil {
		b = new(bell)
		*b = make(bell, 1)
		w.bell.Store(b)
	}
	w.waiting.Store(true)
	defer w.waiting.Store(false)
	for {
		switch {
		case c.users.Load()&closedBit != 0:
			return net.ErrClosed
		case w.expired(c.set.now.Load()):
			return os.ErrDeadlineExceeded
		case w.ready.Load() || c.hungup.Load()&gone != 0:
			return nil
		}
		<-*b
	}
}

// waitRead waits for something to read.
func (c *Conn) waitRead() error { return c.wait(&c.reader, closedSide|broken) }

// waitWrite waits for room. A peer that has only closed its side may still take
// what is sent.
func (c *Conn) waitWrite() error {
	if c.lazy {
		if err := c.set.change(c.fd, connEvents, c.place); err != nil {
			return err
		}
		defer c.set.change(c.fd, lazyEvents, c.place)
	}
	var since time.Time
	for queued := -1; ; {
		most := time.Duration(c.sendTimeout.Load())
		if most <= 0 {
			return c.wait(&c.writer, broken)
		}
		// The kernel says that there is room when a third of the buffer is free,
		// which a slow peer may take minutes for: what counts is that it takes.
		now := c.set.Now()
		if left := c.unsent(); queued < 0 || left < queued {
			queued, since = left, now
		} else if now.Sub(since) >= most {
			return os.ErrDeadlineExceeded
		}
		c.setDeadline(&c.writer, now.Add(most/sendLooks))
		if err := c.wait(&c.writer, broken); err != os.ErrDeadlineExceeded {
			return err
		}
	}
}

// sendLooks is how often a send timeout's time is looked for progress: what is on
// its way when the wait begins still arrives, so that one look would double it.
const sendLooks = 4

// Unsent is how many bytes of what was written the peer has not taken.
func (c *Conn) Unsent() int {
	if !c.begin() {
		return 0
	}
	defer c.end()
	return c.unsent()
}

// unsent is how many bytes have not been taken by the peer.
func (c *Conn) unsent() int {
	n, err := unix.IoctlGetInt(c.fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return n
}

// SetSendTimeout bounds how long a Write waits without any progress, in place of
// a write deadline; 0 is no bound. It costs nothing while there is room.
func (c *Conn) SetSendTimeout(d time.Duration) { c.sendTimeout.Store(int64(d)) }

// look is the wheel's: wakes who waits for a deadline that has passed.
func (c *Conn) look(now int64) {
	var next int64
	for _, w := range [...]*waiter{&c.reader, &c.writer} {
		d := w.deadline.Load()
		switch {
		case d == 0:
		case d > now:
			if next == 0 || d < next {
				next = d
			}
		default:
			w.rouse()
			if w == &c.reader {
				c.unpark()
			}
		}
	}
	if next != 0 {
		c.set.wheel.watch(c, next)
	}
}

// SetReadDeadline bounds Reads to come and one that waits; the zero time is no
// bound.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.setDeadline(&c.reader, t) }

// SetReadTimeout is SetReadDeadline for a time from now, with one look at the
// clock and less arithmetic.
func (c *Conn) SetReadTimeout(d time.Duration) error {
	now := int64(time.Since(c.set.base))
	return c.setDeadlineAt(&c.reader, now+int64(d))
}

// SetWriteDeadline bounds Writes, as SetReadDeadline does Reads.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.setDeadline(&c.writer, t) }

// SetDeadline sets both.
func (c *Conn) SetDeadline(t time.Time) error {
	c.setDeadline(&c.reader, t)
	return c.setDeadline(&c.writer, t)
}

func (c *Conn) setDeadline(w *waiter, t time.Time) error {
	return c.setDeadlineAt(w, c.set.since(t))
}

// setDeadlineAt sets a deadline by the set's clock; 0: none.
func (c *Conn) setDeadlineAt(w *waiter, d int64) error {
	if c.users.Load()&closedBit != 0 {
		return net.ErrClosed
	}
	w.deadline.Store(d)
	if d == 0 {
		return nil
	}
	if d <= c.set.now.Load() {
		w.rouse()
		if w == &c.reader {
			c.unpark()
		}
		return nil
	}
	c.set.wheel.watch(c, d)
	return nil
}

// Expired reports whether the read deadline has passed.
func (c *Conn) Expired() bool { return c.reader.expired(c.set.now.Load()) }
