package poll

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Set is a set of descriptors and the goroutine that hands out their events.
type Set struct {
	epfd  int
	file  *os.File
	raw   syscall.RawConn
	base  time.Time    // what deadlines are counted from
	now   atomic.Int64 // nanoseconds since base at the last event or tick
	wheel wheel
	ended chan struct{}

	mu      sync.Mutex
	entries []entry
	free    []uint32 // of entries
}

// entry is what a descriptor's events are for. The generation tells events of
// a descriptor from those of an earlier one in the same place.
type entry struct {
	gen   uint32
	conn  *Conn
	watch *Watch
}

// eventsAtOnce bounds the events that are taken from the kernel in one call.
const eventsAtOnce = 256

// New makes a set. Close ends it.
func New() (*Set, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(epfd, true); err != nil {
		unix.Close(epfd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	s := &Set{epfd: epfd, file: os.NewFile(uintptr(epfd), "epoll"), base: time.Now().Add(-time.Second), ended: make(chan struct{})}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, err
	}
	s.wheel.init(s)
	s.Now()
	go s.run()
	return s, nil
}

// Close stops handing out events. The connections are not closed; nothing may
// wait in them any more.
func (s *Set) Close() {
	s.file.Close()
	<-s.ended
	s.wheel.stop()
}

// Now is the time, with a monotonic reading.
func (s *Set) Now() time.Time {
	t := time.Now()
	s.advance(int64(t.Sub(s.base)))
	return t
}

// advance moves the clock on. It never goes back, whoever was held up between a
// look at the time and this: who has been woken for a deadline that has passed
// looks at the clock again, and nobody would wake it a second time.
func (s *Set) advance(now int64) {
	for {
		old := s.now.Load()
		if old >= now || s.now.CompareAndSwap(old, now) {
			return
		}
	}
}

// since counts a time from the base; it is 0 for the zero time.
func (s *Set) since(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return max(1, int64(t.Sub(s.base)))
}

// run waits in Go's netpoller until the set has events, and hands them out.
// Between two lots whoever has become ready runs first, so that under load the
// lots are large and the calls few.
func (s *Set) run() {
	defer close(s.ended)
	events := make([]unix.EpollEvent, eventsAtOnce)
	n := 0
	take := func(uintptr) bool {
		n = s.wait(events)
		return n > 0
	}
	for s.raw.Read(take) == nil {
		s.Now()
		for i := range events[:n] {
			s.dispatch(&events[i])
		}
		runtime.Gosched()
	}
}

// wait takes events without waiting. The call cannot block, so the scheduler is
// not told of it.
func (s *Set) wait(events []unix.EpollEvent) int {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.epfd), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (s *Set) dispatch(ev *unix.EpollEvent) {
	s.mu.Lock()
	e := s.entries[ev.Fd]
	s.mu.Unlock()
	switch {
	case e.gen != uint32(ev.Pad):
	case e.conn != nil:
		e.conn.event(ev.Events)
	case e.watch != nil:
		e.watch.f(ev.Events)
	}
}

// add puts a descriptor into the set and returns its place.
func (s *Set) add(fd int, events uint32, c *Conn, w *Watch) (place, error) {
	s.mu.Lock()
	var i uint32
	if n := len(s.free); n > 0 {
		i, s.free = s.free[n-1], s.free[:n-1]
	} else {
		i = uint32(len(s.entries))
		s.entries = append(s.entries, entry{})
	}
	e := &s.entries[i]
	e.gen++
	e.conn, e.watch = c, w
	p := place{i, e.gen}
	s.mu.Unlock()
	if err := s.control(unix.EPOLL_CTL_ADD, fd, events, p); err != nil {
		s.remove(p)
		return place{}, err
	}
	return p, nil
}

// change says anew which events of a descriptor are told. Those that are there
// already are told again.
func (s *Set) change(fd int, events uint32, p place) error {
	return s.control(unix.EPOLL_CTL_MOD, fd, events, p)
}

func (s *Set) control(op, fd int, events uint32, p place) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(p.index), Pad: int32(p.gen)}
	if err := unix.EpollCtl(s.epfd, op, fd, &ev); err != nil {
		return fmt.Errorf("poll: %w", os.NewSyscallError("epoll_ctl", err))
	}
	return nil
}

// place is where a descriptor's events lead.
type place struct{ index, gen uint32 }

// remove forgets a place: events that are on their way are nobody's.
func (s *Set) remove(p place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &s.entries[p.index]
	if e.gen != p.gen {
		return
	}
	e.gen++
	e.conn, e.watch = nil, nil
	s.free = append(s.free, p.index)
}

// Watch is a descriptor that is not a Conn.
type Watch struct {
	s     *Set
	fd    int
	place place
	f     func(events uint32)
}

// Watch calls f in the set's goroutine whenever the descriptor has one of the
// events (EPOLLIN and such), again and again until the cause is gone. f must not
// block.
func (s *Set) Watch(fd int, events uint32, f func()) (*Watch, error) {
	return s.watch(fd, events, func(uint32) { f() })
}

// Edges calls f in the set's goroutine with what is new at the descriptor, once
// for each time that something is (EPOLLET). f must not block.
func (s *Set) Edges(fd int, events uint32, f func(events uint32)) (*Watch, error) {
	return s.watch(fd, events|unix.EPOLLET, f)
}

func (s *Set) watch(fd int, events uint32, f func(events uint32)) (*Watch, error) {
	w := &Watch{s: s, fd: fd, f: f}
	var err error
	w.place, err = s.add(fd, events, nil, w)
	return w, err
}

// Stop ends the watch; a call of f may still be under way. The descriptor stays
// the caller's.
func (w *Watch) Stop() {
	unix.EpollCtl(w.s.epfd, unix.EPOLL_CTL_DEL, w.fd, nil)
	w.s.remove(w.place)
}

// Forget ends the watch of a descriptor that the caller closes at once, by which
// the kernel forgets it, too.
func (w *Watch) Forget() { w.s.remove(w.place) }
