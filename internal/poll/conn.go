package poll

import (
	"io"
	"net"
	"os"
	"runtime"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Conn is a connection in a set. It implements net.Conn and syscall.Conn.
//
// One goroutine at a time may read and one write; everything else may be done
// by any. Errors are those of net: os.ErrDeadlineExceeded, net.ErrClosed, io.EOF,
// and *os.SyscallError. A deadline passes up to about 10 ms late and never early.
type Conn struct {
	set   *Set
	fd    int
	place place

	users  atomic.Int64 // calls that use the descriptor, and the closed bit
	lazy   bool         // room to write is told of only while somebody waits for it
	hungup atomic.Uint32
	parked atomic.Bool

	reader, writer waiter
	onHangup       atomic.Pointer[func(broken bool)]
	wake           func()       // of a parked connection
	sendTimeout    atomic.Int64 // a time.Duration; 0: the write deadline counts

	looked     atomic.Int64 // tick at which the wheel looks at it; 0: none
	prev, next *Conn        // in that slot
	gone       bool         // it shall not be put there again

	local, remote atomic.Pointer[net.Addr]
}

// closedBit marks users of a connection that is being closed.
const closedBit = 1 << 40

// How the peer has gone.
const (
	closedSide = 1 // it will not send any more (a half close, or the first half of a close)
	broken     = 2 // it does not take anything any more, or has reset the connection
)

// connEvents are edges: each is told once for what arrives or becomes free.
const (
	connEvents = lazyEvents | unix.EPOLLOUT
	lazyEvents = unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET
)

// Conn takes over a stream socket that does not block. The remote address may be
// nil: it is then asked for when somebody wants it.
func (s *Set) Conn(fd int, remote net.Addr) (*Conn, error) {
	c, err := s.takeOver(&Conn{fd: fd}, connEvents)
	if err == nil && remote != nil {
		c.SetRemoteAddr(remote)
	}
	return c, err
}

// Pipe takes over the read end of a pipe, which does not block. A Write fails, and
// so does what is about sockets.
//
// Where a writer asks for a pipe of packets (O_DIRECT) a Read may wait although
// there is another packet: for the next one, or the end.
func (s *Set) Pipe(fd int) (*Conn, error) {
	return s.takeOver(&Conn{fd: fd}, unix.EPOLLIN|unix.EPOLLET)
}

// Dial connects to a unix socket, at once or not at all: EAGAIN is a full
// backlog.
//
// A unix socket says that there is room whenever its peer reads, not only after
// there was none as one of TCP does. That would wake the set once more for each
// request that a child takes, so it is asked for when there is none.
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
	c, err := s.takeOver(&Conn{fd: fd, lazy: true}, lazyEvents)
	if err == nil {
		c.SetRemoteAddr(unixAddr(path))
	}
	return c, err
}

func unixAddr(path string) net.Addr { return &net.UnixAddr{Name: path, Net: "unix"} }

// takeOver puts a connection's descriptor into the set for good, or closes it.
func (s *Set) takeOver(c *Conn, events uint32) (*Conn, error) {
	c.set = s
	var err error
	if c.place, err = s.add(c.fd, events, c, nil); err != nil {
		unix.Close(c.fd)
		return nil, err
	}
	return c, nil
}

// event is called in the set's goroutine.
func (c *Conn) event(events uint32) {
	if events&unix.EPOLLOUT != 0 {
		c.writer.post()
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		how := uint32(closedSide)
		if events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
			how |= broken
		}
		c.hungup.Or(how)
		c.reader.post()
		c.writer.post()
		if f := c.onHangup.Load(); f != nil {
			(*f)(how&broken != 0)
		}
	} else if events&unix.EPOLLIN != 0 {
		c.reader.post()
	}
	if events&^unix.EPOLLOUT != 0 {
		c.unpark()
	}
}

// unpark wakes a parked connection.
func (c *Conn) unpark() {
	if c.parked.Load() && c.parked.CompareAndSwap(true, false) {
		c.wake()
	}
}

