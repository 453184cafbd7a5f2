package spawner

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cgi"
)

// Scripts starts CGI scripts as children of this process, with its identity.
// It implements cgi.Starter. The zero value is ready. The first start marks all
// descriptors of this process as not to be inherited, whoever opened them.
type Scripts struct {
	mark    sync.Once
	mu      sync.Mutex
	running map[*Child]struct{}
	stopped bool
	wg      sync.WaitGroup // one for each that is running or being started
}

// ErrStopped is a script that is not started since Stop has been called.
var ErrStopped = errors.New("scripts are started no more")

// Start starts the program in a process group of its own.
func (s *Scripts) Start(cmd cgi.Command, stdin, stdout, stderr *os.File) (cgi.Process, error) {
	if !s.begin() {
		return nil, ErrStopped
	}
	s.mark.Do(keepNoOther)
	pid, err := syscall.ForkExec(cmd.Path, cmd.Args, &syscall.ProcAttr{
		Dir:   cmd.Dir,
		Env:   cmd.Env,
		Files: []uintptr{stdin.Fd(), stdout.Fd(), stderr.Fd()},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		s.wg.Done()
		return nil, &os.PathError{Op: "exec", Path: cmd.Path, Err: err}
	}
	c := &Child{pid: pid, done: make(chan struct{})}
	s.add(c)
	go func() {
		defer s.wg.Done()
		for {
			err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
			if err != unix.EINTR {
				break
			}
		}
		c.reap()
		s.mu.Lock()
		delete(s.running, c)
		s.mu.Unlock()
	}()
	return c, nil
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

func (s *Scripts) add(c *Child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		s.running = map[*Child]struct{}{}
	}
	s.running[c] = struct{}{}
	if s.stopped {
		c.Signal(syscall.SIGKILL)
	}
}

// Stop ends every script that still runs: SIGTERM, the grace, SIGKILL. It
// returns when all have been reaped.
func (s *Scripts) Stop(grace time.Duration) {
	left := s.signal(syscall.SIGTERM)
	limit := time.NewTimer(grace)
	defer limit.Stop()
	for _, c := range left {
		select {
		case <-c.Done():
		case <-limit.C:
			s.signal(syscall.SIGKILL)
			limit.Reset(0) // for the next one
			<-c.Done()
		}
	}
	s.wg.Wait() // for those whose start was under way, too
}

func (s *Scripts) signal(sig syscall.Signal) []*Child {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	var all []*Child
	for c := range s.running {
		c.Signal(sig)
		all = append(all, c)
	}
	return all
}
