package spawner

import (
	"container/list"
	"context"
	"math/bits"
	"runtime"
	"time"
)

// A request that waits draws a ticket and stands in its worker's list. The worker
// publishes the oldest ticket of the list, and whoever frees a child wakes the
// place with the oldest of all; who has been woken and leaves children free wakes
// the next. The waiter publishes and then looks for a free child, the releaser
// frees and then looks for a waiter: one of them sees the other.
//
// A place that has been killed or stopped does not act when it is woken. So
// every worker with waiters looks by itself too, and says when it did: who has
// not for a while is passed.
const (
	lookEvery = 20 * time.Millisecond
	asleep    = 50 * time.Millisecond
	clockSlip = 10 * time.Millisecond // between two processes' Now, at most
)

// queue is the requests that wait in this process.
type queue struct {
	list    list.List // of *waiter
	looking bool      // a timer runs that looks by itself
}

type waiter struct {
	want    Want
	ticket  uint64
	granted chan Claim // buffered; closed without a claim: no child
	place   *list.Element
}

// waitingPlaces yields the places at which requests may wait.
func (l *ledger) waitingPlaces(yield func(int) bool) {
	for i := range l.head.waiting {
		for w := l.head.waiting[i].Load(); w != 0; w &= w - 1 {
			if !yield(i*64 + bits.TrailingZeros64(w)) {
				return
			}
		}
	}
}

// first is the place whose turn it is: of those that are awake, else of those
// that are not, the one with the oldest ticket. -1: nobody waits.
func (l *ledger) first() (place int, awake bool) {
	place = -1
	var oldest, now uint64
	for p := range l.waitingPlaces {
		ticket := l.head.places[p].ticket.Load()
		if ticket == 0 {
			continue
		}
		up := p == l.place
		if !up {
			if now == 0 {
				now = uint64(Now())
			}
			up = now-l.head.places[p].beat.Load()+uint64(clockSlip) < uint64(asleep+clockSlip)
		}
		if place < 0 || up && !awake || up == awake && ticket < oldest {
			place, awake, oldest = p, up, ticket
		}
	}
	return place, awake
}

// waiting is how many requests wait, in all processes.
func (l *ledger) waiting() int {
	n := 0
	for p := range l.waitingPlaces {
		n += int(min(l.head.places[p].count.Load(), 1<<32))
	}
	return n
}

// publish tells the others who waits here. The bit is there before what it stands
// for, and goes after it.
func (l *ledger) publish() {
	word, bit := &l.head.waiting[l.place/64], uint64(1)<<(l.place%64)
	n := l.queue.list.Len()
	if n == 0 {
		l.mine.ticket.Store(0)
		at(stepGone)
		l.mine.count.Store(0)
		word.And(^bit)
		return
	}
	word.Or(bit)
	l.mine.count.Store(uint64(n))
	l.mine.ticket.Store(l.queue.list.Front().Value.(*waiter).ticket)
}

// wait puts a request into the queue and waits for its turn.
func (l *ledger) wait(ctx context.Context, want Want) (Claim, error) {
	w := &waiter{want: want, granted: make(chan Claim, 1)}
	l.mu.Lock()
	if err := l.admit(); err != nil {
		l.mine.refused.Add(1)
		l.serve() // what a vain attempt held for a moment
		l.unlock()
		return Claim{}, err
	}
	for w.ticket == 0 {
		w.ticket = l.head.tickets.Add(1)
	}
	at(stepTicket)
	w.place = l.queue.list.PushBack(w)
	l.mine.beat.Store(uint64(Now()))
	l.publish()
	at(stepWaiting)
	l.serve()
	if l.queue.list.Len() > 0 {
		l.keepLooking()
		l.tell = l.tell || l.anyDormant()
	}
	l.unlock()
	return l.await(ctx, w)
}

