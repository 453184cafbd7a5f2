package master

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"sluice/internal/assemble"
	"sluice/internal/scoreboard"
	"sluice/spawner"
)

// workerProcess is a running worker, as its master sees it.
type workerProcess struct {
	m     *Master
	place int // 1 to workers: what is shared knows it by that
	child *spawner.Child
	wire  *wire
	out   chan message // what the master says, in order
	ready chan error
	began time.Time
	own   []inheritedFile // descriptors that this worker alone gets, behind the others
	desk  *scriptDesk     // nil: no scripts of other users
}

// Bounds of a worker that does not listen: it is killed, and replaced. Whoever
// tells it something is not held up.
const (
	tellTimeout = 2 * time.Second
	tellQueue   = 4096 // messages
)

// tell sends a message, behind the caller's back. One that has ended hears
// nothing.
func (w *workerProcess) tell(m message) {
	if w.ended() {
		return
	}
	select {
	case w.out <- m:
	default:
		w.deaf(fmt.Errorf("%d messages wait for it", tellQueue))
	}
}

// talk sends what there is to tell, until the worker ends.
func (w *workerProcess) talk() {
	for {
		select {
		case m := <-w.out:
			w.wire.f.SetWriteDeadline(time.Now().Add(tellTimeout))
			err := w.wire.send(m)
			if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed) {
				w.deaf(err)
			}
		case <-w.child.Done():
			return
		}
	}
}

func (w *workerProcess) deaf(err error) {
	w.m.log.Error("worker does not listen, or talks nonsense, and is killed", "pid", w.child.PID(), "err", err)
	w.child.Signal(syscall.SIGKILL)
}

// ended reports whether the worker has been reaped.
func (w *workerProcess) ended() bool {
	select {
	case <-w.child.Done():
		return true
	default:
		return false
	}
}

// kill ends the worker and waits for that.
func (w *workerProcess) kill() {
	w.child.Signal(syscall.SIGKILL)
	<-w.child.Done()
}

// vacate takes back what the worker of a place held, which has been reaped.
func (m *Master) vacate(place int) {
	m.board.ClearPlace(place)
	m.shared.clear(place)
	m.acceptLock.Clear(place)
}

// workerStart is how long a worker may take to start.
const workerStart = 10 * time.Second

