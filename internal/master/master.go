package master

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"

	"sluice/internal/config"
	"sluice/internal/early"
	"sluice/internal/systemd"
	"sluice/spawner"
)

// Exit statuses of a server.
const (
	ExitOK     = 0
	ExitConfig = 1
	ExitUsage  = 2
	ExitBind   = 3
	ExitExec   = 4
)

// ExitError is an error that has its own exit status.
type ExitError struct {
	Code int
	Err  error
}

func (e *ExitError) Error() string { return e.Err.Error() }
func (e *ExitError) Unwrap() error { return e.Err }

// Options of a server.
type Options struct {
	Version string
	Config  *config.Config
	// Load loads the configuration again, with what the command line adds, and
	// checks what can be checked; nil: there is nothing to load.
	Load func() (*config.Config, error)
	// Anew: the command line comes to the same server whenever it is executed, so
	// that another binary can take over.
	Anew bool
	// Ready is called when every listener accepts and the first children of
	// every app are ready, or have failed their first start.
	Ready func(listening []net.Addr)
}

// Master is a running server: what all generations have in common.
type Master struct {
	opt       Options
	log       *slog.Logger
	logTo     *logSwitch
	runtime   *runtimeDir
	control   *control
	reaper    *spawner.Reaper
	cgroups   cgroups
	bells     *spawner.Bells
	bellsFile *memory
	deaf      func() // ends the listening to the bells
	passed    systemd.Sockets
	opened    chan struct{}  // closed when all above is there
	ready     atomic.Bool    // said so
	pulse     chan struct{}  // taken by Run, as long as it is well
	ends      sync.WaitGroup // what ends behind a reload

	reloading sync.Mutex    // held by who makes another generation
	hups      chan struct{} // of one
	reloaded  chan struct{} // of one

	mu       sync.Mutex
	gens     []*generation // the newest last
	current  *generation   // that serves
	places   [spawner.Places]bool
	apps     []*app        // of all generations; replaced, never changed
	ringing  []*ledger     // theirs, likewise
	desks    []*scriptDesk // of workers, some of which may have gone
	stopping bool
	waiting  []*call // want to hear when the server has stopped

	stops    chan stopKind
	stopped  chan struct{}  // closed when a stop begins
	signaled chan os.Signal // that nobody has looked at
	steady   sync.RWMutex   // read by who changes what lasts, beside a reload; written by who describes it
	restarts atomic.Int32   // rolling ones, under way
	usr1     chan struct{}  // of one
	usr2     chan struct{}  // of one
	images   chan *image    // that Run is to execute
	asked    *call          // wants to hear of the upgrade that has led to this program; nil: nobody
}

func newMaster(o Options) *Master {
	m := &Master{opt: o, stops: make(chan stopKind, 8), stopped: make(chan struct{}), signaled: early.Signals,
		usr1: make(chan struct{}, 1), usr2: make(chan struct{}, 1), images: make(chan *image), opened: make(chan struct{}), hups: make(chan struct{}, 1), reloaded: make(chan struct{}, 1), pulse: make(chan struct{})}
	m.logTo, m.log = newLogSwitch()
	return m
}

// Run runs a server until it is stopped. It has to be called from below Main.
func Run(o Options) error {
	if isTrial() {
		return trial(o)
	}
	m := newMaster(o)
	defer signal.Stop(m.signaled)
	quit := make(chan struct{})
	var start func() error
	if Executed() {
		e, err := m.takeOver()
		if err != nil {
			return err
		}
		defer m.close()
		start = func() error { m.upgraded(e); return nil }
	} else {
		// Signals that come while the server is made wait: they would leave behind
		// what there is of it, and a reload would end it.
		signal.Notify(m.signaled, early.Meaning...)
		m.passed = systemd.Inherit()
		defer m.close()
		g, err := m.open()
		if err != nil {
			return err
		}
		start = func() error { return m.start(g) }
	}
	defer close(quit)
	go m.signals(quit)
	go m.watchdog(quit)
	started := make(chan error, 1)
	go func() { started <- start() }()
	for {
		select {
		case err := <-started:
			if err != nil {
				m.stop(stopNow)
				return err
			}
			started = nil
			go m.reloads(quit)
		case <-m.pulse:
		case i := <-m.images:
			i.failed <- m.execute(i)
		case k := <-m.stops:
			m.stop(k)
			return nil
		}
	}
}

