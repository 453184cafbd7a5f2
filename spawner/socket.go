package spawner

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// childBacklog is the least length of a child's own accept queue. It has to hold
// the requests that are leased to it while it is being restarted: one per
// connection that it takes at once.
const childBacklog = 128

// maxSocketPath is what fits sockaddr_un (unix(7)).
const maxSocketPath = 107

// BindChild binds the private socket of a child, 0660, and leaves it blocking:
// EAGAIN from accept makes php-cgi and libfcgi exit, and the flag is shared by
// all who have the socket. gid is its group; -1 leaves that alone. connections is
// how many the child takes at once.
func BindChild(path string, gid, connections int) (*os.File, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("socket path of %d bytes is longer than %d: %s", len(path), maxSocketPath, path)
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), path)
	fail := func(op string, err error) (*os.File, error) {
		f.Close()
		os.Remove(path)
		return nil, &os.PathError{Op: op, Path: path, Err: err}
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		return fail("bind", err)
	}
	if err := unix.Chmod(path, 0o660); err != nil {
		return fail("chmod", err)
	}
	if gid >= 0 {
		if err := unix.Chown(path, -1, gid); err != nil {
			return fail("chown", err)
		}
	}
	if err := unix.Listen(fd, max(childBacklog, connections)); err != nil {
		return fail("listen", err)
	}
	return f, nil
}

// SocketPath is where the child of a slot listens.
func SocketPath(dir, app string, slot int) string {
	return filepath.Join(dir, fmt.Sprintf("%s.%d", app, slot))
}

// privateSocket is the socket of one slot. Whoever binds the path anew, for a
// successor of this supervisor, has another.
type privateSocket struct {
	*os.File
	bound os.FileInfo
}

func bindPrivate(path string, gid, connections int) (*privateSocket, error) {
	f, err := BindChild(path, gid, connections)
	if err != nil {
		return nil, err
	}
	fi, err := os.Lstat(path)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &privateSocket{f, fi}, nil
}

// remove closes the socket, and takes its name away if it still is its own.
func (p *privateSocket) remove() {
	p.Close()
	if fi, err := os.Lstat(p.Name()); err == nil && os.SameFile(fi, p.bound) {
		os.Remove(p.Name())
	}
}

// isShut reports whether somebody has shut a listening socket down, for all who
// have it: a unix socket refuses from then on and says that its reader is gone,
// one of TCP listens no more.
func isShut(f *os.File) bool {
	fd := int(f.Fd())
	if listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && listens == 0 {
		return true
	}
	p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(p, 0)
	return err == nil && n == 1 && p[0].Revents&(unix.POLLRDHUP|unix.POLLHUP) != 0
}
