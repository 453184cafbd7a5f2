package accept

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/lockmodes"
)

const (
	// roomMost bounds a rest without room, should nobody say that there is some.
	roomMost = time.Second
	// rearmAfter is how many connections a worker takes with Exclusive before it
	// goes behind the others: the kernel wakes the one that has been there longest.
	rearmAfter = 16
	// rearmMost bounds how long a connection waits with Exclusive when the one that
	// was woken for it has been killed, or has no room any more: nobody else is.
	rearmMost = 500 * time.Millisecond
	// asideFor is how long a worker steps aside behind its turn, so that another is
	// awake before the lock is taken again; without that one takes them all.
	asideFor = time.Microsecond // the kernel makes it about 50
)

// thread accepts on a thread of its own, which waits in an epoll set of its own.
type thread struct {
	o       Options
	lock    lockmodes.Lock // nil: none, or none any more
	all     []*listener
	epfd    int
	bell    int // an eventfd
	batch   batch
	events  []unix.EpollEvent
	ready   []*listener
	trouble trouble
	waited  time.Duration // for the lock, in this turn
	until   time.Time     // end of a pause
	armed   bool          // the listeners are in the set
	since   int           // connections since then
	done    chan struct{}

	mu       sync.Mutex
	blocked  bool // in a wait for the lock that nothing can interrupt
	started  bool
	stopping bool
	ended    bool
}

func newThread(o Options) (*thread, error) {
	t := &thread{o: o, lock: o.Lock, all: listeners(o.Listeners), trouble: trouble{log: o.Log, short: o.Short}, done: make(chan struct{}),
		events: make([]unix.EpollEvent, len(o.Listeners)+1)}
	var err error
	if t.epfd, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if t.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		unix.Close(t.epfd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: -1}
	err = os.NewSyscallError("epoll_ctl", unix.EpollCtl(t.epfd, unix.EPOLL_CTL_ADD, t.bell, &ev))
	if err == nil {
		err = t.arm()
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *thread) start() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopping {
		return errStopped
	}
	t.started = true
	go t.run()
	return nil
}

func (t *thread) close() {
	unix.Close(t.epfd)
	unix.Close(t.bell)
}

func (t *thread) run() {
	defer close(t.done)
	defer t.end()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for t.rest() && t.enter() {
		ready := t.wait()
		if len(ready) > 0 {
			t.batch.fill(ready, t.o.Room())
		}
		if t.lock != nil {
			t.lock.Unlock()
		}
		if len(ready) == 0 {
			continue
		}
		t.account()
		if t.batch.n > 0 && t.lock != nil && !t.o.Alone {
			ts := unix.NsecToTimespec(int64(asideFor))
			unix.Nanosleep(&ts, nil)
		}
	}
}

// account counts the turn, hands on what it brought, and sees what follows.
func (t *thread) account() {
	t.o.Place.Wakeup(t.batch.n, t.waited)
	t.batch.hand(t.o.Take)
	if t.batch.n > 0 {
		t.trouble.fine()
	}
	if t.batch.cause != 0 {
		t.until = time.Now().Add(t.trouble.next(os.NewSyscallError("accept", t.batch.cause)))
	}
	t.since += t.batch.n
}

// rest waits for the end of a pause, and for room. It reports false when the
// accepting has ended.
func (t *thread) rest() bool {
	for !t.isStopping() {
		pause := time.Until(t.until)
		if pause <= 0 && t.o.Room() > 0 {
			return t.keepArmed()
		}
		if pause <= 0 {
			pause = roomMost
		}
		t.disarm()
		t.sleep(pause)
	}
	return false
}

func (t *thread) isStopping() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stopping
}

// sleep waits for the bell. The listeners do not wake it.
func (t *thread) sleep(most time.Duration) {
	p := []unix.PollFd{{Fd: int32(t.bell), Events: unix.POLLIN}}
	unix.Poll(p, int(most.Milliseconds())+1)
	t.drain()
}

