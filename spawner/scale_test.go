package spawner

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestScaleNames(t *testing.T) {
	for s, want := range map[Scale]string{ScaleStatic: "static", ScaleDynamic: "dynamic", ScaleOnDemand: "ondemand", 9: "scale 9"} {
		if s.String() != want {
			t.Errorf("%v, want %s", s, want)
		}
	}
}

// exactly is how exact the limits are.
const exactly = 50 * time.Millisecond

func TestScaleBegin(t *testing.T) {
	cases := []struct {
		name            string
		scale           Scale
		min, max, spare int
		atOnce, later   int
	}{
		{"static", ScaleStatic, 1, 3, 1, 3, 3},
		{"dynamic", ScaleDynamic, 2, 5, 1, 2, 2},
		{"dynamic with more spare than min", ScaleDynamic, 1, 5, 4, 2, 4},
		{"dynamic, all spare", ScaleDynamic, 0, 2, 2, 1, 2},
		{"ondemand", ScaleOnDemand, 1, 5, 1, 0, 0},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			fakeAlong(t, SupervisorOptions{Scale: c.scale, Min: c.min, Max: c.max, Spare: c.spare, IdleTimeout: time.Hour}, func(t *testing.T, r *fakeRig) {
				time.Sleep(10 * time.Millisecond)
				if n := r.starts(); n != c.atOnce {
					t.Errorf("%d at once, want %d", n, c.atOnce)
				}
				r.at(10 * time.Second)
				if n := r.starts(); n != c.later {
					t.Errorf("%d after a while, want %d", n, c.later)
				}
				if n := r.ledger.count(Dormant); n != c.max-c.later {
					t.Errorf("%d are dormant", n)
				}
			})
		})
	}
}

// In each second in which more are wanted twice as many start.
func TestRamp(t *testing.T) {
	fakeAlong(t, SupervisorOptions{Scale: ScaleDynamic, Min: 1, Max: 120, Spare: 1, IdleTimeout: time.Hour}, func(t *testing.T, r *fakeRig) {
		r.at(5 * time.Second)
		r.ledger.want(200)
		want := 1
		for i, step := range []int{1, 2, 4, 8, 16, 32, 32} {
			r.at(time.Duration(5+i)*time.Second + exactly)
			if want += step; r.starts() != want {
				t.Errorf("after %d s: %d, want %d", i, r.starts(), want)
			}
			r.at(time.Duration(6+i)*time.Second - exactly)
			if r.starts() != want {
				t.Errorf("before %d s: %d, want %d", i+1, r.starts(), want)
			}
		}
		r.at(20 * time.Second)
		if r.starts() != 120 || r.ledger.alive() != 120 {
			t.Errorf("%d, want max", r.starts())
		}
	})
}

// Requests that come one by one make no ramp steeper, and it begins anew when
// there were enough.
func TestRampReset(t *testing.T) {
	fakeAlong(t, SupervisorOptions{Scale: ScaleDynamic, Min: 1, Max: 20, IdleTimeout: time.Hour}, func(t *testing.T, r *fakeRig) {
		for range 5 {
			r.ledger.want(1)
			time.Sleep(20 * time.Millisecond)
		}
		if n := r.starts(); n != 2 {
			t.Errorf("%d in the first second, want 1 and 1", n)
		}
		time.Sleep(3 * time.Second)
		if n := r.starts(); n != 5 {
			t.Errorf("%d, want as many as requests", n)
		}
		r.ledger.want(9)
		for i, want := range []int{6, 8, 12} {
			time.Sleep(exactly)
			if n := r.starts(); n != want {
				t.Errorf("%d after %d s, want %d", n, i, want)
			}
			time.Sleep(time.Second - exactly)
		}
	})
}

