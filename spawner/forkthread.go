package spawner

import (
	"fmt"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxForkThreads is enough: a fork keeps a processor busy.
const maxForkThreads = 4

// Fork threads start scripts. A child inherits no_new_privs and the umask of the
// thread that forks it, and its death signal is about the end of that thread; so
// these are threads that never end, and that have a umask of their own.
var forkThreads = sync.OnceValue(func() chan<- forkCall {
	calls := make(chan forkCall)
	for range min(runtime.GOMAXPROCS(0), maxForkThreads) {
		go forkThread(calls)
	}
	return calls
})

// forkCall is a fork, and where its result goes.
type forkCall struct {
	umask int
	fork  func() (int, error)
	done  chan<- forked
}

type forked struct {
	pid int
	err error
}

// onForkThread runs a fork on one of the threads, with a umask.
func onForkThread(umask int, fork func() (int, error)) (int, error) {
	done := make(chan forked, 1)
	forkThreads() <- forkCall{umask, fork, done}
	f := <-done
	return f.pid, f.err
}

func forkThread(calls <-chan forkCall) {
	runtime.LockOSThread() // for good
	private := unix.Unshare(unix.CLONE_FS) == nil
	err := noNewPrivs()
	current := -1
	for c := range calls {
		f := forked{err: err}
		switch {
		case err != nil:
		case private:
			if c.umask != current {
				syscall.Umask(c.umask)
				current = c.umask
			}
			f.pid, f.err = c.fork()
		default:
			f.pid, f.err = withSharedUmask(c)
		}
		c.done <- f
	}
}

// onLentThread runs a fork on the thread that somebody lends for it, always the same
// one. Its umask is what it was afterwards.
func onLentThread(umask int, fork func() (int, error)) (int, error) {
	if err := noNewPrivs(); err != nil {
		return 0, err
	}
	if !lentPrivate() {
		return withSharedUmask(forkCall{umask: umask, fork: fork})
	}
	defer syscall.Umask(syscall.Umask(umask))
	return fork()
}

// lentPrivate makes the umask of the thread that is lent its own.
var lentPrivate = sync.OnceValue(func() bool { return unix.Unshare(unix.CLONE_FS) == nil })

// sharedUmask is held by who changes it, and by who wants it as it is.
var sharedUmask sync.RWMutex

// withSharedUmask is for where unshare(2) is forbidden (the default seccomp
// profile of Docker): the mask is the whole process's for as long as a fork.
func withSharedUmask(c forkCall) (int, error) {
	sharedUmask.Lock()
	defer sharedUmask.Unlock()
	defer syscall.Umask(syscall.Umask(c.umask))
	return c.fork()
}

// Own makes this process one whose scripts with this umask are started by whatever
// thread asks for one, which spares the way to another thread and back. The umask
// becomes the process's, and no_new_privs that of the threads that start scripts.
// Scripts with another umask start as they do without. SIGCHLD is left to the
// kernel from then on, which throws it away: otherwise each end of a script would
// wake some thread for nothing. So a Reaper has no place in such a process.
//
// What the caller promises is that no thread ends before the process does, since
// its scripts would be killed by that. Go's threads do not, except by a goroutine
// that ends while it is locked to one.
func (s *Scripts) Own(umask int) {
	syscall.Umask(umask)
	noChildSignals()
	s.own.Store(int64(umask) + 1)
}

// owns reports whether any thread may start a script with this umask.
func (s *Scripts) owns(umask int) bool { return s.own.Load() == int64(umask)+1 }

// onThisThread runs a fork where it is called.
func onThisThread(fork func() (int, error)) (int, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := noNewPrivs(); err != nil {
		return 0, err
	}
	sharedUmask.RLock()
	defer sharedUmask.RUnlock()
	return fork()
}

// noNewPrivs sets no_new_privs for this thread and what it forks.
func noNewPrivs() error {
	// It cannot block, and the scheduler need not know.
	_, _, errno := syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0)
	if errno != 0 {
		return fmt.Errorf("PR_SET_NO_NEW_PRIVS: %w", errno)
	}
	return nil
}

// noChildSignals gives SIGCHLD its default action, behind the back of Go's runtime,
// which installs a handler for every signal and knows no way to take one off but
// to ignore the signal: then the kernel would keep no status (sigaction(2)).
func noChildSignals() {
	var action [32]byte // struct sigaction: SIG_DFL, no flags, no mask
	const maskBytes = 8
	syscall.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(syscall.SIGCHLD), uintptr(unsafe.Pointer(&action)), 0, maskBytes, 0, 0)
}
