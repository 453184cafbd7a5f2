package master

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"sluice/internal/assemble"
	"sluice/internal/scoreboard"
	"sluice/internal/systemd"
	"sluice/spawner"
)

// workerStart is how long a worker may take to start, and orderTime how long to
// carry out an order.
const (
	workerStart = 10 * time.Second
	orderTime   = 10 * time.Second
)

// startWorkers starts all workers of a generation and waits until they are ready.
// Those of one that serves accept then.
func (g *generation) startWorkers() error {
	failed := make(chan error, len(g.workers))
	for i := range g.workers {
		go func() { failed <- g.startWorker(i + 1) }()
	}
	var first error
	for range g.workers {
		if err := <-failed; err != nil && first == nil {
			first = err
		}
	}
	return first
}

var (
	errStopping = errors.New("the server is being stopped")
	errReplaced = errors.New("another generation has taken the place of its own")
)

// startWorker starts a worker and waits until it is ready; if its generation serves
// also until it accepts.
func (g *generation) startWorker(index int) error {
	g.m.steady.RLock()
	defer g.m.steady.RUnlock()
	w, err := g.fork(index)
	if err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	go w.listen()
	go w.talk()
	if err = w.introduce(); err == nil {
		select {
		case err = <-w.ready:
		case <-w.child.Done():
			err = fmt.Errorf("it ended: %v", w.child.Ending())
		case <-time.After(workerStart):
			err = fmt.Errorf("it is not ready after %v", workerStart)
		}
	}
	if err == nil {
		err = w.begin()
	}
	if err != nil {
		w.kill()
		w.vacate()
		w.inbox.Close()
		w.forget()
		return fmt.Errorf("start worker: %w", err)
	}
	go w.guard()
	return nil
}

// begin has a worker that is ready accept, if its generation serves.
func (w *workerProcess) begin() error {
	w.m.mu.Lock()
	state := w.gen.state
	w.m.mu.Unlock()
	switch state {
	case draft:
		return nil // it is told later
	case draining:
		return errReplaced
	}
	w.insist(w.order(message{Accept: true}))
	if w.ended() {
		return fmt.Errorf("it ended: %v", w.child.Ending())
	}
	w.state(scoreboard.Running)
	w.m.log.Info("worker is ready", "pid", w.child.PID(), "generation", w.gen.number)
	w.m.bequeathAll()
	return nil
}

// introduce tells a new worker what there is, and from then on what changes.
func (w *workerProcess) introduce() error {
	m, g := w.m, w.gen
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.stopping:
		return errStopping // nobody would tell the worker
	case g.state == draining:
		return errReplaced
	}
	s := &setup{
		Version: m.opt.Version,
		Config:  g.cfg,
		Index:   w.index,
		Place:   w.place,
		Secret:  w.secret,
		Sockets: m.runtime.children,
		Labels:  map[string]string{},
		Rooms:   map[string]spawner.Room{},
	}
	for _, f := range append(g.inherited(w.index), w.own...) {
		s.Files = append(s.Files, f.name)
	}
	for _, c := range g.cfg.Apps {
		if g.ids.Apart(c) {
			s.Apart = append(s.Apart, c.Name)
		}
		a := g.apps[c.Name]
		s.Labels[c.Name] = a.label
		for i, n := range assemble.LedgersOf(c) {
			o, _ := n.Options.Within(a.ledgers[i].made)
			s.Rooms[n.Name] = o.Room
		}
		if a.sup != nil {
			s.Events = append(s.Events, a.sup.Events()...)
		}
	}
	g.workers[w.index-1] = w
	g.board.Worker(w.index, w.child.PID(), g.number, scoreboard.Starting)
	w.tell(message{Setup: s})
	return nil
}

// inheritedFile is a descriptor that workers get.
type inheritedFile struct {
	name string
	file *os.File
}

