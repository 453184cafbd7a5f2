package sendfile

import (
	"context"
	"time"
)

// A large file is sent in windows. Before each it is made sure that the window is in memory, so that sendfile(2) never
// waits for the disk with a thread that nobody has counted, and while it is sent the disk reads the next one. A client
// gets windows as large as it is fast: what is read ahead for many slow ones would push each other out of memory.
const (
	firstWindow = 256 << 10
	lastWindow  = SliceBytes
	fastWindow  = 250 * time.Millisecond // a window that was sent in this time is followed by one of twice its size
	slowWindow  = 2 * time.Second        // one that took longer by one of the first size; pages may have been evicted meanwhile
)

// adviceBytes is how much is asked for in one call: the kernel cuts an advice at the largest request that the disk takes,
// which is more than this for most.
const adviceBytes = 512 << 10

// residency follows one Content through its file. It is used by one goroutine at a time.
type residency struct {
	reads *Reads
	ctx   context.Context
	size  int64     // of the next window
	since time.Time // the last one was made resident
	until int64     // its end
	cold  bool      // some window was not in memory
}

// next makes sure that what begins at off is in memory, and returns the end of the window, at most end.
func (s *residency) next(queue int, f *File, off, end int64) (int64, error) {
	if s.reads == nil {
		return end, nil
	}
	now := time.Now()
	if off < s.until && now.Sub(s.since) < slowWindow {
		return min(s.until, end), nil
	}
	s.grow(now)
	n := min(s.size, end-off)
	following := min(s.size, end-off-n)
	switch {
	case !s.reads.resident(f, off, n):
		s.cold = true
		if err := s.reads.bring(s.ctx, queue, f, off, n, following); err != nil {
			return off, err
		}
		now = time.Now()
	case s.cold && following > 0:
		s.reads.ahead(f, off+n, following)
	}
	s.since, s.until = now, off+n
	return s.until, nil
}

// grow sets the size of the next window.
func (s *residency) grow(now time.Time) {
	switch took := now.Sub(s.since); {
	case s.size == 0, took > slowWindow:
		s.size = firstWindow
	case took < fastWindow:
		s.size = min(2*s.size, lastWindow)
	}
}

// stale reports whether it is so long ago that the window was looked at that it may have been evicted.
func (s *residency) stale() bool { return s.reads != nil && time.Since(s.since) > slowWindow }

// bring reads n bytes at off into the page cache, and has the disk go on with those that follow. What goes wrong, the send
// will tell.
func (r *Reads) bring(ctx context.Context, queue int, f *File, off, n, following int64) error {
	rd, err := r.acquire(ctx, queue)
	if err != nil {
		return err
	}
	defer r.release(rd)
	return rd.bring(f.fd, off, n, following)
}

// ahead has the disk read what will be sent next, unless all threads are in use: the call may wait where the disk's own
// queue is full.
func (r *Reads) ahead(f *File, off, n int64) {
	if r.resident(f, off, n) {
		return
	}
	if rd := r.try(); rd != nil {
		defer r.release(rd)
		rd.bring(f.fd, off, 0, n)
	}
}
