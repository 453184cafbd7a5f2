package cgi

import (
	"io"
	"os"
	"syscall"
	"time"
)

// Poller waits for the pipes of scripts, in place of Go's own which takes a
// goroutine for each. The descriptors that it is given do not block.
type Poller interface {
	// Output takes over the read end of a pipe, also when it fails.
	Output(fd int) (Output, error)
	// Notify calls f each time that more has come to a descriptor, or its other
	// end has been closed, until forget is called, behind which the descriptor is
	// closed at once. f may be called once more after that. It does not block.
	Notify(fd int, f func(more, ended bool)) (forget func(), err error)
}

// Output is what a script's standard output is read from. Its errors are those
// of an *os.File, or of a net.Conn.
type Output interface {
	io.ReadCloser
	SetReadDeadline(time.Time) error
}

// pipe makes a pipe whose read end, or write end, is for this process: it does
// not block, as opposed to the other one, which would give a script EAGAIN.
func pipe(mine int) (p [2]int, err error) {
	if err := syscall.Pipe2(p[:], syscall.O_CLOEXEC); err != nil {
		return p, os.NewSyscallError("pipe2", err)
	}
	if err := setNonblock(p[mine]); err != nil {
		syscall.Close(p[0])
		syscall.Close(p[1])
		return p, os.NewSyscallError("fcntl", err)
	}
	return p, nil
}

// The ends of a pipe.
const (
	readEnd  = 0
	writeEnd = 1
)

// setNonblock is for a descriptor of which it is known that it has no other
// flags.
func setNonblock(fd int) error {
	_, _, errno := syscall.RawSyscall(syscall.SYS_FCNTL, uintptr(fd), syscall.F_SETFL, syscall.O_NONBLOCK)
	if errno != 0 {
		return errno
	}
	return nil
}
