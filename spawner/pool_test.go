package spawner

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// poolRig is a pool over sockets whose other end is the test's.
type poolRig struct {
	*Pool
	listeners []net.Listener
	mu        sync.Mutex
	reports   []Report
}

func newRig(t *testing.T, slots int, keep bool) *poolRig {
	t.Helper()
	dir := t.TempDir()
	r := &poolRig{}
	o := PoolOptions{App: "app", KeepAlive: keep, ConnectTimeout: time.Second, Report: func(rep Report) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.reports = append(r.reports, rep)
	}}
	for i := range slots {
		l, err := net.Listen("unix", SocketPath(dir, "app", i))
		must(t, err)
		t.Cleanup(func() { l.Close() })
		r.listeners = append(r.listeners, l)
		o.Targets = append(o.Targets, Target{"unix", l.Addr().String()})
	}
	o.Ledger = NewLedger(LedgerOptions{Queue: 8, Slots: make([]SlotOptions, slots)})
	r.Pool = NewPool(o)
	t.Cleanup(r.Close)
	for i := range slots {
		r.Apply(Event{Slot: i, State: Ready, PID: 100 + i})
	}
	return r
}

// Apply is what a supervisor does.
func (r *poolRig) Apply(e Event) {
	if e.Slot < len(r.opt.Targets) {
		r.opt.Ledger.Set(e.Slot, e.State, e.PID)
	}
	r.Pool.Apply(e)
}

func (r *poolRig) reported() []Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Report(nil), r.reports...)
}

// connect leases and connects, and returns the child's end too, nil when the
// connection was a kept one.
func (r *poolRig) connect(t *testing.T, repeatable bool) (l *Lease, ours, theirs net.Conn) {
	t.Helper()
	l, err := r.Lease(t.Context(), Anyone)
	must(t, err)
	ours, err = l.Conn(t.Context(), repeatable)
	must(t, err)
	r.listeners[l.Slot()].(*net.UnixListener).SetDeadline(time.Now().Add(50 * time.Millisecond))
	if c, err := r.listeners[l.Slot()].Accept(); err == nil {
		theirs = c
		t.Cleanup(func() { c.Close() })
	}
	return l, ours, theirs
}

func TestPoolKeeps(t *testing.T) {
	cases := []struct {
		name       string
		repeatable bool
		meanwhile  func(child *net.UnixConn)
		kept       bool
	}{
		{"silent", true, func(*net.UnixConn) {}, true},
		{"request that may not be repeated", false, func(*net.UnixConn) {}, false},
		{"closed", true, func(c *net.UnixConn) { c.Close() }, false},
		{"half-closed", true, func(c *net.UnixConn) { c.CloseWrite() }, false},
		{"unexpected bytes", true, func(c *net.UnixConn) { c.Write([]byte{1}) }, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, 1, true)
			l, ours, child := r.connect(t, false)
			if !l.KeepAlive() {
				t.Error("no keep-alive")
			}
			ours.SetDeadline(time.Unix(1, 0))
			l.Release(Answered, ours)
			c.meanwhile(child.(*net.UnixConn))
			l, again, fresh := r.connect(t, c.repeatable)
			if kept := fresh == nil; kept != c.kept {
				t.Fatalf("kept %v, want %v", kept, c.kept)
			}
			if !c.kept {
				// The child cannot accept before it is rid of the other.
				child.SetReadDeadline(time.Now().Add(time.Second))
				if _, err := child.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("the kept one is not closed: %v", err)
				}
				child = fresh
			}
			if _, err := again.Write([]byte("x")); err != nil {
				t.Errorf("an old deadline: %v", err)
			}
			b := make([]byte, 1)
			if _, err := io.ReadFull(child, b); err != nil || b[0] != 'x' {
				t.Errorf("%q, %v", b, err)
			}
			again.Close()
			l.Release(Answered, nil)
		})
	}
}

