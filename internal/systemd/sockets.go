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

// Open is another descriptor for each socket of a name, in the order in which
// they were passed. The error says that there are none, or that one is not a
// listening stream socket of TCP or a unix socket.
func (s Sockets) Open(name string) ([]*os.File, error) {
	if len(s[name]) == 0 {
		return nil, fmt.Errorf("systemd has passed no socket of that name, %s", s.passed())
	}
	var all []*os.File
	for _, f := range s[name] {
		d, err := duplicate(f)
		if err != nil {
			for _, f := range all {
				f.Close()
			}
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
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

func duplicate(f *os.File) (*os.File, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var d int
	cerr := raw.Control(func(fd uintptr) {
		if err = check(int(fd)); err == nil {
			d, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		}
	})
	if err = errors.Join(cerr, err); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(d), f.Name()), nil
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
