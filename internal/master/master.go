package master

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"sluice/internal/assemble"
	"sluice/internal/config"
	"sluice/lockmodes"
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
	// Ready is called when every listener accepts and the first children of
	// every app are ready, or have failed their first start.
	Ready func(listening []net.Addr)
}

// Master is a running server.
type Master struct {
	opt        Options
	cfg        *config.Config
	log        *slog.Logger
	ids        *assemble.Identities
	places     []*assemble.Place
	runtime    *runtimeDir
	sockets    []*socket
	errlog     *os.File // nil: standard error
	access     *os.File // nil: none, or standard output
	control    *control
	reaper     *spawner.Reaper
	sups       map[string]*spawner.Supervisor
	shared     *shared
	cgroups    cgroups
	board      *board
	acceptMode lockmodes.Mode
	acceptLock *lockmodes.Shared
	opened     chan struct{} // closed when all above is there

	mu       sync.Mutex
	workers  []*workerProcess // by place - 1; nil until it has been forked
	desks    []*scriptDesk    // of workers, some of which may have gone
	stopping bool
	waiting  []*net.UnixConn // want to hear when the server has stopped

	stops chan stopKind
}

// Run runs a server until it is stopped. It has to be called from below Main.
func Run(o Options) error {
	m := &Master{opt: o, cfg: o.Config, stops: make(chan stopKind, 8), opened: make(chan struct{}), sups: map[string]*spawner.Supervisor{},
		workers: make([]*workerProcess, o.Config.Workers)}
	defer m.close()
	if err := m.open(); err != nil {
		return err
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	go m.signals(signals)
	started := make(chan error, 1)
	go func() { started <- m.start() }()
	for {
		select {
		case err := <-started:
			if err != nil {
				m.stop(stopNow)
				return err
			}
			started = nil
		case k := <-m.stops:
			m.stop(k)
			return nil
		}
	}
}

// open takes everything that the server owns. Nothing runs yet.
func (m *Master) open() error {
	var err error
	if m.ids, err = assemble.LookUpIdentities(m.cfg); err != nil {
		return &ExitError{ExitConfig, err}
	}
	if m.places, err = assemble.Places(m.cfg, m.ids, os.Environ()); err != nil {
		return &ExitError{ExitExec, err}
	}
	if err := m.openLogs(); err != nil {
		return &ExitError{ExitConfig, err}
	}
	if m.ids.Workers == nil && os.Geteuid() == 0 {
		m.log.Warn("workers run as root: set user in the configuration")
	}
	if m.runtime, err = openRuntime(m.cfg.Runtime, m.ids.Workers); err != nil {
		return &ExitError{ExitBind, err}
	}
	if m.board, err = openBoard(m.cfg, m.opt.Version); err != nil {
		return &ExitError{ExitConfig, err}
	}
	if err := m.openAccept(); err != nil {
		return &ExitError{ExitConfig, err}
	}
	if err := m.openSockets(); err != nil {
		return &ExitError{ExitBind, err}
	}
	if m.control, err = openControl(m.cfg.Control, m.command); err != nil {
		return &ExitError{ExitBind, err}
	}
	if err := spawner.Subreaper(); err != nil {
		return err
	}
	if m.shared, err = createShared(m.cfg); err != nil {
		return err
	}
	m.reaper = spawner.NewReaper()
	m.openCgroups()
	if err := m.openSupervisors(); err != nil {
		return err
	}
	close(m.opened)
	m.board.keep(m.sources())
	return nil
}

func (m *Master) openLogs() (err error) {
	var out io.Writer = os.Stderr
	if m.cfg.Log.Error != "stderr" {
		if m.errlog, err = assemble.OpenLog(m.cfg.Log.Error); err != nil {
			return fmt.Errorf("error log: %w", err)
		}
		out = m.errlog
	}
	if a := m.cfg.Log.Access; a != "" && a != "stdout" {
		if m.access, err = assemble.OpenLog(a); err != nil {
			return fmt.Errorf("access log: %w", err)
		}
	}
	m.log = NewLog(out, m.cfg.Log.Level)
	for _, key := range m.cfg.Unused() {
		m.log.Warn("a key of the configuration has no effect", "key", key)
	}
	for _, key := range m.cfg.Exposed() {
		m.log.Warn("a file with a secret can be read by others", "key", key)
	}
	return nil
}

func (m *Master) openSupervisors() error {
	forker := &spawner.Forker{Reaper: m.reaper, Do: OnMain}
	for _, o := range assemble.Supervisors(m.cfg, m.runtime.children, m.ids, m.log) {
		o.Start, o.Event, o.Ledger = forker.Start, m.event, m.shared.ledgers[o.App]
		var err error
		if o.Cgroup, err = m.cgroups.app(o.App); err != nil {
			return fmt.Errorf("control group of app %q: %w", o.App, err)
		}
		s, err := spawner.NewSupervisor(o)
		if err != nil {
			return &ExitError{ExitBind, fmt.Errorf("app %q: %w", o.App, err)}
		}
		m.sups[o.App] = s
	}
	return nil
}

// start starts the workers and the children, and says when they are ready.
func (m *Master) start() error {
	if err := m.startWorkers(); err != nil {
		return err
	}
	failed := make(chan error, len(m.sups))
	for app, s := range m.sups {
		go func() {
			err := s.Start()
			if err != nil {
				err = &ExitError{ExitExec, fmt.Errorf("app %q: %w", app, err)}
			}
			failed <- err
		}()
	}
	for range m.sups {
		if err := <-failed; err != nil {
			return err
		}
	}
	if m.isStopping() {
		return nil // the children have not failed, they were told to end
	}
	var addrs []net.Addr
	for _, s := range m.sockets {
		addrs = append(addrs, s.addr)
		m.log.Info("listening", "address", s.addr)
	}
	m.opt.Ready(addrs)
	return nil
}

func (m *Master) isStopping() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.stopping
}

// event passes the supervisor's word on to the workers.
func (m *Master) event(e spawner.Event) {
	m.board.child(e)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, w := range m.workers {
		if w != nil {
			w.tell(message{Event: &e})
		}
	}
}

func (m *Master) signals(c <-chan os.Signal) {
	timely := 0
	for s := range c {
		switch s {
		case syscall.SIGQUIT:
			m.ask(stopGraceful)
		case syscall.SIGTERM, syscall.SIGINT:
			if timely++; timely == 1 {
				m.ask(stopTimely)
			} else {
				m.ask(stopNow)
			}
		default:
			m.log.Warn("signal is not supported yet", "signal", s)
		}
	}
}

// close gives back what open took, and tells those who wait for it.
func (m *Master) close() {
	for _, s := range m.sockets {
		s.close()
	}
	if m.board != nil {
		m.board.close()
	}
	if m.control != nil {
		m.control.close()
	}
	if m.reaper != nil {
		m.reaper.Close()
	}
	m.cgroups.close()
	if m.acceptLock != nil {
		if err := m.acceptLock.Close(); err != nil {
			m.log.Error("accept lock is not removed", "err", err)
		}
	}
	if m.shared != nil {
		m.shared.close()
	}
	if m.runtime != nil {
		m.runtime.close()
	}
	if m.log != nil {
		m.log.Info("stopped")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, c := range m.waiting {
		reply(c, Result{OK: true})
		c.Close()
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
