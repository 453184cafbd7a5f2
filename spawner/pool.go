package spawner

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// PoolOptions describe the children of one app, as a Pool sees them.
type PoolOptions struct {
	App     string
	Ledger  Ledger
	Targets []Target // one per slot of the ledger
	// ConnectTimeout bounds one connect, the look-up of the target's name
	// included; 0 is no bound.
	ConnectTimeout time.Duration
	// Dial connects to a unix socket, which takes a connection at once or refuses
	// it; a timeout of 0 is no bound. nil: a net.Dialer.
	Dial func(network, address string, timeout time.Duration) (net.Conn, error)
	// LookUp finds the addresses of a target's name; nil: the system's way.
	LookUp LookUp
	// Began, if set, is called in a goroutine of its own when the supervisor
	// says for the first time that a child is ready.
	Began func()
	// KeepAlive keeps connections for further requests. It must be off where
	// anybody else can want the same child, since a kept connection pins it; or it
	// is switched by Keep, and whoever is woken by the bell as the Ledger's Keeper
	// calls Yield.
	KeepAlive bool
	// Down, if set, is told when a program elsewhere goes out after MaxFails
	// failures, and when it is back. It may be told the same twice.
	Down func(t Target, down bool)
	// Report gets what the requests saw; nil where there is no supervisor. It
	// must not block.
	Report func(Report)
}

// Target is where a slot's child listens.
type Target struct {
	Network, Address string // as for net.Dial
}

// Pool lends out the children of one app.
type Pool struct {
	opt    PoolOptions
	names  resolver
	began  sync.Once
	mu     sync.Mutex
	slots  []poolSlot
	closed atomic.Bool // keeps no more connections
}

type poolSlot struct {
	idle   []net.Conn
	leases []*Lease
}

// NewPool returns a Pool.
func NewPool(o PoolOptions) *Pool {
	p := &Pool{opt: o, slots: make([]poolSlot, len(o.Targets))}
	if p.names.look = o.LookUp; o.LookUp == nil {
		p.names.look = systemLookUp
	}
	return p
}

// Lease is one child, lent for one request. Release must be called once. One that
// has been released may Claim another child.
type Lease struct {
	// Interrupt, if set before the child is claimed, is called when the child is
	// given up while the request waits for it, in place of a deadline in the past
	// for the connection's reads. It must not block.
	Interrupt func()

	pool  *Pool
	claim Claim
	at    int      // in the leases of the slot, under the pool's lock
	conn  net.Conn // likewise
	kept  bool     // it has had a request before this one
	lost  atomic.Bool
}

// Lease claims a child. Errors are those of Ledger.Claim.
func (p *Pool) Lease(ctx context.Context, w Want) (*Lease, error) {
	l := &Lease{}
	if err := l.Claim(ctx, p, w); err != nil {
		return nil, err
	}
	return l, nil
}

// Claim is Pool.Lease, with a Lease that is new or has been released.
func (l *Lease) Claim(ctx context.Context, p *Pool, w Want) error {
	c, err := p.opt.Ledger.Claim(ctx, w)
	if err != nil {
		return err
	}
	l.pool, l.claim, l.kept = p, c, false
	l.lost.Store(false)
	p.mu.Lock()
	s := &p.slots[c.Slot]
	l.conn, l.at = nil, len(s.leases)
	s.leases = append(s.leases, l)
	p.mu.Unlock()
	// The claim may be older than the word that the child is gone.
	if p.opt.Ledger.State(c.Slot).givenUp() {
		l.lost.Store(true)
	}
	return nil
}

// forget takes a lease out of its slot. The caller has the pool's lock.
func (s *poolSlot) forget(l *Lease) {
	n := len(s.leases) - 1
	last := s.leases[n]
	s.leases[l.at], last.at = last, l.at
	s.leases[n] = nil
	s.leases = s.leases[:n]
}

// Slot is the slot of the child.
func (l *Lease) Slot() int { return l.claim.Slot }

// PID is the child's process id when it was leased; 0 for a program elsewhere.
func (l *Lease) PID() int { return l.claim.PID }

// Target is where the child listens.
func (l *Lease) Target() Target { return l.pool.opt.Targets[l.claim.Slot] }

// Lost reports that the child was given up while the request waited for it: it
// died and has no successor yet. The request's connection was interrupted. A
// request that the child had taken is not lost: its connection has ended.
func (l *Lease) Lost() bool { return l.lost.Load() }

// ErrLost is a lease that ended before its connection was made.
var ErrLost = errors.New("the child died and is not started again yet")

// KeepAlive reports whether the connection may be kept after the request.
func (l *Lease) KeepAlive() bool { return l.pool.keeps() }

func (p *Pool) keeps() bool { return p.opt.KeepAlive && !p.closed.Load() }

// Conn returns a connection to the child. A kept one is used only if the
// request is repeatable, since the child may close it at any moment; else it
// is closed, as the child cannot accept another while it has one.
func (l *Lease) Conn(ctx context.Context, repeatable bool) (net.Conn, error) {
	if c := l.takeIdle(); c != nil {
		if repeatable && alive(c) {
			l.kept = true
			return c, l.hold(c)
		}
		c.Close()
	}
	c, err := l.pool.dial(ctx, l.Target())
	if err != nil {
		return nil, err
	}
	return c, l.hold(c)
}

