package sendfile

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A goroutine in an ordinary system call keeps its place at the scheduler until somebody notices that it takes long, which
// is 20 µs to 10 ms later; and where GOMAXPROCS is 1 nothing else runs until then. These give it up at once, as the
// runtime itself does where it knows that a call will block.

//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

//go:nosplit
func preadHandOff(fd, p, n, off uintptr) (uintptr, syscall.Errno) {
	entersyscallblock()
	m, _, errno := syscall.RawSyscall6(unix.SYS_PREAD64, fd, p, n, off, 0, 0)
	exitsyscall()
	return m, errno
}

// preadBlocking is pread(2) of what may have to come from a disk.
func preadBlocking(fd int, b []byte, off int64) (int, error) {
	n, errno := preadHandOff(uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(off))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
