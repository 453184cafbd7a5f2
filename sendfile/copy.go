package sendfile

import (
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// SliceBytes is the most that one call of sendfile(2) is asked to move: how long a fast client may keep a thread, and
// how seldom progress is called.
const SliceBytes = 2 << 20

// copyBytes is the buffer of the way without sendfile.
const copyBytes = 64 << 10

// sendfile is replaced by tests that need a kernel which fails.
var sendfile = unix.Sendfile

// Copy sends n bytes of f, from off, to the connection rc by sendfile(2) with an explicit offset: the position of f is
// neither used nor moved. It asks for SliceBytes at a time and waits for writability through rc, so the connection's
// write deadline holds. progress, if not nil, is called after each slice with the bytes it moved, outside of rc: a
// connection renews its deadline there.
//
// Where sendfile says EINVAL, ENOSYS or EOPNOTSUPP (some file systems do), the rest goes by pread and write.
//
// Copy returns the bytes moved. The error wraps io.ErrUnexpectedEOF if the file ended early, os.ErrDeadlineExceeded,
// or the system call's.
func Copy(rc syscall.RawConn, f *os.File, off, n int64, progress func(int64)) (int64, error) {
	if n <= 0 {
		return 0, nil
	}
	in, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	t := &transfer{rc: rc, name: f.Name(), off: off, end: off + n, progress: progress}
	// Control keeps the descriptor open for the whole transfer.
	cerr := in.Control(func(fd uintptr) {
		t.in = int(fd)
		t.run()
	})
	if cerr != nil {
		return 0, cerr
	}
	return t.off - off, t.err
}

// copy is Copy of a File, which its owner keeps open, window by window if s says so.
func (f *File) copy(rc syscall.RawConn, off, n int64, progress func(int64), s *residency) (int64, error) {
	if n <= 0 {
		return 0, nil
	}
	if f.refs.Load() <= 0 {
		return 0, os.ErrClosed
	}
	t := &transfer{rc: rc, in: f.fd, name: f.name, off: off, end: off + n, progress: progress, file: f, resident: s}
	t.run()
	return t.off - off, t.err
}

// transfer is the state of one Copy.
type transfer struct {
	rc       syscall.RawConn
	in       int
	name     string
	off, end int64
	progress func(int64)
	file     *File
	resident *residency // of file; nil: what blocks, blocks
	window   int64      // its end
	err      error      // of the whole transfer

	pos   int64  // what sendfile gets, and changes
	stale bool   // the connection was waited for so long that the window is to be looked at again
	moved int    // by the last call
	errno error  // of the last call
	buf   []byte // without sendfile: what is still to be written
}

func (t *transfer) run() {
	send := t.sendfile // one closure for all slices
	for t.off < t.end {
		if t.err = t.open(); t.err != nil {
			return
		}
		t.moved, t.errno, t.stale = 0, nil, false
		if t.err = t.rc.Write(send); t.err != nil {
			return
		}
		if t.stale {
			continue
		}
		switch t.errno {
		case nil:
		case unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP:
			t.readWrite()
			return
		default:
			t.err = os.NewSyscallError("sendfile", t.errno)
			return
		}
		if t.moved == 0 {
			t.err = t.short()
			return
		}
		t.advance()
	}
}

// open has the window that begins at off in memory before it is sent.
func (t *transfer) open() (err error) {
	switch {
	case t.resident == nil:
		t.window = t.end
	case t.stale || t.off >= t.window:
		t.window, err = t.resident.next(begun, t.file, t.off, t.end)
	}
	return err
}

// sendfile makes one call that moves something or fails, and reports false if it must wait for the connection.
func (t *transfer) sendfile(out uintptr) bool {
	if t.stale = t.resident != nil && t.resident.stale(); t.stale {
		return true
	}
	for {
		t.pos = t.off
		n, err := sendfile(int(out), t.in, &t.pos, int(min(t.window-t.off, SliceBytes)))
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		t.moved, t.errno = max(n, 0), err
		return true
	}
}

// readWrite moves what is left through a buffer.
func (t *transfer) readWrite() {
	write := t.write
	page := make([]byte, min(t.end-t.off, copyBytes))
	for t.off < t.end {
		n, err := t.read(page[:min(int64(len(page)), t.end-t.off)])
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			t.err = &os.PathError{Op: "pread", Path: t.name, Err: err}
			return
		case n == 0:
			t.err = t.short()
			return
		}
		t.moved, t.errno, t.buf = 0, nil, page[:n]
		t.err = t.rc.Write(write)
		if t.err == nil && t.errno != nil {
			t.err = os.NewSyscallError("write", t.errno)
		}
		t.advance()
		if t.err != nil {
			return
		}
	}
}

// read reads at off.
func (t *transfer) read(p []byte) (int, error) {
	if t.resident != nil {
		return t.resident.reads.fill(t.resident.ctx, begun, t.file, p, t.off)
	}
	return unix.Pread(t.in, p, t.off)
}

// write writes buf to its end, and reports false if it must wait for the connection.
func (t *transfer) write(out uintptr) bool {
	for len(t.buf) > 0 {
		n, err := unix.Write(int(out), t.buf)
		switch err {
		case nil:
			t.buf = t.buf[n:]
			t.moved += n
		case unix.EINTR:
		case unix.EAGAIN:
			return false
		default:
			t.errno = err
			return true
		}
	}
	return true
}

func (t *transfer) advance() {
	t.off += int64(t.moved)
	if t.progress != nil && t.moved > 0 {
		t.progress(int64(t.moved))
	}
}

func (t *transfer) short() error {
	return fmt.Errorf("%s: %w at byte %d of %d", t.name, io.ErrUnexpectedEOF, t.off, t.end)
}
