package lockmodes

import (
	"fmt"
	"strings"
)

// Mode is a way to agree who accepts.
type Mode uint8

// The modes.
const (
	None Mode = iota
	Flock
	Fcntl
	SysVSem
	PosixSem
	Pthread
	USLock
	Partial
	Exclusive
	Reuseport
	Modes // how many there are
)

// modes says for each Mode what it is called, what its processes share, and how a
// Lock is made of that.
var modes = [Modes]struct {
	name  string
	share share
	open  func(o Options, m material) (Lock, error)
}{
	None:      {"none", nothing, openNone},
	Flock:     {"flock", aFile, openFlock},
	Fcntl:     {"fcntl", aFile, openFcntl},
	SysVSem:   {"sysvsem", aSemaphore, openSysVSem},
	PosixSem:  {"posixsem", aMemory, openPosixSem},
	Pthread:   {"pthread", aMemory, openPthread},
	USLock:    {"uslock", aMemory, openUSLock},
	Partial:   {"partial", aMemory, openPartial},
	Exclusive: {"exclusive", nothing, openNone},
	Reuseport: {"reuseport", nothing, openNone},
}

// String is the mode's name.
func (m Mode) String() string {
	if m < Modes {
		return modes[m].name
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// Locks reports whether the mode has a lock.
func (m Mode) Locks() bool { return m < Modes && modes[m].share != nothing }

// Interruptible reports whether Stop ends a wait for the lock.
func (m Mode) Interruptible() bool { return m != Flock && m != Fcntl }

// Names are the names of all modes.
func Names() []string {
	var all []string
	for _, m := range modes {
		all = append(all, m.name)
	}
	return all
}

// Parse returns the mode of a name.
func Parse(name string) (Mode, error) {
	for m := range Modes {
		if modes[m].name == name {
			return m, nil
		}
	}
	return 0, fmt.Errorf("no accept mode %q, want one of %s", name, strings.Join(Names(), ", "))
}
