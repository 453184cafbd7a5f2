package lockmodes_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/lockmodes"
)

// locking calls f for every mode that has a lock.
func locking(t *testing.T, f func(t *testing.T, r *rig)) {
	for m := range lockmodes.Modes {
		if m.Locks() {
			t.Run(m.String(), func(t *testing.T) { f(t, newRig(t, m)) })
		}
	}
}

// fill has processes take all permits.
func (r *rig) fill() (holders []*child) {
	for i := range r.o.Permits {
		c := r.start(i + 1)
		if err := c.ask("lock", "locked"); err != "<nil>" {
			r.t.Fatal(err)
		}
		holders = append(holders, c)
	}
	return holders
}

// One after the other, and a lock that one goroutine took and another gives back.
func TestLock(t *testing.T) {
	locking(t, func(t *testing.T, r *rig) {
		holders := r.fill()
		other := r.start(7)
		if got := other.ask("try", "tried"); got != "false" {
			t.Errorf("a try while it is locked: %s", got)
		}
		other.say("lock")
		other.silent()
		holders[0].ask("unlock", "unlocked")
		if err := other.hear("locked"); err != "<nil>" {
			t.Fatal(err)
		}
		if got := holders[0].ask("try", "tried"); got != "false" {
			t.Errorf("a try while the other has it: %s", got)
		}
		other.ask("unlock", "unlocked")
		if got := holders[0].ask("try", "tried"); got != "true" {
			t.Errorf("a try while it is free: %s", got)
		}
	})
}

// A holder that is killed does not keep the others out, neither one that tries
// nor one that has been waiting.
func TestKilledHolder(t *testing.T) {
	locking(t, func(t *testing.T, r *rig) {
		holders := r.fill()
		waits, idle := r.start(7), r.start(6)
		idle.ask("try", "tried")
		waits.say("lock")
		waits.silent()
		victim := holders[0]
		victim.kill()
		r.shared.Clear(victim.place)
		begin := time.Now()
		if err := waits.hear("locked"); err != "<nil>" {
			t.Fatal(err)
		}
		t.Logf("after %v", time.Since(begin))
		waits.ask("unlock", "unlocked")
		if got := idle.ask("try", "tried"); got != "true" {
			t.Errorf("a try after it was given back: %s", got)
		}
	})
}

// One that is killed while it waits takes no wake-up with it.
func TestKilledWaiter(t *testing.T) {
	locking(t, func(t *testing.T, r *rig) {
		holders := r.fill()
		first, second := r.start(6), r.start(7)
		first.say("lock")
		first.silent()
		second.say("lock")
		second.silent()
		first.kill()
		r.shared.Clear(first.place)
		holders[0].ask("unlock", "unlocked")
		if err := second.hear("locked"); err != "<nil>" {
			t.Fatal(err)
		}
	})
}

// A program that a holder started keeps nothing locked.
func TestExecutedChild(t *testing.T) {
	locking(t, func(t *testing.T, r *rig) {
		victim := r.fill()[0]
		pid, err := strconv.Atoi(victim.ask("exec", "pid"))
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Kill(pid, syscall.SIGKILL)
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, l := range links {
			if to, _ := os.Readlink(l); strings.Contains(to, "accept") {
				t.Errorf("the program has %s", to)
			}
		}
		victim.kill()
		r.shared.Clear(victim.place)
		other := r.start(7)
		if err := other.ask("lock", "locked"); err != "<nil>" {
			t.Fatal(err)
		}
	})
}

// Who waits can be stopped. Where it cannot, it does not hold up the end of its
// process, and does not keep the lock when it gets it.
func TestStop(t *testing.T) {
	locking(t, func(t *testing.T, r *rig) {
		holders := r.fill()
		stopped, exits := r.start(6), r.start(7)
		stopped.say("wait")
		exits.say("wait")
		want := "stopped"
		if !r.o.Mode.Interruptible() {
			want = "waits on"
		}
		for _, c := range []*child{stopped, exits} {
			if err := c.hear(want); want == "stopped" && err != lockmodes.ErrStopped.Error() {
				t.Errorf("Lock: %s, want %v", err, lockmodes.ErrStopped)
			}
		}
		exits.quit()
		r.shared.Clear(exits.place)
		if got := stopped.ask("try", "tried"); got != "false" {
			t.Errorf("a try after Stop: %s", got)
		}
		if err := stopped.ask("lock", "locked"); err != lockmodes.ErrStopped.Error() {
			t.Errorf("Lock after Stop: %s", err)
		}
		holders[0].ask("unlock", "unlocked")
		time.Sleep(50 * time.Millisecond) // it may have it for a moment
		if err := holders[0].ask("lock", "locked"); err != "<nil>" {
			t.Error(err)
		}
	})
}

// Many compete, and now and then one is killed.
func TestTorture(t *testing.T) {
	const places = 4
	lasting := 700 * time.Millisecond
	locking(t, func(t *testing.T, r *rig) {
		var all [places]*child
		begin := func(i int) {
			all[i] = r.start(i + 1)
			all[i].say("contend")
		}
		for i := range all {
			begin(i)
		}
		for end := time.Now().Add(lasting); time.Now().Before(end); {
			time.Sleep(time.Duration(5+rand.IntN(30)) * time.Millisecond)
			i := rand.IntN(places)
			all[i].kill()
			r.witness.at[i+1].Store(0)
			r.shared.Clear(i + 1)
			begin(i)
		}
		// All that are left go on.
		var was [places]uint64
		for i := range was {
			was[i] = r.witness.turns[i+1].Load()
		}
		for i := range was {
			for limit := time.Now().Add(patience); r.witness.turns[i+1].Load() == was[i]; time.Sleep(time.Millisecond) {
				if time.Now().After(limit) {
					t.Fatalf("process %d has no turn within %v", i+1, patience)
				}
			}
		}
		r.witness.quit.Store(true)
		turns := uint64(0)
		for i, c := range all {
			c.hear("done")
			turns += r.witness.turns[i+1].Load()
		}
		if n := r.witness.collision.Load(); n > 0 {
			t.Errorf("%d times of %d more than %d were inside", n, turns, r.o.Permits)
		}
		t.Logf("%d turns", turns)
	})
}

// Modes without a lock have one that is always free.
func TestWithoutLock(t *testing.T) {
	for _, m := range []lockmodes.Mode{lockmodes.None, lockmodes.Exclusive, lockmodes.Reuseport} {
		if m.Locks() {
			t.Errorf("%s locks", m)
		}
		r := newRig(t, m)
		a, b := r.start(1), r.start(2)
		a.ask("lock", "locked <nil>")
		b.ask("lock", "locked <nil>")
		b.ask("unlock", "unlocked")
		if got := b.ask("try", "tried"); got != "true" {
			t.Errorf("%s: a try: %s", m, got)
		}
	}
}
