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
	fd      int
	stopped atomic.Bool

	// The three operations.
	try, wait, free func(fd int) error

	waited error // of block
	block  func(fd uintptr)
}

func newFileLock(f *os.File, try, wait, free func(fd int) error) (*fileLock, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	l := &fileLock{file: f, raw: raw, try: try, wait: wait, free: free}
	if err := raw.Control(func(fd uintptr) { l.fd = int(fd) }); err != nil {
		return nil, err
	}
	l.block = func(fd uintptr) {
		l.waited = l.wait(int(fd))
		if l.waited == nil && l.stopped.Load() {
			l.free(int(fd))
			l.waited = ErrStopped
		}
	}
	return l, nil
}

func (l *fileLock) TryLock() bool { return !l.stopped.Load() && l.try(l.fd) == nil }

// Lock holds on to the descriptor while it waits: Close may come meanwhile, and
// its number may become another file's.
func (l *fileLock) Lock() error {
	if l.stopped.Load() {
		return ErrStopped
	}
	if l.TryLock() {
		return nil
	}
	if err := l.raw.Control(l.block); err != nil {
		return ErrStopped // closed
	}
	return l.waited
}

func (l *fileLock) Unlock() { l.free(l.fd) }
func (l *fileLock) Stop()   { l.stopped.Store(true) }

// Close frees the lock, with the last descriptor of it.
func (l *fileLock) Close() error {
	l.Stop()
	return l.file.Close()
}
