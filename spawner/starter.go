package spawner

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cgi"
)

// Scripts starts CGI scripts as children of this process, and ends those that
// are left. The zero value is ready. The first start marks all descriptors of
// this process as not to be inherited, whoever opened them.
//
// Every script gets no_new_privs, so that none becomes more by a set-user-ID
// program, and SIGKILL as its death signal: it does not outlive this process.
type Scripts struct {
	// Reaper is the process's, which takes the status of every child; nil where
	// there is none.
	Reaper *Reaper
	// Do runs a function on a thread that lives as long as the process, also where
	// that executes another program in itself: there the scripts are started, which
	// keeps no_new_privs from then on. nil: threads of its own, which do not outlive
	// that.
	Do func(func())

	own      atomic.Int64 // the umask of scripts that any thread may start, +1; see Own
	starting atomic.Int64 // see Starting
	mark     sync.Once
	mu       sync.Mutex
	running  map[cgi.Process]syscall.Signal // what each is stopped with
	stopped  bool
	wg       sync.WaitGroup // one for each that is running or being started
}

// ScriptOptions are what the scripts of one app have in common.
type ScriptOptions struct {
	Umask int // file mode creation mask
	// Rlimits are set right after the start: the first instructions of a script
	// run without them, since Go has no hook between fork and exec. A script
	// that they cannot be set for is killed. A process without CAP_SYS_RESOURCE
	// may not limit another user's: such a script starts through the shim, a few
	// milliseconds later.
	Rlimits Rlimits
	As      *Identity      // nil: as this process
	Stop    syscall.Signal // what Scripts.Stop sends first; 0 is SIGTERM
}

// ErrStopped is a script that is not started since Stop has been called.
var ErrStopped = errors.New("scripts are started no more")

// defaultUmask is that of scripts for which nothing else is said.
const defaultUmask = 0o022

// Start starts the program with the umask 0022 and as this process otherwise.
// It implements cgi.Starter.
func (s *Scripts) Start(cmd cgi.Command, stdin, stdout, stderr *os.File) (cgi.Process, error) {
	return s.With(ScriptOptions{Umask: defaultUmask}).Start(cmd, stdin, stdout, stderr)
}

// With returns the Starter of an app. Its scripts are stopped with all others.
func (s *Scripts) With(o ScriptOptions) cgi.Starter {
	if o.Stop == 0 {
		o.Stop = syscall.SIGTERM
	}
	a := &appScripts{s: s, opt: o, attr: syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}}
	// Who is not root may only stay who he is, with the groups that he has; any
	// other identity fails then, at the start.
	if o.As != nil && (os.Geteuid() == 0 || !o.As.assumed()) {
		a.attr.Credential = o.As.Credential()
		a.shim = o.Rlimits != (Rlimits{}) && !mayLimitOthers()
	}
	return a
}

// mayLimitOthers reports whether this process has CAP_SYS_RESOURCE.
func mayLimitOthers() bool {
	var data [2]unix.CapUserData
	err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0])
	return err == nil && data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// appScripts starts the scripts of one app.
type appScripts struct {
	s    *Scripts
	opt  ScriptOptions
	attr syscall.SysProcAttr
	shim bool
}

// Start implements cgi.Starter.
func (a *appScripts) Start(cmd cgi.Command, stdin, stdout, stderr *os.File) (cgi.Process, error) {
	s := a.s
	if !s.begin() {
		return nil, ErrStopped
	}
	s.mark.Do(keepNoOther)
	c, err := a.launch(cmd, stdin, stdout, stderr)
	if err != nil {
		s.wg.Done()
		return nil, &os.PathError{Op: "exec", Path: cmd.Path, Err: err}
	}
	if s.Reaper == nil {
		p := &scriptProcess{Child: c, s: s}
		s.add(p, a.opt.Stop)
		return p, nil
	}
	s.add(c, a.opt.Stop)
	go func() {
		<-c.done
		s.forget(c)
	}()
	return c, nil
}

func (a *appScripts) launch(cmd cgi.Command, stdin, stdout, stderr *os.File) (*Child, error) {
	files := []uintptr{stdin.Fd(), stdout.Fd(), stderr.Fd()}
	if a.shim {
		return a.launchShim(cmd, files)
	}
	return a.forked(func() (int, error) { return a.fork(cmd, files) })
}

// forked makes a Child of what a function forks, on a thread for that.
func (a *appScripts) forked(do func() (int, error)) (c *Child, err error) {
	if a.s.Do != nil {
		a.s.Do(func() {
			c, err = a.s.fork(func() (int, error) { return onLentThread(a.opt.Umask, do) })
		})
		return c, err
	}
	if a.s.owns(a.opt.Umask) {
		return a.s.fork(func() (int, error) { return onThisThread(do) })
	}
	return a.s.fork(func() (int, error) { return onForkThread(a.opt.Umask, do) })
}

