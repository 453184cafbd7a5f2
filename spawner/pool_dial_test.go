package spawner

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// watched is a connection of a set that watches it: it knows whether there is
// something to read.
type watched struct {
	*net.UnixConn
	readable atomic.Bool
	asked    atomic.Int32
}

func (w *watched) Readable() bool { return w.readable.Load() }

func (w *watched) SyscallConn() (syscall.RawConn, error) {
	w.asked.Add(1)
	return w.UnixConn.SyscallConn()
}

// watching is a rig whose pool dials such connections.
func watching(t *testing.T) *poolRig {
	r := newRig(t, 1, true)
	r.opt.Dial = func(network, address string, timeout time.Duration) (net.Conn, error) {
		if network != "unix" || address != r.opt.Targets[0].Address || timeout != time.Second {
			t.Errorf("dial %s %s within %v", network, address, timeout)
		}
		c, err := net.Dial(network, address)
		if err != nil {
			return nil, err
		}
		return &watched{UnixConn: c.(*net.UnixConn)}, nil
	}
	return r
}

// A kept connection that knows of nothing to read is used without a look; one
// that may have something to read is looked at.
func TestPoolLooks(t *testing.T) {
	for _, c := range []struct {
		name             string
		readable, closed bool
		kept             bool
		asked            int32
	}{
		{name: "silent", kept: true},
		{name: "closed, and not known yet", closed: true, kept: true},
		{name: "readable, but has been read", readable: true, kept: true, asked: 1},
		{name: "closed", readable: true, closed: true, asked: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := watching(t)
			l, ours, child := r.connect(t, true)
			l.Release(Answered, ours)
			ours.(*watched).readable.Store(c.readable)
			if c.closed {
				child.Close()
			}
			must(t, l.Claim(t.Context(), r.Pool, Anyone))
			again, err := l.Conn(t.Context(), true)
			must(t, err)
			if l.Kept() != c.kept || (again == ours) != c.kept {
				t.Errorf("kept %v, want %v", l.Kept(), c.kept)
			}
			if n := ours.(*watched).asked.Load(); n != c.asked {
				t.Errorf("the kernel was asked %d times, want %d", n, c.asked)
			}
			again.Close()
			l.Release(Failed, nil)
		})
	}
}

func TestPoolDialFails(t *testing.T) {
	refused := errors.New("refused")
	r := newRig(t, 1, true)
	r.opt.Dial = func(string, string, time.Duration) (net.Conn, error) { return nil, refused }
	l, err := r.Lease(t.Context(), Anyone)
	must(t, err)
	if _, err := l.Conn(t.Context(), true); err != refused {
		t.Error(err)
	}
	l.Release(Failed, nil)
}

// A Lease that is used again has nothing of the one before, and its Interrupt is
// called in place of a deadline, once for each loss.
func TestLeaseAgain(t *testing.T) {
	r := newRig(t, 2, true)
	var interrupted atomic.Int32
	l := &Lease{Interrupt: func() { interrupted.Add(1) }}
	other, err := r.Lease(t.Context(), Anyone)
	must(t, err)
	slot := 1 - other.Slot()
	for i := range 3 {
		r.Apply(Event{Slot: slot, State: Ready, PID: 500 + i})
		must(t, l.Claim(t.Context(), r.Pool, Anyone))
		if l.Lost() || l.Kept() || l.PID() != 500+i || l.Slot() != slot {
			t.Errorf("%d: lost %v, kept %v, process %d", i, l.Lost(), l.Kept(), l.PID())
		}
		c, err := l.Conn(t.Context(), true)
		must(t, err)
		r.Apply(Event{Slot: slot, State: BackingOff})
		if n := interrupted.Load(); n != int32(i+1) || !l.Lost() {
			t.Errorf("interrupted %d times, lost %v", n, l.Lost())
		}
		c.SetReadDeadline(time.Time{})
		l.Release(Failed, nil)
		c.Close()
		r.Apply(Event{Slot: slot, State: BackingOff})
		if n := interrupted.Load(); n != int32(i+1) {
			t.Error("interrupted after its release")
		}
	}
	r.Apply(Event{Slot: other.Slot(), State: BackingOff})
	if !other.Lost() {
		t.Error("the other lease has been forgotten")
	}
	other.Release(Failed, nil)
}
