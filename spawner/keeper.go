package spawner

import (
	"math"
	"os"
	"syscall"
	"time"
)

// keeper keeps the children of one slot: one process after the other.
type keeper struct {
	s      *Supervisor
	slot   int
	poke   chan struct{} // of one: the table has something new for it
	socket *privateSocket
	tail   lastLines
	streak streak

	// Its line of the table; see Supervisor.mu.
	state  State
	told   Event // as published last
	child  *Child
	pid    int           // of the last process, alive or not
	began  time.Time     // it
	born   time.Duration // began, by Now
	ready  time.Duration // when it was seen ready, by Now; 0: never
	wanted bool          // without a process: one is to be started
	runs   bool          // its goroutine has been started
	coming bool          // a process is being started, and is not a child yet
	leave  leave
	lives  int           // processes so far, and those that could not be started
	failed error         // how the last one failed that was not told to end
	ending bool          // a process has ended, and what comes next is not decided
	until  time.Duration // when the next one is started, by Now; 0: there is no pause
	output *os.File      // of the child; nil: it has been read to its end
	reads  bool          // not: it waits for Release
	pause  time.Duration // that resume begins with
}

// run is the life of a slot: start, serve, end, and again. started is told how
// the first start went.
func (k *keeper) run(started func(firstStart)) { k.goOn(nil, started) }

// goOn is run behind a process that has ended; nil: there is none to be judged.
func (k *keeper) goOn(died *obituary, started func(firstStart)) {
	defer k.set(Absent, nil)
	report := func(f firstStart) {
		if started != nil {
			started(f)
			started = nil
		}
	}
	for died != nil || k.awaitWish() {
		if died == nil {
			o := k.life(func() { report(firstStart{ready: true}) })
			died = &o
		}
		pause := k.judge(*died)
		report(firstStart{err: died.err})
		died = nil
		if pause > 0 && !k.s.stopping() {
			k.backOff(pause)
		}
	}
	report(firstStart{})
}

// firstStart is how the first start of a slot's process went.
type firstStart struct {
	ready bool
	err   error // what kept it from being executed; nil if it was
}

// awaitWish waits until a process is wanted; false: never again.
func (k *keeper) awaitWish() bool {
	for !k.s.stopping() {
		k.s.mu.Lock()
		allowed := k.allowed()
		wanted := k.wanted && allowed
		k.s.mu.Unlock()
		switch {
		case wanted:
			return true
		case allowed:
			k.set(Dormant, nil)
		default:
			k.set(Absent, nil)
		}
		select {
		case <-k.poke:
		case <-k.s.stop:
		}
	}
	return false
}

// wake has the keeper look at its line of the table.
func (k *keeper) wake() {
	select {
	case k.poke <- struct{}{}:
	default:
	}
}

// use is what the Ledger says of the slot.
func (k *keeper) use() Use {
	if k.s.opt().Ledger == nil {
		return Use{}
	}
	return k.s.opt().Ledger.Use(k.slot)
}

// life is one process from start to end. ready is called when it is.
func (k *keeper) life(ready func()) obituary {
	k.s.moving.RLock()
	c, output, err := k.start()
	if err == nil {
		k.put(Starting, c)
	} else {
		k.s.mu.Lock()
		k.ending = true
		k.s.mu.Unlock()
	}
	k.s.moving.RUnlock()
	if err != nil {
		return obituary{err: err, died: time.Now()}
	}
	return k.live(c, output, ready)
}

// live is the rest of a life, of a child that has been started. output is closed
// when there is none any more.
func (k *keeper) live(c *Child, output <-chan struct{}, ready func()) obituary {
	o := obituary{pid: c.PID(), why: k.watch(c, ready), died: time.Now(), ending: c.Ending()}
	k.s.mu.Lock()
	k.child, k.ending = nil, true
	k.s.mu.Unlock()
	if k.s.opt().Cgroup != nil {
		k.s.opt().Cgroup.kill(k.slot)
	}
	<-output
	o.words = k.tail.take()
	return o
}

