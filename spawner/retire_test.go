package spawner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/cgi"
)

// A child that reaches a limit is not signalled before it is idle, and gets no
// more requests.
func TestMaxAge(t *testing.T) {
	const age = 5 * time.Second
	fakeAlong(t, SupervisorOptions{Max: 2, MaxAge: age}, func(t *testing.T, r *fakeRig) {
		r.at(time.Second)
		r.ledger.want(1)
		busy, idle := r.of(0), r.of(1)
		r.at(age - 5*time.Millisecond)
		if r.starts() != 2 {
			t.Error("too early")
		}
		r.at(age + exactly)
		if c := r.ledger.Counts().Children; r.starts() != 3 || c[0].State != Retiring || c[0].PID != busy.pid || c[1].PID == idle.pid {
			t.Errorf("%d starts, %+v", r.starts(), c)
		}
		r.ledger.want(3)
		if n := r.ledger.Counts().Waiting; n != 2 {
			t.Errorf("%d wait: the old one gets no more", n)
		}
		r.at(2 * age)
		r.ledger.answer(0)
		begin := time.Now()
		time.Sleep(exactly)
		if gap := r.lastStart().Sub(begin); gap > 10*time.Millisecond {
			t.Errorf("its successor came %v after the answer", gap)
		}
		if !r.log.has("INFO", "child has been retired", "reason=max_age", `next="at once"`, fmt.Sprintf("pid=%d", busy.pid)) {
			t.Error("the log does not say why")
		}
	})
	if s := "absent starting ready retiring stopping"; !strings.HasPrefix("absent "+statesOf(t, SupervisorOptions{Max: 1, MaxAge: time.Second}, 1100*time.Millisecond), s) {
		t.Error("states")
	}
}

// statesOf are the states of slot 0 as a Ledger hears of them.
func statesOf(t *testing.T, o SupervisorOptions, d time.Duration) (s string) {
	fakeAlong(t, o, func(_ *testing.T, r *fakeRig) {
		time.Sleep(d)
		s = r.ev.states()
	})
	return s
}

// A silent child is replaced whatever it has, one that retires too; reports of
// others do nothing.
func TestReplace(t *testing.T) {
	fakeAlong(t, SupervisorOptions{Max: 1, MaxAge: time.Second}, func(t *testing.T, r *fakeRig) {
		r.at(500 * time.Millisecond)
		r.ledger.want(1)
		old := r.of(0)
		r.at(2 * time.Second)
		if r.ledger.count(Retiring) != 1 {
			t.Fatalf("%+v", r.ledger.Counts())
		}
		r.Report(Report{Slot: 0, PID: old.pid + 7, Replace: "another's"})
		r.Report(Report{Slot: 1, PID: old.pid, Replace: "out of range"})
		time.Sleep(time.Second)
		if r.starts() != 1 {
			t.Error("it was replaced")
		}
		r.Report(Report{Slot: 0, PID: old.pid, Replace: "silent"})
		time.Sleep(exactly)
		if r.starts() != 2 {
			t.Error("it was not replaced")
		}
	})
}

// The Ledger hears of everything before the pools do.
func TestLedgerHearsFirst(t *testing.T) {
	o := SupervisorOptions{Scale: ScaleDynamic, Min: 1, Max: 3, Spare: 1, IdleTimeout: time.Second, MaxAge: 700 * time.Millisecond}
	fakeAlong(t, o, func(t *testing.T, r *fakeRig) {
		heard := map[int]int{} // by slot, how much of the history has been told on
		r.onEvent.Store(new(func(e Event) {
			history := r.ledger.told()
			for n := heard[e.Slot]; n < len(history); n++ {
				if h := history[n]; h.Slot == e.Slot && h.State == e.State && h.PID == e.PID {
					heard[e.Slot] = n + 1
					return
				}
			}
			t.Errorf("the ledger has not heard of %+v", e)
		}))
		for range 10 {
			r.ledger.want(2)
			time.Sleep(500 * time.Millisecond)
			r.ledger.answerAll()
		}
	})
}

