package master

import (
	"net"
	"os"

	"golang.org/x/sys/unix"

	"sluice/internal/config"
)

// Bind binds an address, and takes over a stale unix socket. The socket blocks:
// it is for children that accept on it themselves. An error has the exit status
// of what cannot be bound.
func Bind(l config.Listener) (*os.File, net.Addr, error) {
	s, err := listen(l)
	if err == nil {
		err = os.NewSyscallError("fcntl", unix.SetNonblock(int(s.file.Fd()), false))
	}
	if err != nil {
		if s != nil && s.file != nil {
			s.close()
		}
		return nil, nil, &ExitError{ExitBind, err}
	}
	return s.file, s.addr, nil
}
