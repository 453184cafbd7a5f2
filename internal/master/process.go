package master

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"sluice/internal/assemble"
	"sluice/internal/scoreboard"
	"sluice/internal/systemd"
	"sluice/spawner"
)

// workerProcess is a running worker, as its master sees it.
type workerProcess struct {
	m       *Master
	gen     *generation
	index   int // 1 to workers: what the generation shares knows it by that
	place   int // likewise what all generations share
	child   *spawner.Child
	wire    *wire
	inbox   *net.UnixConn // by which it gets descriptors
	out     chan message  // what the master says, in order
	ready   chan error
	began   time.Time
	missing bool            // it died in a draft, and nobody has replaced it; under the master's mu
	own     []inheritedFile // descriptors that this worker alone gets, behind the others
	desk    *scriptDesk     // nil: no scripts of other users

	mu     sync.Mutex
	last   uint64 // order
	orders map[uint64]chan struct{}
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

// number makes a message an order: done is closed when the worker says that it
// has carried it out.
func (w *workerProcess) number() (n uint64, done <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	c := make(chan struct{})
	w.orders[w.last] = c
	return w.last, c
}

// order tells a worker to do something, and returns what is closed when it has.
func (w *workerProcess) order(m message) (done <-chan struct{}) {
	m.Order, done = w.number()
	w.tell(m)
	return done
}

// carriedOut takes the worker's word for an order.
func (w *workerProcess) carriedOut(n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.orders[n]; c != nil {
		close(c)
		delete(w.orders, n)
	}
}

// await waits until a worker has carried out an order, or has ended; false: it has
// done neither in time.
func (w *workerProcess) await(done <-chan struct{}) bool {
	t := time.NewTimer(orderTime)
	defer t.Stop()
	select {
	case <-done:
	case <-w.child.Done():
	case <-t.C:
		return false
	}
	return true
}

// insist is await for what others depend on: one that does not obey is killed.
func (w *workerProcess) insist(done <-chan struct{}) {
	if !w.await(done) {
		w.deaf(fmt.Errorf("an order has not been carried out after %v", orderTime))
		<-w.child.Done()
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
	w := &workerProcess{m: m, gen: g, index: index, place: g.places[index-1], wire: newWire(ours), out: make(chan message, tellQueue),
		ready: make(chan error, 1), orders: map[uint64]chan struct{}{}, began: time.Now()}
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
	w.desk = newScriptDesk(g.scripts, conn, &spawner.Scripts{Reaper: m.reaper}, assemble.ScriptGrace(g.cfg), m.log)
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
		case m.Done != 0:
			w.carriedOut(m.Done)
		case m.Report != nil:
			if a := w.gen.apps[m.Report.App]; a != nil && a.sup != nil {
				a.sup.Report(*m.Report)
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

// guard sees to what has to happen when a worker ends. What it held is free also
// while the server is being stopped: another worker may wait for it.
func (w *workerProcess) guard() {
	<-w.child.Done()
	w.vacate()
	w.inbox.Close()
	m := w.m
	m.mu.Lock()
	state, stopping := w.gen.state, m.stopping
	switch state {
	case serving:
		w.gen.replacing++
	case draft:
		w.missing = true
	}
	m.mu.Unlock()
	switch {
	case stopping:
	case state == draft:
		select {
		case w.gen.lost <- fmt.Errorf("a worker of the new generation ended: %v", w.child.Ending()):
		default:
		}
	case state == draining:
		m.drained(w)
	default:
		w.replace()
	}
}

// replace starts the successor of a worker that has died, and counts as replacing,
// unless its generation has a successor itself by then.
func (w *workerProcess) replace() {
	m := w.m
	m.log.Error("worker died and is replaced", "pid", w.child.PID(), "ending", w.child.Ending())
	w.succeed()
	m.mu.Lock()
	w.gen.replacing--
	m.mu.Unlock()
	m.endIfGone(w.gen)
}

func (w *workerProcess) succeed() {
	m := w.m
	pause := time.Duration(0)
	if time.Since(w.began) < time.Second {
		pause = workerPause
	}
	for {
		time.Sleep(pause)
		err := w.gen.startWorker(w.index)
		m.mu.Lock()
		over := m.stopping || w.gen.state == draining
		m.mu.Unlock()
		switch {
		case err == nil:
			return
		case over:
			return
		}
		m.log.Error("worker could not be replaced", "err", err)
		pause = min(max(2*pause, workerPause), 10*time.Second)
	}
}

// workerPause keeps a worker that dies at once from being started without end.
const workerPause = 100 * time.Millisecond

// forget takes a worker that has ended off its generation's list.
func (w *workerProcess) forget() {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if g := w.gen; g.workers[w.index-1] == w {
		g.workers[w.index-1] = nil
	}
}

// drained is the end of a worker whose generation does not serve any more.
func (m *Master) drained(w *workerProcess) {
	w.forget()
	level := m.log.Info
	if !w.child.Ending().OK() {
		level = m.log.Error
	}
	level("worker of an earlier generation has ended", "pid", w.child.PID(), "generation", w.gen.number, "ending", w.child.Ending())
	m.endIfGone(w.gen)
}

// endIfGone ends a generation that does not serve any more with its last worker.
func (m *Master) endIfGone(g *generation) {
	m.mu.Lock()
	last := !m.stopping && g.state == draining && !g.ending && g.replacing == 0 && len(g.living()) == 0
	g.ending = g.ending || last
	m.mu.Unlock()
	if last {
		m.end(g)
	}
}
