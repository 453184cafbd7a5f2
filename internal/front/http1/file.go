package http1

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"sluice/sendfile"
)

// movable is what can go out by sendfile(2).
type movable struct {
	part *sendfile.Content
	file plainFile // if part is nil
	from int64     // its position
}

// plainFile is an *os.File, also as os hands it to ReadFrom: without WriteTo, in
// a type of its own.
type plainFile interface {
	io.ReadSeeker
	Name() string
	Stat() (os.FileInfo, error)
	SyscallConn() (syscall.RawConn, error)
}

// findMovable looks for it in what io.Copy, io.CopyN and http.ServeContent hand
// to ReadFrom. n is how many bytes it yields.
func findMovable(src io.Reader) (m movable, n int64, ok bool) {
	if m.part, n, ok = sendfile.Part(src); ok {
		return m, n, true
	}
	limit, limited := src.(*io.LimitedReader)
	if limited {
		src = limit.R
	}
	if m.file, ok = src.(plainFile); !ok {
		return m, 0, false
	}
	info, err := m.file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return m, 0, false
	}
	if m.from, err = m.file.Seek(0, io.SeekCurrent); err != nil {
		return m, 0, false
	}
	n = max(0, info.Size()-m.from)
	if limited {
		n = min(n, max(0, limit.N))
	}
	return m, n, true
}

// move sends n bytes, and takes them from what there is.
func (m *movable) move(to syscall.RawConn, n int64) (int64, error) {
	if m.part != nil {
		return m.part.SendTo(to, n, nil)
	}
	f, err := m.duplicate()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	moved, err := sendfile.Copy(to, f, m.from, n, nil)
	if _, serr := m.file.Seek(m.from+moved, io.SeekStart); err == nil {
		err = serr
	}
	return moved, err
}

// duplicate is the file as an *os.File that is ours.
func (m *movable) duplicate() (*os.File, error) {
	raw, err := m.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd, derr := -1, error(nil)
	err = raw.Control(func(old uintptr) { fd, derr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if err == nil {
		err = os.NewSyscallError("fcntl", derr)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), m.file.Name()), nil
}
