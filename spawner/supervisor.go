package spawner

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sluice/cgi"
)

// SupervisorOptions describe the children of one app, as their owner sees them.
type SupervisorOptions struct {
	App     string
	Sockets string // what the names of its sockets begin with; "": App
	Program Program
	// Ledger has a slot for each of Max children. Without one nothing is known
	// of requests: Scale is ScaleStatic, and who retires is not waited for.
	Ledger Ledger

	// Listen is the one socket of all children, and Rebind binds it anew when a
	// child has shut it down; it may be nil. Without Listen each child has a
	// socket of its own in SocketDir.
	Listen    *os.File
	Rebind    func() (*os.File, error)
	SocketDir string
	SocketGID int // their group; -1: this process's

	Scale       Scale
	Min         int           // children that always run; ScaleDynamic
	Max         int           // children at most
	Spare       int           // children without a request that are wanted; ScaleDynamic
	Connections int           // requests at once to one child; 0 is 1
	IdleTimeout time.Duration // a child that has been idle for so long is superfluous; not ScaleStatic

	// Limits of one process; 0 is none. When it reaches one it is retired.
	MaxRequests int // the Ledger has to know it, too
	MaxAge      time.Duration
	MaxMemory   int64 // bytes, of the process and its descendants

	Cgroup *Cgroup // has a control group for each child; nil: none

	StartTimeout time.Duration  // a child that is alive after it counts as ready
	StopSignal   syscall.Signal // asks a child to end
	StopGrace    time.Duration  // from StopSignal to SIGKILL

	// Start starts a child: (*Forker).Start, or a test's.
	Start func(p Program, listen, output *os.File) (*Child, error)
	// Event gets what becomes of the children, in order for each, when the
	// Ledger knows it. It must not block for long.
	Event func(Event)
	// Stderr gets a child's standard output and error, line by line.
	Stderr func(pid int) *cgi.Lines
	Log    *slog.Logger
}

// Supervisor keeps the children of one app running: see the package comment.
type Supervisor struct {
	options   atomic.Pointer[SupervisorOptions] // see Retune
	stillborn atomic.Bool

	notice chan struct{} // of one: there is something to survey
	stop   chan struct{}
	once   sync.Once
	now    chan struct{} // the grace of all is over
	hurry  sync.Once
	wg     sync.WaitGroup

	// The table of what every slot is: its keepers write it, the survey reads it.
	mu      sync.Mutex
	slots   []*keeper
	changed chan struct{} // closed, and replaced, when the table has changed
	shared  *os.File      // Listen, or what Rebind has put in its place
	ramp    ramp

	rebinding sync.Mutex // guards shared

	moving sync.RWMutex  // read while the state of a child changes; see Hold
	paused chan struct{} // no output is read until it is closed; nil: it is

	outbox outbox
	turn   chan struct{} // of one: whoever restarts the children
}

// NewSupervisor binds the sockets of all children. Start starts them.
func NewSupervisor(o SupervisorOptions) (*Supervisor, error) {
	o.normalize()
	s := newSupervisor(o)
	if err := s.Grow(o.Max); err != nil {
		s.closeSockets()
		return nil, err
	}
	return s, nil
}

func newSupervisor(o SupervisorOptions) *Supervisor {
	s := &Supervisor{notice: make(chan struct{}, 1), stop: make(chan struct{}), now: make(chan struct{}),
		changed: make(chan struct{}), shared: o.Listen, turn: make(chan struct{}, 1)}
	s.options.Store(&o)
	s.ramp.first = o.Scale.firstStep()
	s.outbox.send = o.Event
	return s
}

func (s *Supervisor) opt() *SupervisorOptions { return s.options.Load() }

func (o *SupervisorOptions) normalize() {
	if o.Ledger == nil {
		o.Scale = ScaleStatic
	}
	if o.Sockets == "" {
		o.Sockets = o.App
	}
	switch o.Scale {
	case ScaleStatic:
		o.Min, o.Spare = o.Max, 0
	case ScaleOnDemand:
		o.Min, o.Spare = 0, 0
	}
	o.Min, o.Connections = min(o.Min, o.Max), max(1, o.Connections)
}

