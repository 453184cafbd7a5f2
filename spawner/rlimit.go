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

// apply sets the limits of a process; 0 is the calling one.
func (r Rlimits) apply(pid int) error {
	for _, l := range []struct {
		name     string
		resource int
		value    int64
	}{
		{"RLIMIT_AS", unix.RLIMIT_AS, r.Memory},
		{"RLIMIT_CPU", unix.RLIMIT_CPU, int64((r.CPU + time.Second - 1) / time.Second)},
		{"RLIMIT_NOFILE", unix.RLIMIT_NOFILE, r.Files},
		{"RLIMIT_NPROC", unix.RLIMIT_NPROC, r.Processes},
	} {
		if l.value == 0 {
			continue
		}
		v := unix.Rlimit{Cur: uint64(l.value), Max: uint64(l.value)}
		if err := unix.Prlimit(pid, l.resource, &v, nil); err != nil {
			return fmt.Errorf("%s of %d: %w", l.name, l.value, err)
		}
	}
	return nil
}
