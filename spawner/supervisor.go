package spawner

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"

	"sluice/cgi"
)

// SupervisorOptions describe the children of one app, as their owner sees them.
type SupervisorOptions struct {
	App       string
	Program   Program
	Children  int    // how many run
	SocketDir string // where the children's sockets are bound
	SocketGID int    // their group; -1: this process's

	StartTimeout time.Duration  // a child that is alive after it counts as ready
	StopSignal   syscall.Signal // asks a child to end
	StopGrace    time.Duration  // from StopSignal to SIGKILL

	// Start starts a child: (*Forker).Start, or a test's.
	Start func(p Program, listen, output *os.File) (*Child, error)
	// Event gets what becomes of the children, in order for each. It must not
	// block for long.
	Event func(Event)
	// Stderr gets a child's standard output and error, line by line.
	Stderr func(pid int) *cgi.Lines
	Log    *slog.Logger
}

// Back-off of a child that dies before it has answered anything.
const (
	backoffFirst  = 100 * time.Millisecond
	backoffMost   = 30 * time.Second
	backoffJitter = 0.2
)

// Supervisor keeps the children of one app running: see the package comment.
type Supervisor struct {
	opt   SupervisorOptions
	slots []*keeper
	stop  chan struct{}
	once  sync.Once
	now   chan struct{} // the grace of all is over
	hurry sync.Once
	wg    sync.WaitGroup
}

// NewSupervisor binds the sockets of all children. Start starts them.
func NewSupervisor(o SupervisorOptions) (*Supervisor, error) {
	s := &Supervisor{opt: o, stop: make(chan struct{}), now: make(chan struct{})}
	for i := range o.Children {
		path := SocketPath(o.SocketDir, o.App, i)
		listen, err := BindChild(path, o.SocketGID)
		if err != nil {
			s.closeSockets()
			return nil, err
		}
		s.slots = append(s.slots, &keeper{s: s, slot: i, listen: listen, answered: make(chan int, 1), replace: make(chan Report, 1)})
	}
	return s, nil
}

// Start starts every child and returns when each is ready or has failed its
// first start. The error is the first *ExecError: a command that cannot be
// executed at all; the children are retried all the same.
func (s *Supervisor) Start() error {
	first := make(chan error, len(s.slots))
	for _, k := range s.slots {
		s.wg.Go(func() { k.run(func(err error) { first <- err }) })
	}
	var failed error
	for range s.slots {
		err := <-first
		var e *ExecError
		if failed == nil && errors.As(err, &e) {
			failed = err
		}
	}
	return failed
}

// Report takes what a request saw.
func (s *Supervisor) Report(r Report) {
	if r.Slot < 0 || r.Slot >= len(s.slots) {
		return
	}
	k := s.slots[r.Slot]
	if r.Answered {
		offer(k.answered, r.PID)
	}
	if r.Replace != "" {
		offer(k.replace, r)
	}
}

// offer puts v into a channel of one, in place of what may be there.
func offer[T any](c chan T, v T) {
	for {
		select {
		case c <- v:
			return
		default:
		}
		select {
		case <-c:
		default:
		}
	}
}

// Events repeats the present state of every child, for a pool that is new.
func (s *Supervisor) Events() []Event {
	var es []Event
	for _, k := range s.slots {
		es = append(es, k.event())
	}
	return es
}

// Stop stops every child: the stop signal, the grace, SIGKILL to the process
// group; where ctx ends first the grace is over. It returns when all have been
// reaped, and removes the sockets.
func (s *Supervisor) Stop(ctx context.Context) {
	s.once.Do(func() { close(s.stop) })
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		s.hurry.Do(func() { close(s.now) })
		<-done
	}
	s.closeSockets()
}

func (s *Supervisor) closeSockets() {
	for _, k := range s.slots {
		k.listen.Close()
		os.Remove(k.listen.Name())
	}
}

// keeper keeps one child running.
type keeper struct {
	s        *Supervisor
	slot     int
	listen   *os.File
	answered chan int
	replace  chan Report

	began, died time.Time // of the last process; run's own
	tail        lastLines

	mu   sync.Mutex
	last Event
}

func (k *keeper) set(st State, c *Child) {
	e := Event{App: k.s.opt.App, Slot: k.slot, State: st}
	if c != nil {
		e.PID, e.Began = c.PID(), k.began.UnixNano()
	}
	k.mu.Lock()
	k.last = e
	k.mu.Unlock()
	k.s.opt.Event(e)
}

func (k *keeper) event() Event {
	k.mu.Lock()
	defer k.mu.Unlock()
	e := k.last
	e.App, e.Slot = k.s.opt.App, k.slot
	return e
}

// run is the life of a slot: start, serve, end, and again. started is told how
// the first start went.
func (k *keeper) run(started func(error)) {
	defer k.set(Absent, nil)
	delay := time.Duration(0)
	report := func(err error) {
		if started != nil {
			started(err)
			started = nil
		}
	}
	for !k.stopping() {
		served, err := k.life(report)
		if served {
			delay = 0
			continue
		}
		report(err)
		delay = nextDelay(delay)
		if !k.backOff(delay) {
			delay = 0 // an answer came in after all
		}
	}
	report(nil)
}

