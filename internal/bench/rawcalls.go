package main

import (
	"syscall"
	"unsafe"
)

// Raw system calls: the scheduler's bookkeeping around a blocking call costs a
// futex wake-up per request, and this process has nothing else to schedule.

func accept(fd int) (int, error) {
	for {
		n, _, e := syscall.RawSyscall6(syscall.SYS_ACCEPT4, uintptr(fd), 0, 0, syscall.SOCK_CLOEXEC, 0, 0)
		if e == 0 {
			return int(n), nil
		}
		if e != syscall.EINTR && e != syscall.ECONNABORTED {
			return -1, e
		}
	}
}

func read(fd int, b []byte) (int, error)  { return transfer(syscall.SYS_READ, fd, b) }
func write(fd int, b []byte) (int, error) { return transfer(syscall.SYS_WRITE, fd, b) }

func transfer(call uintptr, fd int, b []byte) (int, error) {
	for {
		n, _, e := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if e == 0 {
			return int(n), nil
		}
		if e != syscall.EINTR {
			return 0, e
		}
	}
}

// pollFD is struct pollfd.
type pollFD struct {
	fd      int32
	events  int16
	revents int16
}

const pollIn = 1

func poll(list []pollFD) error {
	for {
		_, _, e := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&list[0])), uintptr(len(list)), 0, 0, 0, 0)
		if e == 0 {
			return nil
		}
		if e != syscall.EINTR {
			return e
		}
	}
}