func TestRestart(t *testing.T) {
	o := SupervisorOptions{Scale: ScaleDynamic, Min: 3, Max: 5, IdleTimeout: time.Hour}
	fakeAlong(t, o, func(t *testing.T, r *fakeRig) {
		r.at(time.Second)
		r.ledger.want(2)
		var old []int
		for i := range 3 {
			old = append(old, r.of(i).pid)
		}
		type result struct {
			n   int
			err error
		}
		done := make(chan result, 1)
		go func() {
			n, err := r.Restart(context.Background())
			done <- result{n, err}
		}()
		for i := range 3 { // one slot after the other, each when it is idle
			time.Sleep(time.Second)
			for j := range 3 {
				if kept := r.ledger.Counts().Children[j].PID == old[j]; kept != (j >= i) && i < 2 {
					t.Errorf("step %d: slot %d has its old child: %v", i, j, kept)
				}
			}
			if i < 2 {
				r.ledger.answer(i)
			}
		}
		if got := <-done; got.n != 3 || got.err != nil || r.starts() != 6 {
			t.Errorf("%+v, %d starts", got, r.starts())
		}
		if r.ledger.count(Dormant) != 2 {
			t.Error("dormant ones were woken")
		}
		for _, c := range r.Children()[:3] {
			if c.Restarts != 1 || c.State != Ready {
				t.Errorf("%+v", c)
			}
		}
	})
}

func TestRestartFails(t *testing.T) {
	fakeAlong(t, SupervisorOptions{Max: 3}, func(t *testing.T, r *fakeRig) {
		r.at(time.Second)
		r.lives(time.Millisecond, nil)
		n, err := r.Restart(context.Background())
		if n != 0 || err == nil || !strings.Contains(err.Error(), "exit status 1") || r.starts() != 4 {
			t.Errorf("%d, %v, %d starts", n, err, r.starts())
		}
		// A slot that waits for its next start is not waited for.
		r.lives(0, nil)
		if n, err := r.Restart(context.Background()); n != 3 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		r.lives(0, &ExecError{Cause: "no such program"})
		if _, err := r.Restart(context.Background()); !errors.As(err, new(*ExecError)) {
			t.Error(err)
		}
		r.lives(0, nil)
		time.Sleep(time.Second)
		r.ledger.want(1)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		begin := time.Now()
		if n, err := r.Restart(ctx); n != 0 || !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("%d, %v after %v", n, err, time.Since(begin))
		}
		r.turn <- struct{}{} // another is restarting
		if _, err := r.Restart(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		<-r.turn
		go r.Stop(context.Background())
		if _, err := r.Restart(context.Background()); !errors.Is(err, errStopped) {
			t.Error(err)
		}
	})
}

// A child that has just died is restarted already, unless its successor was on its way
// before.
func TestRestartAfterDeath(t *testing.T) {
	for moment, starts := range map[string]int{"": 5, "child ended": 4} {
		fakeAlong(t, SupervisorOptions{Max: 2}, func(t *testing.T, r *fakeRig) {
			r.at(time.Second)
			done := make(chan error, 1)
			restart := func() { _, err := r.Restart(context.Background()); done <- err }
			if moment == "" {
				r.onStart(func() { go restart(); time.Sleep(time.Millisecond) })
			} else {
				r.onLog.Store(new(func(line string) {
					if strings.Contains(line, moment) {
						go restart()
						time.Sleep(time.Millisecond)
					}
				}))
			}
			r.die(0, syscall.SIGKILL)
			time.Sleep(time.Second)
			select {
			case err := <-done:
				if err != nil || r.starts() != starts {
					t.Errorf("%v, %d starts, want %d", err, r.starts(), starts)
				}
			default:
				t.Error("the restart hangs")
			}
		})
	}
}

// Without a Ledger nobody is waited for.
func TestRestartWithoutLedger(t *testing.T) {
	c := newCrew(t, "accept", 2, nil)
	must(t, c.Start())
	old := []int{c.pid(0), c.pid(1)}
	if n, err := c.Restart(t.Context()); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	for i, pid := range old {
		if now, err := c.ask(i); err != nil || now == pid || !gone(pid) {
			t.Errorf("slot %d: %d after %d, %v", i, now, pid, err)
		}
	}
}

