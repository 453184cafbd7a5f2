package spawner

import (
	"context"
	"errors"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// Ledger says which child of one app is free and who holds it. The supervisor
// and the pools share it: within a process, or in shared memory.
type Ledger interface {
	// Claim claims a child for one request. Where none is free the caller
	// waits, first in first out, until ctx ends.
	//
	// Errors: ErrQueueFull and ErrQueueTimeout for the bounds of the queue,
	// ErrNoChild while no child is alive or can be started (a child that is
	// being replaced counts as alive), and the cause of ctx.
	Claim(ctx context.Context, w Want) (Claim, error)
	// Release gives a claim back.
	Release(Claim, Outcome)
	// Set writes down what became of the child of a slot. It is the owner's:
	// in a worker's Ledger it does nothing.
	Set(slot int, s State, pid int)
	// State is the state of a slot now.
	State(slot int) State
	// Down reports whether a slot is out after MaxFails failures, or being tried
	// again.
	Down(slot int) bool
	// Use says what a slot has been used for.
	Use(slot int) Use
	// Watch has f called, from any goroutine, when there is something for the
	// owner to look at: a slot is Dormant and a request waits or fewer than
	// Spare are free, a child that is retiring has become idle, one has had
	// its MaxRequests, one that is BackingOff had answered after all, or a
	// worker's place was cleared. Calls may be joined. f must not block, and may
	// not call the Ledger.
	Watch(f func())
	// Counts is for the status: a moment's view.
	Counts() Counts
}

// Shared is a Ledger in memory that several processes have.
type Shared interface {
	Ledger
	Clearer
	// Keeper says whether this process keeps connections to children between two
	// requests. Its bell rings then whenever another has claimed a child, which a
	// kept connection would pin: Pool.Yield closes it. There is one keeper at most,
	// the last that said so.
	Keeper(on bool)
	// Elsewhere reports whether another process has a claim of a slot.
	Elsewhere(slot int) bool
	// Retune changes Queue, QueueTimeout, MaxRequests and Spare to those of the
	// options, and how many slots there are, for what the owner says and does.
	// Workers have their own word for that: who opens the ledger later may come
	// with other options, as far as its Room goes. It is the owner's.
	Retune(LedgerOptions)
	// Wake looks what the bell of this place may have rung for: it gives free
	// children to the requests that wait here, and tells the owner's watcher.
	Wake()
}

// Clearer takes back what a worker held.
type Clearer interface {
	// ClearPlace frees what the worker at a place held and its places in the
	// queue. It has ended; the children that it had count as finishing. It is the
	// owner's.
	ClearPlace(place int)
}

// LedgerOptions are the bounds of a Ledger. All who share one have the same.
type LedgerOptions struct {
	Queue        int           // requests that may wait, in all processes together
	QueueTimeout time.Duration // how long one may; 0 is no bound
	Slots        []SlotOptions
	Balance      Balance
	// Room is the memory that there is for more.
	Room Room
	// MaxRequests is how many requests one process gets; 0 is no limit. It is
	// exact: the process is never given another. It means nothing for a program
	// elsewhere.
	MaxRequests int
	// Spare is how many ready children without a request are wanted: when there
	// are fewer, Watch is told.
	Spare int
	// MaxFails is how many failures within FailTimeout take a slot out for
	// FailTimeout; then one request finds out how it is. 0: none ever; more than
	// 1024 count as 1024. When all are out, all are in.
	MaxFails    int
	FailTimeout time.Duration
}

// Room is how far the slots of a ledger can change without a new one: all who share
// it have the same. What is less than the Slots need counts as what they need.
type Room struct {
	Slots int // how many; those beyond the Slots take as much as the first
	Cells int // Connections of each
}

// SlotOptions say what one slot can take.
type SlotOptions struct {
	Connections int // requests at once; 0 is 1
	Weight      int // a slot of weight 2 gets twice as many; 0 is 1
}

// Want says which child a request would like.
type Want struct {
	Avoid int    // a slot that is claimed only when there is no other; -1 for none
	Key   uint64 // for BalanceHash: requests of one key go to one slot
}

// Anyone is a Want without a wish.
var Anyone = Want{Avoid: -1}

// Use is what a slot has been used for.
type Use struct {
	Claims   int           // requests it has now
	Requests uint64        // of the process that it has now
	Heard    time.Duration // when its last complete answer came, by Now; 0: none yet
	Idle     time.Duration // since when it has had no claim, by Now; 0: it has one
}

// Claim is the right to give one request to the child of a slot.
type Claim struct {
	Slot int
	PID  int // the process when the claim was made; 0 for a program elsewhere

	cell int    // of the slot, and
	word uint64 // what stands in it; 0: any cell of this place will do
	key  uint64 // of the process: see slotWords.state
}

// Outcome is how the request of a claim went, as far as it concerns the child.
type Outcome uint8

const (
	// Answered: the child gave its complete answer and is free.
	Answered Outcome = iota
	// Cut: we closed first, so the child may compute on; it is finishing.
	Cut
	// Failed: the child died, or nothing reached it.
	Failed
	// Unsent: nothing was sent, and that says nothing about the child: its
	// backlog was full, or the client left before.
	Unsent
)

// Errors of Claim.
var (
	ErrQueueFull    = errors.New("every child is busy and the queue is full")
	ErrQueueTimeout = errors.New("every child is busy and the wait is over")
	ErrNoChild      = errors.New("no child is alive or starting")
)

// Counts is a moment's view of a Ledger.
type Counts struct {
	Waiting  int    // requests in the queue
	Served   uint64 // claims granted
	Refused  uint64 // ErrQueueFull, ErrQueueTimeout and ErrNoChild
	Children []ChildCounts
}

// ChildCounts is a moment's view of a child.
type ChildCounts struct {
	State     State
	PID       int
	Claims    int // requests it has now
	Requests  uint64
	Finishing bool
	Down      bool // out after MaxFails failures, or being tried again
}

// Balance is how a Ledger chooses among slots that are free.
type Balance uint8

// The ways. Each prefers slots that are ready to those that are starting, and
// those to finishing ones, and takes the weights into account.
const (
	// BalanceRecent takes the least loaded, and of several the one that was
	// used last: its caches are warm, and the others may idle away.
	BalanceRecent Balance = iota
	// BalanceLeastConn takes the least loaded, and of several each in turn.
	BalanceLeastConn
	// BalanceRoundRobin takes each in turn; one of more weight comes more often,
	// not several times in a row.
	BalanceRoundRobin
	// BalanceHash takes the one that the key belongs to; one that is full or
	// down hands on only its own keys.
	BalanceHash
	// BalanceRandomTwo takes the less loaded of two that are drawn by lot.
	BalanceRandomTwo
)

// Now is the time by CLOCK_MONOTONIC, which all processes of a system share and
// which time.Now goes by: so a test's clock counts too. It is above zero, even
// where a test's clock stands before the epoch.
func Now() time.Duration { return (bootTime + time.Since(epoch)) & math.MaxInt64 }

var epoch, bootTime = func() (time.Time, time.Duration) {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return time.Now(), time.Duration(t.Nano())
}()
