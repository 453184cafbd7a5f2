package master

import (
	"fmt"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/config"
	"sluice/lockmodes"
)

// openSockets takes over the sockets whose address stays, and binds the others.
func (g *generation) openSockets(before *generation) error {
	for i, l := range g.cfg.Listeners {
		twin := twins(g.cfg.Listeners[:i], l)
		s := before.socket(l, twin)
		if s == nil {
			var err error
			s, err = g.m.openSocket(l, twin)
			if s != nil && s.file != nil {
				g.sockets = append(g.sockets, s)
			}
			if err != nil {
				return err
			}
		} else {
			g.sockets = append(g.sockets, s)
		}
		if g.mode == lockmodes.Reuseport {
			more, err := s.besides(g.cfg.Workers - 1 - len(s.others()))
			if err != nil {
				return err
			}
			g.beside[s] = more
		}
	}
	return nil
}

// socket is that of an address, behind so many of the same; nil: there is none.
func (g *generation) socket(l config.Listener, twin int) *socket {
	if g == nil {
		return nil
	}
	for i, old := range g.cfg.Listeners {
		if sameAddress(old, l) && twins(g.cfg.Listeners[:i], l) == twin {
			return g.sockets[i]
		}
	}
	return nil
}

// of is the socket of a listener for the worker of an index. With reuseport it is
// the worker's own, and stays open when the worker dies, so what waits in its
// backlog is served by the successor. A worker of a generation that drains may have
// lost its own to a later one with fewer.
func (g *generation) of(s *socket, index int) *os.File {
	if g.mode != lockmodes.Reuseport || s.shared() || index == 1 {
		return s.file
	}
	if all := slices.Concat(s.others(), g.beside[s]); index-2 < len(all) {
		return all[index-2]
	}
	return s.file
}

// others are the sockets of the workers behind the first.
func (s *socket) others() []*os.File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.more
}

func (s *socket) have(others []*os.File) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.more = others
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

// besides binds n sockets at the address of a TCP listener. The listener's own was
// bound without SO_REUSEPORT, so another server on the same address has failed by
// now, and fails later. They do not listen: as soon as one does, the kernel gives
// it connections.
func (s *socket) besides(n int) (all []*os.File, err error) {
	if s.shared() || n <= 0 {
		return nil, nil
	}
	if err := unix.SetsockoptInt(int(fdOf(s.file)), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return nil, os.NewSyscallError("setsockopt", err)
	}
	for range n {
		f, err := s.bindBeside()
		if err != nil {
			closeFiles(all)
			return nil, fmt.Errorf("listen on %s: %w", s.addr, err)
		}
		all = append(all, f)
	}
	return all, nil
}

func (s *socket) bindBeside() (*os.File, error) {
	fd := int(fdOf(s.file))
	at, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	family := unix.AF_INET
	if _, ok := at.(*unix.SockaddrInet6); ok {
		family = unix.AF_INET6
	}
	n, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(n), s.file.Name())
	options := [][2]int{{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.SOL_SOCKET, unix.SO_REUSEPORT}}
	if family == unix.AF_INET6 {
		options = append(options, [2]int{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY})
	}
	for _, o := range options {
		v, err := unix.GetsockoptInt(fd, o[0], o[1])
		if err == nil {
			err = unix.SetsockoptInt(n, o[0], o[1], v)
		}
		if err != nil {
			f.Close()
			return nil, os.NewSyscallError("setsockopt", err)
		}
	}
	if err := unix.Bind(n, at); err != nil {
		f.Close()
		return nil, os.NewSyscallError("bind", err)
	}
	passOn(n)
	return f, nil
}

// open makes sockets that were bound beside a listener's listen.
func (s *socket) open(added []*os.File) error {
	s.have(slices.Concat(s.others(), added))
	for _, f := range added {
		if err := unix.Listen(int(fdOf(f)), s.backlog); err != nil {
			return os.NewSyscallError("listen", err)
		}
	}
	return nil
}

// change gives a socket that stays what is new of its listener.
func (s *socket) change(l config.Listener) error {
	if s.backlog != l.Backlog {
		s.backlog = l.Backlog
		for _, f := range append([]*os.File{s.file}, s.others()...) {
			if err := unix.Listen(int(fdOf(f)), l.Backlog); err != nil {
				return os.NewSyscallError("listen", err)
			}
		}
	}
	if l.Network != "unix" {
		return nil
	}
	return own(l)
}

// settleTime is how long connections are still accepted on a socket that is one
// too many after new ones go to the others: their handshake may be under way.
const settleTime = 300 * time.Millisecond

// surplus are the sockets of a listener that n workers do not need any more. From
// now on the kernel gives new connections to the others.
func (s *socket) surplus(n int) []*os.File {
	others := s.others()
	if len(others) <= n-1 {
		return nil
	}
	steer(int(fdOf(s.file)), n)
	return others[n-1:]
}

// steer has the kernel choose among the first n sockets of an address, in the
// order in which they began to listen, whatever others there are. Where it
// refuses, some connections are reset that are being made at the moment.
func steer(fd, n int) {
	const random = 0xfffff000 + 56 // SKF_AD_OFF + SKF_AD_RANDOM of linux/filter.h
	code := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: random},
		{Code: unix.BPF_ALU | unix.BPF_MOD | unix.BPF_K, K: uint32(n)},
		{Code: unix.BPF_RET | unix.BPF_A},
	}
	unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_REUSEPORT_CBPF, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
}

// drop closes the surplus, and leaves the choice to the kernel again.
func (s *socket) drop(surplus []*os.File) {
	if len(surplus) == 0 {
		return
	}
	others := s.others()
	s.have(others[:len(others)-len(surplus)])
	closeFiles(surplus)
	unix.SetsockoptInt(int(fdOf(s.file)), unix.SOL_SOCKET, unix.SO_DETACH_REUSEPORT_BPF, 0)
}

// addresses are where a generation listens.
func (g *generation) addresses() (all []net.Addr) {
	for _, s := range g.sockets {
		all = append(all, s.addr)
	}
	return all
}

// wanted is how many sockets a listener has.
func (g *generation) wanted(s *socket) int {
	if g.mode == lockmodes.Reuseport && !s.shared() {
		return g.cfg.Workers
	}
	return 1
}