// fork starts the program and sets its limits. Without them it must not run.
func (a *appScripts) fork(cmd cgi.Command, files []uintptr) (int, error) {
	attr, begun := a.attr, time.Now()
	pid, err := syscall.ForkExec(cmd.Path, cmd.Args, &syscall.ProcAttr{Dir: cmd.Dir, Env: cmd.Env, Files: files, Sys: &attr})
	a.s.starting.Add(int64(time.Since(begun)))
	if err != nil {
		return 0, err
	}
	if err := a.opt.Rlimits.apply(pid); err != nil {
		a.s.drop(pid)
		return 0, errors.New(err.Error()) // not the errno of an exec
	}
	return pid, nil
}

// launchShim starts the program behind the shim.
func (a *appScripts) launchShim(cmd cgi.Command, files []uintptr) (*Child, error) {
	o := &a.opt
	spec := shimSpec{Path: cmd.Path, Args: cmd.Args, Dir: cmd.Dir, Umask: o.Umask, Rlimits: o.Rlimits, Parent: os.Getpid(), As: o.As}
	return spec.launch(cmd.Env, func(env []string, status *os.File) (*Child, error) {
		return a.forked(func() (int, error) {
			return syscall.ForkExec("/proc/self/exe", []string{"sluice-shim"}, &syscall.ProcAttr{
				Env: env, Files: append(files, status.Fd()), Sys: &syscall.SysProcAttr{Setpgid: true}})
		})
	}, a.s.wait)
}

// Starting is the time that starts have taken so far. Each holds one of the
// GOMAXPROCS threads of this process until the program is being executed.
func (s *Scripts) Starting() time.Duration { return time.Duration(s.starting.Load()) }

// drop ends a child that nobody knows yet; a Reaper takes its status.
func (s *Scripts) drop(pid int) {
	syscall.Kill(-pid, syscall.SIGKILL)
	if s.Reaper == nil {
		reap(pid)
	}
}

// fork makes a Child of what a function forks.
func (s *Scripts) fork(do func() (int, error)) (*Child, error) {
	if s.Reaper != nil {
		return s.Reaper.start(false, do)
	}
	pid, err := do()
	if err != nil {
		return nil, err
	}
	return &Child{pid: pid, done: make(chan struct{})}, nil
}

// wait returns when a child that nobody else knows has been reaped, by whoever
// does that.
func (s *Scripts) wait(c *Child) {
	if s.Reaper != nil {
		<-c.done
		return
	}
	c.reap()
}

// Resume makes a script one of these that was started by another program in this
// process, and is known to the Reaper.
func (s *Scripts) Resume(c *Child, stop syscall.Signal) {
	if stop == 0 {
		stop = syscall.SIGTERM
	}
	s.mu.Lock()
	s.wg.Add(1)
	s.mu.Unlock()
	s.add(c, stop)
	go func() {
		<-c.done
		s.forget(c)
	}()
}

// begin announces a start, unless all is over.
func (s *Scripts) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.wg.Add(1)
	}
	return !s.stopped
}

func (s *Scripts) add(p cgi.Process, stop syscall.Signal) {
	s.mu.Lock()
	if s.running == nil {
		s.running = map[cgi.Process]syscall.Signal{}
	}
	s.running[p] = stop
	stopped := s.stopped
	s.mu.Unlock()
	if stopped {
		p.Signal(syscall.SIGKILL)
		p.Done() // Stop waits for it
	}
}

// forget is for one that has been reaped.
func (s *Scripts) forget(p cgi.Process) {
	s.mu.Lock()
	delete(s.running, p)
	s.mu.Unlock()
	s.wg.Done()
}

// Running is how many scripts run now.
func (s *Scripts) Running() int {
	s.mu.Lock()
	all := make([]cgi.Process, 0, len(s.running))
	for p := range s.running {
		all = append(all, p)
	}
	s.mu.Unlock()
	n := 0
	for _, p := range all {
		if e, ok := p.(interface{ Ended() bool }); !ok || !e.Ended() {
			n++
		}
	}
	return n
}

// Stop ends every script that still runs: its stop signal, the grace, SIGKILL.
// It returns when all have been reaped, and may be called again, with a shorter
// grace.
func (s *Scripts) Stop(grace time.Duration) {
	Await(s.signal(0), grace, func() { s.signal(syscall.SIGKILL) })
	s.wg.Wait() // for those whose start was under way, too
}

// Await waits until all have ended; kill is called when the grace is over, at
// most once, and has to end them.
func Await[P cgi.Process](all []P, grace time.Duration, kill func()) {
	limit := time.NewTimer(grace)
	defer limit.Stop()
	for _, p := range all {
		select {
		case <-p.Done():
			continue
		case <-limit.C:
		}
		kill()
		for _, p := range all {
			<-p.Done()
		}
		return
	}
}

// signal sends a signal to all, or to each its own for 0.
func (s *Scripts) signal(sig syscall.Signal) []cgi.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	var all []cgi.Process
	for p, stop := range s.running {
		if sig != 0 {
			stop = sig
		}
		p.Signal(stop)
		all = append(all, p)
	}
	return all
}