// open takes everything that the server owns, and makes its first generation.
// Nothing runs yet.
func (m *Master) open() (*generation, error) {
	g := m.newGeneration(m.opt.Config, 1)
	g.state, m.current = serving, g
	if err := g.lookUp(); err != nil {
		return nil, err
	}
	m.logTo.to(g)
	g.warn()
	if g.ids.Workers == nil && os.Geteuid() == 0 {
		m.log.Warn("workers run as root: set user in the configuration")
	}
	var err error
	if m.runtime, err = openRuntime(g.cfg.Runtime, g.ids.Workers); err != nil {
		return nil, &ExitError{ExitBind, err}
	}
	if err := m.sweepLocks(); err != nil {
		return nil, &ExitError{ExitConfig, err}
	}
	if err := spawner.Subreaper(); err != nil {
		return nil, err
	}
	m.reaper = spawner.NewReaper()
	m.openCgroups()
	if err := m.openBells(); err != nil {
		return nil, err
	}
	if err := g.take(nil); err != nil {
		return nil, err
	}
	if m.control, err = openControl(g.cfg.Control, m.command); err != nil {
		return nil, &ExitError{ExitBind, err}
	}
	if err := g.board.show(); err != nil {
		return nil, &ExitError{ExitConfig, err}
	}
	close(m.opened)
	g.board.keep(g.sources())
	g.page.serve(m)
	return g, nil
}

// start starts the workers and the children, and says when they are ready.
func (m *Master) start(g *generation) error {
	m.reloading.Lock()
	defer m.reloading.Unlock()
	for _, s := range g.sockets {
		if err := s.open(g.beside[s]); err != nil {
			return &ExitError{ExitBind, err}
		}
		delete(g.beside, s)
	}
	if err := g.startWorkers(); err != nil {
		return err
	}
	if err := g.startApps(); err != nil {
		return err
	}
	if m.isStopping() {
		return nil // the children have not failed, they were told to end
	}
	for _, at := range g.addresses() {
		m.log.Info("listening", "address", at)
	}
	m.ready.Store(true)
	m.opt.Ready(g.addresses())
	m.tellReady()
	return nil
}

func (m *Master) isStopping() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stopping
}

func (m *Master) signals(quit <-chan struct{}) {
	timely := 0
	for {
		var s os.Signal
		select {
		case s = <-m.signaled:
		case <-quit:
			return
		}
		switch s {
		case syscall.SIGQUIT:
			m.ask(stopGraceful)
		case syscall.SIGTERM, syscall.SIGINT:
			if timely++; timely == 1 {
				m.ask(stopTimely)
			} else {
				m.ask(stopNow)
			}
		case syscall.SIGHUP:
			note(m.hups)
		case syscall.SIGUSR1:
			note(m.usr1)
		case syscall.SIGUSR2:
			note(m.usr2)
		}
	}
}

// note leaves word in a channel of one.
func note(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default: // the one before has not been taken
	}
}

// close gives back what open took, and tells those who wait for it.
func (m *Master) close() {
	m.reloading.Lock() // who is at it has been told that the server stops
	defer m.reloading.Unlock()
	m.ends.Wait()
	m.log.Info("stopped") // while there is a log
	gens := m.gens
	if g := m.current; g != nil && len(gens) == 0 {
		gens = append(gens, g) // it came no further
	}
	for _, g := range gens {
		g.page.close()
		for _, s := range g.sockets {
			s.close()
		}
		g.closeOwn()
	}
	if m.control != nil {
		m.control.close()
	}
	if m.reaper != nil {
		m.reaper.Close()
	}
	m.cgroups.close()
	if m.deaf != nil {
		m.deaf()
		m.bellsFile.file.Close()
	}
	if m.runtime != nil {
		m.runtime.close()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.waiting {
		c.answer(Result{OK: true})
	}
}

// ExitCode is the exit status for the error of Run.
func ExitCode(err error) int {
	var e *ExitError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &e):
		return e.Code
	}
	return ExitConfig
}
