package exchange

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"sluice/cgi"
	"sluice/spawner"
)

// passRaw passes the output of an NPH script to the client as it is, unbuffered,
// and closes the connection at its end (RFC 3875 section 5).
func (x *run) passRaw() error {
	bp := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(bp)
	n, err := x.read(*bp, x.HeaderTimeout, HeaderTimeout)
	if n == 0 {
		if err == io.EOF {
			return x.fail(&Error{Kind: BadHeader, Err: cgi.ErrNoHeader})
		}
		return x.fail(err)
	}
	c, rw, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		return x.fail(fmt.Errorf("take over the connection: %w", err))
	}
	defer c.Close()
	rw.Flush()
	x.started.Store(true)
	for {
		if _, err := c.Write((*bp)[:n]); err != nil {
			return x.fail(&Error{Kind: SendFailed, Err: err})
		}
		n, err = x.read(*bp, x.ReadTimeout, Stalled)
		if err == nil {
			continue
		}
		if err == io.EOF {
			if end, ok := x.conv.Ended(crashWait); !ok || end.Signal == 0 {
				x.conv.Settle(spawner.Answered, cgi.Complete)
				return nil
			} else {
				err = &Error{Kind: Died, Err: errors.New(end.String())}
			}
		}
		reset(c)
		return x.fail(err)
	}
}

// reset makes the close of a connection a reset: its end marks the end of the
// answer, and this was not it.
func reset(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		l.SetLinger(0)
	}
}

// read reads from the child within d, or fails with the kind given. io.EOF and
// errors of the conversation are passed on.
func (x *run) read(p []byte, d time.Duration, late Kind) (int, error) {
	limit := time.Now().Add(d)
	for {
		if err := x.arm(limit); err != nil {
			return 0, err
		}
		n, err := x.conv.Read(p)
		if n > 0 {
			x.heard = true
			return n, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		if e := x.interrupted(); e != nil {
			return 0, e
		}
		if !time.Now().Before(limit) {
			return 0, &Error{Kind: late, Err: fmt.Errorf("silent for %v", d)}
		}
	}
}
