package spawner

import (
	"context"
	"errors"
)

// Ledger says which child of one app is free and who holds it. Supervisor and
// pools share it: within a process, or in shared memory.
type Ledger interface {
	// Claim claims a child for one request. Where none is free the caller
	// waits, first in first out, until ctx ends. avoid is a slot that is
	// claimed only when there is no other; -1 for none.
	//
	// Errors: ErrQueueFull and ErrQueueTimeout for the bounds of the queue,
	// ErrNoChild while no child is alive or starting (a child that is being
	// replaced counts as alive), and the cause of ctx.
	Claim(ctx context.Context, avoid int) (Claim, error)
	// Release gives a claim back.
	Release(Claim, Outcome)
	// Set writes down what became of the child of a slot.
	Set(slot int, s State, pid int)
	// Counts is for the status: a moment's view.
	Counts() Counts
}

// Claim is the right to give one request to the child of a slot.
type Claim struct {
	Slot int
	PID  int // the process when the claim was made; 0 for a program elsewhere
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
}
