package spawner

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Rlimits are the resource limits of a child (setrlimit(2)), soft and hard
// alike; a zero field leaves what it inherits.
type Rlimits struct {
	Memory    int64         // RLIMIT_AS, bytes
	CPU       time.Duration // RLIMIT_CPU, rounded up to whole seconds
	Files     int64         // RLIMIT_NOFILE, the highest descriptor and one
	Processes int64         // RLIMIT_NPROC, of the child's user
}

type rlimit struct {
	name     string
	resource int
	value    uint64
}

// set are the limits that are wanted. Memory is the last: a Go program may have
// more than that already, and then gets no more.
func (r Rlimits) set() []rlimit {
	var all []rlimit
	for _, l := range []rlimit{
		{"RLIMIT_CPU", unix.RLIMIT_CPU, uint64((r.CPU + time.Second - 1) / time.Second)},
		{"RLIMIT_NOFILE", unix.RLIMIT_NOFILE, uint64(r.Files)},
		{"RLIMIT_NPROC", unix.RLIMIT_NPROC, uint64(r.Processes)},
		{"RLIMIT_AS", unix.RLIMIT_AS, uint64(r.Memory)},
	} {
		if l.value != 0 {
			all = append(all, l)
		}
	}
	return all
}

// apply sets the limits of a process; 0 is the calling one.
func (r Rlimits) apply(pid int) error {
	for _, l := range r.set() {
		if err := l.set(pid, unix.Rlimit{Cur: l.value, Max: l.value}); err != nil {
			return err
		}
	}
	return nil
}

// permit raises the hard limits of the calling process that are below what
// apply will set: only root may. It limits nothing.
func (r Rlimits) permit() error {
	for _, l := range r.set() {
		var now unix.Rlimit
		if err := unix.Prlimit(0, l.resource, nil, &now); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		if now.Max < l.value {
			if err := l.set(0, unix.Rlimit{Cur: now.Cur, Max: l.value}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l rlimit) set(pid int, v unix.Rlimit) error {
	if err := unix.Prlimit(pid, l.resource, &v, nil); err != nil {
		return fmt.Errorf("%s of %d: %w", l.name, l.value, err)
	}
	return nil
}