// admit says whether a request may wait, and counts it. The count comes before
// the sum of all, and is taken back when that is too much: so there are never
// more, and two who both took the last place may try again.
func (l *ledger) admit() error {
	if !l.hope() {
		return ErrNoChild
	}
	for range 4 {
		if l.waiting() < l.opt.Queue {
			l.head.waiting[l.place/64].Or(1 << (l.place % 64))
			at(stepBit)
			l.mine.count.Store(uint64(l.queue.list.Len()) + 1)
			at(stepCount)
			if l.waiting() <= l.opt.Queue {
				return nil
			}
			l.publish()
		}
		if l.alone || l.opt.Queue <= 0 {
			break
		}
		runtime.Gosched()
	}
	return ErrQueueFull
}

// hope reports whether a child is alive or can be started: none is while one of
// them fails to.
func (l *ledger) hope() bool {
	dormant, backoff := false, false
	for i := range l.slots {
		st := State(l.slots[i].state.Load())
		if st.hopeful() {
			return true
		}
		dormant = dormant || st == Dormant
		backoff = backoff || st == BackingOff
	}
	return dormant && !backoff
}

// await waits until the request has a claim or has to leave the queue.
func (l *ledger) await(ctx context.Context, w *waiter) (Claim, error) {
	var timeout <-chan time.Time
	if l.opt.QueueTimeout > 0 {
		t := time.NewTimer(l.opt.QueueTimeout)
		defer t.Stop()
		timeout = t.C
	}
	var err error
	select {
	case c, ok := <-w.granted:
		if !ok {
			return Claim{}, ErrNoChild
		}
		return c, nil
	case <-timeout:
		err = ErrQueueTimeout
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return l.leave(w, err)
}

// leave takes a request out of the queue. A grant may have come at the same
// moment: a client that is gone leaves it to the next.
func (l *ledger) leave(w *waiter, err error) (Claim, error) {
	l.mu.Lock()
	defer l.unlock()
	defer l.serve()
	select {
	case c, ok := <-w.granted:
		switch {
		case !ok:
			return Claim{}, ErrNoChild
		case err == ErrQueueTimeout:
			return c, nil
		}
		l.revoke(c)
		return Claim{}, err
	default:
	}
	l.remove(w)
	if err == ErrQueueTimeout {
		l.mine.refused.Add(1)
	}
	return Claim{}, err
}

func (l *ledger) remove(w *waiter) {
	at(stepLeave)
	l.queue.list.Remove(w.place)
	l.publish()
	at(stepLeft)
}

// serve gives free children to those who wait longest, as long as it is this
// place's turn, and wakes the next place. When there is no child left to hope
// for, it tells all who wait here. The caller has mu.
func (l *ledger) serve() {
	for l.queue.list.Len() > 0 {
		w := l.queue.list.Front().Value.(*waiter)
		if place, _ := l.first(); place == l.place {
			c, tell, ok := l.take(w.want)
			l.tell = l.tell || tell
			if ok {
				l.remove(w)
				w.granted <- c
				continue
			}
		}
		if l.hope() {
			break
		}
		l.remove(w)
		l.mine.refused.Add(1)
		close(w.granted)
	}
	if l.alone {
		return
	}
	if place, _ := l.first(); place >= 0 && place != l.place && l.anyFree() {
		l.ring(place)
	}
}

// wakeNext has the place whose turn it is look for a free child.
func (l *ledger) wakeNext() {
	place, _ := l.first()
	at(stepTurn)
	switch {
	case place < 0:
	case place == l.place:
		l.mu.Lock()
		defer l.unlock()
		l.serve()
	default:
		l.ring(place)
	}
}

// keepLooking has this process look for free children by itself while requests
// wait. One that is alone need not, except for a slot that is to be tried again.
func (l *ledger) keepLooking() {
	if l.queue.looking || l.alone && l.opt.fails() == 0 {
		return
	}
	l.queue.looking = true
	time.AfterFunc(lookEvery, l.tick)
}

func (l *ledger) tick() {
	l.mu.Lock()
	defer l.unlock()
	l.queue.looking = false
	if l.queue.list.Len() == 0 {
		return
	}
	l.mine.beat.Store(uint64(Now()))
	l.publish()
	l.serve()
	if l.queue.list.Len() > 0 {
		l.keepLooking()
	}
	if !l.owner() && l.head.pending.Load() != 0 {
		l.ring(0) // who was about to may have been stopped
	}
}