// inherited are the descriptors that the worker of an index gets of those that the
// master keeps, in the order of their numbers.
func (g *generation) inherited(index int) []inheritedFile {
	var all []inheritedFile
	for _, s := range g.sockets {
		all = append(all, inheritedFile{fileListener, g.of(s, index)})
	}
	if g.errlog != nil {
		all = append(all, inheritedFile{fileErrorLog, g.errlog})
	}
	if g.access != nil {
		all = append(all, inheritedFile{fileAccessLog, g.access})
	}
	all = append(all, inheritedFile{fileScoreboard, g.board.file}, g.m.bellsFile.inheritedFile)
	for _, c := range g.cfg.Apps {
		a := g.apps[c.Name]
		for _, l := range a.ledgers {
			all = append(all, l.memory.inheritedFile)
		}
		if a.kill != nil {
			all = append(all, inheritedFile{fileKill, a.kill})
		}
	}
	if g.seats != nil {
		all = append(all, g.seats.memory.inheritedFile)
	}
	return all
}

func (g *generation) fork(index int) (*workerProcess, error) {
	m := g.m
	ours, theirs, err := wirePair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	w := &workerProcess{m: m, gen: g, index: index, place: g.places[index-1], wire: newWire(ours), out: make(chan saying, tellQueue),
		ready: make(chan error, 1), orders: map[uint64]chan struct{}{}, began: time.Now(), secret: rand.Text()}
	w.wire.most = maxWord
	fail := func(err error) (*workerProcess, error) {
		ours.Close()
		if w.inbox != nil {
			w.inbox.Close()
		}
		return nil, err
	}
	if err := w.openOwn(); err != nil {
		w.closeOwn()
		return fail(err)
	}
	files := []*os.File{null, os.Stdout, os.Stderr, theirs}
	for _, f := range append(g.inherited(index), w.own...) {
		files = append(files, f.file)
	}
	attr := &syscall.ProcAttr{
		Env: append(systemd.Private(os.Environ()), workerVariable+"=1"),
		Sys: &syscall.SysProcAttr{Setpgid: true},
	}
	for _, f := range files {
		attr.Files = append(attr.Files, fdOf(f))
	}
	if g.ids.Workers != nil && os.Geteuid() == 0 {
		attr.Sys.Credential = g.ids.Workers.Credential()
	}
	OnMain(func() { w.child, err = m.reaper.Fork("/proc/self/exe", []string{"sluice: worker"}, attr) })
	w.closeOwn()
	if w.desk != nil {
		go w.desk.serve() // to its end at once, if there is no worker
	}
	if err != nil {
		return fail(err)
	}
	return w, nil
}

// openOwn makes what this worker alone gets.
func (w *workerProcess) openOwn() error {
	f, err := w.gen.lock.File()
	if err != nil {
		return err
	}
	if f != nil {
		w.own = append(w.own, inheritedFile{fileAcceptLock, f})
	}
	if w.inbox, f, err = packetPair(fileInbox); err != nil {
		return err
	}
	w.own = append(w.own, inheritedFile{fileInbox, f})
	return w.openDesk()
}

// closeOwn closes it here: as long as it is open, what the worker has locked
// stays locked when it is killed.
func (w *workerProcess) closeOwn() {
	for _, f := range w.own {
		f.file.Close()
	}
}

// openDesk makes who starts the worker's scripts of other users, if there are
// any.
func (w *workerProcess) openDesk() error {
	m, g := w.m, w.gen
	if !slices.ContainsFunc(g.scripts, func(p *assemble.Place) bool { return p != nil }) {
		return nil
	}
	conn, theirs, err := packetPair(fileScripts)
	if err != nil {
		return err
	}
	w.own = append(w.own, inheritedFile{fileScripts, theirs})
	w.desk = newScriptDesk(g.scripts, conn, &spawner.Scripts{Reaper: m.reaper, Do: OnMain}, assemble.ScriptGrace(g.cfg), m.log)
	w.desk.bad, w.desk.generation = w.deaf, g.number
	m.mu.Lock()
	defer m.mu.Unlock()
	m.desks = append(slices.DeleteFunc(m.desks, (*scriptDesk).ended), w.desk)
	return nil
}

// fdOf is the number of a file, without the change to blocking that File.Fd
// would make: it would be shared with those who have the file too.
func fdOf(f *os.File) (fd uintptr) {
	fd = ^uintptr(0) // of one that is closed
	if rc, err := f.SyscallConn(); err == nil {
		rc.Control(func(n uintptr) { fd = n })
	}
	return fd
}
