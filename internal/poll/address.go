package poll

import (
	"net"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// LocalAddr is the connection's own address.
func (c *Conn) LocalAddr() net.Addr { return c.address(&c.local, unix.Getsockname) }

// RemoteAddr is the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.address(&c.remote, unix.Getpeername) }

func (c *Conn) address(known *atomic.Pointer[net.Addr], ask func(int) (unix.Sockaddr, error)) net.Addr {
	if a := known.Load(); a != nil {
		return *a
	}
	var a net.Addr
	if c.begin() {
		if sa, err := ask(c.fd); err == nil {
			a = Addr(sa)
		}
		c.end()
	}
	if a == nil {
		a = &net.UnixAddr{Net: "unix"}
	}
	known.Store(&a)
	return a
}

// SetLocalAddr sets what LocalAddr returns.
func (c *Conn) SetLocalAddr(a net.Addr) { c.local.Store(&a) }

// SetRemoteAddr sets what RemoteAddr returns.
func (c *Conn) SetRemoteAddr(a net.Addr) { c.remote.Store(&a) }

// Addr is a socket address in net's form; nil for one that is neither of TCP nor
// of a unix socket.
func Addr(sa unix.Sockaddr) net.Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: net.IP(append([]byte(nil), sa.Addr[:]...)), Port: sa.Port}
	case *unix.SockaddrInet6:
		a := &net.TCPAddr{IP: net.IP(append([]byte(nil), sa.Addr[:]...)), Port: sa.Port}
		if sa.ZoneId != 0 {
			if i, err := net.InterfaceByIndex(int(sa.ZoneId)); err == nil {
				a.Zone = i.Name
			}
		}
		return a
	case *unix.SockaddrUnix:
		return &net.UnixAddr{Name: sa.Name, Net: "unix"}
	}
	return nil
}
