package accept

import (
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// most bounds what is accepted in one turn: others wait for theirs.
	most = 16
	// tries bounds the calls of accept in one turn, those that fail among them.
	tries = 4 * most
	// busy is after how many turns in a row that found a connection a listener is
	// thought to have more than one. Below that it is asked once a turn: that
	// nothing is left costs a system call.
	busy = 4
)

// listener is a listening socket.
type listener struct {
	index int
	fd    int
	found int // turns in a row that found a connection
	due   int // how many may be accepted in this turn
}

// batch is what is accepted in a turn. It is used again and again: while a lock
// is held nothing is allocated.
type batch struct {
	got   [most]connection
	n     int
	first int        // of the ready listeners, in the next turn
	cause unix.Errno // why accepting has to pause; 0: it has not
}

type connection struct {
	listener int
	fd       int
	size     uint32
	peer     unix.RawSockaddrAny
}

// fill accepts up to room connections, one from each listener that is ready, and
// again, so that none starves.
func (b *batch) fill(ready []*listener, room int) {
	b.n, b.cause = 0, 0
	room = min(room, most)
	for _, l := range ready {
		l.due = 1
		if l.found >= busy {
			l.due = most
		}
	}
	b.first++
	calls := 0
	for left := true; left; {
		left = false
		for i := range ready {
			l := ready[(b.first+i)%len(ready)]
			if l.due == 0 {
				continue
			}
			if b.n >= room || calls == tries {
				return
			}
			calls++
			if b.cause = b.accept(l); b.cause != 0 {
				return
			}
			left = left || l.due > 0
		}
	}
}

// accept accepts one connection. It does not block, so the scheduler is not told
// of the call: it might take the processor away.
func (b *batch) accept(l *listener) (cause unix.Errno) {
	c := &b.got[b.n]
	c.size = unix.SizeofSockaddrAny
	fd, _, e := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(l.fd), uintptr(unsafe.Pointer(&c.peer)), uintptr(unsafe.Pointer(&c.size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	switch {
	case e == 0:
		c.listener, c.fd = l.index, int(fd)
		b.n++
		l.due--
		l.found++
	case e == unix.EAGAIN:
		l.due, l.found = 0, 0
	case !transient(e):
		return e
	}
	return 0
}

// hand gives the connections to take.
func (b *batch) hand(take func(listener, fd int, peer netip.AddrPort)) {
	for i := range b.got[:b.n] {
		c := &b.got[i]
		take(c.listener, c.fd, c.address())
	}
}

// address is that of the peer; one of IPv4 is such, also where the listener is of
// both kinds.
func (c *connection) address() netip.AddrPort {
	if c.size < unix.SizeofSockaddrInet4 {
		return netip.AddrPort{}
	}
	switch c.peer.Addr.Family {
	case unix.AF_INET:
		sa := (*unix.RawSockaddrInet4)(unsafe.Pointer(&c.peer))
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), port(&sa.Port))
	case unix.AF_INET6:
		sa := (*unix.RawSockaddrInet6)(unsafe.Pointer(&c.peer))
		ip := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.Scope_id != 0 {
			ip = ip.WithZone(strconv.Itoa(int(sa.Scope_id)))
		}
		return netip.AddrPortFrom(ip, port(&sa.Port))
	}
	return netip.AddrPort{}
}

// port reads a number in the order of the network.
func port(p *uint16) uint16 {
	b := (*[2]byte)(unsafe.Pointer(p))
	return uint16(b[0])<<8 | uint16(b[1])
}
