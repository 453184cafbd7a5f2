package lockmodes

import (
	"os"
	"runtime"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The word of a robust mutex, as linux/futex.h has it.
const (
	mutexWaiters   = 0x80000000
	mutexOwnerDied = 0x40000000
	mutexOwner     = 0x3fffffff // the holder's thread
)

// pthread is a robust mutex, as pthread_mutex_t with PTHREAD_MUTEX_ROBUST is
// inside: a word that names the holder's thread, which the kernel looks at when
// that thread ends. The thread is one that the lock has for that alone, so any
// goroutine may lock and unlock.
type pthread struct {
	mem     *memory
	tid     uint32
	stopped atomic.Bool
	gate    gate
	quit    chan struct{}
	ended   chan struct{}
}

// robustHead is struct robust_list_head of linux/futex.h.
type robustHead struct {
	next    uintptr // of a ring that is empty: itself
	offset  uintptr // from an entry to its futex
	pending uintptr // an entry that may or may not be in the ring
	entry   uintptr
}

func openPthread(_ Options, m material) (Lock, error) {
	l := &pthread{mem: m.mem, quit: make(chan struct{}), ended: make(chan struct{})}
	failed := make(chan error)
	go l.own(failed)
	if err := <-failed; err != nil {
		m.mem.unmap()
		return nil, err
	}
	return l, nil
}

// own is the thread in whose name the mutex is locked. It lives until Close, or
// until the process is killed: then the kernel reads the list.
func (l *pthread) own(failed chan<- error) {
	defer close(l.ended)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// Not the collector's memory: the kernel keeps the address.
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		failed <- os.NewSyscallError("mmap", err)
		return
	}
	defer unix.Munmap(page)
	h := (*robustHead)(unsafe.Pointer(&page[0]))
	h.next = uintptr(unsafe.Pointer(h))
	// The mutex is pending for ever. That costs nothing while it is locked and
	// unlocked, and the kernel looks at the word, not at the list, for who holds
	// it. If it finds the mutex free it wakes one more, so a wake-up that was on
	// its way to this process is not lost.
	h.pending = uintptr(unsafe.Pointer(&h.entry))
	h.offset = uintptr(unsafe.Pointer(&l.mem.mutex)) - h.pending
	l.tid = uint32(unix.Gettid())
	if _, _, e := unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, uintptr(unsafe.Pointer(h)), unsafe.Offsetof(h.entry), 0); e != 0 {
		failed <- os.NewSyscallError("set_robust_list", e)
		return
	}
	failed <- nil
	<-l.quit
	unix.RawSyscall(unix.SYS_SET_ROBUST_LIST, 0, unsafe.Offsetof(h.entry), 0) // the thread becomes any other
}

func (l *pthread) TryLock() bool {
	if !l.gate.enter() {
		return false
	}
	defer l.gate.leave()
	return !l.stopped.Load() && l.take(0)
}

// take takes a mutex that nobody has, or whose owner died. What it guards is a
// queue in the kernel, which a death leaves as it should be.
func (l *pthread) take(waiters uint32) bool {
	for {
		v := l.mem.mutex.Load()
		if v&mutexOwner != 0 {
			return false
		}
		if l.mem.mutex.CompareAndSwap(v, l.tid|v&mutexWaiters|waiters) {
			return true
		}
	}
}

func (l *pthread) Lock() error {
	if !l.gate.enter() {
		return ErrStopped
	}
	defer l.gate.leave()
	if !l.stopped.Load() && l.take(0) {
		return nil
	}
	for !l.stopped.Load() {
		// Who has slept cannot know whether others still do.
		if l.take(mutexWaiters) {
			return nil
		}
		v := l.mem.mutex.Load()
		if v&mutexOwner == 0 || v&mutexWaiters == 0 && !l.mem.mutex.CompareAndSwap(v, v|mutexWaiters) {
			continue
		}
		sleep(&l.mem.mutex, v|mutexWaiters, sleepMost)
	}
	wake(&l.mem.mutex, 1) // the wake-up may have been ours, and is another's now
	return ErrStopped
}

func (l *pthread) Unlock() {
	if l.gate.enter() {
		l.free()
		l.gate.leave()
	}
}

func (l *pthread) free() {
	if l.mem.mutex.Swap(0)&mutexWaiters != 0 {
		wake(&l.mem.mutex, 1)
	}
}

// Stop wakes all who sleep: those of other processes look, and sleep again.
func (l *pthread) Stop() {
	l.stopped.Store(true)
	if l.gate.enter() {
		wake(&l.mem.mutex, everybody)
		l.gate.leave()
	}
}

func (l *pthread) Close() error {
	l.stopped.Store(true)
	if !l.gate.close(func() { wake(&l.mem.mutex, everybody) }) {
		return nil
	}
	if l.mem.mutex.Load()&mutexOwner == l.tid {
		l.free()
	}
	close(l.quit)
	<-l.ended
	return l.mem.unmap()
}
