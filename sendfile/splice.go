package sendfile

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Spliced is the rest of the body of a store's answer, straight from its connection. A connection's ReadFrom that knows
// it uses SendTo, which moves it by splice(2); it can be read as well.
type Spliced struct {
	store *net.TCPConn
	raw   syscall.RawConn
	read  time.Duration // between two reads; 0: any
	left  int64
	pipe  [2]int // none: 0
	err   error  // the store's fault
}

// pipe2 is replaced by tests that need a system without pipes.
var pipe2 = unix.Pipe2

// spliceBytes is what a pipe holds, where the system lets it. What is shorter is not worth one.
const spliceBytes = 1 << 20

// spliced is what is left of the body, when all that was read of it has been returned by the last Read into p; nil where
// it cannot be moved so. The transport's buffer is empty when a read went past it, straight to p: it reads on only for
// who reads the body, and closes the connection of a body that is not read to its end.
func (g *Fetched) spliced(p []byte, left int64) *Spliced {
	c, ok := g.store.(*storeConn)
	if !ok || left < spliceBytes || g.resp.ContentLength < 0 || c.last != &p[0] {
		return nil
	}
	t, ok := c.Conn.(*net.TCPConn)
	if !ok {
		return nil
	}
	raw, err := t.SyscallConn()
	if err != nil {
		return nil
	}
	return &Spliced{store: t, raw: raw, read: g.read, left: left}
}

// Left is how many bytes there are.
func (s *Spliced) Left() int64 { return s.left }

// Read reads from the connection.
func (s *Spliced) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	s.limit()
	n, err := s.store.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	s.err = err
	return n, err
}

func (s *Spliced) limit() {
	if s.read > 0 {
		s.store.SetReadDeadline(time.Now().Add(s.read))
	}
}

// SendTo moves n bytes to the connection rc, whose write deadline holds, and returns how many arrived there. Where there
// are no pipes left it reads and writes.
func (s *Spliced) SendTo(rc syscall.RawConn, n int64) (total int64, err error) {
	if s.pipe[1] == 0 && !s.open() {
		return io.CopyN(rawWriter{rc}, s, n)
	}
	for total < n {
		k, err := s.fill(n - total)
		if err != nil {
			s.err = err
			return total, err
		}
		for k > 0 {
			m, err := s.empty(rc, k)
			if total += int64(m); err != nil {
				return total, err
			}
			k -= m
		}
	}
	return total, nil
}

// open makes the pipe.
func (s *Spliced) open() bool {
	if pipe2(s.pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		s.pipe = [2]int{}
		return false
	}
	unix.FcntlInt(uintptr(s.pipe[1]), unix.F_SETPIPE_SZ, spliceBytes) // a user may not have many so large: a small one does
	return true
}

// Close gives the pipe back.
func (s *Spliced) Close() {
	if s.pipe[1] != 0 {
		unix.Close(s.pipe[0])
		unix.Close(s.pipe[1])
		s.pipe = [2]int{}
	}
}

const spliceFlags = unix.SPLICE_F_MOVE | unix.SPLICE_F_NONBLOCK

// fill moves up to n bytes from the store into the pipe, which is empty.
func (s *Spliced) fill(n int64) (k int, err error) {
	var errno error
	s.limit()
	err = s.raw.Read(func(fd uintptr) bool {
		k, errno = splice(int(fd), s.pipe[1], int(min(n, spliceBytes)))
		return errno != unix.EAGAIN
	})
	switch {
	case err == nil && errno != nil:
		err = os.NewSyscallError("splice", errno)
	case err == nil && k == 0:
		err = io.ErrUnexpectedEOF
	}
	s.left -= int64(k)
	return k, err
}

// empty moves up to n bytes from the pipe to a connection.
func (s *Spliced) empty(rc syscall.RawConn, n int) (k int, err error) {
	var errno error
	err = rc.Write(func(fd uintptr) bool {
		k, errno = splice(s.pipe[0], int(fd), n)
		return errno != unix.EAGAIN
	})
	if err == nil && errno != nil {
		err = os.NewSyscallError("splice", errno)
	}
	return k, err
}

func splice(from, to, n int) (int, error) {
	for {
		k, err := unix.Splice(from, nil, to, nil, n, spliceFlags)
		if err != unix.EINTR {
			return int(max(k, 0)), err
		}
	}
}

// rawWriter writes to a connection.
type rawWriter struct{ rc syscall.RawConn }

func (w rawWriter) Write(p []byte) (total int, err error) {
	t := transfer{rc: w.rc, buf: p}
	err = w.rc.Write(t.write)
	if err == nil && t.errno != nil {
		err = os.NewSyscallError("write", t.errno)
	}
	if err == nil && t.moved < len(p) {
		err = errors.New("short write")
	}
	return t.moved, err
}
