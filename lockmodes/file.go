package lockmodes

import (
	"os"
	"sync/atomic"
	"syscall"
)

// fileLock is a lock on an open file: what Flock and Fcntl have in common.
type fileLock struct {
	file    *os.File
	raw     syscall.RawConn
	stopped atomic.Bool

	// The three operations, and what the first two brought. They are called through
	// raw, so that the descriptor does not become another file's meanwhile.
	try, wait, free func(fd uintptr)

	err error
}

func newFileLock(f *os.File, try, wait, free func(fd int) error) (*fileLock, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	l := &fileLock{file: f, raw: raw}
	l.try = func(fd uintptr) { l.err = try(int(fd)) }
	l.wait = func(fd uintptr) {
		l.err = wait(int(fd))
		if l.err == nil && l.stopped.Load() {
			free(int(fd))
			l.err = ErrStopped
		}
	}
	l.free = func(fd uintptr) { free(int(fd)) }
	return l, nil
}

func (l *fileLock) TryLock() bool {
	return !l.stopped.Load() && l.raw.Control(l.try) == nil && l.err == nil
}

func (l *fileLock) Lock() error {
	if l.stopped.Load() {
		return ErrStopped
	}
	if l.TryLock() {
		return nil
	}
	if l.raw.Control(l.wait) != nil {
		return ErrStopped // it is closed
	}
	return l.err
}

func (l *fileLock) Unlock() { l.raw.Control(l.free) }
func (l *fileLock) Stop()   { l.stopped.Store(true) }

// Close frees the lock, with the last descriptor of it.
func (l *fileLock) Close() error {
	l.Stop()
	return l.file.Close()
}
