package spawner

import (
	"math"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

// Bells wake processes that share memory: one futex word per place.
type Bells struct{ places *[Places]bell }

// BellsSize is how many bytes of memory Bells need.
const BellsSize = int(unsafe.Sizeof([Places]bell{}))

type bell struct {
	rung   atomic.Uint32 // how often; the futex
	asleep atomic.Uint32 // 1: somebody may sleep on it, and needs a system call to wake
	_      [line - 8]byte
}

// NewBells are the bells in memory of at least BellsSize bytes, aligned to 8. It
// begins as zero, and stays as long as they are used.
func NewBells(mem []byte) *Bells {
	return &Bells{(*[Places]bell)(unsafe.Pointer(&mem[:BellsSize][0]))}
}

// Ring wakes who listens at a place. Where nobody sleeps it is no system call.
func (b *Bells) Ring(place int) {
	p := &b.places[place]
	p.rung.Add(1)
	if p.asleep.Load() != 0 {
		futex(&p.rung, futexWake, math.MaxInt32)
	}
}

// The operations of linux/futex.h, without FUTEX_PRIVATE_FLAG: between processes.
const (
	futexWait = 0
	futexWake = 1
)

// futex is a system call that the scheduler knows of, since it may block.
func futex(w *atomic.Uint32, op, val uintptr) syscall.Errno {
	_, _, e := syscall.Syscall6(syscall.SYS_FUTEX, uintptr(unsafe.Pointer(w)), op, val, 0, 0, 0)
	return e
}

// Listen has f called, one call at a time, after the bell of a place has rung, and
// once at the start, for what rang before. Calls may be joined, and there may be
// one too many. There is one listener per place: it takes a thread, which sleeps
// in the kernel. stop ends it and waits for the last call; f may not call it.
func (b *Bells) Listen(place int, f func()) (stop func()) {
	p := &b.places[place]
	var stopped atomic.Bool
	done := make(chan struct{})
	heard := p.rung.Load() - 1
	go func() {
		defer close(done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		for !stopped.Load() {
			if n := p.rung.Load(); n != heard {
				heard = n
				f()
				continue
			}
			p.asleep.Store(1)
			futex(&p.rung, futexWait, uintptr(heard)) // EAGAIN, EINTR: look again
			p.asleep.Store(0)
		}
	}()
	return func() {
		stopped.Store(true)
		for {
			p.rung.Add(1)
			futex(&p.rung, futexWake, math.MaxInt32)
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}
}
