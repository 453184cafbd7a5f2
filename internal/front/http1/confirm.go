package http1

import (
	"errors"
	"net/http"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Between two looks at what the client has acknowledged: doubled from the first
// to the last.
const (
	firstLook = time.Millisecond
	lastLook  = 50 * time.Millisecond
)

var errUnconfirmed = errors.New("the client left before it had everything")

// Confirm waits until the client's system has all that was sent to it: a write
// succeeds when it is in our own buffers, and so does that of a short answer to a
// client that has left. Without progress within the server's SendTimeout it is
// os.ErrDeadlineExceeded.
func (w *response) Confirm() error {
	if w.hijacked {
		return http.ErrHijacked
	}
	if err := w.FlushError(); err != nil {
		return err
	}
	least, since, pause := -1, time.Now(), firstLook
	for {
		n, err := w.unconfirmed()
		if err != nil || n == 0 {
			return err
		}
		if n < least || least < 0 {
			least, since = n, time.Now()
		}
		if time.Since(since) >= w.c.s.opt.SendTimeout {
			return os.ErrDeadlineExceeded
		}
		time.Sleep(pause)
		pause = min(2*pause, lastLook)
	}
}

// unconfirmed is how many bytes the client's system has not acknowledged, or of a
// unix socket the client has not read.
func (w *response) unconfirmed() (n int, err error) {
	raw, err := w.c.pc.SyscallConn()
	if err != nil {
		return 0, err
	}
	var lost error
	cerr := raw.Control(func(fd uintptr) {
		if n, err = unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			lost = w.lost(int(fd)) // behind it: a reset empties the queue
		}
	})
	return n, errors.Join(cerr, err, lost)
}

// lost reports a connection that the client has reset.
func (w *response) lost(fd int) error {
	if w.c.l.TCP {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err == nil && info.State == tcpClose {
			err = errUnconfirmed
		}
		return err
	}
	if errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || errno != 0 {
		return errUnconfirmed
	}
	return nil
}

// tcpClose is the state of a connection that was reset (include/net/tcp_states.h).
const tcpClose = 7
