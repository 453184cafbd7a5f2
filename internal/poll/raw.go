package poll

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
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

// Dial connects to a unix socket, at once or not at all: EAGAIN is a full
// backlog.
func (s *Set) Dial(path string) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "unix", Addr: unixAddr(path), Err: os.NewSyscallError("socket", err)}
	}
	for {
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, &net.OpError{Op: "dial", Net: "unix", Addr: unixAddr(path), Err: os.NewSyscallError("connect", err)}
	}
	return s.Conn(fd, unixAddr(path))
}

func unixAddr(path string) net.Addr { return &net.UnixAddr{Name: path, Net: "unix"} }
