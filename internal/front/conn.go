package front

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/scoreboard"
	"sluice/sendfile"
)

// conn is a client's connection: files leave by sendfile, a header can be held
// back for the file behind it, and every write has a deadline of its own.
type conn struct {
	net.Conn
	raw     syscall.RawConn
	tcp     bool
	timeout time.Duration // without progress towards the client; 0: none
	held    atomic.Bool   // the next write is joined with what follows
	served  atomic.Int64
	strict  strict
	closed  sync.Once
	onClose func()
	place   *scoreboard.Place
	state   atomic.Uint32 // a scoreboard.ConnState, or connClosed
}

const connClosed = uint32(scoreboard.ConnStates)

// move says what the connection does now.
func (c *conn) move(to scoreboard.ConnState) {
	if c == nil {
		return
	}
	for {
		from := c.state.Load()
		if from == uint32(to) || from == connClosed {
			return
		}
		if c.state.CompareAndSwap(from, uint32(to)) {
			c.place.Move(scoreboard.ConnState(from), to)
			return
		}
	}
}

type connKey struct{}

// withConn makes the connection known to the requests on it.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

func connOf(r *http.Request) *conn {
	c, _ := r.Context().Value(connKey{}).(*conn)
	return c
}

// count counts the requests of the connection.
func (c *conn) count() int { return int(c.served.Add(1)) }

func (c *conn) hold(on bool) { c.held.Store(on) }

func (c *conn) progress(int64) {
	if c.timeout > 0 {
		c.Conn.SetWriteDeadline(time.Now().Add(c.timeout))
	}
}

// Read reads from the client; a head that RFC 9112 forbids is cut at the fault.
func (c *conn) Read(p []byte) (int, error) {
	if c.strict.refused {
		if n := c.strict.fill(p); n > 0 {
			return n, nil
		}
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p)
	if n > 0 && c.state.Load() == uint32(scoreboard.Idle) {
		c.move(scoreboard.Reading) // the first of the next request
	}
	if good := c.strict.see(p[:n]); good < n {
		return good + c.strict.fill(p[good:]), nil
	}
	return n, err
}

// Write writes all of p; each part that the client takes renews the deadline.
func (c *conn) Write(p []byte) (int, error) {
	c.progress(0)
	if c.held.Load() {
		return c.writeMore(p)
	}
	// In parts, so that a slow client that makes progress is not cut off.
	total := 0
	for len(p) > writePart {
		n, err := c.Conn.Write(p[:writePart])
		total += n
		if err != nil {
			return total, err
		}
		p = p[n:]
		c.progress(int64(n))
	}
	n, err := c.Conn.Write(p)
	return total + n, err
}

const writePart = 64 << 10

// writeMore writes with MSG_MORE: the kernel waits for what follows.
func (c *conn) writeMore(p []byte) (n int, err error) {
	werr := c.raw.Write(func(fd uintptr) bool {
		for n < len(p) {
			k, e := unix.SendmsgN(int(fd), p[n:], nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
			if e == unix.EINTR {
				continue
			}
			if e == unix.EAGAIN {
				return false
			}
			if e != nil {
				err = os.NewSyscallError("sendmsg", e)
				return true
			}
			n += k
		}
		return true
	})
	if err == nil {
		err = werr
	}
	return n, err
}

// ReadFrom sends a file by sendfile(2), anything else through a buffer.
func (c *conn) ReadFrom(src io.Reader) (int64, error) {
	part, n, ok := sendfile.Part(src)
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, src)
	}
	c.progress(0)
	moved, err := part.SendTo(c.raw, n, c.progress)
	if l, ok := src.(*io.LimitedReader); ok {
		l.N -= moved
	}
	return moved, err
}

// CloseWrite half-closes: net/http does so before it closes a connection whose
// request it has not read to the end.
func (c *conn) CloseWrite() error {
	return c.Conn.(interface{ CloseWrite() error }).CloseWrite()
}

// SetLinger is for NPH scripts, which have the connection to themselves.
func (c *conn) SetLinger(sec int) error {
	if t, ok := c.Conn.(*net.TCPConn); ok {
		return t.SetLinger(sec)
	}
	return nil
}

// reset makes the close to come a reset.
func (c *conn) reset() { c.SetLinger(0) }

// Close closes the connection.
func (c *conn) Close() error {
	err := c.Conn.Close()
	c.closed.Do(func() {
		c.place.Leave(scoreboard.ConnState(c.state.Swap(connClosed)))
		c.onClose()
	})
	return err
}
