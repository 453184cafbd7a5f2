package master

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"sluice/internal/early"
	"sluice/lockmodes"
	"sluice/spawner"
)

// successor puts a master together from an estate.
type successor struct {
	m        *Master
	e        *estate
	children map[int]*spawner.Child // by pid
	sockets  []*socket
	seats    []*seats
	pages    []*statusPage
	apps     []*app
	desks    []*scriptDesk
	listener *net.UnixListener // of the control socket
}

// takeOver makes this master, in a program that was executed in the place of
// another, what the other one was. What cannot go on is ended, and nothing is left.
func (m *Master) takeOver() (*estate, error) {
	fd, err := strconv.Atoi(os.Getenv(early.EstateVariable))
	os.Unsetenv(early.EstateVariable)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", early.EstateVariable, err)
	}
	e, err := readEstate(fd)
	if err != nil {
		return nil, fmt.Errorf("what the server was: %w", err)
	}
	s := &successor{m: m, e: e, children: map[int]*spawner.Child{}}
	if err := s.resume(); err != nil {
		err = fmt.Errorf("the new program cannot take over, and the server ends: %w", err)
		m.log.Error("upgrade failed", "err", err)
		s.giveUp()
		return nil, err
	}
	return e, nil
}

func (s *successor) resume() error {
	m := s.m
	m.reloading.Lock() // until upgraded
	s.adopt()
	m.runtime = &runtimeDir{s.e.Runtime, filepath.Join(s.e.Runtime, "children"), s.file(s.e.Lock, filepath.Join(s.e.Runtime, "lock"))}
	if err := keepDescriptors(s.e.Descriptors, true); err != nil {
		return err
	}
	if err := spawner.Subreaper(); err != nil {
		return err
	}
	m.openCgroups()
	m.passed = map[string][]*os.File{}
	for name, fds := range s.e.Passed {
		m.passed[name] = s.files(fds, name)
	}
	bells, err := s.memory(fileBells, s.e.Bells, spawner.BellsSize)
	if err != nil {
		return err
	}
	m.listenTo(bells)
	for _, step := range []func() error{s.shared, s.ledgers, s.generations, s.supervisors, s.scripts, s.workers, s.control} {
		if err := step(); err != nil {
			return err
		}
	}
	s.begin()
	return nil
}

// adopt makes all children known before the first status is taken.
func (s *successor) adopt() {
	add := func(c spawner.ChildState) { s.children[c.PID] = spawner.Adopt(c) }
	for _, g := range s.e.Generations {
		for _, w := range g.Workers {
			add(w.Child)
		}
	}
	for _, a := range s.e.Apps {
		if a.Supervisor == nil {
			continue
		}
		for _, slot := range a.Supervisor.Slots {
			if slot.Child != nil {
				add(*slot.Child)
			}
		}
	}
	for _, d := range s.e.Desks {
		for _, r := range d.Running {
			add(r.Child)
		}
	}
	s.m.reaper = spawner.NewReaper(slices.Collect(maps.Values(s.children))...)
}

func (s *successor) child(c spawner.ChildState) *spawner.Child { return s.children[c.PID] }

// begin has everything go on.
func (s *successor) begin() {
	m := s.m
	for _, a := range s.apps {
		if a.sup != nil {
			a.sup.Resume()
		}
	}
	for i, d := range s.desks {
		for _, r := range s.e.Desks[i].Running {
			d.starts.Go(func() { d.attend(r.Number, s.child(r.Child)) })
		}
		go d.serve()
	}
	var living, gone []*workerProcess
	for _, g := range m.gens {
		for i, w := range g.workers {
			if w != nil {
				living = append(living, w)
			} else if place := g.places[i]; place != 0 { // else it has been given back
				gone = append(gone, &workerProcess{m: m, gen: g, index: i + 1, place: place})
			}
		}
	}
	for _, w := range gone {
		w.vacate()
		if w.gen.state == serving {
			w.gen.replacing++
		} else {
			m.giveBack(w)
		}
	}
	for _, w := range living {
		go w.listen()
		go w.talk()
		go w.guard()
	}
	for _, w := range gone {
		if w.gen.state == serving {
			go w.takePlace()
		}
	}
	for _, g := range slices.Clone(m.gens) {
		m.endIfGone(g)
	}
	for _, a := range s.apps {
		m.tune(a)
	}
	m.current.board.keep(m.current.sources())
	m.current.page.serve(m)
	m.ready.Store(true)
	close(m.opened)
	s.answer()
}

// answer goes on with the clients of the control socket.
func (s *successor) answer() {
	c := serveControl(s.listener, s.m.command)
	s.m.control = c
	for _, d := range s.e.Calls {
		f := s.file(d.Conn, "control connection")
		conn, err := net.FileConn(f)
		f.Close()
		u, ok := conn.(*net.UnixConn)
		if err != nil || !ok {
			continue // it has left
		}
		k := &call{conn: u, from: c}
		if d.Command != nil {
			k.read, k.Command = true, *d.Command
		}
		c.begin(k)
		switch {
		case d.Command == nil:
			go c.handle(k)
		case d.Asked:
			s.m.asked = k
		default:
			go c.run(k)
		}
	}
}

// giveUp ends all that was taken over: an orderly end is not to be had any more.
func (s *successor) giveUp() {
	for _, c := range s.children {
		c.Signal(syscall.SIGKILL)
	}
	limit, cancel := context.WithTimeout(context.Background(), holdTime)
	defer cancel()
	for _, c := range s.children {
		select {
		case <-c.Done():
		case <-limit.Done():
		}
	}
	for _, d := range append(s.e.Sockets, pageSockets(s.e.Pages)...) {
		if d.Path != "" {
			os.Remove(d.Path)
		}
	}
	for _, g := range s.e.Generations {
		if l, err := lockmodes.Resume(g.Lock, nil); err == nil {
			l.Close()
		}
	}
	if sa, err := unix.Getsockname(s.e.Control); err == nil {
		if u, ok := sa.(*unix.SockaddrUnix); ok {
			os.Remove(u.Name)
		}
	}
	s.m.runtime.close()
}

func pageSockets(all []estatePage) (sockets []estateSocket) {
	for _, p := range all {
		sockets = append(sockets, p.Socket)
	}
	return sockets
}