// Kept reports whether Conn returned a connection that has had requests before.
// Its child may have closed it before it read this one.
func (l *Lease) Kept() bool { return l.kept }

func (l *Lease) takeIdle() net.Conn {
	p := l.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.slots[l.claim.Slot]
	n := len(s.idle)
	if n == 0 {
		return nil
	}
	c := s.idle[n-1]
	s.idle = s.idle[:n-1]
	return c
}

// hold lets a loss of the child interrupt the connection.
func (l *Lease) hold(c net.Conn) error {
	l.pool.mu.Lock()
	defer l.pool.mu.Unlock()
	if l.lost.Load() {
		c.Close()
		return ErrLost
	}
	l.conn = c
	return nil
}

// alive looks whether a connection is still open and silent. It does not wait
// for who reads from it. A connection that knows by itself that there is nothing
// to read is not looked at: it learns of an end a moment later than the kernel
// does, as after any look a child may close before it has read the request.
func alive(c net.Conn) bool {
	if r, ok := c.(interface{ Readable() bool }); ok && !r.Readable() {
		return true
	}
	return silent(c)
}

// silent asks the kernel.
func silent(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	ok = false
	err = rc.Control(func(fd uintptr) {
		var b [1]byte
		_, _, e := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		ok = e == syscall.EAGAIN
	})
	return ok && err == nil
}

// Release gives the child back. keep is a connection on which another request
// may be sent, or nil. A request that the child has answered to its end is
// Answered.
func (l *Lease) Release(o Outcome, keep net.Conn) {
	p := l.pool
	p.mu.Lock()
	s := &p.slots[l.claim.Slot]
	s.forget(l)
	l.conn = nil
	if keep != nil {
		if l.lost.Load() || !p.keeps() {
			keep.Close()
		} else {
			// The deadlines of the last request must not end the next.
			keep.SetDeadline(time.Time{})
			s.idle = append(s.idle, keep)
		}
	}
	p.mu.Unlock()
	if p.opt.Down == nil {
		p.opt.Ledger.Release(l.claim, o)
		return
	}
	before := p.opt.Ledger.Down(l.claim.Slot)
	p.opt.Ledger.Release(l.claim, o)
	if now := p.opt.Ledger.Down(l.claim.Slot); now != before {
		p.opt.Down(l.Target(), now)
	}
}

// Replace asks for the child to be stopped and started anew.
func (l *Lease) Replace(why string) {
	if l.claim.PID != 0 {
		l.pool.report(Report{Slot: l.claim.Slot, PID: l.claim.PID, Replace: why})
	}
}

func (p *Pool) report(r Report) {
	if p.opt.Report != nil {
		r.App = p.opt.App
		p.opt.Report(r)
	}
}

// Apply takes the supervisor's word, which stands in the ledger already. When a
// child is given up, the requests that wait in its backlog are interrupted; a
// word that is older than its successor is not obeyed.
func (p *Pool) Apply(e Event) {
	if e.Slot < 0 || e.Slot >= len(p.slots) {
		return
	}
	p.mu.Lock()
	s := &p.slots[e.Slot]
	if !e.State.leasable() && e.State != Retiring {
		for _, c := range s.idle {
			c.Close()
		}
		s.idle = nil
	}
	if e.State.givenUp() && p.opt.Ledger.State(e.Slot).givenUp() {
		for _, l := range s.leases {
			l.giveUp()
		}
	}
	p.mu.Unlock()
	if e.State == Ready && p.opt.Began != nil {
		p.began.Do(func() { go p.opt.Began() })
	}
}

// Slots is how many children, or addresses, the pool has.
func (p *Pool) Slots() int { return len(p.slots) }

// Yield closes the kept connections to children that another process has claimed.
func (p *Pool) Yield(elsewhere func(slot int) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.slots {
		s := &p.slots[i]
		if len(s.idle) == 0 || !elsewhere(i) {
			continue
		}
		for _, c := range s.idle {
			c.Close()
		}
		s.idle = nil
	}
}

// Busy is how many requests have a child now, those that nobody waits for any more
// among them.
func (p *Pool) Busy() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.slots {
		n += len(p.slots[i].leases)
	}
	return n
}

// giveUp interrupts a request that waits for a child which is gone. Where the
// child had accepted the connection its end is there to be read, behind what
// the child said last: then there is nothing to interrupt, and the request may
// have been done.
func (l *Lease) giveUp() {
	switch {
	case l.conn == nil:
		l.lost.Store(true)
	case !silent(l.conn):
	case l.Interrupt != nil:
		l.lost.Store(true)
		l.Interrupt()
	default:
		l.lost.Store(true)
		l.conn.SetReadDeadline(time.Unix(1, 0))
	}
}

// Counts is a moment's view for the status.
func (p *Pool) Counts() Counts { return p.opt.Ledger.Counts() }

// Close closes the connections that are kept, and keeps no more. Requests may
// still be made.
func (p *Pool) Close() { p.Keep(false) }

// Keep says whether connections are kept from now on, where KeepAlive is on. When
// false has returned there is none that is kept, and those in use will not be.
func (p *Pool) Keep(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed.Store(!on)
	if on {
		return
	}
	for i := range p.slots {
		for _, c := range p.slots[i].idle {
			c.Close()
		}
		p.slots[i].idle = nil
	}
}
