package master

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/config"
	"sluice/internal/poll"
	"sluice/internal/systemd"
)

// activated is a configuration with as many listeners for each systemd:NAME as
// sockets of that name were passed. They keep their places.
func (m *Master) activated(c *config.Config) (*config.Config, error) {
	var all []config.Listener
	for i, l := range c.Listeners {
		n := 1
		if l.Network == "systemd" {
			var err error
			if n, err = m.passed.Check(l.Address); err != nil {
				return nil, c.ListenerError(i, err)
			}
		}
		for range n {
			all = append(all, l)
		}
	}
	if len(all) == len(c.Listeners) {
		return c, nil
	}
	more := *c
	more.Listeners = all
	return &more, nil
}

func sameAddress(a, b config.Listener) bool { return a.Network == b.Network && a.Address == b.Address }

// twins counts the listeners of an address: a name of systemd's may have several.
func twins(all []config.Listener, l config.Listener) (n int) {
	for _, other := range all {
		if sameAddress(other, l) {
			n++
		}
	}
	return n
}

// openSocket binds a listener, or takes the socket that systemd has bound.
func (m *Master) openSocket(l config.Listener, twin int) (*socket, error) {
	if l.Network != "systemd" {
		return listen(l)
	}
	f, err := m.passed.Open(l.Address, twin)
	if err != nil {
		return nil, fmt.Errorf("listen on systemd:%s: %w", l.Address, err)
	}
	fd := int(fdOf(f))
	sa, err := unix.Getsockname(fd)
	if err != nil {
		f.Close()
		return nil, os.NewSyscallError("getsockname", err)
	}
	s := &socket{file: f, addr: poll.Addr(sa), backlog: l.Backlog, passed: true}
	if _, local := sa.(*unix.SockaddrUnix); !local {
		passOn(fd)
	}
	return s, nil
}

// watchdog tells systemd that the server lives: that the master does its work, and
// that there is a worker.
func (m *Master) watchdog(quit <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { <-quit; cancel() }()
	m.toldSystemd(systemd.Watchdog(ctx, func(ctx context.Context) bool {
		return m.alive(ctx) && (m.isStopping() || len(m.living()) > 0)
	}))
}

// alive reports whether the master does its work. Stopping is work, and has a
// bound of its own.
func (m *Master) alive(ctx context.Context) bool {
	for {
		select {
		case m.pulse <- struct{}{}:
			return true
		case <-ctx.Done():
			return m.isStopping()
		case <-time.After(alivePause):
			if m.isStopping() {
				return true
			}
		}
	}
}

const alivePause = 100 * time.Millisecond

func (m *Master) tellReady() {
	if !m.ready.Load() || m.isStopping() {
		return
	}
	g := m.now()
	var at []string
	for _, a := range g.addresses() {
		at = append(at, a.String())
	}
	m.toldSystemd(systemd.Ready(fmt.Sprintf("generation %d serves on %s", g.number, strings.Join(at, ", "))))
}

func (m *Master) tellReloading() {
	m.toldSystemd(systemd.Reloading("loading the configuration again"))
}

func (m *Master) tellStopping(k stopKind) {
	m.toldSystemd(systemd.Stopping(fmt.Sprintf("stopping %v", k)))
}

// toldSystemd: it is its loss if it does not listen.
func (m *Master) toldSystemd(err error) {
	if err != nil {
		m.log.Warn("systemd does not hear", "err", err)
	}
}
