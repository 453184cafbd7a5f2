package lockmodes

import "golang.org/x/sys/unix"

// openFlock locks with flock(2). The lock belongs to the open file description,
// which is this process's alone.
func openFlock(_ Options, m material) (Lock, error) {
	do := func(how int) func(fd int) error {
		return func(fd int) error {
			for {
				if err := unix.Flock(fd, how); err != unix.EINTR {
					return err
				}
			}
		}
	}
	return newFileLock(m.file, do(unix.LOCK_EX|unix.LOCK_NB), do(unix.LOCK_EX), do(unix.LOCK_UN))
}
