package lockmodes

import (
	"math/bits"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// holders is a semaphore that is the set of its holders: what PosixSem, USLock
// and Partial have in common.
type holders struct {
	mem     *memory
	bit     uint64 // of this process
	permits int
	spins   int // before the first sleep
	yields  int // behind the spins
	stopped atomic.Bool
	gate    gate
}

func newHolders(m material, permits int) *holders {
	return &holders{mem: m.mem, bit: placeBit(m.place), permits: permits}
}

func placeBit(place int) uint64 { return 1 << (place - 1) }

func (h *holders) TryLock() bool {
	if !h.gate.enter() {
		return false
	}
	defer h.gate.leave()
	return h.take()
}

func (h *holders) take() bool {
	for !h.stopped.Load() {
		in := h.mem.holders.Load()
		if in&h.bit != 0 || bits.OnesCount64(in) >= h.permits {
			return false
		}
		if h.mem.holders.CompareAndSwap(in, in|h.bit) {
			return true
		}
	}
	return false
}

func (h *holders) Lock() error {
	if !h.gate.enter() {
		return ErrStopped
	}
	defer h.gate.leave()
	if h.take() || h.spin() {
		return nil
	}
	// First to be known as one who sleeps, then to look: who leaves does it the
	// other way round.
	h.mem.waiters.Or(h.bit)
	for !h.stopped.Load() {
		rung := h.mem.bell.Load()
		if h.take() {
			h.mem.waiters.And(^h.bit)
			return nil
		}
		sleep(&h.mem.bell, rung, sleepMost)
	}
	h.mem.waiters.And(^h.bit)
	h.ring(1) // the wake-up may have been ours, and is another's now
	return ErrStopped
}

// spin tries for a while without sleeping.
func (h *holders) spin() bool {
	for range h.spins {
		if bits.OnesCount64(h.mem.holders.Load()) < h.permits && h.take() {
			return true
		}
	}
	for range h.yields {
		unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // may take a while: the scheduler is told
		if h.take() {
			return true
		}
	}
	return false
}

func (h *holders) Unlock() {
	if h.gate.enter() {
		h.free()
		h.gate.leave()
	}
}

func (h *holders) free() {
	h.mem.holders.And(^h.bit)
	h.ring(1)
}

// ring wakes so many who wait; where nobody does it is no system call.
func (h *holders) ring(n int) {
	if h.mem.waiters.Load() != 0 {
		h.mem.bell.Add(1)
		wake(&h.mem.bell, n)
	}
}

func (h *holders) Stop() {
	h.stopped.Store(true)
	if h.gate.enter() {
		h.ring(everybody)
		h.gate.leave()
	}
}

func (h *holders) Close() error {
	h.stopped.Store(true)
	if !h.gate.close(func() { h.ring(everybody) }) {
		return nil
	}
	h.free()
	return h.mem.unmap()
}

// clear takes away what a process had that is no more.
func (m *memory) clear(place int) {
	m.holders.And(^placeBit(place))
	m.waiters.And(^placeBit(place))
	m.bell.Add(1)
	wake(&m.bell, everybody)
}
