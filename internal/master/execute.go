package master

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// estateVariable names the descriptor of the estate, in the environment of a program
// that was executed in the place of another one.
const estateVariable = "SLUICE_ESTATE"

// Executed reports whether this process was a server already, as another program.
func Executed() bool { return os.Getenv(estateVariable) != "" }

// image is a program that is to be executed in the place of this one.
type image struct {
	path   string
	estate *os.File
	fds    []int // that it has, beside the estate
	failed chan error
}

// execute executes it, and returns only if that fails; then everything is as it
// was. It is for the goroutine that takes the stops, so that none is under way.
func (m *Master) execute(i *image) error {
	if len(m.stops) > 0 {
		return errStopping
	}
	var err error
	OnMain(func() { err = i.execute(m) })
	return err
}

// execute is for the main thread: the children of any other would be killed by the
// end of that, which is the end of their parent thread.
func (i *image) execute(m *Master) error {
	before, err := blockSignals()
	if err != nil {
		return err
	}
	defer unix.PthreadSigmask(unix.SIG_SETMASK, before, nil)
	if len(m.stops) > 0 {
		return errStopping
	}
	m.keepSignals()
	all := append([]int{int(i.estate.Fd())}, i.fds...)
	defer keepDescriptors(all, true)
	if err := keepDescriptors(all, false); err != nil {
		return err
	}
	// exec lowers the limit of descriptors to what it was when this program began,
	// and leaves it there if it fails.
	var files unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &files)
	defer unix.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(&files)), 0, 0, 0)
	err = syscall.Exec(i.path, os.Args, append(os.Environ(), estateVariable+"="+strconv.Itoa(all[0])))
	return &os.PathError{Op: "exec", Path: i.path, Err: err}
}

// keepDescriptors has descriptors close with an exec, or not.
func keepDescriptors(fds []int, closing bool) error {
	flag := 0
	if closing {
		flag = unix.FD_CLOEXEC
	}
	for _, fd := range fds {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, flag); err != nil {
			return fmt.Errorf("descriptor %d: %w", fd, err)
		}
	}
	return nil
}

// blockSignals has the signals that mean something, and SIGCHLD, wait until somebody
// wants them: a blocked signal outlasts an exec, a handler does not.
func blockSignals() (before *unix.Sigset_t, err error) {
	var set unix.Sigset_t
	for _, s := range meaning {
		addSignal(&set, s.(syscall.Signal))
	}
	addSignal(&set, syscall.SIGCHLD)
	before = &unix.Sigset_t{}
	return before, os.NewSyscallError("sigprocmask", unix.PthreadSigmask(unix.SIG_BLOCK, &set, before))
}

func addSignal(set *unix.Sigset_t, s syscall.Signal) {
	bits := uint(8 * unsafe.Sizeof(set.Val[0]))
	set.Val[uint(s-1)/bits] |= 1 << (uint(s-1) % bits)
}

// keepSignals sends this thread, which is the one that is left by the exec, the
// signals that have come and that nobody has acted on.
func (m *Master) keepSignals() {
	self := func(s syscall.Signal) { unix.Tgkill(os.Getpid(), unix.Gettid(), s) }
	for pending := true; pending; {
		select {
		case s := <-m.signaled:
			self(s.(syscall.Signal))
		case <-m.hups:
			self(syscall.SIGHUP)
		case <-m.usr1:
			self(syscall.SIGUSR1)
		case <-m.usr2:
			self(syscall.SIGUSR2)
		default:
			pending = false
		}
	}
}

// hearSignals undoes blockSignals in the program that was executed. What this thread
// blocks would be blocked in all that it forks.
func hearSignals() {
	OnMain(func() {
		var set unix.Sigset_t
		for _, s := range meaning {
			addSignal(&set, s.(syscall.Signal))
		}
		addSignal(&set, syscall.SIGCHLD)
		unix.PthreadSigmask(unix.SIG_UNBLOCK, &set, nil)
	})
}