func (k *keeper) stopping() bool {
	select {
	case <-k.s.stop:
		return true
	default:
		return false
	}
}

// nextDelay doubles the pause; the jitter keeps the children of an app, which
// die of the same cause, from starting all at once.
func nextDelay(d time.Duration) time.Duration {
	d = min(max(2*d, backoffFirst), backoffMost)
	return d
}

func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (1 + backoffJitter*(2*rand.Float64()-1)))
}

// backOff waits for the next start, d after the end of the last process. It reports false when the child that died
// turns out to have answered: then its successor starts at once.
func (k *keeper) backOff(d time.Duration) bool {
	d = max(0, jitter(d)-time.Since(k.died))
	k.s.opt.Log.Warn("next start of the child after a pause", "app", k.s.opt.App, "slot", k.slot, "pause", d.Round(time.Millisecond))
	k.set(BackingOff, nil)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-k.s.stop:
	case <-k.answered:
		return false
	}
	return true
}

// life is one process from start to end. served: it was told to end, or it has
// answered a request, or was ready for long enough, so its successor starts at
// once.
func (k *keeper) life(report func(error)) (served bool, err error) {
	o := &k.s.opt
	log := o.Log.With("app", o.App)
	drain(k.answered)
	drain(k.replace)
	c, output, err := k.start()
	if err != nil {
		k.died = time.Now()
		log.Error("a child could not be started", "err", err)
		return false, err
	}
	log = log.With("pid", c.PID())
	k.set(Starting, c)
	var ready time.Time
	if awaitReady(c, o.StartTimeout, k.s.stop) {
		ready = time.Now()
		k.set(Ready, c)
		log.Debug("child is ready")
		report(nil)
	}
	told, answered := k.watch(c)
	k.died = time.Now()
	settled := !ready.IsZero() && k.died.Sub(ready) >= readyProof
	if !told && !answered && !settled {
		answered = k.late(c)
	}
	<-output
	words := k.tail.take()
	if told {
		log.Debug("child has been stopped", "ending", c.Ending())
		return true, nil
	}
	level := slog.LevelWarn
	if c.Ending().OK() && answered {
		level = slog.LevelInfo // a program that ends after so many requests, as PHP does
	}
	log.Log(context.Background(), level, "child ended", "ending", c.Ending(), "answered", answered, "last_words", words)
	return answered || settled, &childError{c.Ending()}
}

type childError struct{ end cgi.Ending }

func (e *childError) Error() string { return "child ended: " + e.end.String() }

func drain[T any](c chan T) {
	select {
	case <-c:
	default:
	}
}

// start starts the process and reads its output; the channel closes when the
// output has been read to its end.
func (k *keeper) start() (*Child, <-chan struct{}, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	k.began = time.Now()
	c, err := k.s.opt.Start(k.s.opt.Program, k.listen, w)
	w.Close()
	if err != nil {
		r.Close()
		return nil, nil, err
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.readOutput(c, r)
	}()
	return c, done, nil
}

const (
	// answerGrace is how long the word that a child has answered may come
	// behind its end: a program that ends after each request does both at once.
	answerGrace = 50 * time.Millisecond
	// readyProof is how long a child has to be ready to have proved that it
	// starts: the death of one that idled is no reason for a pause.
	readyProof = time.Second
)

// watch waits for the end of a child, and ends it when it is told to.
func (k *keeper) watch(c *Child) (told, answered bool) {
	for {
		select {
		case <-c.Done():
			return false, answered
		case pid := <-k.answered:
			answered = answered || pid == c.PID()
		case r := <-k.replace:
			if r.PID == c.PID() {
				k.s.opt.Log.Warn("child is replaced", "app", k.s.opt.App, "pid", c.PID(), "reason", r.Replace)
				k.end(c)
				return true, answered
			}
		case <-k.s.stop:
			k.end(c)
			return true, answered
		}
	}
}

// late waits for the word that a child which has ended had answered.
func (k *keeper) late(c *Child) bool {
	t := time.NewTimer(answerGrace)
	defer t.Stop()
	for {
		select {
		case pid := <-k.answered:
			if pid == c.PID() {
				return true
			}
		case <-k.s.stop:
			return false
		case <-t.C:
			return false
		}
	}
}

// end stops a child: signal, grace, SIGKILL. A child that has been stopped by
// a signal acts on neither before it is continued.
func (k *keeper) end(c *Child) {
	k.set(Stopping, c)
	c.Signal(k.s.opt.StopSignal)
	c.Signal(syscall.SIGCONT)
	t := time.NewTimer(k.s.opt.StopGrace)
	defer t.Stop()
	select {
	case <-c.Done():
		return
	case <-k.s.now:
	case <-t.C:
		k.s.opt.Log.Warn("child did not end within its grace and is killed", "app", k.s.opt.App, "pid", c.PID(), "grace", k.s.opt.StopGrace)
	}
	c.Signal(syscall.SIGKILL)
	<-c.Done()
}
