package exchange

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"sluice/cgi"
	"sluice/internal/scoreboard"
	"sluice/spawner"
)

// passRaw passes the output of an NPH script to the client as it is, unbuffered,
// and closes the connection at its end (RFC 3875 section 5).
func (x *run) passRaw() error {
	bp := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(bp)
	a := &x.body
	*a = answer{x: x, left: -1}
	n, err := x.readWithin(a, *bp, x.HeaderTimeout)
	switch {
	case n > 0:
	case err == io.EOF:
		return x.fail(&Error{Kind: BadHeader, Err: cgi.ErrNoHeader})
	case errors.Is(err, os.ErrDeadlineExceeded):
		return x.fail(&Error{Kind: HeaderTimeout, Err: fmt.Errorf("silent for %v", x.HeaderTimeout)})
	default:
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
		x.req.phase(scoreboard.Send)
		if _, err := c.Write((*bp)[:n]); err != nil {
			return x.fail(&Error{Kind: SendFailed, Err: err})
		}
		x.req.clock.waited()
		x.req.phase(scoreboard.Body)
		n, err = x.readBody(a, *bp)
		switch err {
		case nil:
		case io.EOF:
			x.letChildGo()
			x.conv.Settle(spawner.Answered, cgi.Complete)
			return nil
		default:
			reset(c)
			return x.fail(err)
		}
	}
}

// reset makes the close of a connection a reset: its end marks the end of the
// answer, and this was not it.
func reset(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(int) error }); ok {
		l.SetLinger(0)
	}
}