// start starts the process and reads its output; the channel closes when the
// output has been read to its end.
func (k *keeper) start() (*Child, <-chan struct{}, error) {
	k.s.mu.Lock()
	k.began, k.born, k.ready = time.Now(), Now(), 0
	k.coming, k.leave = true, leave{} // from here on an order to end is meant for this one
	k.lives++
	k.s.mu.Unlock()
	listen, err := k.listen()
	if err != nil {
		return nil, nil, err
	}
	p := k.s.opt().Program
	if g := k.s.opt().Cgroup; g != nil {
		if p.Cgroup, err = g.begin(k.slot); err != nil {
			k.s.opt().Log.Warn("a child starts without a control group", "app", k.s.opt().App, "err", err)
		}
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	c, err := k.s.opt().Start(p, listen, w)
	w.Close()
	if err != nil {
		r.Close()
		return nil, nil, err
	}
	k.s.mu.Lock()
	k.pid, k.output = c.PID(), r
	k.s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.readOutput(c, r)
	}()
	return c, done, nil
}

// listen is the socket of the child: rebuilt if its predecessor shut it down.
func (k *keeper) listen() (*os.File, error) {
	s := k.s
	if k.socket != nil {
		if !isShut(k.socket.File) {
			return k.socket.File, nil
		}
		s.opt().Log.Warn("a child has shut its socket down, which is bound anew", "app", s.opt().App, "slot", k.slot)
		fresh, err := bindPrivate(k.socket.Name(), s.opt().SocketGID, s.opt().Connections)
		if err != nil {
			return nil, err
		}
		k.socket.Close()
		k.socket = fresh
		return fresh.File, nil
	}
	s.rebinding.Lock()
	defer s.rebinding.Unlock()
	if s.opt().Rebind == nil || !isShut(s.shared) {
		return s.shared, nil
	}
	s.opt().Log.Warn("a child has shut the socket of all down, which is bound anew", "app", s.opt().App)
	fresh, err := s.opt().Rebind()
	if err != nil {
		return nil, err
	}
	if s.shared != s.opt().Listen {
		s.shared.Close()
	}
	s.shared = fresh
	return fresh, nil
}

// watch waits for the end of a child, and ends it when it is told to: then it
// says why.
func (k *keeper) watch(c *Child, ready func()) reason {
	seen, quit := make(chan bool, 1), make(chan struct{})
	defer close(quit)
	born := k.born // of this one: the look may end behind the start of the next
	answered := func() bool { return k.heardSince(born) }
	k.s.mu.Lock()
	starting := k.state == Starting
	k.s.mu.Unlock()
	if starting {
		k.s.wg.Go(func() { seen <- awaitReady(c, k.s.opt().StartTimeout, answered, quit) })
	}
	age := time.NewTimer(math.MaxInt64)
	defer age.Stop()
	var most time.Duration // as the timer goes by it; 0: it does not run
	for {
		if d := k.s.opt().MaxAge; d != most {
			most = d
			age.Reset(k.left(d))
		}
		if why := k.retire(c); why != "" {
			return why
		}
		select {
		case <-c.Done():
			return ""
		case <-k.s.stop:
			k.end(c)
			return shutDown
		case ok := <-seen:
			if ok {
				k.isReady(c)
				ready()
			}
		case <-age.C:
			k.s.mu.Lock()
			k.ask(leave{why: maxAge})
			k.s.mu.Unlock()
		case <-k.poke:
		}
	}
}

func (k *keeper) isReady(c *Child) {
	k.s.mu.Lock()
	k.ready = Now()
	starting := k.state == Starting
	k.s.mu.Unlock()
	if starting {
		k.set(Ready, c)
	}
	k.s.opt().Log.Debug("child is ready", "app", k.s.opt().App, "pid", c.PID())
}

// end stops a child: signal, grace, SIGKILL. A child that has been stopped by
// a signal acts on neither before it is continued.
func (k *keeper) end(c *Child) {
	k.set(Stopping, c)
	c.Signal(k.s.opt().StopSignal)
	c.Signal(syscall.SIGCONT)
	t := time.NewTimer(k.s.opt().StopGrace)
	defer t.Stop()
	select {
	case <-c.Done():
		return
	case <-k.s.now:
	case <-t.C:
		k.s.opt().Log.Warn("child did not end within its grace and is killed", "app", k.s.opt().App, "pid", c.PID(), "grace", k.s.opt().StopGrace)
	}
	c.Signal(syscall.SIGKILL)
	<-c.Done()
}

// left is how long this process may still live by a max_age; without one it is
// as good as for ever.
func (k *keeper) left(most time.Duration) time.Duration {
	if most <= 0 {
		return math.MaxInt64
	}
	return max(0, k.born+most-Now())
}
