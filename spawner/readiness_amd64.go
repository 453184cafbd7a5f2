package spawner

import "golang.org/x/sys/unix"

// waitsHere knows the older calls that newer architectures do not have.
func waitsHere(nr int) bool {
	return nr == unix.SYS_EPOLL_WAIT || nr == unix.SYS_POLL || nr == unix.SYS_SELECT
}
