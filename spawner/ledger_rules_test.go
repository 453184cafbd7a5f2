package spawner

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Whether a request waits or is refused at once, by the states of two slots.
func TestLedgerHope(t *testing.T) {
	const yes, no = true, false
	for _, c := range []struct {
		a, b State
		hope bool
	}{
		{Absent, Absent, no}, {BackingOff, Absent, no}, {BackingOff, BackingOff, no},
		{Dormant, Absent, yes}, {Dormant, Dormant, yes}, {Dormant, BackingOff, no},
		{Retiring, BackingOff, yes}, {Stopping, BackingOff, yes}, {Retiring, Dormant, yes}, {Stopping, Absent, yes},
	} {
		t.Run(c.a.String()+" "+c.b.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := ledgerOf(LedgerOptions{Queue: 1}, 2)
				l.Set(0, c.a, 0)
				l.Set(1, c.b, 0)
				got := make(chan error, 1)
				go func() { _, err := l.Claim(t.Context(), Anyone); got <- err }()
				synctest.Wait()
				if n := l.Counts(); n.Waiting == 1 != c.hope {
					t.Errorf("%d wait", n.Waiting)
				}
				if c.hope {
					l.Set(0, Starting, 7)
					if err := <-got; err != nil {
						t.Error(err)
					}
				} else if err := <-got; err != ErrNoChild {
					t.Error(err)
				}
			})
		})
	}
}

// A process never gets more than MaxRequests, whoever waits and however the
// requests before went.
func TestLedgerMaxRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told atomic.Int32
		l := NewLedger(LedgerOptions{Queue: 4, MaxRequests: 3, Slots: []SlotOptions{{Connections: 2}}})
		l.Watch(func() { told.Add(1) })
		l.Set(0, Ready, 101)
		a, b := claim(t, l, -1), claim(t, l, -1)
		got := make(chan Claim, 4)
		for range 4 {
			go func() { c, _ := l.Claim(t.Context(), Anyone); got <- c }()
		}
		synctest.Wait()
		if told.Load() != 0 {
			t.Error("told before it has had them")
		}
		l.Release(a, Unsent)
		l.Release(<-got, Cut)
		l.Release(b, Failed)
		synctest.Wait()
		if u := l.Use(0); len(got) != 0 || u.Requests != 3 || u.Claims != 0 || told.Load() != 1 {
			t.Errorf("%d granted, %+v, told %d times", len(got), u, told.Load())
		}
		l.Set(0, Retiring, 101)
		l.Set(0, Stopping, 101)
		synctest.Wait()
		if len(got) != 0 {
			t.Error("granted while it ends")
		}
		l.Set(0, Starting, 102)
		for range 3 {
			c := <-got
			if c.PID != 102 {
				t.Errorf("%+v", c)
			}
			l.Release(c, Answered)
		}
		if n := l.Counts().Children[0]; n.Requests != 6 || l.Use(0).Requests != 3 {
			t.Errorf("%+v %+v", n, l.Use(0))
		}
		// A program elsewhere is nobody's to end.
		l.Set(0, Ready, 0)
		for range 10 {
			l.Release(claim(t, l, -1), Answered)
		}
	})
}

// What waits in the socket of a process that died is answered by its successor,
// as one of the requests that it may have.
func TestLedgerMaxRequestsInherited(t *testing.T) {
	for _, tt := range []struct{ limit, left, more int }{{3, 0, 3}, {3, 1, 2}, {3, 2, 1}, {2, 2, 1}, {1, 1, 1}, {1, 0, 1}} {
		l := NewLedger(LedgerOptions{MaxRequests: tt.limit, Slots: []SlotOptions{{Connections: 2}}})
		l.Set(0, Ready, 101)
		var held []Claim
		for range tt.left {
			held = append(held, claim(t, l, -1))
		}
		l.Set(0, BackingOff, 0)
		l.Set(0, Starting, 102)
		for _, c := range held {
			l.Release(c, Answered)
		}
		more := 0
		for ; more <= tt.limit; more++ {
			c, err := l.Claim(t.Context(), Anyone)
			if err != nil {
				break
			}
			l.Release(c, Answered)
		}
		if n := l.Counts().Children[0].Requests; more != tt.more || n != uint64(tt.left+more) {
			t.Errorf("%+v: got %d more, %d in all", tt, more, n)
		}
	}
}

