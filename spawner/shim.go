package spawner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Identity is who a child runs as.
type Identity struct {
	UID, GID int
	Groups   []int
}

// Credential is the identity in the form of the syscall package.
func (id *Identity) Credential() *syscall.Credential {
	c := &syscall.Credential{Uid: uint32(id.UID), Gid: uint32(id.GID)}
	for _, g := range id.Groups {
		c.Groups = append(c.Groups, uint32(g))
	}
	return c
}

// shimSpec is what the shim has to do before it executes the program.
type shimSpec struct {
	Path    string
	Args    []string
	Dir     string
	Umask   int
	Rlimits Rlimits
	Cgroup  string // folder of the control group to join; "" for none
	Parent  int    // who has to be alive still
	As      *Identity
}

// shimVariable holds the shimSpec, as JSON, beside the program's environment.
const shimVariable = "SLUICE_SHIM"

// shimStatus is the descriptor on which the shim says what failed. It closes
// when the program has been executed.
const shimStatus = 3

// RunShim becomes the program if this process was started as a shim, and
// otherwise returns at once. A program that uses Supervisor calls it first of
// all in main, from the main thread.
//
// Go has no hook between fork and exec. So a child is first this program
// again, which sets its control group, umask, identity, death signal,
// no_new_privs and limits, and then executes what was asked for. An identity
// that cannot be taken on is fatal for the child, and so is a limit.
func RunShim() {
	text, ok := os.LookupEnv(shimVariable)
	if !ok {
		return
	}
	runtime.LockOSThread()
	status := os.NewFile(shimStatus, "status")
	syscall.CloseOnExec(shimStatus)
	var spec shimSpec
	err := json.Unmarshal([]byte(text), &spec)
	if err == nil {
		err = spec.exec()
	}
	var errno syscall.Errno
	errors.As(err, &errno)
	fmt.Fprintf(status, "%d %v", int(errno), err)
	os.Exit(126)
}

// launch forks a shim, by fork, with an environment and the pipe that is to be its
// descriptor shimStatus, and returns when the program is being executed. Where
// that fails the child is killed, and wait waits for its end. The child is known
// to who reaps before it is waited for: a slow shim holds up nobody else.
func (s *shimSpec) launch(env []string, fork func(env []string, status *os.File) (*Child, error), wait func(*Child)) (*Child, error) {
	env, err := s.environment(env)
	if err != nil {
		return nil, err
	}
	status, statusW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer status.Close()
	c, err := fork(env, statusW)
	statusW.Close()
	if err != nil {
		return nil, err
	}
	if err := shimError(status); err != nil {
		c.Signal(syscall.SIGKILL)
		wait(c)
		return nil, err
	}
	return c, nil
}

// environment is that of a shim which is to execute the program with env. The
// shim may be root: of two variables of one name the first counts.
func (s *shimSpec) environment(env []string) ([]string, error) {
	text, err := json.Marshal(s)
	return append([]string{shimVariable + "=" + string(text)}, env...), err
}

// execTimeout bounds the time from fork to exec.
const execTimeout = 10 * time.Second

// shimError reads what a shim says on its status pipe: nil, once the program is
// being executed.
func shimError(status *os.File) error {
	status.SetReadDeadline(time.Now().Add(execTimeout))
	said, err := io.ReadAll(status)
	switch {
	case err != nil:
		return &ExecError{Cause: "the start took too long"}
	case len(said) == 0:
		return nil
	}
	number, cause, _ := strings.Cut(string(said), " ")
	errno, _ := strconv.Atoi(number)
	return &ExecError{Cause: cause, Errno: syscall.Errno(errno)}
}

func (s *shimSpec) exec() error {
	if err := s.prepare(); err != nil {
		return err
	}
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, shimVariable+"=") {
			env = append(env, e)
		}
	}
	if err := s.limit(); err != nil {
		return err
	}
	err := syscall.Exec(s.Path, s.Args, env)
	if err == syscall.ENOEXEC {
		return &ExecError{fmt.Sprintf("exec %s: no interpreter: neither a program for this machine nor a script that begins with #!", s.Path),
			syscall.ENOEXEC}
	}
	return fmt.Errorf("exec %s: %w", s.Path, err)
}

func (s *shimSpec) prepare() error {
	if s.Cgroup != "" {
		if err := joinCgroup(s.Cgroup); err != nil {
			return err
		}
	}
	syscall.Umask(s.Umask)
	if err := s.Rlimits.permit(); err != nil {
		return err
	}
	if s.As != nil {
		if err := s.As.assume(); err != nil {
			return err
		}
	}
	// After the change of identity, which clears it.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(syscall.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_PDEATHSIG: %w", err)
	}
	if os.Getppid() != s.Parent {
		return fmt.Errorf("the parent %d is gone", s.Parent)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("PR_SET_NO_NEW_PRIVS: %w", err)
	}
	keepNoOther()
	runAsBatch()
	return os.Chdir(s.Dir)
}

// limit sets the limits, at the last moment: before it, RLIMIT_NPROC would make
// exec fail (execve(2), EAGAIN) where the threads of this runtime, which became
// the child's user with it, are too many; and RLIMIT_AS is less than what this
// runtime has reserved. It can have no more from then on, so it must not begin
// to collect garbage, which may take a new thread.
func (s *shimSpec) limit() error {
	debug.SetGCPercent(-1)
	return s.Rlimits.apply(0)
}

// keepNoOther keeps every descriptor beyond the standard ones from the programs
// that this process executes. Go's own are marked already; this is for those
// that whoever started this process left open in it. A kernel before 5.11
// cannot, and says so to nobody.
func keepNoOther() {
	unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
}

// assume takes on the identity for good, and looks whether it did. Who is not
// root may only stay who he is, with the groups that he has.
func (id *Identity) assume() error {
	if os.Geteuid() != 0 && id.assumed() {
		return nil
	}
	if err := syscall.Setgroups(id.Groups); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := syscall.Setresgid(id.GID, id.GID, id.GID); err != nil {
		return fmt.Errorf("setresgid %d: %w", id.GID, err)
	}
	if err := syscall.Setresuid(id.UID, id.UID, id.UID); err != nil {
		return fmt.Errorf("setresuid %d: %w", id.UID, err)
	}
	if !id.assumed() {
		return fmt.Errorf("the identity did not change")
	}
	return nil
}

func (id *Identity) assumed() bool {
	return os.Getuid() == id.UID && os.Geteuid() == id.UID && os.Getgid() == id.GID && os.Getegid() == id.GID
}
