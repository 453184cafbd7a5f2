package lockmodes

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// Lock is one process's handle of a lock. It is for one goroutine at a time: it
// tells processes from each other, not goroutines.
type Lock interface {
	// TryLock takes the lock if that needs no waiting. It allocates nothing.
	TryLock() bool
	// Lock waits until it has the lock. After Stop it returns ErrStopped; any
	// other error says that the lock does not work any more. It blocks its thread
	// in a system call that the scheduler knows of.
	Lock() error
	// Unlock gives back a lock that is held. Any goroutine may do it. It
	// allocates nothing.
	Unlock()
	// Stop keeps Lock and TryLock from taking the lock from now on; what is held
	// stays held. A wait ends within half a second, but that of Flock and Fcntl, which
	// cannot be interrupted: it goes on, gives the lock back as soon as it has
	// it, and ends with the process.
	Stop()
	// Close gives back what is held, and what Open took.
	Close() error
}

// ErrStopped is returned by Lock after Stop.
var ErrStopped = errors.New("lock: stopped")

// Places is how many processes there may be at most.
const Places = 64

// Open makes the Lock of a process out of the descriptor that Shared.File
// returned for its place, 1 to Places. It closes the descriptor, or keeps it until
// Close. For a mode without a lock the file is nil. Of o, Mode and Permits count.
func Open(o Options, f *os.File, place int) (Lock, error) {
	l, err := open(o, f, place)
	if err != nil {
		if f != nil {
			f.Close()
		}
		return nil, fmt.Errorf("open accept lock %s: %w", o.Mode, err)
	}
	return l, nil
}

func open(o Options, f *os.File, place int) (Lock, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if place < 1 || place > Places {
		return nil, fmt.Errorf("place %d of %d", place, Places)
	}
	m := material{place: place}
	switch modes[o.Mode].share {
	case nothing:
	case aFile:
		if m.file = f; f == nil {
			return nil, errors.New("no descriptor")
		}
	default:
		if f == nil {
			return nil, errors.New("no descriptor")
		}
		var err error
		if m.mem, err = mapMemory(f); err != nil {
			return nil, err
		}
		f.Close() // the mapping stays
	}
	return modes[o.Mode].open(o, m)
}

// material is what a Lock is made of: a file, or memory.
type material struct {
	place int
	file  *os.File
	mem   *memory
}

// Bounds of one sleep. Whoever frees a lock wakes a sleeper, and so does Stop; a
// wake-up can get lost only with a process that was killed on its way.
const (
	sleepMost = 500 * time.Millisecond
	semMost   = 100 * time.Millisecond // nothing but its time wakes who waits for a System V semaphore
)
