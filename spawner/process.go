package spawner

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// scriptProcess is a script that this process waits for itself, from when somebody
// asks for its end: until then nobody does, and a script that has ended stays a
// zombie. So one whose end is looked for when it is there (Ended) costs no waiting.
type scriptProcess struct {
	*Child
	s     *Scripts
	await sync.Once
}

// Done implements cgi.Process, and has the end waited for.
func (p *scriptProcess) Done() <-chan struct{} {
	p.await.Do(func() {
		if !p.Ended() {
			go p.wait()
		}
	})
	return p.done
}

// Ended looks whether the script has ended, and takes its status then.
func (p *scriptProcess) Ended() bool {
	if p.take() {
		p.s.forget(p)
	}
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// wait returns when the script has been reaped. It blocks no thread where the
// kernel has descriptors of processes (Linux 5.3).
func (p *scriptProcess) wait() {
	fd, err := unix.PidfdOpen(p.pid, unix.PIDFD_NONBLOCK)
	if err == nil {
		f := os.NewFile(uintptr(fd), "pidfd")
		defer f.Close()
		if rc, err := f.SyscallConn(); err == nil {
			first := true
			rc.Read(func(uintptr) bool {
				ended := !first || p.Ended()
				first = false
				return ended
			})
		}
	}
	// This blocks where there is no descriptor, and where another process traces
	// the script.
	for !p.Ended() {
		unix.Waitid(unix.P_PID, p.pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
	}
}

// take takes the status of a script that has ended, in the way of reap, and
// reports whether it did.
func (c *Child) take() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.reaped {
		return false
	}
	if c.whole {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, c.pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		if err == nil && siginfoPID(&info) == 0 {
			return false
		}
		syscall.Kill(-c.pid, syscall.SIGKILL)
	}
	var ws syscall.WaitStatus
	pid, err := syscall.Wait4(c.pid, &ws, syscall.WNOHANG, nil)
	if err == nil && pid == 0 || err == syscall.EINTR {
		return false
	}
	c.end = ending(ws)
	c.reaped = true
	close(c.done)
	return true
}
