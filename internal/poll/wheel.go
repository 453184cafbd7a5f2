package poll

import (
	"math/bits"
	"sync"
	"time"
)

// tick is how exact deadlines are: one passes at the end of the tick that it
// falls into.
const tick = 8 * time.Millisecond

// wheelSlots ticks are ahead, four seconds; a deadline beyond that is looked at
// again then.
const wheelSlots = 512

// wheel holds the connections that have deadlines, by the tick at which they are
// looked at. A connection is in it at most once and may be looked at too early,
// never too late: so a deadline that moves into the future, as they do with each
// request, is not moved in here.
type wheel struct {
	s     *Set
	timer *time.Timer

	mu    sync.Mutex
	slots [wheelSlots]*Conn // doubly linked lists
	used  [wheelSlots / 64]uint64
	done  int64 // the last tick that has been looked at
	next  int64 // when the timer fires; 0: it does not
	ended bool
}

func (w *wheel) init(s *Set) {
	w.s = s
	w.timer = time.AfterFunc(time.Hour, w.turn)
	w.timer.Stop()
}

func (w *wheel) stop() {
	w.mu.Lock()
	w.ended = true
	w.mu.Unlock()
	w.timer.Stop()
}

// watch has the connection looked at when its deadline has passed, if it is not
// to be looked at before.
func (w *wheel) watch(c *Conn, deadline int64) {
	at := deadline / int64(tick)
	if a := c.looked.Load(); a != 0 && a <= at {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.looked.Load() != 0 {
		if c.looked.Load() <= at {
			return
		}
		w.unlink(c)
	}
	if c.gone {
		return
	}
	if w.next == 0 {
		// Nobody has looked for a while.
		w.done = max(w.done, int64(w.s.Now().Sub(w.s.base))/int64(tick)-1)
	}
	at = min(max(at, w.done+1), w.done+wheelSlots-1)
	w.link(c, at)
	if w.next == 0 || at < w.next {
		w.aim(at)
	}
}

// aim has the timer fire at the end of a tick.
func (w *wheel) aim(at int64) {
	if w.ended {
		return
	}
	w.next = at
	w.timer.Reset(time.Until(w.s.base.Add(time.Duration(at+1) * tick)))
}

func (w *wheel) link(c *Conn, at int64) {
	i := at % wheelSlots
	c.looked.Store(at)
	c.prev, c.next = nil, w.slots[i]
	if c.next != nil {
		c.next.prev = c
	}
	w.slots[i] = c
	w.used[i/64] |= 1 << (i % 64)
}

func (w *wheel) unlink(c *Conn) {
	i := c.looked.Load() % wheelSlots
	if c.prev != nil {
		c.prev.next = c.next
	} else if w.slots[i] = c.next; c.next == nil {
		w.used[i/64] &^= 1 << (i % 64)
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	c.looked.Store(0)
}

// forget takes a connection out for good.
func (w *wheel) forget(c *Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.gone = true
	if c.looked.Load() != 0 {
		w.unlink(c)
	}
}

// turn looks at the connections of all ticks that have passed.
func (w *wheel) turn() {
	now := int64(w.s.Now().Sub(w.s.base))
	w.mu.Lock()
	defer w.mu.Unlock()
	for last := now/int64(tick) - 1; w.done < last; {
		at := w.following()
		if at == 0 || at > last {
			w.done = last
			break
		}
		w.done = at - 1
		// What is looked at again goes into a later slot; a connection that is
		// closed meanwhile is not in a slot any more.
		for c := w.slots[at%wheelSlots]; c != nil; c = w.slots[at%wheelSlots] {
			w.unlink(c)
			w.mu.Unlock()
			c.look(now)
			w.mu.Lock()
		}
		w.done = at
	}
	w.next = 0
	if at := w.following(); at != 0 {
		w.aim(at)
	}
}

// following is the first tick behind done that has somebody to look at; 0: none.
func (w *wheel) following() int64 {
	for n := int64(1); n < wheelSlots; {
		i := (w.done + n) % wheelSlots
		if word := w.used[i/64] >> (i % 64); word != 0 {
			k := n + int64(bits.TrailingZeros64(word))
			if k < wheelSlots {
				return w.done + k
			}
			return 0
		}
		n += 64 - i%64
	}
	return 0
}
