package poll

import (
	"net"
	"os"
	"syscall"
)

// SyscallConn implements syscall.Conn.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return (*rawConn)(c), nil }

type rawConn Conn

// Control implements syscall.RawConn.
func (r *rawConn) Control(f func(fd uintptr)) error {
	c := (*Conn)(r)
	if !c.begin() {
		return net.ErrClosed
	}
	defer c.end()
	f(uintptr(c.fd))
	return nil
}

// Read implements syscall.RawConn. f is called first without a wait.
func (r *rawConn) Read(f func(fd uintptr) bool) error {
	c := (*Conn)(r)
	return c.try(&c.reader, f, c.waitRead)
}

// Write implements syscall.RawConn.
func (r *rawConn) Write(f func(fd uintptr) bool) error {
	c := (*Conn)(r)
	return c.try(&c.writer, f, c.waitWrite)
}

func (c *Conn) try(w *waiter, f func(fd uintptr) bool, wait func() error) error {
	if !c.begin() {
		return net.ErrClosed
	}
	defer c.end()
	for {
		if (w == &c.reader || c.sendTimeout.Load() == 0) && w.expired(c.set.now.Load()) {
			return os.ErrDeadlineExceeded
		}
		w.ready.Store(false)
		if f(uintptr(c.fd)) {
			if w == &c.reader {
				w.ready.Store(true) // how much f has left is not known
			}
			return nil
		}
		if err := wait(); err != nil {
			return err
		}
	}
}
