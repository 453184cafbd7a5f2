package spawner

import (
	"context"
	"math/bits"
	"runtime"
	"sync"
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
	list    list
	looking bool        // a timer runs that looks by itself
	expiry  *time.Timer // runs at the latest when the first has waited too long; nil: none has been needed
	running bool        // expiry does
	spare   sync.Pool   // of *waiter
}

// list is who waits, in order.
type list struct {
	first, last *waiter
	n           int
}

// waiter is a request that waits. It is used again for another.
type waiter struct {
	ctx    context.Context
	want   Want
	ticket uint64
	until  time.Duration // by Now
	result chan result   // of one: whoever takes it out of the list puts it there
	leave  func()        // when its context ends; made once

	prev, next *waiter
	listed     bool
}

// result is a claim, or why there is none.
type result struct {
	claim Claim
	err   error
}

// waiter is a new one, or one that has served.
func (l *ledger) waiter(ctx context.Context, want Want) *waiter {
	w, _ := l.queue.spare.Get().(*waiter)
	if w == nil {
		w = &waiter{result: make(chan result, 1)}
		w.leave = func() { l.abandoned(w) }
	}
	w.ctx, w.want, w.ticket = ctx, want, 0
	return w
}

// free takes it back, when nobody else has it.
func (l *ledger) free(w *waiter) {
	w.ctx = nil
	l.queue.spare.Put(w)
}

// Len is how many wait.
func (q *list) Len() int { return q.n }

func (q *list) push(w *waiter) {
	w.listed, w.prev, w.next = true, q.last, nil
	if q.last != nil {
		q.last.next = w
	} else {
		q.first = w
	}
	q.last = w
	q.n++
}

func (q *list) drop(w *waiter) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		q.first = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		q.last = w.prev
	}
	w.listed, w.prev, w.next = false, nil, nil
	q.n--
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
	l.mine.ticket.Store(l.queue.list.first.ticket)
}

// wait puts a request into the queue and waits for its turn.
func (l *ledger) wait(ctx context.Context, want Want) (Claim, error) {
	w := l.waiter(ctx, want)
	l.mu.Lock()
	if err := l.admit(); err != nil {
		l.mine.refused.Add(1)
		l.serve() // what a vain attempt held for a moment
		l.unlock()
		l.free(w)
		return Claim{}, err
	}
	for w.ticket == 0 {
		w.ticket = l.head.tickets.Add(1)
	}
	at(stepTicket)
	now := Now()
	w.until = now + l.opt.QueueTimeout
	l.queue.list.push(w)
	l.mine.beat.Store(uint64(now))
	l.publish()
	at(stepWaiting)
	l.serve()
	if l.queue.list.Len() > 0 {
		l.expectExpiry(now)
		l.keepLooking()
		l.tell = l.tell || l.anyDormant()
	}
	l.unlock()
	return l.await(w)
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

// await waits until the request has a claim or has had to leave the queue. A grant
// for a client that is gone is left to the next.
func (l *ledger) await(w *waiter) (Claim, error) {
	var r result
	ctx, late := w.ctx, false
	select {
	case r = <-w.result:
	default:
		stop := whenDone(ctx, w.leave)
		r = <-w.result
		late = !stop()
	}
	if !late { // else it is about to be looked for in the list
		l.free(w)
	}
	if r.err == nil && ctx.Err() != nil {
		l.mu.Lock()
		l.revoke(r.claim)
		l.serve()
		l.unlock()
		return Claim{}, context.Cause(ctx)
	}
	return r.claim, r.err
}

// whenDone calls f in a goroutine of its own when ctx ends; stop prevents that,
// and reports whether it did.
func whenDone(ctx context.Context, f func()) (stop func() bool) {
	if c, ok := ctx.(interface{ AfterFunc(func()) func() bool }); ok {
		return c.AfterFunc(f)
	}
	return context.AfterFunc(ctx, f)
}

// abandoned takes a request whose client has left out of the queue.
func (l *ledger) abandoned(w *waiter) {
	l.mu.Lock()
	defer l.unlock()
	if !w.listed {
		return
	}
	l.remove(w)
	w.result <- result{err: context.Cause(w.ctx)}
	l.serve()
}

// expectExpiry sees to it that who has waited too long is told. One timer does for
// all, since the first in the list is the first to be told.
func (l *ledger) expectExpiry(now time.Duration) {
	q := &l.queue
	if l.opt.QueueTimeout <= 0 || q.running || q.list.first == nil {
		return
	}
	q.running = true
	left := q.list.first.until - now
	if q.expiry == nil {
		q.expiry = time.AfterFunc(left, l.expire)
	} else {
		q.expiry.Reset(left)
	}
}

func (l *ledger) expire() {
	l.mu.Lock()
	defer l.unlock()
	l.queue.running = false
	now := Now()
	for w := l.queue.list.first; w != nil && w.until <= now; w = l.queue.list.first {
		l.remove(w)
		l.mine.refused.Add(1)
		w.result <- result{err: ErrQueueTimeout}
	}
	l.serve()
	l.expectExpiry(now)
}

func (l *ledger) remove(w *waiter) {
	at(stepLeave)
	l.queue.list.drop(w)
	l.publish()
	at(stepLeft)
}

// serve gives free children to those who wait longest, as long as it is this
// place's turn, and wakes the next place. When there is no child left to hope
// for, it tells all who wait here. The caller has mu.
func (l *ledger) serve() {
	for l.queue.list.Len() > 0 {
		w := l.queue.list.first
		if place, _ := l.first(); place == l.place {
			c, tell, ok := l.take(w.want)
			l.tell = l.tell || tell
			if ok {
				l.remove(w)
				w.result <- result{claim: c}
				continue
			}
		}
		if l.hope() {
			break
		}
		l.remove(w)
		l.mine.refused.Add(1)
		w.result <- result{err: ErrNoChild}
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