func TestPoolDoesNotKeep(t *testing.T) {
	closed := func(t *testing.T, child net.Conn) {
		t.Helper()
		child.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := child.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("the connection is still open: %v", err)
		}
	}
	t.Run("off", func(t *testing.T) {
		r := newRig(t, 1, false)
		l, ours, child := r.connect(t, true)
		if l.KeepAlive() {
			t.Error("keep-alive")
		}
		l.Release(Answered, ours)
		closed(t, child)
	})
	t.Run("pool closed before the release", func(t *testing.T) {
		r := newRig(t, 1, true)
		l, ours, child := r.connect(t, true)
		r.Close()
		if l.KeepAlive() {
			t.Error("keep-alive")
		}
		l.Release(Answered, ours)
		closed(t, child)
	})
	t.Run("pool closed after the release", func(t *testing.T) {
		r := newRig(t, 1, true)
		l, ours, child := r.connect(t, true)
		l.Release(Answered, ours)
		r.Close()
		closed(t, child)
	})
	t.Run("wanted elsewhere", func(t *testing.T) {
		r := newRig(t, 1, true)
		l, ours, child := r.connect(t, true)
		l.Release(Answered, ours)
		r.Yield(func(int) bool { return false })
		if l, _, fresh := r.connect(t, true); fresh != nil {
			t.Error("the connection was not kept")
		} else {
			l.Release(Answered, ours)
		}
		r.Yield(func(slot int) bool { return slot == 0 })
		closed(t, child)
	})
	t.Run("kept again", func(t *testing.T) {
		r := newRig(t, 1, true)
		r.Keep(false)
		r.Keep(true)
		l, ours, child := r.connect(t, true)
		if !l.KeepAlive() || r.Busy() != 1 {
			t.Errorf("keep-alive %v, %d busy", l.KeepAlive(), r.Busy())
		}
		l.Release(Answered, ours)
		if r.Busy() != 0 {
			t.Error("busy")
		}
		r.Keep(false)
		closed(t, child)
	})
	for _, st := range []State{Stopping, BackingOff, Absent} {
		t.Run(st.String(), func(t *testing.T) {
			r := newRig(t, 1, true)
			l, ours, child := r.connect(t, true)
			l.Release(Answered, ours)
			r.Apply(Event{Slot: 0, State: st})
			closed(t, child)
		})
	}
}

// A request in the backlog of a child that is given up leaves it at once. One
// that the child had taken reads what the child said last, and its end.
func TestPoolLost(t *testing.T) {
	for _, st := range []State{BackingOff, Absent} {
		t.Run(st.String(), func(t *testing.T) {
			r := newRig(t, 3, true)
			waits, err := r.Lease(t.Context(), Anyone)
			must(t, err)
			c, err := waits.Conn(t.Context(), true)
			must(t, err)
			defer c.Close()
			early, err := r.Lease(t.Context(), Anyone) // before it has a connection
			must(t, err)
			taken, mine, child := r.connect(t, true)
			defer mine.Close()
			child.Write([]byte("bye"))
			child.Close()

			got := make(chan error, 1)
			go func() {
				_, err := c.Read(make([]byte, 1))
				got <- err
			}()
			time.Sleep(20 * time.Millisecond)
			begin := time.Now()
			for i := range 3 {
				r.Apply(Event{Slot: i, State: st})
			}
			if err := <-got; !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) > 50*time.Millisecond {
				t.Errorf("waiting: %v after %v", err, time.Since(begin))
			}
			if !waits.Lost() || !early.Lost() || taken.Lost() {
				t.Errorf("lost: %v %v %v", waits.Lost(), early.Lost(), taken.Lost())
			}
			if _, err := early.Conn(t.Context(), true); !errors.Is(err, ErrLost) {
				t.Errorf("connect after the loss: %v", err)
			}
			if b, err := io.ReadAll(mine); string(b) != "bye" || err != nil {
				t.Errorf("%q, %v", b, err)
			}
			for _, l := range []*Lease{waits, early, taken} {
				l.Release(Failed, nil)
			}
			if _, err := r.Lease(t.Context(), Anyone); !errors.Is(err, ErrNoChild) {
				t.Error(err)
			}
			r.Apply(Event{Slot: 1, State: Starting, PID: 7})
			l, err := r.Lease(t.Context(), Anyone)
			must(t, err)
			if l.Lost() || l.PID() != 7 || l.Slot() != 1 {
				t.Errorf("a new child: %+v", l.claim)
			}
			l.Release(Answered, nil)
		})
	}
}

