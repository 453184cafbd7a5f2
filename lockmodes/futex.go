package lockmodes

import (
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The operations of linux/futex.h, without FUTEX_PRIVATE_FLAG: between processes.
const (
	futexWait = 0
	futexWake = 1
)

// sleep sleeps while the word has the value, until somebody wakes it or for at
// most the time. The scheduler knows of it.
func sleep(w *atomic.Uint32, value uint32, most time.Duration) {
	ts := unix.NsecToTimespec(int64(most))
	unix.Syscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), futexWait, uintptr(value), uintptr(unsafe.Pointer(&ts)), 0, 0)
}

// wake wakes so many of those who sleep. It does not block, so the scheduler is
// not told: it might take the processor away.
func wake(w *atomic.Uint32, n int) {
	unix.RawSyscall6(unix.SYS_FUTEX, uintptr(unsafe.Pointer(w)), futexWake, uintptr(n), 0, 0, 0)
}

// everybody is for wake.
const everybody = math.MaxInt32
