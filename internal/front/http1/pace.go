package http1

import (
	"os"
	"syscall"
	"time"

	"sluice/internal/front/wire"
)

// pacer holds the body of one answer to a rate. A piece leaves when there has
// been time for it, so the last byte leaves when there has been time for all:
// that makes whole downloads exact, where a head start would make short ones too
// fast.
type pacer struct {
	rate  int64     // bytes a second; 0: no limit
	paid  time.Time // up to when time has been used up; zero: nothing has left
	timer *time.Timer

	// What the client has taken is known as what has left without what is queued.
	left, taken int64
	since       time.Time // when it last took something
}

// Bounds of what leaves at a time: an eighth of a second's worth, in pieces of a
// MiB at the most unless that would be more than a hundred a second.
const (
	burst       = time.Second / 8
	paceBytes   = 1 << 20
	pacesSecond = 128
)

// leastPause is what is not worth a timer: bodies come in small writes, too.
const leastPause = time.Millisecond

// errLeft is how an answer ends whose client leaves during a pause: as a write
// would have.
var errLeft = &os.SyscallError{Syscall: "write", Err: syscall.EPIPE}

// SetRate implements Connection.
func (w *response) SetRate(rate int64) { w.pace.rate = max(0, rate) }

// burst is the most that leaves at once.
func (p *pacer) burst() int64 { return max(1, p.rate/int64(time.Second/burst)) }

// piece is how much of n bytes leaves next.
func (p *pacer) piece(n int64) int64 {
	return min(n, max(min(p.burst(), paceBytes), p.rate/pacesSecond))
}

// cost is how long n bytes take.
func (p *pacer) cost(n int64) time.Duration {
	return time.Duration(float64(n) / float64(p.rate) * float64(time.Second))
}

// due is when n more bytes may leave. Of time that was not used, as the child or
// the client was slow, no more than a burst's is made up for.
func (p *pacer) due(n int64, now time.Time) time.Time {
	switch {
	case p.paid.IsZero():
		p.paid, p.since = now, now
	case now.Sub(p.paid) > burst+p.cost(n):
		p.paid = now.Add(-burst - p.cost(n))
	}
	p.paid = p.paid.Add(p.cost(n))
	return p.paid
}

// paced reports whether the body is held to the rate. One that is known to be no
// more than a burst leaves in one piece with its header.
func (w *response) paced() bool {
	return w.pace.rate > 0 && (w.declared < 0 || w.declared > w.pace.burst())
}

// await waits until n more bytes may leave; it fails as soon as the client has
// gone, and when it has taken nothing for the SendTimeout.
func (w *response) await(n int64) {
	p := &w.pace
	now := time.Now()
	if d := p.due(n, now).Sub(now); d > leastPause && w.err == nil {
		w.pause(d)
	}
	if w.err == nil {
		w.progress()
	}
	p.left += n
	w.failed()
}

// pause waits, unless the client leaves.
func (w *response) pause(d time.Duration) {
	p := &w.pace
	if p.timer == nil {
		p.timer = time.NewTimer(d)
	} else {
		p.timer.Reset(d)
	}
	select {
	case <-p.timer.C:
	case <-w.r.Context().Done():
		p.timer.Stop()
		w.err = errLeft
	}
}

// progress looks whether the client takes what is sent. The kernel's buffer may
// have room for hours of a low rate, so that no write would wait.
func (w *response) progress() {
	p, now := &w.pace, time.Now()
	queued := int64(w.c.pc.Unsent())
	taken := p.left - queued
	switch most := w.c.s.opt.SendTimeout; {
	case taken > p.taken, queued == 0:
		p.taken, p.since = taken, now
	case most > 0 && !w.limited && now.Sub(p.since) >= most:
		w.err = os.ErrDeadlineExceeded
	}
}

// emitPaced is emit at a rate: the header leaves at once, and does not count.
func (w *response) emitPaced(p []byte, last bool) error {
	w.out = w.outHeader()
	w.send(w.out, false)
	w.sendPaced(w.pend)
	w.pend = w.pend[:0]
	w.sendPaced(p)
	if w.chunked && last {
		w.out = append(w.out[:0], "0\r\n\r\n"...)
		w.send(w.out, false)
	}
	return w.err
}

// sendPaced sends a part of the body, each piece a chunk where it is chunked.
func (w *response) sendPaced(p []byte) {
	for len(p) > 0 && w.err == nil {
		n := int(w.pace.piece(int64(len(p))))
		w.await(int64(n))
		if w.chunked {
			w.sendChunk(p[:n])
		} else {
			w.send(p[:n], false)
		}
		p = p[n:]
	}
}

// sendChunk sends a chunk, in one piece if that is not more than is copied.
func (w *response) sendChunk(p []byte) {
	w.out = wire.AppendChunkSize(w.out[:0], int64(len(p)))
	if len(p) <= joinBytes {
		w.out = append(w.out, p...)
	} else {
		w.send(w.out, true)
		w.send(p, true)
		w.out = w.out[:0]
	}
	w.out = append(w.out, "\r\n"...)
	w.send(w.out, false)
}

// movePaced sends n bytes of a file, in pieces.
func (w *response) movePaced(file *movable, to syscall.RawConn, n int64) (total int64, err error) {
	for total < n {
		k := w.pace.piece(n - total)
		if w.await(k); w.err != nil {
			return total, w.err
		}
		moved, err := file.move(to, k)
		total += moved
		if err != nil || moved < k {
			return total, err
		}
	}
	return total, nil
}