// Whom nobody can blame is restarted at once, three times in a row.
func TestBlameless(t *testing.T) {
	killed := func(s syscall.Signal) cgi.Ending { return cgi.Ending{Signal: s} }
	cases := []struct {
		end       cgi.Ending
		blameless bool
	}{
		{cgi.Ending{}, true}, {killed(syscall.SIGTERM), true}, {killed(syscall.SIGKILL), true}, {killed(syscall.SIGINT), true},
		{killed(syscall.SIGQUIT), true}, {killed(syscall.SIGHUP), true},
		{killed(syscall.SIGSEGV), false}, {cgi.Ending{Status: 1}, false}, {cgi.Ending{Status: 143}, false},
	}
	for _, c := range cases {
		t.Run(c.end.String(), func(t *testing.T) {
			fakeAlong(t, SupervisorOptions{Max: 1}, func(t *testing.T, r *fakeRig) {
				die := func(how string, restarts bool) {
					t.Helper()
					time.Sleep(300 * time.Millisecond) // 200 until it is ready
					before := r.starts()
					r.of(0).fakeEndAs(c.end)
					time.Sleep(time.Millisecond)
					if got := r.starts() > before; got != restarts {
						t.Errorf("%s: restarted at once: %v, want %v", how, got, restarts)
					}
				}
				if !c.blameless {
					die("the first", false)
					return
				}
				for i := range 3 {
					die(fmt.Sprint("death ", i), true)
				}
				if !r.log.has("child ended", c.end.String(), "answered=false", "words of", `next="at once"`) {
					t.Error("the log does not say so")
				}
				die("the fourth", false)
				time.Sleep(150 * time.Millisecond)
				if !r.log.has("child ended", c.end.String(), `next="in `) {
					t.Error("the log does not say so")
				}
				die("after the pause", false)
				time.Sleep(700 * time.Millisecond)
				r.ledger.want(1)
				r.ledger.answer(0)
				for i := range 4 {
					die(fmt.Sprint("after an answer, ", i), true)
				}
			})
		})
	}
	// One that was not seen ready may be what kills itself.
	fakeAlong(t, SupervisorOptions{Max: 1}, func(t *testing.T, r *fakeRig) {
		r.die(0, syscall.SIGKILL)
		time.Sleep(10 * time.Millisecond)
		r.die(0, syscall.SIGKILL)
		time.Sleep(60 * time.Millisecond)
		if r.ledger.count(BackingOff) != 1 {
			t.Errorf("%+v", r.ledger.Counts())
		}
	})
}

// Children that end by themselves after each answer are never held back,
// however late the word of the answer comes.
func TestAnswerComesLate(t *testing.T) {
	for _, late := range []time.Duration{0, time.Millisecond, 30 * time.Millisecond} {
		fakeAlong(t, SupervisorOptions{Max: 1}, func(t *testing.T, r *fakeRig) {
			for range 20 {
				time.Sleep(250 * time.Millisecond)
				r.ledger.want(1)
				before := r.starts()
				r.of(0).fakeEndAs(cgi.Ending{})
				time.Sleep(late)
				r.ledger.answer(0)
				time.Sleep(2 * time.Millisecond)
				if r.starts() != before+1 {
					t.Fatalf("late by %v: not restarted", late)
				}
			}
			if r.log.has("answered=false") || !r.log.has("INFO", "child ended", "answered=true") {
				t.Error("the log is wrong")
			}
		})
	}
}

// An app whose children die has no effect on another.
func TestTwoApps(t *testing.T) {
	start := forker(t).Start
	bad := newCrew(t, "exit3", 2, func(o *SupervisorOptions) { o.Start = start })
	good := newCrew(t, "accept", 1, func(o *SupervisorOptions) { o.Start = start })
	broken := newCrew(t, "accept", 2, func(o *SupervisorOptions) { o.Start, o.Program.Command = start, []string{"/no/such"} })
	begin := time.Now()
	go bad.Start()
	if err := broken.Start(); !errors.As(err, new(*ExecError)) {
		t.Error(err)
	}
	must(t, good.Start())
	if d := time.Since(begin); d > 3*time.Second {
		t.Errorf("ready after %v", d)
	}
	pid := good.pid(0)
	for range 10 {
		if got, err := good.ask(0); err != nil || got != pid {
			t.Errorf("%d, %v", got, err)
		}
		time.Sleep(30 * time.Millisecond)
	}
	bad.await(1, BackingOff)
	if good.pid(0) != pid {
		t.Error("the good one was restarted")
	}
}

// A process that is being started while a restart is asked for may have read what has
// been changed since: it is replaced like the others.
func TestRestartWhileStarting(t *testing.T) {
	fakeAlong(t, SupervisorOptions{Max: 1}, func(t *testing.T, r *fakeRig) {
		r.at(2 * time.Second)
		r.onStart(func() { time.Sleep(time.Second) })
		r.die(0, syscall.SIGTERM)
		time.Sleep(500 * time.Millisecond) // its successor has been forked, and is no child yet
		n, err := r.Restart(context.Background())
		if n != 1 || err != nil || r.starts() != 3 {
			t.Fatalf("%d restarted, %v, %d starts", n, err, r.starts())
		}
		if c := r.Children()[0]; c.State != Ready || c.PID != r.kids[2].pid || c.Restarts != 2 {
			t.Errorf("%+v", c)
		}
	})
}