func TestShrink(t *testing.T) {
	cases := []struct {
		scale           Scale
		min, spare      int
		busy, remaining int
	}{
		{ScaleDynamic, 1, 1, 0, 1},
		{ScaleDynamic, 2, 1, 0, 2},
		{ScaleDynamic, 1, 3, 0, 3},
		{ScaleDynamic, 1, 2, 3, 5},
		{ScaleOnDemand, 0, 0, 0, 0},
		{ScaleOnDemand, 0, 0, 2, 2},
	}
	for _, c := range cases {
		t.Run(fmt.Sprintf("%v min %d spare %d busy %d", c.scale, c.min, c.spare, c.busy), func(t *testing.T) {
			const idle = 7 * time.Second
			fakeAlong(t, SupervisorOptions{Scale: c.scale, Min: c.min, Max: 8, Spare: c.spare, IdleTimeout: idle}, func(t *testing.T, r *fakeRig) {
				r.ledger.want(8)
				r.at(20 * time.Second)
				if n := r.ledger.alive(); n != 8 {
					t.Fatalf("%d are alive", n)
				}
				time.Sleep(777 * time.Millisecond) // nobody looks at that moment
				for i := range 8 - c.busy {
					r.ledger.answer(i)
				}
				time.Sleep(idle - 5*time.Millisecond)
				if n := r.ledger.alive(); n != 8 {
					t.Errorf("too early: %d are alive", n)
				}
				time.Sleep(exactly)
				if n := r.ledger.alive(); n != c.remaining || r.ledger.count(Dormant) != 8-n {
					t.Errorf("%d are alive, want %d", n, c.remaining)
				}
				before := r.starts()
				time.Sleep(time.Minute)
				if r.starts() != before || r.ledger.alive() != c.remaining {
					t.Errorf("%d starts and %d alive later", r.starts()-before, r.ledger.alive())
				}
				if !r.log.has("INFO", "child has been retired", "reason=idle_timeout", "when a request wants it") {
					t.Error("the log does not say why")
				}
			})
		})
	}
}

func TestOnDemand(t *testing.T) {
	fakeAlong(t, SupervisorOptions{Scale: ScaleOnDemand, Max: 40, IdleTimeout: time.Second}, func(t *testing.T, r *fakeRig) {
		r.at(time.Second)
		r.ledger.want(5)
		time.Sleep(exactly)
		if n := r.starts(); n != 5 || r.ledger.Counts().Waiting != 0 {
			t.Fatalf("%d for five requests", n)
		}
		r.ledger.want(50)
		time.Sleep(exactly)
		if n := r.starts(); n != 32 {
			t.Errorf("%d within a second, want 32", n)
		}
		time.Sleep(time.Second)
		if n := r.starts(); n != 40 {
			t.Errorf("%d, want max", n)
		}
		r.ledger.answerAll()
		time.Sleep(time.Second / 2) // they are ready
		r.ledger.answerAll()
		time.Sleep(time.Second + exactly)
		if n := r.ledger.alive(); n != 0 {
			t.Errorf("%d idle ones are left", n)
		}
		begin := time.Now()
		r.ledger.want(1)
		time.Sleep(exactly)
		if gap := r.lastStart().Sub(begin); gap < 0 || gap > 10*time.Millisecond {
			t.Errorf("started %v after the request", gap)
		}
	})
}

// Children that take several requests at once are counted by what they can take.
func TestScaleConnections(t *testing.T) {
	fakeAlong(t, SupervisorOptions{Scale: ScaleOnDemand, Max: 9, Connections: 10, IdleTimeout: time.Hour}, func(t *testing.T, r *fakeRig) {
		r.ledger.want(25)
		time.Sleep(10 * time.Millisecond) // those have one each, and 22 wait
		if n := r.starts(); n != 3 {
			t.Errorf("%d children for 25 requests", n)
		}
	})
}

// A child that may compute on without its request is not free.
func TestScaleFinishing(t *testing.T) {
	fakeAlong(t, SupervisorOptions{Scale: ScaleDynamic, Min: 1, Max: 3, Spare: 1, IdleTimeout: 10 * time.Second}, func(t *testing.T, r *fakeRig) {
		r.at(time.Second)
		r.ledger.want(1)
		time.Sleep(exactly)
		r.ledger.finish(0, false)
		r.at(5 * time.Second)
		if r.starts() != 2 || r.ledger.alive() != 2 {
			t.Errorf("%d", r.starts())
		}
		r.at(20 * time.Second) // it has been long enough
		if r.ledger.alive() != 1 {
			t.Errorf("%d are left", r.ledger.alive())
		}
	})
}

