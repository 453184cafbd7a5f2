package accept

import (
	"net"
	"sync"
	"testing"
	"time"

	"sluice/lockmodes"
)

func everyMode(t *testing.T, f func(t *testing.T, m lockmodes.Mode)) {
	for m := range lockmodes.Modes {
		t.Run(m.String(), func(t *testing.T) { f(t, m) })
	}
}

// Several workers accept on several listeners at once, and each gets its share.
func TestWorkers(t *testing.T) {
	everyMode(t, func(t *testing.T, m lockmodes.Mode) {
		r := newRig(t, m, 3)
		for i := range 3 {
			r.start(i + 1)
		}
		for range 10 { // one after the other
			r.connect(0)
			r.connect(1)
		}
		deadline := time.Now().Add(patience)
		share := map[int]int{}
		for len(share) < 3 && time.Now().Before(deadline) {
			var wg sync.WaitGroup
			var mu sync.Mutex
			for i := range 40 {
				wg.Go(func() {
					place := r.connect(i % 2)
					mu.Lock()
					share[place]++
					mu.Unlock()
				})
			}
			wg.Wait()
		}
		if len(share) < 3 {
			t.Errorf("not every worker accepted within %v: %v", patience, share)
		}
		for i := range 3 {
			r.stop(i + 1)
		}
		t.Log(share)
	})
}

// A worker that is killed, whatever it has or waits for, holds up nobody.
func TestKilledWorkers(t *testing.T) {
	everyMode(t, func(t *testing.T, m lockmodes.Mode) {
		r := newRig(t, m, 3)
		for i := range 3 {
			r.start(i + 1)
		}
		for round := range 6 {
			victim := round%3 + 1
			r.kill(victim)
			begin := time.Now()
			if m == lockmodes.Reuseport {
				r.start(victim) // its backlog is its successor's
			}
			r.connect(round % 2)
			r.connect((round + 1) % 2)
			if took := time.Since(begin); took > 5*time.Second {
				t.Errorf("round %d: two connections take %v", round, took)
			} else if took > time.Second {
				t.Logf("round %d: two connections take %v", round, took)
			}
			if m != lockmodes.Reuseport {
				r.start(victim)
			}
		}
	})
}

// A connection that a killed worker has left in the backlog of its own socket is
// served by the successor.
func TestBacklogOfKilledWorker(t *testing.T) {
	r := newRig(t, lockmodes.Reuseport, 1)
	c, err := net.Dial("tcp", r.addrs[1].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r.start(1)
	c.SetDeadline(time.Now().Add(patience))
	if n, err := c.Read(make([]byte, 2)); n != 2 {
		t.Errorf("the connection that waited: %v", err)
	}
}

// With Exclusive one worker is woken for a connection, and not always the same.
func TestExclusiveIsSpread(t *testing.T) {
	r := newRig(t, lockmodes.Exclusive, 2)
	r.start(1)
	r.start(2)
	share := map[int]int{}
	for range 200 {
		share[r.connect(1)]++
	}
	if share[1] < 20 || share[2] < 20 {
		t.Errorf("of 200 connections one after the other the workers got %v", share)
	}
}

// A worker without room leaves what comes to the others; and a connection for
// which it has been woken already, too.
func TestNoRoomBesideOthers(t *testing.T) {
	everyMode(t, func(t *testing.T, m lockmodes.Mode) {
		if m == lockmodes.Reuseport {
			return // a worker's connections wait for it: they are its own
		}
		r := newRig(t, m, 2)
		f, err := r.shared.File()
		if err != nil {
			t.Fatal(err)
		}
		l, err := lockmodes.Open(r.o, f, 2)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		p := newProbe(t, Options{Mode: m, Lock: l, Listeners: fds(r.listeners[1])})
		p.room.Store(1)
		p.start()
		c, err := net.Dial("tcp", r.addrs[1].String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		p.wait(1)
		r.start(1)
		for range 20 {
			if got := r.connect(1); got != 1 {
				t.Fatalf("worker %d accepted", got)
			}
		}
		p.room.Store(1)
		p.a.Resume()
		for limit := time.Now().Add(patience); p.count() < 2; {
			if time.Now().After(limit) {
				t.Fatalf("with room again it gets nothing within %v", patience)
			}
			c, err := net.Dial("tcp", r.addrs[1].String())
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
			time.Sleep(time.Millisecond)
		}
		p.a.Stop()
	})
}