func (t *thread) drain() {
	var b [8]byte
	unix.Read(t.bell, b[:])
}

// enter takes the lock, and reports false when the accepting has ended.
func (t *thread) enter() bool {
	t.waited = 0
	if t.lock == nil || t.lock.TryLock() {
		return true
	}
	if !t.block(true) {
		return false
	}
	begin := time.Now()
	err := t.lock.Lock()
	t.waited = time.Since(begin)
	goes := t.block(false)
	switch {
	case errors.Is(err, lockmodes.ErrStopped):
		return false
	case err != nil:
		// Without it the workers wake each other for nothing, and accept.
		t.o.Log.Error("accept lock fails, and is done without", "mode", t.o.Mode, "err", err)
		t.lock = nil
	case !goes:
		t.lock.Unlock()
	}
	return goes
}

// block notes that a wait for the lock begins or ends, and reports false when the
// accepting has ended.
func (t *thread) block(begins bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopping {
		return false
	}
	t.blocked = begins && !t.o.Mode.Interruptible()
	return true
}

// wait waits until a listener is ready, or for the bell.
func (t *thread) wait() []*listener {
	most := -1
	if t.o.Mode == lockmodes.Exclusive {
		most = int(rearmMost.Milliseconds())
	}
	n, err := unix.EpollWait(t.epfd, t.events, most)
	t.ready = t.ready[:0]
	if err != nil {
		return nil // EINTR
	}
	for _, ev := range t.events[:n] {
		if ev.Fd < 0 {
			t.drain()
			continue
		}
		t.ready = append(t.ready, t.all[ev.Fd])
	}
	if n == 0 {
		t.since = rearmAfter
	}
	return t.ready
}

// arm puts the listeners into the set.
func (t *thread) arm() error {
	flags := uint32(unix.EPOLLIN)
	if t.o.Mode == lockmodes.Exclusive {
		flags |= unix.EPOLLEXCLUSIVE
	}
	for i, l := range t.all {
		ev := unix.EpollEvent{Events: flags, Fd: int32(i)}
		if err := unix.EpollCtl(t.epfd, unix.EPOLL_CTL_ADD, l.fd, &ev); err != nil && err != unix.EEXIST {
			return fmt.Errorf("listener %d: %w", i, os.NewSyscallError("epoll_ctl", err))
		}
	}
	t.armed, t.since = true, 0
	return nil
}

// disarm takes the listeners out of the set with Exclusive: the kernel would wake
// us instead of one that has room.
func (t *thread) disarm() {
	if !t.armed || t.o.Mode != lockmodes.Exclusive {
		return
	}
	for _, l := range t.all {
		unix.EpollCtl(t.epfd, unix.EPOLL_CTL_DEL, l.fd, nil)
	}
	t.armed = false
}

// keepArmed arms, and with Exclusive goes behind the others now and then. That a
// listener is ready is noticed when it is put into the set.
func (t *thread) keepArmed() bool {
	if t.since >= rearmAfter {
		t.disarm()
		t.since = 0
	}
	for !t.armed {
		if err := t.arm(); err == nil {
			break
		} else {
			t.until = time.Now().Add(t.trouble.next(err))
		}
		t.sleep(time.Until(t.until))
		if t.isStopping() {
			return false
		}
	}
	return true
}

// ring wakes the thread.
func (t *thread) ring() {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], 1)
	unix.Write(t.bell, b[:]) // EAGAIN: it has been rung
}

func (t *thread) resume() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		t.ring()
	}
}

func (t *thread) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	t.close()
}

func (t *thread) stop() {
	t.mu.Lock()
	t.stopping = true
	blocked := t.blocked
	switch {
	case !t.started:
		t.ended = true
		t.close()
		close(t.done)
	case !t.ended:
		t.ring()
	}
	t.mu.Unlock()
	if t.o.Lock != nil {
		t.o.Lock.Stop()
	}
	if !blocked {
		<-t.done
	}
}
