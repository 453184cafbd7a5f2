package master

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"sluice/internal/assemble"
	"sluice/internal/config"
	"sluice/internal/front/peer"
	"sluice/internal/poll"
	"sluice/internal/scoreboard"
	"sluice/lockmodes"
	"sluice/spawner"
)

// file is nil for what there is not.
func (s *successor) file(fd int, name string) *os.File {
	if fd < 0 {
		return nil
	}
	return os.NewFile(uintptr(fd), name)
}

func (s *successor) files(fds []int, name string) (all []*os.File) {
	for _, fd := range fds {
		all = append(all, s.file(fd, name))
	}
	return all
}

func (s *successor) memory(name string, fd, size int) (*memory, error) {
	f := s.file(fd, name)
	b, err := mapShared(f, size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return &memory{inheritedFile{name, f}, b}, nil
}

func (s *successor) socket(d estateSocket) (*socket, error) {
	sa, err := unix.Getsockname(d.File)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	return &socket{file: s.file(d.File, fileListener), addr: poll.Addr(sa), path: d.Path, more: s.files(d.More, fileListener),
		backlog: d.Backlog, passed: d.Passed}, nil
}

// shared is what several generations may have.
func (s *successor) shared() error {
	for _, d := range s.e.Sockets {
		one, err := s.socket(d)
		if err != nil {
			return err
		}
		s.sockets = append(s.sockets, one)
	}
	for _, d := range s.e.Pages {
		one, err := s.socket(d.Socket)
		if err != nil {
			return err
		}
		s.pages = append(s.pages, &statusPage{address: d.Address, socket: one})
	}
	for _, d := range s.e.Seats {
		mem, err := s.memory(fileSeats, d.Memory, d.Size)
		if err != nil {
			return err
		}
		s.seats = append(s.seats, &seats{d.Options, mem, peer.OpenSeats(d.Options, mem.bytes, 0)})
	}
	return nil
}

// ledgers makes the apps without their supervisors.
func (s *successor) ledgers() error {
	m := s.m
	for _, d := range s.e.Apps {
		a := &app{name: d.Name, label: d.Label, cfg: d.Config, max: d.Max, started: true, leaving: d.Leaving}
		options := assemble.LedgersOf(d.Config)
		if len(options) != len(d.Ledgers) {
			return fmt.Errorf("app %q has %d ledgers, not %d", d.Name, len(d.Ledgers), len(options))
		}
		for i, l := range d.Ledgers {
			mem, err := s.memory(fileLedger+l.Name, l.Memory, l.Size)
			if err != nil {
				return err
			}
			o, fits := options[i].Options.Within(l.Made)
			if !fits {
				o = l.Made
			}
			one := &ledger{name: l.Name, made: l.Made, memory: mem}
			if one.Shared, err = spawner.OpenLedger(o, mem.bytes, m.bells, 0); err != nil {
				return fmt.Errorf("ledger %q: %w", l.Name, err)
			}
			a.ledgers = append(a.ledgers, one)
		}
		s.apps = append(s.apps, a)
		if err := m.add(a); err != nil {
			return err
		}
	}
	return nil
}

// generations makes them without their workers.
func (s *successor) generations() error {
	m := s.m
	for i, d := range s.e.Generations {
		g := m.newGeneration(d.Config, d.Number)
		if err := s.generation(g, d); err != nil {
			return fmt.Errorf("generation %d: %w", d.Number, err)
		}
		m.mu.Lock()
		g.state = serving
		if d.Draining {
			g.state = draining
		}
		m.gens = append(m.gens, g)
		if i == s.e.Current {
			m.current = g
		}
		for _, place := range g.places {
			m.places[place] = true
		}
		m.mu.Unlock()
	}
	m.logTo.to(m.current)
	return nil
}

func (s *successor) generation(g *generation, d estateGeneration) (err error) {
	if g.cfg, err = g.m.activated(g.loaded); err != nil {
		return err
	}
	if g.ids, err = assemble.LookUpIdentities(g.cfg); err != nil {
		return err
	}
	if g.scripts, err = assemble.Places(g.cfg, g.ids, os.Environ()); err != nil {
		return err
	}
	g.errlog, g.access = s.file(d.ErrorLog, g.cfg.Log.Error), s.file(d.Access, g.cfg.Log.Access)
	if g.board, err = s.board(d.Board); err != nil {
		return err
	}
	g.board.kept, g.board.path = g.cfg.Status.Scoreboard != "memory", g.cfg.Status.Scoreboard
	g.board.generation = d.Number
	if g.lock, err = lockmodes.Resume(d.Lock, s.file(d.Lock.File, fileAcceptLock)); err != nil {
		return err
	}
	g.mode = d.Lock.Options.Mode
	for _, n := range d.Sockets {
		g.sockets = append(g.sockets, s.sockets[n])
	}
	for name, n := range d.Apps {
		g.apps[name] = s.apps[n]
	}
	if d.Seats >= 0 {
		g.seats = s.seats[d.Seats]
	}
	if d.Page >= 0 {
		g.page = s.pages[d.Page]
	}
	g.places = d.Places
	return nil
}

func (s *successor) board(d estateBoard) (*board, error) {
	b := &board{file: s.file(d.File, d.Name), shown: d.Shown, layout: d.Layout, places: d.Layout.Places, quit: make(chan struct{})}
	var err error
	if b.mem, err = mapShared(b.file, d.Size); err != nil {
		return nil, err
	}
	b.Owner, err = scoreboard.Resume(b.mem, d.Layout, d.Owner)
	return b, err
}

// newest is the last generation that has an app.
func (s *successor) newest(a *app) (*generation, *config.App) {
	for _, g := range slices.Backward(s.m.gens) {
		for _, c := range g.cfg.Apps {
			if g.apps[c.Name] == a {
				return g, c
			}
		}
	}
	return nil, nil
}

func (s *successor) supervisors() error {
	for i, d := range s.e.Apps {
		a := s.apps[i]
		if d.Supervisor == nil {
			continue
		}
		g, c := s.newest(a)
		if g == nil {
			return fmt.Errorf("app %q is of no generation", a.name)
		}
		o, err := g.options(a, c)
		if err != nil {
			return err
		}
		a.limits = o
		o.Max = a.max
		a.sup = spawner.ResumeSupervisor(o, *d.Supervisor, spawner.Inheritance{File: s.file, Child: s.child})
	}
	return nil
}

// scripts makes the desks. One whose worker has gone gets nobody to tell, and ends
// what it still has.
func (s *successor) scripts() error {
	m := s.m
	for _, d := range s.e.Desks {
		var conn *net.UnixConn
		var err error
		if d.Conn >= 0 {
			conn, err = packetConn(s.file(d.Conn, fileScripts))
		} else {
			var other *os.File
			if conn, other, err = packetPair(fileScripts); err == nil {
				other.Close()
			}
		}
		if err != nil {
			return err
		}
		var places []*assemble.Place
		for _, g := range m.gens {
			if g.number == d.Generation {
				places = g.scripts
			}
		}
		desk := newScriptDesk(places, conn, &spawner.Scripts{Reaper: m.reaper, Do: OnMain}, d.Grace, m.log)
		desk.generation = d.Generation
		desk.bad = func(err error) { m.log.Error("a worker that has gone talks nonsense", "err", err) }
		for _, r := range d.Running {
			c := s.child(r.Child)
			desk.owner.Resume(c, r.Stop)
			desk.running[r.Number] = deskScript{r.App, r.Stop, c}
			desk.count[r.App]++
		}
		s.desks = append(s.desks, desk)
	}
	m.desks = slices.Clone(s.desks)
	return nil
}

func (s *successor) workers() error {
	for i, d := range s.e.Generations {
		g := s.m.gens[i]
		for _, d := range d.Workers {
			inbox, err := packetConn(s.file(d.Inbox, fileInbox))
			if err != nil {
				return err
			}
			w := &workerProcess{m: s.m, gen: g, index: d.Index, place: d.Place, child: s.child(d.Child), wire: newWire(s.file(d.Wire, "control")),
				inbox: inbox, secret: d.Secret, out: make(chan saying, tellQueue), ready: make(chan error, 1), began: d.Began,
				last: d.Order, orders: map[uint64]chan struct{}{}}
			w.wire.most, w.wire.part = maxWord, d.Part
			if d.Desk >= 0 {
				w.desk = s.desks[d.Desk]
				w.desk.bad = w.deaf
			}
			g.workers[d.Index-1] = w
		}
	}
	return nil
}

// control takes over the control socket, and the clients that wait there.
func (s *successor) control() error {
	f := s.file(s.e.Control, "control socket")
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return err
	}
	u, ok := l.(*net.UnixListener)
	if !ok {
		return errors.New("the control socket is none")
	}
	u.SetUnlinkOnClose(true)
	s.m.control = serveControl(u, s.m.command)
	return nil
}
