package spawner

import (
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"sluice/cgi"
)

// Reaper waits for every child of this process, so that none stays a zombie:
// those that were started through it get their ending, those that were
// inherited (a subreaper gets the orphans of its children) are just reaped.
//
// A process that runs a Reaper must start all its children through it: a
// wait of another's would find nothing.
type Reaper struct {
	// forking is held by every start until its child is known, and by nobody
	// else at the moment when the owner of a status is looked up.
	forking  sync.RWMutex
	sweeping sync.Mutex // held while a status is taken

	mu    sync.Mutex
	known map[int]*Child
	sig   chan os.Signal
	quit  chan struct{}
	done  chan struct{}
}

// NewReaper starts a reaper, which knows the children that have been adopted. One
// of them that is none of this process has ended. Close ends it.
func NewReaper(adopted ...*Child) *Reaper {
	r := &Reaper{known: map[int]*Child{}, sig: make(chan os.Signal, 1), quit: make(chan struct{}), done: make(chan struct{})}
	for _, c := range adopted {
		r.known[c.pid] = c
		if err := peek(c.pid); err == unix.ECHILD {
			delete(r.known, c.pid)
			c.end, c.reaped = cgi.Ending{Signal: syscall.SIGKILL}, true
			close(c.done)
		}
	}
	signal.Notify(r.sig, syscall.SIGCHLD)
	go r.run()
	return r
}

// Subreaper makes the calling process the parent of its descendants' orphans
// (PR_SET_CHILD_SUBREAPER).
func Subreaper() error {
	return os.NewSyscallError("prctl", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// Close ends the reaper.
func (r *Reaper) Close() {
	signal.Stop(r.sig)
	close(r.quit)
	<-r.done
}

func (r *Reaper) run() {
	defer close(r.done)
	for {
		r.sweep()
		select {
		case <-r.sig:
		case <-r.quit:
			return
		}
	}
}

// peek looks at a child, and leaves its status.
func peek(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

// Hold keeps every status from being taken, and every child from being started,
// until Release.
func (r *Reaper) Hold() {
	r.sweeping.Lock()
	r.forking.Lock()
}

// Release undoes Hold.
func (r *Reaper) Release() {
	r.forking.Unlock()
	r.sweeping.Unlock()
}

// sweep peeks at each child that has ended before it takes its status, so that
// the group can be killed while its leader still holds the number.
func (r *Reaper) sweep() {
	for r.take() {
	}
}

// take takes one status; false: there is none.
func (r *Reaper) take() bool {
	r.sweeping.Lock()
	defer r.sweeping.Unlock()
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
		if err == unix.EINTR {
			continue
		}
		pid := siginfoPID(&info)
		if err != nil || pid == 0 {
			return false
		}
		r.forking.Lock()
		r.mu.Lock()
		c := r.known[pid]
		delete(r.known, pid)
		r.mu.Unlock()
		r.forking.Unlock()
		if c != nil {
			c.reap()
			return true
		}
		if siginfoKilled(&info) {
			endGroup(pid)
		}
		reap(pid)
		return true
	}
}

// endGroup kills what is left of the group of an orphan that was killed: a script
// dies so with its worker, and what it had started would go on.
func endGroup(pid int) {
	if group, err := syscall.Getpgid(pid); err == nil && group == pid {
		syscall.Kill(-pid, syscall.SIGKILL)
	}
}

// start runs fork while no status can be taken: the child is known before it
// can be reaped. Several may fork at once. whole: what is left of the child's
// group ends with it.
func (r *Reaper) start(whole bool, fork func() (int, error)) (*Child, error) {
	r.forking.RLock()
	defer r.forking.RUnlock()
	pid, err := fork()
	if err != nil {
		return nil, err
	}
	c := &Child{pid: pid, done: make(chan struct{}), whole: whole}
	r.mu.Lock()
	r.known[pid] = c
	r.mu.Unlock()
	return c, nil
}

// Fork starts a program as a child of this process; see Forker for children
// that need more.
func (r *Reaper) Fork(path string, args []string, attr *syscall.ProcAttr) (*Child, error) {
	return r.start(true, func() (int, error) { return syscall.ForkExec(path, args, attr) })
}

func reap(pid int) cgi.Ending {
	var ws syscall.WaitStatus
	for {
		_, err := syscall.Wait4(pid, &ws, 0, nil)
		if err != syscall.EINTR {
			break
		}
	}
	return ending(ws)
}

func ending(ws syscall.WaitStatus) cgi.Ending {
	if ws.Signaled() {
		return cgi.Ending{Signal: ws.Signal()}
	}
	return cgi.Ending{Status: ws.ExitStatus()}
}

// Child is a running process, leader of its own process group. It implements
// cgi.Process.
type Child struct {
	pid  int
	done chan struct{}
	end  cgi.Ending

	mu     sync.Mutex
	reaped bool
	whole  bool // what is left of its group is to end with it
}

// PID is the process id, and the id of its group.
func (c *Child) PID() int { return c.pid }

// Done is closed when the process has been reaped.
func (c *Child) Done() <-chan struct{} { return c.done }

// Ending says how it ended; it may be asked after Done.
func (c *Child) Ending() cgi.Ending { return c.end }

// Signal sends to the process group. After the leader has been reaped it does
// nothing and says ESRCH: the number may be another's.
func (c *Child) Signal(s syscall.Signal) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reaped {
		return syscall.ESRCH
	}
	c.whole = true
	return syscall.Kill(-c.pid, s)
}

// reap takes the status of a child that has ended. What is left of the group of
// a long-lived child, and of a script that was told to end, is killed first,
// while the zombie still holds the number of the group: the workers of a child
// that forks them would go on accepting.
func (c *Child) reap() {
	c.mu.Lock()
	if c.whole {
		syscall.Kill(-c.pid, syscall.SIGKILL)
	}
	c.end = reap(c.pid)
	c.reaped = true
	c.mu.Unlock()
	close(c.done)
}
