package master

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/config"
	"sluice/internal/status"
)

// statusPage serves [status] listen. A generation with the same address has the
// same. The methods of a nil one do nothing.
type statusPage struct {
	address string
	socket  *socket
	server  *http.Server
	served  sync.WaitGroup
	once    sync.Once
	over    atomic.Bool // closed
	clients atomic.Int32
}

// What a client of the status may take: whoever it is, the master waits for
// nobody.
const (
	pageBacklog = 128
	pageRead    = 5 * time.Second
	pageWrite   = 30 * time.Second
	pageHeader  = 16 << 10 // bytes
	pagePause   = 500 * time.Millisecond
)

// openPage binds the address of the status, or takes it over.
func (g *generation) openPage(before *generation) error {
	address := g.cfg.Status.Listen
	switch {
	case address == "":
		return nil
	case before != nil && before.page != nil && before.page.address == address:
		g.page = before.page
		return nil
	}
	l := config.Listener{Network: "tcp", Address: address, Backlog: pageBacklog}
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		l.Network, l.Address, l.Mode = "unix", path, 0o660
	}
	s, err := listen(l)
	if err != nil {
		if s != nil && s.file != nil {
			s.close()
		}
		return err
	}
	g.page = &statusPage{address: address, socket: s}
	return nil
}

// serve answers from now on.
func (p *statusPage) serve(m *Master) {
	if p == nil {
		return
	}
	l, err := net.FileListener(p.socket.file)
	if err != nil {
		m.log.Error("status is not served", "address", p.socket.addr, "err", err)
		return
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the socket does it
	}
	web := status.Web{Get: m.look, Alive: m.alive, Ready: func() bool { return m.ready.Load() && !m.isStopping() }}
	p.server = &http.Server{Handler: web.Handler(), ConnState: p.admit, ReadHeaderTimeout: pageRead, ReadTimeout: pageRead, WriteTimeout: pageWrite,
		IdleTimeout: pageWrite, MaxHeaderBytes: pageHeader, ErrorLog: slog.NewLogLogger(m.log.Handler(), slog.LevelDebug)}
	m.log.Info("status is served", "address", p.socket.addr)
	p.served.Go(func() { p.server.Serve(l) })
}

// pageClients is how many connections there may be: anybody may open some, and the
// master has better use for its descriptors.
const pageClients = 64

// admit closes a connection that is one too many.
func (p *statusPage) admit(c net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		if p.clients.Add(1) > pageClients {
			c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		p.clients.Add(-1)
	}
}

// pause has nobody answered until serve: who is being answered has a moment.
func (p *statusPage) pause() {
	if p == nil || p.server == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), pagePause)
	defer cancel()
	if p.server.Shutdown(ctx) != nil {
		p.server.Close()
	}
	p.served.Wait()
}

func (p *statusPage) closed() bool { return p.over.Load() }

// close ends it, and cuts off who is being answered.
func (p *statusPage) close() {
	if p == nil {
		return
	}
	p.over.Store(true)
	p.once.Do(func() {
		if p.server != nil {
			p.server.Close()
		}
		p.served.Wait()
		p.socket.close()
	})
}
