package sendfile

import (
	"container/list"
	"context"
	"errors"
	"net/http"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Reads bounds what files that are not in the page cache cost a process. Every read of such a file holds one of a fixed
// number of threads until the disk has answered; what is in the page cache is read at once, without one.
//
// An answer that has not begun waits in a queue with a bound, and beyond it fails with ErrBusy: nothing has been sent then.
// The further parts of one whose header has gone wait in a queue of their own, which has no bound, as it is no longer than
// the number of downloads, and to break those off would be worse. The queues take turns, so that neither many downloads
// nor many small files keep the other waiting.
//
// A nil *Reads has no bounds: each read is made at once, and blocks. It is safe for concurrent use.
type Reads struct {
	threads, queue int

	busy atomic.Int32 // threads in use; changed with mu held

	mu       sync.Mutex
	readers  []*reader    // all that there are
	idle     []*reader    // those that have nothing to do
	waits    [2]list.List // of chan *reader, which gets one: answers that have not begun, and those that have
	turn     int          // whose reader was the last that was handed over
	finished *os.File     // an eventfd: readers have done their jobs; nil: there is no thread yet
	told     uintptr      // its number, for the readers
	ended    sync.WaitGroup

	hits hits
	odd  oddities
}

// ErrBusy is the cause when too many reads wait for the disk already.
var ErrBusy = errors.New("too many reads wait for the disk")

// NewReads returns Reads with so many threads, at least one, and so many waiting answers. A thread is started when it is
// needed for the first time.
func NewReads(threads, queue int) *Reads {
	return &Reads{threads: max(threads, 1), queue: max(queue, 0)}
}

// Close ends the threads. Nothing may be read any more.
func (r *Reads) Close() {
	r.mu.Lock()
	for _, rd := range r.readers {
		rd.end()
	}
	if r.finished != nil {
		r.finished.Close()
	}
	r.readers, r.idle, r.finished = nil, nil, nil
	r.mu.Unlock()
	r.ended.Wait()
}

// The queues.
const (
	beginning = iota // nothing has been sent
	begun
)

// acquire waits for a reader. The error is ErrBusy, or that of ctx.
func (r *Reads) acquire(ctx context.Context, queue int) (*reader, error) {
	r.mu.Lock()
	if rd := r.takeLocked(); rd != nil {
		r.mu.Unlock()
		return rd, nil
	}
	wait := &r.waits[queue]
	if queue == beginning && wait.Len() >= r.queue {
		r.mu.Unlock()
		return nil, ErrBusy
	}
	got := make(chan *reader, 1)
	place := wait.PushBack(got)
	r.mu.Unlock()
	select {
	case rd := <-got:
		return rd, nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case rd := <-got: // it came at the same moment
		r.pass(rd)
	default:
		wait.Remove(place)
	}
	return nil, context.Cause(ctx)
}

// try returns a reader that has nothing to do; nil: there is none.
func (r *Reads) try() *reader {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.takeLocked()
}

func (r *Reads) takeLocked() (rd *reader) {
	switch n := len(r.idle); {
	case n > 0:
		rd, r.idle = r.idle[n-1], r.idle[:n-1]
	case len(r.readers) < r.threads:
		rd = r.start()
	default:
		return nil
	}
	r.busy.Add(1)
	return rd
}

func (r *Reads) release(rd *reader) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pass(rd)
}

// pass hands a reader to the one who has waited longest in the queue whose turn it is.
func (r *Reads) pass(rd *reader) {
	for range r.waits {
		r.turn = (r.turn + 1) % len(r.waits)
		if place := r.waits[r.turn].Front(); place != nil {
			r.waits[r.turn].Remove(place).(chan *reader) <- rd
			return
		}
	}
	r.busy.Add(-1)
	r.idle = append(r.idle, rd)
}

// start makes a reader, with mu held: one without a thread where descriptors are short.
func (r *Reads) start() *reader {
	rd := &reader{wake: -1}
	r.readers = append(r.readers, rd)
	if r.finished == nil {
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
		if err != nil {
			return rd
		}
		finished := os.NewFile(uintptr(fd), "finished reads")
		r.finished, r.told = finished, uintptr(fd)
		r.ended.Go(func() { r.collect(finished) })
	}
	var err error
	if rd.wake, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
		rd.wake = -1
		return rd
	}
	rd.finished = make(chan struct{}, 1)
	told := r.told
	r.ended.Go(func() {
		rd.run(told)
		unix.Close(rd.wake)
	})
	return rd
}

// collect tells those who wait that their reads are done, until the descriptor is closed.
func (r *Reads) collect(finished *os.File) {
	var count [8]byte
	for {
		if _, err := finished.Read(count[:]); err != nil {
			return
		}
		r.mu.Lock()
		for _, rd := range r.readers {
			if rd.take() {
				rd.finished <- struct{}{}
			}
		}
		r.mu.Unlock()
	}
}

// fill reads b from the file at off. It returns fewer bytes than b has where the file ends, and with an error: ErrBusy,
// that of ctx, or the system call's.
func (r *Reads) fill(ctx context.Context, queue int, f *File, b []byte, off int64) (n int, err error) {
	if r == nil {
		return readFull(unix.Pread, f.fd, b, off)
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
		return readFull(unix.Pread, f.fd, b, off)
	}
	rd, err := r.acquire(ctx, queue)
	if err != nil {
		return n, err
	}
	defer r.release(rd)
	m, err := readFull(rd.pread, f.fd, b[n:], off+int64(n))
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
func busyError(name string) error {
	return &Error{Op: "read", Path: name, Status: http.StatusServiceUnavailable, Rule: "not in memory", Err: ErrBusy}
}
