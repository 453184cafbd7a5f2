package accept

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/poll"
	"sluice/internal/scoreboard"
	"sluice/lockmodes"
)

// probe is an Acceptor of this process that keeps what it accepts.
type probe struct {
	t    *testing.T
	o    Options
	a    *Acceptor
	room atomic.Int64
	log  bytes.Buffer

	mu  sync.Mutex
	got []taken
}

type taken struct {
	listener, fd int
	peer         netip.AddrPort
}

func fds(files []*os.File) (all []int) {
	for _, f := range files {
		all = append(all, int(f.Fd()))
	}
	return all
}

func newProbe(t *testing.T, o Options) *probe {
	t.Helper()
	p := &probe{t: t, o: o}
	p.room.Store(1000)
	set, err := poll.New()
	if err != nil {
		t.Fatal(err)
	}
	p.o.Set, p.o.Take, p.o.Room = set, p.take, func() int { return int(p.room.Load()) }
	if p.o.Log == nil {
		p.o.Log = slog.New(slog.NewTextHandler(&p.log, nil))
	}
	t.Cleanup(func() {
		if p.a != nil {
			p.a.Stop()
		}
		set.Close()
		for _, c := range p.got {
			unix.Close(c.fd)
		}
	})
	return p
}

func (p *probe) start() {
	p.t.Helper()
	var err error
	if p.a, err = New(p.o); err != nil {
		p.t.Fatal(err)
	}
	if err := p.a.Start(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *probe) take(listener, fd int, peer netip.AddrPort) {
	p.room.Add(-1)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, taken{listener, fd, peer})
}

func (p *probe) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got)
}

// wait waits until n connections have been accepted.
func (p *probe) wait(n int) {
	p.t.Helper()
	for limit := time.Now().Add(patience); p.count() < n; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			p.t.Fatalf("%d of %d connections accepted within %v", p.count(), n, patience)
		}
	}
}

// lockOf is a lock that nobody else wants.
func lockOf(t *testing.T, m lockmodes.Mode) lockmodes.Lock {
	t.Helper()
	o := lockmodes.Options{Mode: m, Permits: 1, Dir: t.TempDir(), UID: -1}
	s, l := pair(t, o)
	t.Cleanup(func() { s.Close() })
	t.Cleanup(func() { l.Close() })
	return l
}

