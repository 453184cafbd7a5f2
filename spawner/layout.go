package spawner

import (
	"errors"
	"fmt"
	"hash/fnv"
	"sync/atomic"
	"unsafe"
)

// The memory of a ledger, in words of 64 bits and lines of 64 bytes (layoutVersion 2):
//
//	headWords            what it is, and what all share
//	Places × placeWords  one line per worker, written by that worker alone
//	per slot:
//	  slotWords          the child: two lines
//	  Connections words  the claims ("cells"), rounded up to whole lines: 0 is
//	                     free, else place<<55 | sequence
//	  MaxFails words     when the last failures were, rounded up likewise
//
// Every word is read and written atomically, and what a worker may leave behind
// half done, killed at any instruction, is harmless or undone by ClearPlace. No
// offset, length or process id is ever taken from the memory: places come from
// bits, which cannot be too large, and everything else from LedgerOptions.
const (
	layoutMagic   = 0x6c65646765720a1a // "ledger"
	layoutVersion = 2
)

// Places is how many processes may share a ledger, the owner (place 0) among
// them. There are more than workers, since generations overlap.
const Places = 256

type headWords struct {
	magic, version, geometry atomic.Uint64
	_                        [5]uint64

	tickets atomic.Uint64 // the last one that was drawn
	_       [7]uint64

	clock atomic.Uint64 // of the order of use; see slotWords.used
	turn  atomic.Uint64 // of BalanceRoundRobin: see rota
	_     [6]uint64

	pending atomic.Uint64 // 1: the owner's bell has rung, and it has not looked yet
	keeper  atomic.Uint64 // the place that keeps connections to children; 0: none
	_       [6]uint64

	waiting [Places / 64]atomic.Uint64 // a bit per place at which requests may wait
	_       [8 - Places/64]uint64

	places [Places]placeWords
}

// placeWords are a worker's own: what others need to know of it.
type placeWords struct {
	ticket  atomic.Uint64 // of the request that waits longest here; 0: none
	count   atomic.Uint64 // requests that wait here
	beat    atomic.Uint64 // when it last looked for a free child, by Now
	served  atomic.Uint64
	refused atomic.Uint64
	_       [3]uint64
}

type slotWords struct {
	// state is serial<<40 | pid<<8 | State, the owner's alone. Serial and pid are
	// the key of a process; the serial moves on with each.
	state     atomic.Uint64
	past      atomic.Uint64 // requests of former processes
	finishing atomic.Uint64 // the key of the process that is; else no matter
	failed    atomic.Uint64 // failures so far
	out       atomic.Uint64 // see fails.go
	_         [3]uint64

	requests atomic.Uint64 // serial<<40 | requests of that process
	// used is the clock of the last release, or where turns are taken the turn of
	// the slot: each grant moves it on by turn/weight, so that among slots which
	// are equally busy one of weight 2 comes twice as often.
	used  atomic.Uint64
	idle  atomic.Uint64 // the last release, by Now
	heard atomic.Uint64 // the last complete answer, by Now
	_     [4]uint64
}

const (
	keyShift    = 8
	serialShift = 40
	serialMask  = 1<<(64-serialShift) - 1
	countMask   = 1<<serialShift - 1
	pidMask     = 1<<31 - 1
	placeShift  = 55 // the first bit is free: see probing
	sequence    = 1<<placeShift - 1
	mostFails   = 1024
)

// keyPID is the process id in a key, which is positive whatever the memory holds.
func keyPID(key uint64) int { return int(key & pidMask) }

const (
	line      = 64
	headBytes = int(unsafe.Sizeof(headWords{}))
	slotBytes = int(unsafe.Sizeof(slotWords{}))
)

// words are the bytes of n words in whole lines.
func words(n int) int { return (n*8 + line - 1) / line * line }

func (o *LedgerOptions) fails() int { return min(max(0, o.MaxFails), mostFails) }

