package master

import (
	"context"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"sluice/lockmodes"
)

// openSockets binds every listener.
func (m *Master) openSockets() error {
	for _, l := range m.cfg.Listeners {
		s, err := listen(l)
		if s != nil && s.file != nil {
			m.sockets = append(m.sockets, s)
		}
		if err == nil && m.acceptMode == lockmodes.Reuseport {
			err = s.multiply(l.Backlog, m.cfg.Workers)
		}
		if err != nil {
			return err
		}
		s.eachTCP(passOn)
	}
	return nil
}

// Keep-alive probes of a client's connection, as Go's net has them.
const (
	probeAfter = 15 // seconds of silence
	probeEvery = 15 // seconds
	probes     = 9
)

// passOn sets what every accepted connection takes over from its listener, so
// that nobody has to set it for each. What is refused is what there was before.
func passOn(fd int) {
	for _, o := range []struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, probeAfter},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, probeEvery},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, probes},
	} {
		unix.SetsockoptInt(fd, o.level, o.name, o.value)
	}
}

// multiply makes a socket for each of n workers out of a TCP listener's. The
// first was bound without SO_REUSEPORT, so another server on the same address has
// failed by now, and fails later.
func (s *socket) multiply(backlog, n int) error {
	if s.path != "" {
		return nil // a unix socket is shared
	}
	reuse := func(_, _ string, c syscall.RawConn) (err error) {
		cerr := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		if cerr != nil {
			err = cerr
		}
		return os.NewSyscallError("setsockopt", err)
	}
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	if err := reuse("", "", raw); err != nil {
		return err
	}
	lc := net.ListenConfig{KeepAlive: -1, Control: reuse}
	for range n - 1 {
		l, err := lc.Listen(context.Background(), "tcp", s.addr.String())
		if err != nil {
			return err
		}
		f, err := l.(*net.TCPListener).File()
		l.Close()
		if err != nil {
			return err
		}
		s.more = append(s.more, f)
		if err := unix.Listen(int(fdOf(f)), backlog); err != nil {
			return os.NewSyscallError("listen", err)
		}
	}
	return nil
}

// of is the socket for the worker of a place. It stays open when the worker dies,
// so what waits in its backlog is served by the successor.
func (s *socket) of(place int) *os.File {
	if len(s.more) > 0 && place > 1 {
		return s.more[place-2]
	}
	return s.file
}

// eachTCP calls f for each socket of a TCP listener.
func (s *socket) eachTCP(f func(fd int)) {
	if s.path != "" {
		return
	}
	for _, file := range append([]*os.File{s.file}, s.more...) {
		f(int(fdOf(file)))
	}
}