// Whatever a child is recycled for, its successor waits for no ramp; and a slot
// whose child was never needed is given up.
func TestRecyclingIsNotThrottled(t *testing.T) {
	for _, scale := range []Scale{ScaleStatic, ScaleDynamic, ScaleOnDemand} {
		t.Run(scale.String(), func(t *testing.T) {
			fakeAlong(t, SupervisorOptions{Scale: scale, Min: 1, Max: 2, MaxRequests: 1, IdleTimeout: time.Hour}, func(t *testing.T, r *fakeRig) {
				r.at(time.Second)
				before := r.starts()
				for range 100 {
					r.ledger.want(1)
					time.Sleep(10 * time.Millisecond)
					r.ledger.answerAll()
					time.Sleep(10 * time.Millisecond)
				}
				if n := r.starts() - before; n < 100 || n > 101 {
					t.Errorf("%d starts for 100 requests", n)
				}
				if !r.log.has("reason=max_requests", `next="at once"`) {
					t.Error("the log does not say why")
				}
				for i, c := range r.ledger.Counts().Children {
					if n := r.ledger.Use(i).Requests; n > 1 {
						t.Errorf("%+v has had %d requests", c, n)
					}
				}
			})
		})
	}
	fakeAlong(t, SupervisorOptions{Scale: ScaleOnDemand, Max: 2, IdleTimeout: time.Hour}, func(t *testing.T, r *fakeRig) {
		r.ledger.want(1)
		time.Sleep(time.Second)
		r.ledger.answerAll()
		r.die(0, syscall.SIGKILL)
		time.Sleep(2 * time.Second)
		if r.starts() != 2 {
			t.Errorf("%d starts: the first had a request", r.starts())
		}
		r.die(0, syscall.SIGKILL)
		time.Sleep(2 * time.Second)
		if r.starts() != 2 || r.ledger.count(Dormant) != 2 {
			t.Errorf("%d starts: the second had none", r.starts())
		}
	})
}

// While nothing is alive and a child waits for its next start, demand starts no
// other, and the Ledger hears of none that could be hoped for.
func TestScaleInBackOff(t *testing.T) {
	fakeAlong(t, SupervisorOptions{Scale: ScaleOnDemand, Max: 3, IdleTimeout: time.Hour}, func(t *testing.T, r *fakeRig) {
		r.lives(20*time.Millisecond, nil)
		r.ledger.want(1)
		time.Sleep(15 * time.Millisecond)
		r.ledger.finish(0, false) // its client left
		time.Sleep(75 * time.Millisecond)
		if n := r.ledger.count(BackingOff); n != 3 {
			t.Errorf("%d back off: %+v", n, r.ledger.Counts())
		}
		r.ledger.want(1)
		time.Sleep(5 * time.Millisecond)
		if r.starts() != 1 {
			t.Errorf("%d starts", r.starts())
		}
		r.lives(0, nil)
		time.Sleep(100 * time.Millisecond)
		if r.starts() != 2 || r.ledger.count(Dormant) != 2 || r.ledger.Counts().Waiting != 0 {
			t.Errorf("after the pause: %d starts, %+v", r.starts(), r.ledger.Counts())
		}
	})
	// Where nothing wants it any more it is dormant after the pause.
	fakeAlong(t, SupervisorOptions{Scale: ScaleOnDemand, Max: 2, IdleTimeout: time.Hour}, func(t *testing.T, r *fakeRig) {
		r.lives(20*time.Millisecond, nil)
		r.ledger.want(1)
		time.Sleep(15 * time.Millisecond)
		r.ledger.finish(0, false)
		time.Sleep(time.Second)
		if r.starts() != 1 || r.ledger.count(Dormant) != 2 {
			t.Errorf("%d starts, %+v", r.starts(), r.ledger.Counts())
		}
	})
}

// A request that is given to a child which has died, after nobody else wanted
// one, is served all the same.
func TestStranded(t *testing.T) {
	fakeAlong(t, SupervisorOptions{Scale: ScaleOnDemand, Max: 2, IdleTimeout: time.Hour}, func(t *testing.T, r *fakeRig) {
		r.ledger.want(2)
		time.Sleep(time.Second)
		r.ledger.answerAll()
		r.die(0, syscall.SIGKILL) // it has a successor that gets none
		time.Sleep(time.Second / 2)
		given := func(line string) {
			if strings.Contains(line, "when a request wants it") {
				r.ledger.mu.Lock()
				r.ledger.uses[0].Claims = 1
				r.ledger.mu.Unlock()
			}
		}
		r.onLog.Store(&given)
		r.die(0, syscall.SIGKILL)
		time.Sleep(exactly)
		if r.starts() != 4 || r.ledger.Use(1).Claims != 0 || r.ledger.alive() != 2 {
			t.Errorf("%d starts, %+v", r.starts(), r.ledger.Counts())
		}
		if !slices.ContainsFunc(r.ledger.told()[2:], func(e Event) bool { return e.State == Dormant && e.Slot == 0 }) {
			t.Error("it never was dormant")
		}
	})
}

func TestRampSteps(t *testing.T) {
	r := ramp{first: 1}
	var got []int
	for now := time.Duration(0); now < 9*time.Second; now += 100 * time.Millisecond {
		n, next := r.allow(1000, now)
		if next != now.Truncate(time.Second)+time.Second {
			t.Fatalf("at %v: next at %v", now, next)
		}
		if n > 0 {
			got = append(got, n)
		}
	}
	if want := []int{1, 2, 4, 8, 16, 32, 32, 32, 32}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
