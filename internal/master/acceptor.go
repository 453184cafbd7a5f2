package master

import (
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"sluice/internal/assemble"
	"sluice/internal/config"
	"sluice/internal/front/accept"
	"sluice/internal/front/http1"
	"sluice/internal/poll"
	"sluice/internal/scoreboard"
	"sluice/lockmodes"
)

// openAcceptor has a worker ready to accept on what its master gave it.
func (w *worker) openAcceptor(c *config.Config, files map[string][]*os.File, index int, board *scoreboard.Place) error {
	o, err := assemble.AcceptLock(c)
	if err != nil {
		return err
	}
	var own *os.File
	for _, f := range files[fileAcceptLock] {
		own = f
	}
	lock, err := lockmodes.Open(o, own, index)
	if err != nil {
		return err
	}
	var fds []int
	var listeners []*http1.Listener
	for i, f := range files[fileListener] {
		l, err := listenerOf(f)
		if err != nil {
			return err
		}
		l.ProxyFrom = w.asm.ProxyFrom[i]
		fds, listeners = append(fds, int(fdOf(f))), append(listeners, l)
	}
	w.listening = files[fileListener]
	w.acceptor, err = accept.New(accept.Options{Mode: o.Mode, Lock: lock, Alone: c.Workers == 1, Listeners: fds, Set: w.set,
		Take: func(i, fd int, peer netip.AddrPort) { w.front.Take(listeners[i], fd, peer) },
		Room: w.front.Room, Short: w.asm.Files.Release, Log: w.log, Place: board})
	return err
}

// listenerOf is what the connections of a listening socket have in common.
func listenerOf(f *os.File) (*http1.Listener, error) {
	sa, err := unix.Getsockname(int(fdOf(f)))
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	addr := poll.Addr(sa)
	t, tcp := addr.(*net.TCPAddr)
	l := &http1.Listener{TCP: tcp}
	if !tcp || !t.IP.IsUnspecified() { // else each connection has its own
		l.Addr = addr
	}
	return l, nil
}
