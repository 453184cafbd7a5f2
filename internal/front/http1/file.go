package http1

import (
	"io"
	"net/http"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"sluice/sendfile"
)

// movable is what can go out by sendfile(2) or splice(2).
type movable struct {
	part   *sendfile.Content
	stream *sendfile.Spliced // if part is nil
	file   plainFile         // if both are
	from   int64             // its position
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
	if m.stream, ok = src.(*sendfile.Spliced); ok {
		return m, m.stream.Left(), true
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
	if m.stream != nil {
		return m.stream.SendTo(to, n)
	}
	f, err := m.duplicate()
	if err != nil {
		return 0, err
	}
	defer f.Close()
	moved, err := sendfile.Copy(to, f, m.from, n, nil)
	m.from += moved
	if _, serr := m.file.Seek(m.from, io.SeekStart); err == nil {
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

// ReadFrom implements io.ReaderFrom: a file goes out by sendfile(2), its header
// in the same segment.
func (w *response) ReadFrom(src io.Reader) (int64, error) {
	if w.status == 0 && !w.hijacked {
		w.WriteHeader(http.StatusOK)
	}
	file, n, ok := findMovable(src)
	if !ok || n == 0 || w.hijacked || w.err != nil || w.bodiless || w.declared < 0 || w.sniff || n > w.declared-w.taken {
		return io.Copy(struct{ io.Writer }{w}, src)
	}
	w.frame(false, nil)
	raw, err := w.c.pc.SyscallConn()
	if err != nil {
		return 0, err
	}
	paced := w.paced()
	if paced {
		w.emitPaced(nil, false)
	} else {
		w.out = append(w.outHeader(), w.pend...)
		w.pend = w.pend[:0]
		w.send(w.out, true)
	}
	if w.err != nil {
		return 0, w.err
	}
	var moved int64
	if paced {
		moved, err = w.movePaced(&file, raw, n)
	} else {
		moved, err = file.move(raw, n)
	}
	w.taken += moved
	if l, ok := src.(*io.LimitedReader); ok {
		l.N -= moved
	}
	if err != nil {
		w.close = true
	}
	return moved, err
}

// JoinsHeader implements sendfile.HeaderJoiner.
func (w *response) JoinsHeader() bool { return true }
