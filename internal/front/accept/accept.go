package accept

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"sluice/internal/poll"
	"sluice/internal/scoreboard"
	"sluice/lockmodes"
)

// Options of an Acceptor.
type Options struct {
	Mode lockmodes.Mode
	// Lock is that of a mode that has one. It stays the caller's, who must not use
	// it before Stop has returned.
	Lock lockmodes.Lock
	// Alone: no other process accepts on these listeners.
	Alone bool
	// Listeners are listening stream sockets. They stay the caller's, and are made
	// not to block.
	Listeners []int
	// Set is where the listeners are watched with None and with Reuseport.
	Set *poll.Set
	// Take gets each connection: the index of its listener, its descriptor, which
	// does not block and is closed by exec, and the address of its peer, which is
	// not valid for a unix socket. It is called by one goroutine at a time, and
	// must not block or call Stop. The descriptor is its to close.
	Take func(listener, fd int, peer netip.AddrPort)
	// Room is how many connections there is room for. Who makes it 0 or less has
	// to call Resume when there is room again. nil: always.
	Room func() int

	Log   *slog.Logger
	Short func() // gives descriptors back, when accepting runs out of them; nil: there are none
	Place *scoreboard.Place
}

// Acceptor accepts from Start to Stop.
type Acceptor struct {
	o       Options
	way     way
	stopped sync.Once
	drained sync.Once
}

// way is how an Acceptor waits.
type way interface {
	start() error
	resume()
	stop()
}

// New makes an Acceptor, which has to be stopped.
func New(o Options) (*Acceptor, error) {
	switch {
	case o.Mode >= lockmodes.Modes:
		return nil, fmt.Errorf("accept: no such mode: %s", o.Mode)
	case o.Mode.Locks() && o.Lock == nil:
		return nil, fmt.Errorf("accept: no lock for %s", o.Mode)
	case !o.Mode.Locks():
		o.Lock = nil
	}
	if o.Room == nil {
		o.Room = func() int { return most }
	}
	for _, fd := range o.Listeners {
		if err := unix.SetNonblock(fd, true); err != nil {
			return nil, fmt.Errorf("accept: %w", os.NewSyscallError("fcntl", err))
		}
	}
	a := &Acceptor{o: o}
	var err error
	switch {
	case o.Mode.Locks() || o.Mode == lockmodes.Exclusive:
		a.way, err = newThread(o)
	case o.Set == nil:
		err = errors.New("no set")
	default:
		a.way = newWatched(o)
	}
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	return a, nil
}

// errStopped is a Start behind Stop.
var errStopped = errors.New("stopped")

// Start begins to accept. It may be called once, and not behind Stop.
func (a *Acceptor) Start() error {
	if err := a.way.start(); err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	return nil
}

// Resume says that there is room again. Any goroutine may call it, Take as well.
func (a *Acceptor) Resume() { a.way.resume() }

// Stop ends the accepting. When it returns, Take has returned and is not called
// again, and the lock is free; a thread that waits for a lock whose wait cannot be
// interrupted goes on until the process ends, and takes it no more.
func (a *Acceptor) Stop() { a.stopped.Do(a.way.stop) }

// drainMost bounds what Drain takes, sixteen at a time: clients go on connecting.
const drainMost = 64

// Drain takes the connections that wait to be accepted, which would be reset when
// the listeners are closed. It may be called after Stop; Take is called by it. A
// second call does nothing: the listeners may be closed, and their numbers others'.
func (a *Acceptor) Drain() { a.drained.Do(a.drain) }

// Empty takes what waits to be accepted at some of the listeners, by their index,
// whether there is room or not: it is for listeners that are about to be closed.
// It may be called after Stop, and again, as long as they are open.
func (a *Acceptor) Empty(which []int) {
	var b batch
	var some []*listener
	for _, i := range which {
		some = append(some, &listener{index: i, fd: a.o.Listeners[i]})
	}
	for range drainMost {
		b.fill(some, most)
		b.hand(a.o.Take)
		if b.n == 0 {
			return
		}
	}
}

func (a *Acceptor) drain() {
	var b batch
	all := listeners(a.o.Listeners)
	for range drainMost {
		room := a.o.Room()
		if room <= 0 {
			return
		}
		b.fill(all, room)
		b.hand(a.o.Take)
		if b.n == 0 {
			return
		}
	}
}
