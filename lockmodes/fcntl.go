package lockmodes

import "golang.org/x/sys/unix"

// openFcntl locks with fcntl(2). The lock belongs to the process, and is lost
// when the process closes any descriptor of the file.
func openFcntl(_ Options, m material) (Lock, error) {
	do := func(cmd int, kind int16) func(fd int) error {
		all := &unix.Flock_t{Type: kind} // the whole file
		return func(fd int) error {
			for {
				if err := unix.FcntlFlock(uintptr(fd), cmd, all); err != unix.EINTR {
					return err
				}
			}
		}
	}
	return newFileLock(m.file, do(unix.F_SETLK, unix.F_WRLCK), do(unix.F_SETLKW, unix.F_WRLCK), do(unix.F_SETLK, unix.F_UNLCK))
}