// begin says that the descriptor is in use; false: it is closed. Then nothing is
// counted: the end of a use that never was would close the descriptor once more,
// and its number is another's by now.
func (c *Conn) begin() bool {
	for {
		n := c.users.Load()
		if n&closedBit != 0 {
			return false
		}
		if c.users.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// end is the end of a use. The last one closes what has been given up.
func (c *Conn) end() {
	if c.users.Add(-1) == closedBit {
		unix.Close(c.fd)
	}
}

// Read reads what is there, and waits while nothing is.
func (c *Conn) Read(p []byte) (int, error) {
	if !c.begin() {
		return 0, net.ErrClosed
	}
	defer c.end()
	if len(p) == 0 {
		return 0, nil
	}
	p = p[:min(len(p), inlineBytes)]
	for {
		if c.reader.deadline.Load() != 0 || !c.reader.ready.Load() {
			if err := c.waitRead(); err != nil {
				return 0, err
			}
		}
		// First the note, then the read: what comes between them is told again.
		c.reader.ready.Store(false)
		n, errno := c.read(p)
		switch {
		case errno == unix.EAGAIN && c.hungup.Load() != 0:
			runtime.Gosched() // cannot be: the end can be read
		case errno == unix.EINTR, errno == unix.EAGAIN:
		case errno != 0:
			return 0, os.NewSyscallError("read", errno)
		case n == 0:
			c.reader.ready.Store(true)
			return 0, io.EOF
		default:
			if n == len(p) {
				c.reader.ready.Store(true) // there may be more
			}
			return n, nil
		}
	}
}

// inlineBytes is how much is moved in a call of which the scheduler is not told:
// a few microseconds' worth.
const inlineBytes = 64 << 10

func (c *Conn) read(p []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
	return int(n), errno
}

// Write writes all of p.
func (c *Conn) Write(p []byte) (int, error) { return c.send(p, unix.MSG_NOSIGNAL) }

// WriteMore writes all of p, which the kernel holds back for what follows at
// once (MSG_MORE).
func (c *Conn) WriteMore(p []byte) (int, error) {
	return c.send(p, unix.MSG_NOSIGNAL|unix.MSG_MORE)
}

// Push has what WriteMore has left behind leave now.
func (c *Conn) Push() error {
	if !c.begin() {
		return net.ErrClosed
	}
	defer c.end()
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(c.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
}

func (c *Conn) send(p []byte, flags uintptr) (total int, err error) {
	if !c.begin() {
		return 0, net.ErrClosed
	}
	defer c.end()
	for len(p) > 0 {
		if c.sendTimeout.Load() == 0 && c.writer.expired(c.set.now.Load()) {
			return total, os.ErrDeadlineExceeded
		}
		c.writer.ready.Store(false)
		n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(c.fd), uintptr(unsafe.Pointer(&p[0])),
			uintptr(min(len(p), inlineBytes)), flags, 0, 0)
		switch errno {
		case 0:
			total += int(n)
			p = p[n:]
		case unix.EINTR:
		case unix.EAGAIN:
			if err := c.waitWrite(); err != nil {
				return total, err
			}
		default:
			return total, os.NewSyscallError("write", errno)
		}
	}
	return total, nil
}

// Readable reports whether a Read would not wait, as far as is known without
// asking the kernel.
func (c *Conn) Readable() bool { return c.reader.ready.Load() || c.hungup.Load() != 0 }

// Hungup reports whether the peer has closed its side or the connection is
// broken, as far as the set knows.
func (c *Conn) Hungup() bool { return c.hungup.Load() != 0 }

// Broken reports whether the connection cannot be written to any more, as far as
// the set knows.
func (c *Conn) Broken() bool { return c.hungup.Load()&broken != 0 }

// OnHangup has f called when the peer closes its side, and again, broken then,
// when the connection cannot be written to any more; at once if that is so
// already. nil ends it, though a call may still be under way. f is called in the
// set's goroutine and must not block.
func (c *Conn) OnHangup(f func(broken bool)) {
	if f == nil {
		c.onHangup.Store(nil)
		return
	}
	c.onHangup.Store(&f)
	if h := c.hungup.Load(); h != 0 {
		f(h&broken != 0)
	}
}

// Park gives the connection to the set: wake is called, in the set's goroutine,
// when a Read would not wait, which includes the peer's end and the passing of
// the read deadline; also, by chance, for a deadline that was moved just before.
// It must not block. Park returns false, and wake is not called, if that is so
// already. The caller must not touch the connection after true, except by Unpark
// and Close.
func (c *Conn) Park(wake func()) bool {
	c.reader.bell.Store(nil)
	c.wake = wake
	c.parked.Store(true)
	if (c.Readable() || c.reader.expired(c.set.now.Load())) && c.parked.CompareAndSwap(true, false) {
		return false
	}
	return true
}

// Unpark takes a parked connection back from the set; false: it is awake, or
// about to be.
func (c *Conn) Unpark() bool {
	return c.parked.Load() && c.parked.CompareAndSwap(true, false)
}

// CloseWrite ends what is sent: the peer reads its end.
func (c *Conn) CloseWrite() error {
	if !c.begin() {
		return net.ErrClosed
	}
	defer c.end()
	return os.NewSyscallError("shutdown", unix.Shutdown(c.fd, unix.SHUT_WR))
}

// SetLinger is what a close does with what has not been sent (SO_LINGER):
// seconds below 0 are the system's way, 0 resets the connection.
func (c *Conn) SetLinger(sec int) error {
	if !c.begin() {
		return net.ErrClosed
	}
	defer c.end()
	l := unix.Linger{Onoff: 1, Linger: int32(sec)}
	if sec < 0 {
		l = unix.Linger{}
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &l))
}

// Close closes the connection, once nobody uses it any more.
func (c *Conn) Close() error {
	for {
		n := c.users.Load()
		if n&closedBit != 0 {
			return net.ErrClosed
		}
		if c.users.CompareAndSwap(n, n+closedBit+1) {
			break
		}
	}
	defer c.end()
	c.set.remove(c.place)
	c.set.wheel.forget(c)
	c.onHangup.Store(nil)
	c.reader.rouse()
	c.writer.rouse()
	return nil
}

// Detach takes the connection out of the set, which has closed it then as far as
// everybody else is concerned, and returns its descriptor. Nobody may be using
// the connection.
func (c *Conn) Detach() (int, error) {
	for !c.users.CompareAndSwap(0, closedBit+1) { // a use that no end() follows
		if c.users.Load()&closedBit != 0 {
			return -1, net.ErrClosed
		}
		runtime.Gosched()
	}
	unix.EpollCtl(c.set.epfd, unix.EPOLL_CTL_DEL, c.fd, nil)
	c.set.remove(c.place)
	c.set.wheel.forget(c)
	c.onHangup.Store(nil)
	return c.fd, nil
}