// A grant that comes together with the client's leaving is no request of the
// process, and the next has it.
func TestLedgerRevoke(t *testing.T) {
	for range 300 {
		l := ledgerOf(LedgerOptions{Queue: 1, MaxRequests: 2}, 1)
		c := claim(t, l, -1)
		ctx, leave := context.WithCancel(t.Context())
		got := make(chan error, 1)
		go func() { _, err := l.Claim(ctx, Anyone); got <- err }()
		for l.Counts().Waiting == 0 {
		}
		go leave()
		l.Release(c, Answered)
		want := uint64(1)
		if <-got == nil {
			want = 2
		}
		if u := l.Use(0); u.Requests != want || u.Claims != int(want-1) || l.Counts().Served != want {
			t.Fatalf("%+v, %+v, want %d requests", u, l.Counts(), want)
		}
	}
}

func TestLedgerUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ledgerOf(LedgerOptions{Slots: []SlotOptions{{Connections: 2}}}, 1)
		begin := Now()
		use := func(what string, want Use) {
			t.Helper()
			if u := l.Use(0); u != want {
				t.Errorf("%s: %+v, want %+v", what, u, want)
			}
		}
		use("new", Use{Idle: begin})
		time.Sleep(time.Second)
		a, b := claim(t, l, -1), claim(t, l, -1)
		use("busy", Use{Claims: 2, Requests: 2})
		time.Sleep(time.Second)
		l.Release(a, Answered)
		heard := Now()
		use("one is left", Use{Claims: 1, Requests: 2, Heard: heard})
		time.Sleep(time.Second)
		l.Release(b, Cut)
		use("idle", Use{Requests: 2, Heard: heard, Idle: Now()})
		l.Release(b, Answered) // once too often
		use("released twice", Use{Requests: 2, Heard: heard + time.Second, Idle: Now()})
		heard += time.Second
		c := claim(t, l, -1)
		time.Sleep(time.Second)
		l.Set(0, Starting, 202)
		use("a successor, with its predecessor's request", Use{Claims: 1, Heard: heard})
		l.Release(c, Answered)
		heard = Now()
		use("which it has answered in its place", Use{Heard: heard, Idle: heard})
		l.Set(0, Ready, 202)
		time.Sleep(time.Second)
		use("the same process", Use{Heard: heard, Idle: Now() - time.Second})
	})
}

// The watcher is called where the ledger is the only one, too: on demand a
// request starts its child.
func TestLedgerOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLedger(LedgerOptions{Queue: 2, Spare: 1, Slots: make([]SlotOptions, 3)})
		wanted := make(chan bool, 9)
		l.Watch(func() { wanted <- true })
		for i := range 3 {
			l.Set(i, Dormant, 0)
		}
		synctest.Wait()
		for len(wanted) > 0 {
			<-wanted // a spare one is missing
		}
		got := make(chan Claim, 2)
		go func() { c, _ := l.Claim(t.Context(), Anyone); got <- c }()
		<-wanted
		l.Set(0, Starting, 101)
		c := <-got
		l.Set(0, Ready, 101)
		<-wanted // it is busy, so a spare one is missing
		l.Set(1, Ready, 102)
		l.Release(c, Answered)
		for len(wanted) > 0 {
			<-wanted
		}
		claim(t, l, -1)
		if len(wanted) != 0 {
			t.Error("told although one is spare")
		}
		claim(t, l, -1)
		if len(wanted) != 1 {
			t.Error("not told that none is spare")
		}
		l.Set(2, BackingOff, 0)
		go func() { c, _ := l.Claim(t.Context(), Anyone); got <- c }()
		synctest.Wait()
		<-wanted
		l.Set(2, Dormant, 0)
		if len(wanted) == 0 {
			t.Error("a request waited before there was a child to start, and the owner was not told")
		}
		l.Set(2, Starting, 103)
		<-got
	})
}

// Many connections to one slot: each is given once.
func TestLedgerManyConnections(t *testing.T) {
	const n = 500
	l := NewLedger(LedgerOptions{Slots: []SlotOptions{{Connections: n}}})
	l.Set(0, Ready, 0)
	var claims []Claim
	seen := map[int]bool{}
	for range n {
		c := claim(t, l, -1)
		if seen[c.cell] {
			t.Fatal("given twice")
		}
		seen[c.cell] = true
		claims = append(claims, c)
	}
	if _, err := l.Claim(t.Context(), Anyone); err != ErrQueueFull || l.Use(0).Claims != n {
		t.Errorf("%v, %d claims", err, l.Use(0).Claims)
	}
	for _, i := range []int{n - 1, 0, n / 2} {
		l.Release(claims[i], Answered)
		if c := claim(t, l, -1); c.cell != claims[i].cell {
			t.Errorf("cell %d, want %d", c.cell, claims[i].cell)
		}
	}
}
