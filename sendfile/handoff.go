package sendfile

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A goroutine in an ordinary system call keeps its place at the scheduler until somebody notices that it takes long, which
// is 20 µs to 10 ms later; and where GOMAXPROCS is 1 nothing else runs until then. These two let the place go at once, as
// the runtime itself does where it knows that a call will wait. They are no public names, but promised to stay
// (https://go.dev/issue/67401). Measured with a file in memory beside 32 cold ones: its p99 was 2.5 ms without, 1.0 with.

//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// waitingCall is a system call that is expected to wait. Between the two nothing may need a larger stack.
//
//go:nosplit
func waitingCall(trap, a1, a2, a3, a4 uintptr) (uintptr, syscall.Errno) {
	entersyscallblock()
	r, _, errno := syscall.RawSyscall6(trap, a1, a2, a3, a4, 0, 0)
	exitsyscall()
	return r, errno
}

// preadWaiting is pread(2) of what has to come from a disk.
func preadWaiting(fd int, b []byte, off int64) (int, error) {
	if bits32 {
		return unix.Pread(fd, b, off) // an offset takes two arguments
	}
	n, errno := waitingCall(unix.SYS_PREAD64, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(off))
	runtime.KeepAlive(b)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

const bits32 = unsafe.Sizeof(uintptr(0)) == 4

// openat2Waiting is openat2(2) of a path that has to be looked up on a disk.
func openat2Waiting(dir int, name string, how *unix.OpenHow) (int, error) {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	fd, errno := waitingCall(unix.SYS_OPENAT2, uintptr(dir), uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(how)), unix.SizeofOpenHow)
	runtime.KeepAlive(path)
	runtime.KeepAlive(how)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
