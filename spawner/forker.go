package spawner

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Program is what the children of an app run.
type Program struct {
	Command []string  // the program, found in PATH unless it has a slash, and its arguments
	Env     []string  // the whole environment
	Dir     string    // "" is the program's folder
	Umask   int       // file mode creation mask
	Rlimits Rlimits   // resource limits
	Cgroup  string    // folder of the control group that it begins in; "": this process's
	As      *Identity // nil: as this process
}

// Forker starts programs behind the shim.
type Forker struct {
	Reaper *Reaper
	// Do runs a function on a thread that lives as long as the process:
	// PR_SET_PDEATHSIG would fire when it ends. nil runs it where it is called.
	Do func(func())
	// Self is this program, whose RunShim becomes the child; "" is
	// /proc/self/exe.
	Self string
}

// ExecError is a program that could not be executed, as opposed to one that
// ran and failed.
type ExecError struct {
	Cause string
	Errno syscall.Errno // 0: none
}

func (e *ExecError) Error() string { return e.Cause }

// Unwrap is the Errno.
func (e *ExecError) Unwrap() error {
	if e.Errno == 0 {
		return nil
	}
	return e.Errno
}

// Start starts the program with the listening socket as standard input and
// the pipe as standard output and error (FastCGI 1.0 section 2.2; the latter
// two would be closed there, but then nobody would learn what went wrong).
// When it returns without an error the program is being executed.
func (f *Forker) Start(p Program, listen, output *os.File) (*Child, error) {
	path, err := LookPath(p.Command[0])
	if err != nil {
		return nil, &ExecError{Cause: err.Error()}
	}
	dir := p.Dir
	if dir == "" {
		dir = filepath.Dir(path)
	}
	spec := shimSpec{Path: path, Args: p.Command, Dir: dir, Umask: p.Umask, Rlimits: p.Rlimits, Cgroup: p.Cgroup, Parent: os.Getpid(), As: p.As}
	return spec.launch(p.Env, func(env []string, status *os.File) (*Child, error) {
		c, err := f.fork(env, listen, output, status)
		if err != nil {
			return nil, &ExecError{Cause: fmt.Sprintf("start %s: %v", p.Command[0], err)}
		}
		return c, nil
	}, func(c *Child) { <-c.Done() })
}

func (f *Forker) fork(env []string, listen, output, status *os.File) (*Child, error) {
	self := f.Self
	if self == "" {
		self = "/proc/self/exe"
	}
	do := f.Do
	if do == nil {
		do = func(fn func()) { fn() }
	}
	var c *Child
	var err error
	do(func() {
		c, err = f.Reaper.start(true, func() (int, error) {
			return syscall.ForkExec(self, []string{"sluice-shim"}, &syscall.ProcAttr{
				Env:   env,
				Files: []uintptr{listen.Fd(), output.Fd(), output.Fd(), status.Fd()},
				Sys:   &syscall.SysProcAttr{Setpgid: true},
			})
		})
	})
	return c, err
}

// LookPath finds a program: in PATH unless its name has a slash. The result is
// absolute.
func LookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		var e *exec.Error
		if errors.As(err, &e) {
			err = e.Err
		}
		if !strings.Contains(name, "/") {
			return "", fmt.Errorf("%s: not found in PATH", name)
		}
		return "", fmt.Errorf("%s: %w", name, err)
	}
	return filepath.Abs(path)
}
