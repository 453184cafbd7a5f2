package exchange

import (
	"errors"
	"io"
	"os"
	"time"

	"sluice/cgi"
	"sluice/spawner"
)

// release lets the child go: what it still has to say is of no interest. What
// takes time happens in the background, so the client's file starts at once.
func (x *run) release() {
	x.letGo(x.Release)
}

func (x *run) letGo(p ReleasePolicy) {
	x.letChildGo()
	if p == Close {
		x.conv.Settle(spawner.Cut, cgi.Stop)
		return
	}
	// Most children have nothing left to say, and it is here already.
	x.conv.Interrupt()
	left := x.ReleaseBytes
	if p == Detach {
		left = 1<<63 - 1
	}
	end := discard(x.conv, &left)
	if end == io.EOF || end != nil && !errors.Is(end, os.ErrDeadlineExceeded) {
		settleEnd(x.conv, end)
		return
	}
	x.shared = true
	go x.drain(p, left)
}

// drain discards the rest of an answer, in the background. That the client
// leaves meanwhile interrupts it once, and is of no interest.
func (x *run) drain(p ReleasePolicy, left int64) {
	limit := time.Now().Add(x.ReleaseTimeout)
	if p == Detach {
		limit = x.limit
	}
	for left > 0 {
		x.conv.SetReadDeadline(limit)
		if x.conv.Lost() {
			break
		}
		end := discard(x.conv, &left)
		late := !limit.IsZero() && !time.Now().Before(limit)
		if errors.Is(end, os.ErrDeadlineExceeded) && !late {
			continue
		}
		if end != nil {
			settleEnd(x.conv, end)
			return
		}
	}
	x.conv.Settle(spawner.Cut, cgi.Stop)
}

// discard reads to the end, or until left bytes have been read: then it returns
// nil.
func discard(r io.Reader, left *int64) error {
	bp := relayBuffers.Get().(*[]byte)
	defer relayBuffers.Put(bp)
	for *left > 0 {
		n, err := r.Read((*bp)[:min(int64(len(*bp)), *left)])
		*left -= int64(n)
		if err != nil {
			return err
		}
	}
	return nil
}

// settleEnd settles with a child whose answer ended thus.
func settleEnd(conv Attempt, end error) {
	switch {
	case end == io.EOF:
		conv.Settle(spawner.Answered, cgi.Complete)
	case errors.Is(end, cgi.ErrDied):
		conv.Settle(spawner.Failed, cgi.Stop)
	default:
		conv.Settle(spawner.Cut, cgi.Stop)
	}
}