// startWorkers starts a worker at every place and waits until all accept.
func (m *Master) startWorkers() error {
	failed := make(chan error, len(m.workers))
	for i := range m.workers {
		go func() { failed <- m.startWorker(i + 1) }()
	}
	var first error
	for range m.workers {
		if err := <-failed; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// startWorker starts a worker and waits until it accepts.
func (m *Master) startWorker(place int) error {
	w, err := m.forkWorker(place)
	if err != nil {
		return fmt.Errorf("start worker: %w", err)
	}
	go w.listen()
	go w.talk()
	if !m.introduce(w) {
		w.kill()
		return errors.New("start worker: the server is being stopped")
	}
	select {
	case err = <-w.ready:
	case <-w.child.Done():
		err = fmt.Errorf("it ended: %v", w.child.Ending())
	case <-time.After(workerStart):
		err = fmt.Errorf("it is not ready after %v", workerStart)
	}
	if err != nil {
		w.kill()
		m.vacate(place)
		return fmt.Errorf("start worker: %w", err)
	}
	m.board.State(place, scoreboard.Running)
	m.log.Info("worker is ready", "pid", w.child.PID())
	go m.guard(w)
	return nil
}

// introduce tells a new worker what there is, and from then on what changes. It
// reports false when the server is being stopped: nobody would tell the worker.
func (m *Master) introduce(w *workerProcess) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping {
		return false
	}
	s := &setup{
		Version: m.opt.Version,
		Config:  m.cfg,
		Place:   w.place,
		Sockets: m.runtime.children,
	}
	for _, f := range append(m.inherited(w.place), w.own...) {
		s.Files = append(s.Files, f.name)
	}
	for _, a := range m.cfg.Apps {
		if m.ids.Apart(a) {
			s.Apart = append(s.Apart, a.Name)
		}
	}
	for _, sup := range m.sups {
		s.Events = append(s.Events, sup.Events()...)
	}
	m.workers[w.place-1] = w
	m.board.Worker(w.place, w.child.PID(), m.board.generation, scoreboard.Starting)
	w.tell(message{Setup: s})
	return true
}

// inheritedFile is a descriptor that workers get.
type inheritedFile struct {
	name string
	file *os.File
}

// inherited are the descriptors that the worker of a place gets of those that the
// master keeps, in the order of their numbers.
func (m *Master) inherited(place int) []inheritedFile {
	var all []inheritedFile
	for _, s := range m.sockets {
		all = append(all, inheritedFile{fileListener, s.of(place)})
	}
	if m.errlog != nil {
		all = append(all, inheritedFile{fileErrorLog, m.errlog})
	}
	if m.access != nil {
		all = append(all, inheritedFile{fileAccessLog, m.access})
	}
	all = append(all, inheritedFile{fileScoreboard, m.board.file})
	return slices.Concat(all, m.shared.files, m.cgroups.kill)
}

func (m *Master) forkWorker(place int) (*workerProcess, error) {
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
	w := &workerProcess{m: m, place: place, wire: newWire(ours), out: make(chan message, tellQueue),
		ready: make(chan error, 1), began: time.Now()}
	w.wire.most = maxWord
	if err := w.openOwn(); err != nil {
		ours.Close()
		w.closeOwn()
		return nil, err
	}
	files := []*os.File{null, os.Stdout, os.Stderr, theirs}
	for _, f := range append(m.inherited(w.place), w.own...) {
		files = append(files, f.file)
	}
	attr := &syscall.ProcAttr{
		Env: append(os.Environ(), workerVariable+"=1"),
		Sys: &syscall.SysProcAttr{Setpgid: true},
	}
	for _, f := range files {
		attr.Files = append(attr.Files, fdOf(f))
	}
	if m.ids.Workers != nil && os.Geteuid() == 0 {
		attr.Sys.Credential = m.ids.Workers.Credential()
	}
	OnMain(func() { w.child, err = m.reaper.Fork("/proc/self/exe", []string{"sluice: worker"}, attr) })
	w.closeOwn()
	if w.desk != nil {
		go w.desk.serve() // to its end at once, if there is no worker
	}
	if err != nil {
		ours.Close()
		return nil, err
	}
	return w, nil
}

// openOwn makes what this worker alone gets.
func (w *workerProcess) openOwn() error {
	if err := w.openLock(); err != nil {
		return err
	}
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
	m := w.m
	if !slices.ContainsFunc(m.places, func(p *assemble.Place) bool { return p != nil }) {
		return nil
	}
	conn, theirs, err := scriptPair()
	if err != nil {
		return err
	}
	w.own = append(w.own, inheritedFile{fileScripts, theirs})
	w.desk = newScriptDesk(m.places, conn, &spawner.Scripts{Reaper: m.reaper}, assemble.ScriptGrace(m.cfg), m.log)
	w.desk.bad = w.deaf
	m.mu.Lock()
	defer m.mu.Unlock()
	m.desks = append(slices.DeleteFunc(m.desks, (*scriptDesk).ended), w.desk)
	return nil
}

// fdOf is the number of a file, without the change to blocking that File.Fd
// would make: it would be shared with those who have the file too.
func fdOf(f *os.File) (fd uintptr) {
	rc, err := f.SyscallConn()
	if err != nil {
		return ^uintptr(0)
	}
	rc.Control(func(n uintptr) { fd = n })
	return fd
}

// listen takes what the worker says until it ends.
func (w *workerProcess) listen() {
	defer w.wire.close()
	err := w.wire.receive(func(m message) {
		switch {
		case m.Ready:
			w.started(nil)
		case m.Failed != "":
			w.started(errors.New(m.Failed))
		case m.Report != nil:
			if s := w.m.sups[m.Report.App]; s != nil {
				s.Report(*m.Report)
			}
		case m.Slow != nil:
			w.m.slow(w, *m.Slow)
		}
	})
	if err != nil && !errors.Is(err, os.ErrClosed) {
		w.m.log.Error("worker says what cannot be understood", "pid", w.child.PID(), "err", err)
		w.child.Signal(syscall.SIGKILL)
	}
}

// started takes the first word of how the start went; any other is nonsense.
func (w *workerProcess) started(err error) {
	select {
	case w.ready <- err:
	default:
	}
}

// guard replaces a worker that dies. What it held is free also while the server
// is being stopped: another worker may wait for it.
func (m *Master) guard(w *workerProcess) {
	<-w.child.Done()
	m.vacate(w.place)
	if m.isStopping() {
		return
	}
	m.log.Error("worker died and is replaced", "pid", w.child.PID(), "ending", w.child.Ending())
	pause := time.Duration(0)
	if time.Since(w.began) < time.Second {
		pause = workerPause
	}
	for {
		time.Sleep(pause)
		err := m.startWorker(w.place)
		if err == nil {
			return
		}
		if m.isStopping() {
			return
		}
		m.log.Error("worker could not be replaced", "err", err)
		pause = min(max(2*pause, workerPause), 10*time.Second)
	}
}

// workerPause keeps a worker that dies at once from being started without end.
const workerPause = 100 * time.Millisecond