// The word that a child is gone may come between the claim and the lease.
func TestPoolLostBetween(t *testing.T) {
	r := newRig(t, 1, true)
	inner := r.opt.Ledger
	r.opt.Ledger = slowLedger{inner, func() { r.Apply(Event{Slot: 0, State: BackingOff}) }}
	l, err := r.Lease(t.Context(), Anyone)
	must(t, err)
	if !l.Lost() {
		t.Error("not lost")
	}
	l.Release(Failed, nil)
}

type slowLedger struct {
	Ledger
	after func()
}

func (s slowLedger) Claim(ctx context.Context, w Want) (Claim, error) {
	c, err := s.Ledger.Claim(ctx, w)
	s.after()
	return c, err
}

func TestPoolReports(t *testing.T) {
	r := newRig(t, 1, false)
	one := func(o Outcome) {
		t.Helper()
		l, err := r.Lease(t.Context(), Anyone)
		must(t, err)
		l.Release(o, nil)
	}
	expect := func(want ...Report) {
		t.Helper()
		got := r.reported()
		if len(got) != len(want) {
			t.Fatalf("reports %+v, want %+v", got, want)
		}
		for i := range want {
			want[i].App = "app"
			if got[i] != want[i] {
				t.Errorf("report %+v, want %+v", got[i], want[i])
			}
		}
	}
	heard := func() time.Duration { return r.opt.Ledger.Use(0).Heard }
	one(Cut)
	one(Failed)
	if heard() != 0 {
		t.Error("heard of a child that has not answered")
	}
	one(Answered)
	first := heard()
	if first == 0 {
		t.Error("not heard of a child that has answered")
	}
	// A claim of the time before, answered by the successor on the same socket.
	l, err := r.Lease(t.Context(), Anyone)
	must(t, err)
	r.Apply(Event{Slot: 0, State: Starting, PID: 200})
	time.Sleep(time.Millisecond)
	l.Release(Answered, nil)
	if heard() <= first {
		t.Error("not heard of a successor that has answered")
	}
	expect()
	l, err = r.Lease(t.Context(), Anyone)
	must(t, err)
	l.Replace("silent")
	l.Release(Cut, nil)
	expect(Report{PID: 200, Replace: "silent"})
	if c := r.Counts().Children[0]; !c.Finishing || c.PID != 200 || c.State != Starting {
		t.Errorf("counts %+v", c)
	}
	r.Apply(Event{Slot: 9, State: Ready}) // not ours
}

func TestPoolElsewhere(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer tcp.Close()
	l := NewLedger(LedgerOptions{Queue: 1, Balance: BalanceLeastConn, Slots: []SlotOptions{{Connections: 2}, {Connections: 2}}})
	p := NewPool(PoolOptions{Ledger: l, Targets: []Target{{"tcp", tcp.Addr().String()}, {"unix", filepath.Join(t.TempDir(), "none")}}})
	l.Set(0, Ready, 0)
	l.Set(1, Ready, 0)
	a, err := p.Lease(t.Context(), Anyone)
	must(t, err)
	c, err := a.Conn(t.Context(), true)
	must(t, err)
	c.Close()
	b, err := p.Lease(t.Context(), Anyone)
	must(t, err)
	if a.Slot() == b.Slot() || a.PID() != 0 {
		t.Errorf("slots %d, %d", a.Slot(), b.Slot())
	}
	if _, err := b.Conn(t.Context(), true); err == nil {
		t.Error("connected to nothing")
	}
	a.Replace("nobody to tell")
	a.Release(Cut, nil)
	b.Release(Failed, nil)
	if n := p.Counts().Children[0]; n.Finishing {
		t.Error("a program elsewhere has no finishing: which of its processes it was is not known")
	}
}
