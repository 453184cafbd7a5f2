package systemd

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Sockets are listening sockets by the name that their unit gives them
// (FileDescriptorName=; without it the name of the unit). Several may have one
// name. They stay open as long as the process lives, since systemd passes each of
// them once.
type Sockets map[string][]*os.File

// Inherit takes the sockets that this process was started with, and takes their
// variables out of the environment, so that no child looks for them. No child
// gets the sockets either. Only the first call finds any.
func Inherit() Sockets {
	s := Sockets{}
	for _, f := range activation.Files(true) {
		// go-systemd calls one without a name after its variable.
		s[f.Name()] = append(s[f.Name()], f)
	}
	return s
}

// Check returns how many sockets have a name. The error says that there are
// none, or that one is not a listening stream socket of TCP or a unix socket.
func (s Sockets) Check(name string) (n int, err error) {
	if len(s[name]) == 0 {
		return 0, fmt.Errorf("systemd has passed no socket of that name, %s", s.passed())
	}
	for _, f := range s[name] {
		if err := control(f, check); err != nil {
			return 0, err
		}
	}
	return len(s[name]), nil
}

// Open is another descriptor for a socket of a name, by its place in the order
// in which they were passed.
func (s Sockets) Open(name string, i int) (*os.File, error) {
	if i >= len(s[name]) {
		return nil, fmt.Errorf("systemd has passed %d sockets of the name %q", len(s[name]), name)
	}
	d := -1
	err := control(s[name][i], func(fd int) (err error) {
		d, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		return os.NewSyscallError("dup", err)
	})
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(d), name), nil
}

// control leaves the socket blocking or not, as it is: that is systemd's, too.
func control(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = do(int(fd)) })
	return errors.Join(cerr, err)
}

// passed says what there is.
func (s Sockets) passed() string {
	if len(s) == 0 {
		return "and no other (LISTEN_FDS)"
	}
	var names []string
	for _, n := range slices.Sorted(maps.Keys(s)) {
		names = append(names, strconv.Quote(n))
	}
	return "but " + strings.Join(names, ", ")
}

// check refuses what nobody can accept HTTP connections on.
func check(fd int) error {
	want := func(option, value int) bool {
		got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, option)
		return err == nil && got == value
	}
	sa, err := unix.Getsockname(fd)
	if err != nil || !want(unix.SO_TYPE, unix.SOCK_STREAM) {
		return errors.New("what systemd has passed is not a stream socket (ListenStream=)")
	}
	switch sa.(type) {
	case *unix.SockaddrInet4, *unix.SockaddrInet6, *unix.SockaddrUnix:
	default:
		return errors.New("what systemd has passed is neither a socket of TCP nor a unix socket")
	}
	if !want(unix.SO_ACCEPTCONN, 1) {
		return errors.New("what systemd has passed does not listen (Accept=no)")
	}
	return nil
}