// pair is a lock as who makes it and as the first process has it.
func pair(t *testing.T, o lockmodes.Options) (*lockmodes.Shared, lockmodes.Lock) {
	t.Helper()
	s, err := lockmodes.Create(o)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	l, err := lockmodes.Open(o, f, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s, l
}

// listen is a listener, and how to connect to it.
func listen(t *testing.T, network, address string) (fd int, dial func() net.Conn) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); f.Close() })
	return int(f.Fd()), func() net.Conn {
		t.Helper()
		c, err := net.Dial(network, l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

// Every mode says who came by which listener, and hands on what does not block
// and is not inherited.
func TestTake(t *testing.T) {
	everyMode(t, func(t *testing.T, m lockmodes.Mode) {
		four, dialFour := listen(t, "tcp", "127.0.0.1:0")
		six, dialSix := listen(t, "tcp", "[::1]:0")
		file, dialFile := listen(t, "unix", filepath.Join(t.TempDir(), "s"))
		both, dialBoth := listen(t, "tcp", ":0")
		p := newProbe(t, Options{Mode: m, Lock: lockOf(t, m), Listeners: []int{four, six, file, both}})
		p.start()
		for i, dial := range []func() net.Conn{dialFour, dialSix, dialFile, dialBoth} {
			c := dial()
			p.wait(i + 1)
			p.mu.Lock()
			got := p.got[i]
			p.mu.Unlock()
			if got.listener != i {
				t.Errorf("listener %d, want %d", got.listener, i)
			}
			if want, _ := netip.ParseAddrPort(c.LocalAddr().String()); got.peer.Port() != want.Port() || i < 2 && got.peer != want {
				t.Errorf("listener %d: peer %v, want %v", i, got.peer, want)
			}
			if i == 2 && got.peer.IsValid() {
				t.Errorf("a unix socket has peer %v", got.peer)
			}
			if flags, err := unix.FcntlInt(uintptr(got.fd), unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
				t.Errorf("it blocks: %#x, %v", flags, err)
			}
			if flags, err := unix.FcntlInt(uintptr(got.fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
				t.Errorf("it is inherited: %#x, %v", flags, err)
			}
		}
	})
}

// After Stop nothing is accepted but by Drain, and the lock is free. Stop wakes who
// waits.
func TestStop(t *testing.T) {
	everyMode(t, func(t *testing.T, m lockmodes.Mode) {
		fd, dial := listen(t, "tcp", "127.0.0.1:0")
		l := lockOf(t, m)
		p := newProbe(t, Options{Mode: m, Lock: l, Listeners: []int{fd}})
		p.start()
		dial()
		p.wait(1)
		p.a.Stop()
		p.a.Stop() // does nothing
		p.a.Resume()
		dial()
		time.Sleep(20 * time.Millisecond)
		if n := p.count(); n != 1 {
			t.Errorf("%d connections accepted, want 1", n)
		}
		for range 2 * most {
			dial()
		}
		p.room.Store(2 * most) // and one is left
		p.a.Drain()
		if n := p.count(); n != 1+2*most {
			t.Errorf("%d connections accepted after Drain, want %d", n, 1+2*most)
		}
		p.room.Store(1000)
		if p.a.Drain(); p.count() != 1+2*most { // the listeners may be closed
			t.Error("a second Drain takes something")
		}
	})
}

// One that was never started is stopped as well.
func TestStopBeforeStart(t *testing.T) {
	everyMode(t, func(t *testing.T, m lockmodes.Mode) {
		fd, dial := listen(t, "tcp", "127.0.0.1:0")
		p := newProbe(t, Options{Mode: m, Lock: lockOf(t, m), Listeners: []int{fd}})
		a, err := New(p.o)
		if err != nil {
			t.Fatal(err)
		}
		a.Stop()
		a.Resume()
		if a.Start() == nil {
			t.Error("it starts behind Stop")
		}
		dial()
		time.Sleep(20 * time.Millisecond)
		if n := p.count(); n != 0 {
			t.Errorf("%d connections accepted", n)
		}
	})
}

// Stop of one that waits for a lock does not wait for it.
func TestStopWithoutLock(t *testing.T) {
	everyMode(t, func(t *testing.T, m lockmodes.Mode) {
		if !m.Locks() {
			return
		}
		r := newRig(t, m, 2)
		r.start(1)
		for range 3 {
			r.connect(0)
		}
		f, err := r.shared.File()
		if err != nil {
			t.Fatal(err)
		}
		l, err := lockmodes.Open(r.o, f, 2)
		if err != nil {
			t.Fatal(err)
		}
		p := newProbe(t, Options{Mode: m, Lock: l, Listeners: fds(r.listeners[1])})
		p.start()
		time.Sleep(20 * time.Millisecond)
		begin := time.Now()
		p.a.Stop()
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("it took %v", took)
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if got := r.connect(0); got != 1 {
			t.Errorf("worker %d accepted", got)
		}
		r.kill(1) // the wait that cannot be interrupted ends
	})
}

// Without room nothing is accepted until Resume, and room is used to the last.
func TestRoom(t *testing.T) {
	everyMode(t, func(t *testing.T, m lockmodes.Mode) {
		fd, dial := listen(t, "tcp", "127.0.0.1:0")
		p := newProbe(t, Options{Mode: m, Lock: lockOf(t, m), Listeners: []int{fd}})
		p.room.Store(3)
		p.start()
		for range 50 {
			dial()
		}
		p.wait(3)
		for sum := 3; sum < 50; {
			time.Sleep(5 * time.Millisecond)
			if n := p.count(); n != sum {
				t.Fatalf("%d connections with room for %d", n, sum)
			}
			more := min(20, 50-sum)
			p.room.Store(int64(more))
			p.a.Resume()
			sum += more
			p.wait(sum)
		}
	})
}

// newPlace is a scoreboard of one worker.
func newPlace(t *testing.T) (*scoreboard.Owner, *scoreboard.Place) {
	t.Helper()
	l := scoreboard.Layout{Places: 1}
	mem := make([]byte, l.Bytes())
	o, err := scoreboard.Create(mem, l, scoreboard.Head{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := scoreboard.Open(mem)
	if err != nil {
		t.Fatal(err)
	}
	o.Worker(1, os.Getpid(), 1, scoreboard.Running)
	p, err := b.Place(1)
	if err != nil {
		t.Fatal(err)
	}
	return o, p
}

// Wake-ups are counted, those without a connection too, and the wait for a lock.
func TestCounters(t *testing.T) {
	everyMode(t, func(t *testing.T, m lockmodes.Mode) {
		fd, dial := listen(t, "tcp", "127.0.0.1:0")
		board, place := newPlace(t)
		p := newProbe(t, Options{Mode: m, Lock: lockOf(t, m), Listeners: []int{fd}, Place: place})
		p.start()
		for i := range 20 {
			dial()
			p.wait(i + 1)
		}
		p.a.Stop()
		s, err := board.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		w := s.Workers[0]
		if w.Accepts != 20 || w.Wakeups < 20 || w.Wakeups != 20+w.Empty {
			t.Errorf("%+v", w.Accepting)
		}
		if m.Locks() && w.LockWait > 1 {
			t.Errorf("nobody else wants the lock, and it was waited for %v s", w.LockWait)
		}
	})
}

func TestWrongOptions(t *testing.T) {
	fd, _ := listen(t, "tcp", "127.0.0.1:0")
	for name, o := range map[string]Options{
		"no set":     {Listeners: []int{fd}},
		"no lock":    {Mode: lockmodes.Flock, Listeners: []int{fd}},
		"no mode":    {Mode: lockmodes.Modes},
		"descriptor": {Mode: lockmodes.Exclusive, Listeners: []int{-1}},
	} {
		if a, err := New(o); err == nil {
			a.Stop()
			t.Errorf("%s: no error", name)
		}
	}
}
