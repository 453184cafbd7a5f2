package master

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/assemble"
	"sluice/internal/config"
)

// socket is a listening socket that the master owns.
type socket struct {
	file *os.File
	addr net.Addr
	path string // of a unix socket
	shut sync.Once

	mu   sync.Mutex
	more []*os.File // of the workers behind the first, where each has its own; replaced, never changed

	backlog int
	passed  bool // by systemd, which has it too
}

// shared reports whether all workers accept on the one socket, whatever the accept
// mode: a unix socket cannot be bound twice, and beside one that systemd has bound
// only its user could.
func (s *socket) shared() bool { return s.path != "" || s.passed }

// hidden gives a unix socket a mode before it is bound, by which it then is at its
// place: it must not be there for a moment with the wrong one. The umask is everybody's.
func hidden(_, _ string, rc syscall.RawConn) (err error) {
	cerr := rc.Control(func(fd uintptr) { err = os.NewSyscallError("fchmod", unix.Fchmod(int(fd), 0o600)) })
	return errors.Join(cerr, err)
}

// listen binds a listener of the configuration.
func listen(c config.Listener) (*socket, error) {
	name := c.Address
	if c.Network == "unix" {
		name = "unix:" + name
		if err := clearStale(c.Address); err != nil {
			return nil, fmt.Errorf("listen on %s: %w", name, err)
		}
	}
	lc := net.ListenConfig{KeepAlive: -1}
	if c.Network == "unix" {
		lc.Control = hidden
	}
	lc.SetMultipathTCP(false) // Go's default, of which the kernel refuses to steer the connections
	l, err := lc.Listen(context.Background(), c.Network, c.Address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		return nil, fmt.Errorf("listen on %s: %w", name, err)
	}
	defer l.Close()
	s := &socket{addr: l.Addr(), backlog: c.Backlog}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
		s.path = c.Address
		if err := own(c); err != nil {
			os.Remove(c.Address)
			return nil, fmt.Errorf("listen on %s: %w", name, err)
		}
	}
	if s.file, err = l.(interface{ File() (*os.File, error) }).File(); err != nil {
		return nil, err
	}
	if c.Network == "tcp" {
		passOn(int(fdOf(s.file)))
	}
	// net listens with the system's limit; once more is how the length is changed.
	return s, os.NewSyscallError("listen", unix.Listen(int(s.file.Fd()), c.Backlog))
}

// clearStale removes a unix socket on which nobody listens any more.
func clearStale(path string) error {
	fi, err := os.Lstat(path)
	if err != nil {
		return nil // nothing there; or the bind will say what is wrong
	}
	if fi.Mode().Type() != os.ModeSocket {
		return errors.New("there is something else than a socket of that name")
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
		return syscall.EADDRINUSE
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// own gives a unix socket its owner, group and mode. Who can write the folder may
// have put a link in its place: nothing but a socket is touched.
func own(c config.Listener) error {
	uid, gid := -1, -1
	if c.User != "" {
		var err error
		if uid, err = assemble.LookUpUser(c.User); err != nil {
			return err
		}
	}
	if c.Group != "" {
		var err error
		if gid, err = assemble.LookUpGroup(c.Group); err != nil {
			return err
		}
	}
	fd, err := unix.Open(c.Address, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return errors.New("somebody else has taken the name")
	}
	if err := unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH); err != nil {
		return os.NewSyscallError("chown", err)
	}
	// fchmod(2) refuses a descriptor of O_PATH.
	return os.NewSyscallError("chmod", unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), c.Mode))
}

// close ends the listening, once the workers have closed theirs. The name of a
// unix socket may be another server's soon after, so only the first call counts.
func (s *socket) close() {
	s.shut.Do(func() {
		s.file.Close()
		closeFiles(s.others())
		if s.path != "" {
			os.Remove(s.path)
		}
	})
}
