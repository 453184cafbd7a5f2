package spawner

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The torture of a ledger: workers, which are processes, claim, wait, give up and
// release at random, and are killed at random or kill themselves between two
// writes. A witness in the same memory, which does not go by the ledger, says
// what they do.
type witness struct {
	holds [tortureSlots][Places]atomic.Int64 // claims, before they are released
	waits [Places]atomic.Int64               // requests between the two ends of the queue
	procs [1 << 16]atomic.Uint64             // by pid: requests, and procDead
	up    [Places]atomic.Uint64              // the worker has begun
	died  [steps]atomic.Uint64               // of workers that killed themselves
	wrong [256]atomic.Uint32                 // the first breach of a rule, in letters
}

const (
	tortureSlots = 3
	procDead     = 1 << 63
	tortureMax   = 40 // MaxRequests
	tortureQueue = 6
	tortureAt    = "LEDGER_TORTURE" // config, place, step, how many times it is passed
)

var tortureConfigs = map[string]LedgerOptions{
	"children": {Queue: tortureQueue, MaxRequests: tortureMax,
		Slots: []SlotOptions{{}, {Connections: 3}, {}}},
	"addresses": {Queue: tortureQueue, Balance: BalanceRoundRobin, MaxFails: 2, FailTimeout: 2 * time.Millisecond,
		Slots: []SlotOptions{{}, {Connections: 3, Weight: 3}, {}}},
}

// arena is the shared memory of a torture.
type arena struct {
	mem   []byte
	bells *Bells
	w     *witness
}

const witnessBytes = int(unsafe.Sizeof(witness{}))

func arenaSize(o LedgerOptions) int { return o.Size() + BellsSize + witnessBytes }

func openArena(fd int, o LedgerOptions) (*arena, error) {
	m, err := unix.Mmap(fd, 0, arenaSize(o), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	return &arena{m, NewBells(m[o.Size():]), (*witness)(unsafe.Pointer(&m[o.Size()+BellsSize]))}, nil
}

func newArena(t testing.TB, o LedgerOptions) (*arena, *os.File) {
	t.Helper()
	fd, err := unix.MemfdCreate("ledger", unix.MFD_CLOEXEC)
	must(t, err)
	f := os.NewFile(uintptr(fd), "ledger")
	t.Cleanup(func() { f.Close() })
	must(t, f.Truncate(int64(arenaSize(o))))
	a, err := openArena(fd, o) // for good: a ledger that still looks by itself may outlive the test
	must(t, err)
	return a, f
}

func (w *witness) complain(format string, args ...any) {
	for i, c := range []byte(fmt.Sprintf(format, args...)) {
		if i < len(w.wrong) && (i > 0 || w.wrong[0].Load() == 0) {
			w.wrong[i].CompareAndSwap(0, uint32(c))
		}
	}
}

func (w *witness) complaint() string {
	var b strings.Builder
	for i := range w.wrong {
		if c := w.wrong[i].Load(); c != 0 {
			b.WriteByte(byte(c))
		}
	}
	return b.String()
}

// held is called with a claim and until it is released.
func (w *witness) held(o *LedgerOptions, place int, c Claim) {
	w.holds[c.Slot][place].Add(1)
	n := int64(0)
	for p := range Places {
		n += w.holds[c.Slot][p].Load()
	}
	if n > int64(o.Slots[c.Slot].connections()) {
		w.complain("slot %d has %d requests", c.Slot, n)
	}
	if c.PID == 0 {
		return
	}
	p := w.procs[c.PID].Add(1)
	if p&procDead != 0 {
		w.complain("slot %d: claimed %d, which was retired and idle", c.Slot, c.PID)
	}
	if n := p &^ procDead; n > tortureMax {
		w.complain("slot %d: process %d has had %d requests", c.Slot, c.PID, n)
	}
}

func (w *witness) released(place int, c Claim) { w.holds[c.Slot][place].Add(-1) }

// queued is the hook of a worker: who stands in the queue.
func (w *witness) queued(place int, s step) {
	switch s {
	case stepWaiting:
		w.waits[place].Add(1)
		n := int64(0)
		for p := range Places {
			n += w.waits[p].Load()
		}
		if n > tortureQueue {
			w.complain("%d requests wait", n)
		}
	case stepLeave:
		w.waits[place].Add(-1)
	}
}

// forget drops what a worker did that has ended: before the ledger does.
func (w *witness) forget(place int) {
	for i := range w.holds {
		w.holds[i][place].Store(0)
	}
	w.waits[place].Store(0)
	w.up[place].Store(0)
}