func (s SlotOptions) connections() int { return max(1, s.Connections) }

// Size is how many bytes of memory a ledger needs: a multiple of 64.
func (o LedgerOptions) Size() int {
	n := headBytes
	for i := range o.room() {
		n += slotBytes + words(o.cells(i)) + words(o.fails())
	}
	return n
}

// room is how many slots there is memory for.
func (o *LedgerOptions) room() int { return max(len(o.Slots), o.Room.Slots) }

// slot is what is said of a slot, or would be.
func (o *LedgerOptions) slot(i int) (s SlotOptions) {
	switch {
	case i < len(o.Slots):
		return o.Slots[i]
	case len(o.Slots) > 0:
		return o.Slots[0]
	}
	return s
}

// cells is how many words a slot has for claims.
func (o *LedgerOptions) cells(i int) int { return max(o.slot(i).connections(), o.Room.Cells) }

// Within returns the options with the room of a ledger that was made with other
// ones; false: they need another ledger.
func (o LedgerOptions) Within(made LedgerOptions) (LedgerOptions, bool) {
	o.Room = Room{made.room(), made.Room.Cells}
	for i := range made.Slots {
		o.Room.Cells = max(o.Room.Cells, made.cells(i))
	}
	return o, o.geometry() == made.geometry()
}

// Geometry differs where a ledger of other options would have another layout.
func (o LedgerOptions) Geometry() uint64 { return o.geometry() }

// geometry differs where the options place anything elsewhere, or choose
// differently.
func (o *LedgerOptions) geometry() uint64 {
	h := fnv.New64a()
	fmt.Fprint(h, Places, o.fails(), o.Balance)
	for i := range o.room() {
		fmt.Fprint(h, ";", o.cells(i), max(1, o.slot(i).Weight))
	}
	return h.Sum64()
}

// slot is one slot's memory, and what the options say of it.
type slot struct {
	*slotWords
	cells []atomic.Uint64
	fails []atomic.Uint64

	max, weight int
	hint        atomic.Uint32 // the cell at which this process looks first
}

// Errors of CreateLedger and OpenLedger.
var (
	errLedgerMemory = errors.New("ledger: the memory is too small or not aligned")
	errLedgerLayout = errors.New("ledger: the memory has another layout")
	errLedgerPlace  = errors.New("ledger: no such place")
)

// lay finds everything in the memory.
func (l *ledger) lay(mem []byte) error {
	if len(mem) < l.opt.Size() || uintptr(unsafe.Pointer(unsafe.SliceData(mem)))%8 != 0 {
		return errLedgerMemory
	}
	l.head = (*headWords)(unsafe.Pointer(&mem[0]))
	mem = mem[headBytes:]
	next := func(n int) []atomic.Uint64 {
		w := unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(unsafe.SliceData(mem))), n)
		mem = mem[words(n):]
		return w
	}
	n := len(l.opt.Slots)
	if l.owner() && !l.alone {
		n = l.opt.room() // whatever a worker may have
	}
	l.slots = make([]slot, n)
	for i := range l.slots {
		s, o := &l.slots[i], l.opt.slot(i)
		s.slotWords = (*slotWords)(unsafe.Pointer(&next(slotBytes / 8)[0]))
		s.cells, s.fails = next(l.opt.cells(i)), next(l.opt.fails())
		s.max, s.weight = o.connections(), max(1, o.Weight)
	}
	return nil
}

// format makes the memory a ledger in which nothing has happened.
func (l *ledger) format(mem []byte) {
	clear(mem[:l.opt.Size()])
	l.head.version.Store(layoutVersion)
	l.head.geometry.Store(l.opt.geometry())
	l.head.magic.Store(layoutMagic)
}

func (l *ledger) verify() error {
	h := l.head
	if h.magic.Load() != layoutMagic || h.version.Load() != layoutVersion || h.geometry.Load() != l.opt.geometry() {
		return errLedgerLayout
	}
	return nil
}
