package exchange

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"

	"sluice/internal/scoreboard"
)

// spooled passes on a body through a spool: one goroutine reads the child and
// gives it back at the end of its answer, while this one writes to the client.
// head is the beginning, paused says that the child was silent behind it.
func (x *run) spooled(a *answer, code int, head []byte, paused bool) error {
	s := newSpool(x.Response)
	defer s.close()
	s.waits = x.slowed
	s.whole = x.req.Whole && x.w.Header().Get("Content-Length") == ""
	if s.whole {
		s.lim.File = math.MaxInt64
	}
	x.shared = true // the end of ctx may interrupt later than all else
	ctx, cancel := context.WithCancel(x.ctx)
	defer cancel()
	x.ctx = ctx
	// The interrupt that attempt asked for may come before ctx knows.
	defer context.AfterFunc(ctx, x.conv.Interrupt)()
	var kept []byte
	if s.whole {
		head, kept, paused = nil, head, false
	}
	filled := make(chan error, 1)
	go func() { filled <- x.fill(s, a, kept) }()
	sendErr := x.empty(s, code, head, paused)
	if sendErr == nil {
		return <-filled
	}
	// The child is not read any longer, unless it was its end that ended us.
	s.leave()
	cancel()
	x.conv.Interrupt()
	if err := <-filled; err != nil {
		x.unsend()
		e := err.(*Error)
		e.Started = x.started.Load()
		return e
	}
	return &Error{Kind: SendFailed, PID: x.pid, Started: true, Err: sendErr}
}

// fill reads the child into the spool and settles with it.
func (x *run) fill(s *spool, a *answer, head []byte) error {
	bp := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(bp)
	err := s.put(head)
	for err == nil {
		var n int
		if n, err = x.readBody(a, *bp); n > 0 {
			err = s.put((*bp)[:n])
		}
	}
	if err == io.EOF {
		x.settle(a)
		s.end(io.EOF)
		return nil
	}
	err = x.fail(err)
	s.end(err)
	return err
}

// slowed notes that the child waits for the client, or does no longer.
func (x *run) slowed(on bool) {
	x.req.clock.waited()
	if on {
		x.req.phase(scoreboard.Send)
	} else {
		x.req.phase(scoreboard.Body)
	}
}

// put errors.
var (
	errReaderGone = &Error{Kind: SendFailed, Err: errors.New("the client has gone")}
	errNoRoom     = &Error{Kind: SpoolFailed, Err: errors.New("no room to keep the whole answer, which a client of HTTP/1.0 on a unix socket needs")}
)

// empty writes the beginning and what the spool gives to the client, and
// flushes when the child pauses.
func (x *run) empty(s *spool, code int, head []byte, paused bool) error {
	if s.whole {
		n, err := s.complete()
		if err != nil {
			return err
		}
		x.w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	}
	bp := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(bp)
	ctl := http.NewResponseController(x.w)
	flushed := false
	if paused {
		if err := x.pass(code, head); err != nil {
			return err
		}
		flushed = true
	} else if len(head) > 0 {
		x.begin(code)
		if _, err := x.w.Write(head); err != nil {
			return err
		}
	}
	for {
		patience := silence
		if flushed {
			patience = 0 // nothing is held back: wait for as long as it takes
		}
		n, ok, err := s.take(*bp, patience)
		if err != nil && err != io.EOF {
			return err
		}
		x.begin(code)
		if err == io.EOF {
			return nil
		}
		if n > 0 {
			if _, err := x.w.Write((*bp)[:n]); err != nil {
				return err
			}
			flushed = false
		}
		if !ok {
			if err := ctl.Flush(); err != nil {
				return err
			}
			flushed = true
		}
	}
}