// Start starts the children that are wanted from the beginning, and returns
// when each is ready or has failed its first start. The error is the first
// *ExecError: a command that cannot be executed at all; the children are
// retried all the same.
func (s *Supervisor) Start() error {
	if s.opt().Ledger != nil {
		s.opt().Ledger.Watch(s.look)
	}
	o := s.opt()
	s.mu.Lock()
	slots := s.slots
	for i, k := range slots {
		k.runs, k.wanted = i < o.Max, i < o.Min
	}
	s.mu.Unlock()
	for i, k := range slots {
		if o.Min <= i && i < o.Max {
			k.set(Dormant, nil) // before anybody asks
		}
	}
	first := make(chan firstStart, o.Min)
	for i, k := range slots[:o.Max] {
		started := func(firstStart) {}
		if i < o.Min {
			started = func(f firstStart) { first <- f }
		}
		s.wg.Go(func() { k.run(started) })
	}
	s.wg.Go(s.mind)
	var failed error
	ready := o.Min == 0
	for range o.Min {
		f := <-first
		var e *ExecError
		if failed == nil && errors.As(f.err, &e) {
			failed = f.err
		}
		ready = ready || f.ready
	}
	s.stillborn.Store(!ready)
	return failed
}

// Stillborn reports whether none of the first children got ready before it died.
// It is known behind Start.
func (s *Supervisor) Stillborn() bool { return s.stillborn.Load() }

// look has the survey made, now.
func (s *Supervisor) look() {
	select {
	case s.notice <- struct{}{}:
	default: // it is going to be made
	}
}

// Report takes what a request saw.
func (s *Supervisor) Report(r Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Slot < 0 || r.Slot >= len(s.slots) {
		return
	}
	k := s.slots[r.Slot]
	if r.PID != k.pid {
		return // of an earlier process
	}
	if r.Replace != "" && k.child != nil {
		s.opt().Log.Warn("child is replaced", "app", s.opt().App, "pid", r.PID, "reason", r.Replace)
		k.ask(leave{why: replaced, now: true})
	}
}

// Events repeats the present state of every child, for a pool that is new.
func (s *Supervisor) Events() []Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	var es []Event
	for _, k := range s.slots {
		es = append(es, k.told)
	}
	return es
}

// ChildInfo is what the owner of a child knows of it.
type ChildInfo struct {
	Slot     int
	State    State
	PID      int       // 0: no process
	Began    time.Time // when it was started
	Requests uint64    // that it has been given
	Memory   int64     // bytes, of the process and its descendants
	Restarts int       // processes that the slot has had before
}

// Children says what every slot is, for the status.
func (s *Supervisor) Children() []ChildInfo {
	var all []ChildInfo
	s.mu.Lock()
	for _, k := range s.slots {
		c := ChildInfo{Slot: k.slot, State: k.told.State, Restarts: max(0, k.lives-1)}
		if k.child != nil {
			c.PID, c.Began, c.Requests = k.pid, k.began, k.use().Requests
		}
		all = append(all, c)
	}
	s.mu.Unlock()
	for i := range all {
		if all[i].PID != 0 {
			all[i].Memory = s.memory(i, all[i].PID)
		}
	}
	return all
}

// Stop stops every child: the stop signal, the grace, SIGKILL to the process
// group; where ctx ends first the grace is over. It returns when all have been
// reaped, and removes the sockets.
func (s *Supervisor) Stop(ctx context.Context) {
	s.mu.Lock() // see Retune
	s.once.Do(func() { close(s.stop) })
	s.mu.Unlock()
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		s.hurry.Do(func() { close(s.now) })
		<-done
	}
	s.closeSockets()
	if s.opt().Cgroup != nil {
		s.opt().Cgroup.remove()
	}
}

func (s *Supervisor) closeSockets() {
	for _, k := range s.slots {
		if k.socket != nil {
			k.socket.remove()
		}
	}
	if s.shared != s.opt().Listen {
		s.shared.Close()
	}
}

func (s *Supervisor) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}
