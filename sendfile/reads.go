package sendfile

import (
	"container/list"
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Reads bounds what files that are not in the page cache cost a process. Every read of such a file holds one of a fixed
// number of permits, since the thread that makes it is lost to everybody else until the disk has answered; what is in the
// page cache is read at once, without a permit.
//
// An answer that has not begun waits in a queue with a bound, and beyond it fails with ErrBusy: nothing has been sent then.
// The further parts of one whose header has gone wait in a queue of their own, which has no bound, as it is no longer than
// the number of downloads, and to break those off would be worse. The queues take turns, so that neither many downloads
// nor many small files keep the other waiting.
//
// A nil *Reads has no bounds: each read is made at once, and blocks. It is safe for concurrent use.
type Reads struct {
	threads, queue int

	busy atomic.Int32 // permits in use; changed with mu held

	mu    sync.Mutex
	waits [2]list.List // of chan struct{}, closed with the permit: answers that have not begun, and those that have
	turn  int          // whose permit was the last that was handed over

	hits hits
	odd  oddities
}

// ErrBusy is the cause when too many reads wait for the disk already.
var ErrBusy = errors.New("too many reads wait for the disk")

// NewReads returns Reads with so many permits, at least one, and so many waiting answers.
func NewReads(threads, queue int) *Reads {
	return &Reads{threads: max(threads, 1), queue: max(queue, 0)}
}

// The queues.
const (
	beginning = iota // nothing has been sent
	begun
)

// acquire waits for a permit. The error is ErrBusy, or that of ctx.
func (r *Reads) acquire(ctx context.Context, queue int) error {
	r.mu.Lock()
	if r.tryLocked() {
		r.mu.Unlock()
		return nil
	}
	wait := &r.waits[queue]
	if queue == beginning && wait.Len() >= r.queue {
		r.mu.Unlock()
		return ErrBusy
	}
	permit := make(chan struct{})
	place := wait.PushBack(permit)
	r.mu.Unlock()
	select {
	case <-permit:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-permit: // it came at the same moment
		r.pass()
	default:
		wait.Remove(place)
	}
	return context.Cause(ctx)
}

// try takes a permit if one is free.
func (r *Reads) try() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tryLocked()
}

func (r *Reads) tryLocked() bool {
	if int(r.busy.Load()) >= r.threads {
		return false
	}
	r.busy.Add(1)
	return true
}

func (r *Reads) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pass()
}

// pass hands a permit to the one who has waited longest in the queue whose turn it is.
func (r *Reads) pass() {
	for range r.waits {
		r.turn = (r.turn + 1) % len(r.waits)
		if place := r.waits[r.turn].Front(); place != nil {
			close(r.waits[r.turn].Remove(place).(chan struct{}))
			return
		}
	}
	r.busy.Add(-1)
}

// fill reads b from the file at off. It returns fewer bytes than b has where the file ends, and with an error: ErrBusy,
// that of ctx, or the system call's.
func (r *Reads) fill(ctx context.Context, queue int, f *File, b []byte, off int64) (n int, err error) {
	if r == nil {
		return readFull(pread, f.fd, b, off)
	}
	switch r.look(f, off, int64(len(b))) {
	case worthTrying:
		n, err = readFull(preadNow, f.fd, b, off)
		if r.isMiss(f, err) {
			break
		}
		r.hits.add(f)
		return n, err
	case inMemory:
		return readFull(pread, f.fd, b, off)
	}
	if err := r.acquire(ctx, queue); err != nil {
		return n, err
	}
	defer r.release()
	m, err := readFull(pread, f.fd, b[n:], off+int64(n))
	return n + m, err
}

// isMiss reports whether a read with RWF_NOWAIT did not get everything from the page cache.
func (r *Reads) isMiss(f *File, err error) bool {
	switch err {
	case unix.EAGAIN:
		r.hits.remove(f)
		return true
	case unix.EOPNOTSUPP, unix.ENOSYS, unix.EPERM:
		r.odd.note(f)
		return true
	}
	return false
}

// readFull reads until b is full, the file ends, or an error.
func readFull(read func(fd int, b []byte, off int64) (int, error), fd int, b []byte, off int64) (n int, err error) {
	for n < len(b) {
		m, err := read(fd, b[n:], off+int64(n))
		switch {
		case err == unix.EINTR:
		case err != nil:
			return n, err
		case m <= 0:
			return n, nil
		default:
			n += m
		}
	}
	return n, nil
}

// busyError is what a caller gets for ErrBusy.
func busyError(f *File) error {
	return &Error{Op: "read", Path: f.name, Status: http.StatusServiceUnavailable, Rule: "not in memory", Err: ErrBusy}
}
