package master

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sluice/internal/early"
)

// Executed reports whether this process was a server already, as another program.
func Executed() bool { return os.Getenv(early.EstateVariable) != "" }

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
	defer ignoreSignals()()
	time.Sleep(signalPause)
	if len(m.stops) > 0 {
		return errStopping
	}
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
	waiting := m.signalsWaiting()
	err := syscall.Exec(i.path, os.Args, append(os.Environ(), early.EstateVariable+"="+strconv.Itoa(all[0]), early.SignalsVariable+"="+waiting))
	m.takeSignals(waiting)
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

// signalPause is how long a signal may take from the kernel to who acts on it, in
// this process.
const signalPause = time.Millisecond

// ignoreSignals has the signals that mean something ignored, until undo, or until the
// program that is executed wants them. A handler does not outlast an exec; nor does
// it help to block them, since Go's runtime undoes that before anybody can ask for
// them, and what has been waiting ends the program then.
func ignoreSignals() (undo func()) {
	const maskBytes, sigIgnore = 8, 1
	type action [4]uintptr // struct sigaction
	ignore := action{sigIgnore}
	before := make([]action, len(early.Meaning))
	for i, s := range early.Meaning {
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s.(syscall.Signal)), uintptr(unsafe.Pointer(&ignore)), uintptr(unsafe.Pointer(&before[i])), maskBytes, 0, 0)
	}
	return func() {
		for i, s := range early.Meaning {
			unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s.(syscall.Signal)), uintptr(unsafe.Pointer(&before[i])), 0, maskBytes, 0, 0)
		}
	}
}

// signalsWaiting takes the signals that have come and that nobody has acted on, as
// early wants them.
func (m *Master) signalsWaiting() string {
	var all []string
	add := func(s os.Signal) { all = append(all, strconv.Itoa(int(s.(syscall.Signal)))) }
	for {
		select {
		case s := <-m.signaled:
			add(s)
		case <-m.hups:
			add(syscall.SIGHUP)
		case <-m.usr1:
			add(syscall.SIGUSR1)
		case <-m.usr2:
			add(syscall.SIGUSR2)
		default:
			return strings.Join(all, ",")
		}
	}
}

// takeSignals undoes signalsWaiting.
func (m *Master) takeSignals(waiting string) {
	for n := range strings.SplitSeq(waiting, ",") {
		if s, err := strconv.Atoi(n); err == nil {
			select {
			case m.signaled <- syscall.Signal(s):
			default:
			}
		}
	}
}
