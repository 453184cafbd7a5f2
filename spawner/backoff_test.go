package spawner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/cgi"
)

// fakeStart starts children that are no processes: their pids are beyond any
// real one, so that signals reach nobody and nothing is seen of them in /proc.
type fakeStart struct {
	mu     sync.Mutex
	times  []time.Time
	kids   []*Child
	life   time.Duration // 0: for ever
	err    error
	onNext func(c *Child)
}

func (f *fakeStart) start(_ Program, _, output *os.File) (*Child, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.times = append(f.times, time.Now())
	if f.err != nil {
		return nil, f.err
	}
	c := &Child{pid: 1<<30 + len(f.times), done: make(chan struct{})}
	f.kids = append(f.kids, c)
	fmt.Fprintf(output, "words of %d\n", c.pid)
	if f.life > 0 {
		time.AfterFunc(f.life, c.fakeEnd)
	}
	if f.onNext != nil {
		f.onNext(c)
	}
	return c, nil
}

func (c *Child) fakeEnd() { c.fakeEndAs(cgi.Ending{Status: 1}) }

func (c *Child) fakeEndAs(e cgi.Ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reaped {
		c.reaped = true
		c.end = e
		close(c.done)
	}
}

func (f *fakeStart) child(i int) *Child {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.kids[i]
}

func (f *fakeStart) gaps() (d []time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := 1; i < len(f.times); i++ {
		d = append(d, f.times[i].Sub(f.times[i-1]))
	}
	return d
}

type events struct {
	mu  sync.Mutex
	all []Event
}

func (e *events) add(ev Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

func (e *events) states() (s string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i, ev := range e.all {
		if i > 0 {
			s += " "
		}
		s += ev.State.String()
	}
	return s
}

func fakeSupervisor(t *testing.T, f *fakeStart, ev *events, log *logText) *Supervisor {
	t.Helper()
	s, err := NewSupervisor(SupervisorOptions{App: "app", Max: 1, SocketDir: t.TempDir(), SocketGID: -1,
		Ledger:       NewLedger(LedgerOptions{Slots: make([]SlotOptions, 1)}),
		StartTimeout: 10 * time.Second, StopGrace: time.Second, Start: f.start, Event: ev.add, Stderr: noLines, Log: log.logger()})
	must(t, err)
	return s
}

// run starts the supervisor, does something and stops it.
func runFake(t *testing.T, f *fakeStart, do func(s *Supervisor, ev *events)) (*events, *logText) {
	ev, log := &events{}, &logText{}
	synctest.Test(t, func(t *testing.T) {
		s := fakeSupervisor(t, f, ev, log)
		s.Start()
		do(s, ev)
		f.mu.Lock()
		if len(f.kids) > 0 {
			time.AfterFunc(10*time.Millisecond, f.kids[len(f.kids)-1].fakeEnd)
		}
		f.mu.Unlock()
		s.Stop(context.Background())
	})
	return ev, log
}

func checkBackoff(t *testing.T, gaps []time.Duration, extra time.Duration) {
	t.Helper()
	want := backoffFirst
	jittered := false
	for i, g := range gaps {
		g -= extra
		low, high := time.Duration(float64(want)*0.8), time.Duration(float64(want)*1.2)
		if g < low || g > high+time.Millisecond {
			t.Errorf("start %d: %v after the end before, want %v to %v", i+1, g, low, high)
		}
		jittered = jittered || g != want
		want = min(2*want, 30*time.Second)
	}
	if !jittered || len(gaps) < 11 {
		t.Errorf("no jitter, or too few: %v", gaps)
	}
}

func TestBackoffOfWhatCannotStart(t *testing.T) {
	f := &fakeStart{err: &ExecError{Cause: "no such program"}}
	ev, log := runFake(t, f, func(s *Supervisor, _ *events) {
		time.Sleep(200 * time.Second)
	})
	checkBackoff(t, f.gaps(), 0)
	if !log.has("ERROR", "no such program") || ev.all[0].State != BackingOff || ev.all[len(ev.all)-1].State != Absent {
		t.Errorf("%s\n%s", ev.states(), log)
	}
}

func TestStartReturnsExecError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStart{err: fmt.Errorf("start: %w", &ExecError{Cause: "no"})}
		s := fakeSupervisor(t, f, &events{}, &logText{})
		begin := time.Now()
		var e *ExecError
		if err := s.Start(); !errors.As(err, &e) || time.Since(begin) > 0 {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		s.Stop(context.Background())
		f = &fakeStart{life: 10 * time.Millisecond}
		s = fakeSupervisor(t, f, &events{}, &logText{})
		if err := s.Start(); err != nil {
			t.Errorf("a program that ends is no ExecError: %v", err)
		}
		s.Stop(context.Background())
	})
}

func TestBackoffOfWhatDies(t *testing.T) {
	const life = 50 * time.Millisecond
	f := &fakeStart{life: life}
	ev, log := runFake(t, f, func(s *Supervisor, _ *events) { time.Sleep(200 * time.Second) })
	checkBackoff(t, f.gaps(), life)
	if !log.has("WARN", "child ended", "answered=false", "exit status 1", fmt.Sprintf("pid=%d", 1<<30+1), fmt.Sprintf("words of %d", 1<<30+1)) {
		t.Errorf("%s\n%s", ev.states(), log)
	}
}

// answered has a request answered that the child had.
func answered(s *Supervisor) { s.opt().Ledger.Release(Claim{}, Answered) }

func TestRestartAtOnce(t *testing.T) {
	cases := []struct {
		name    string
		do      func(s *Supervisor, f *fakeStart)
		gap     time.Duration // between the death and the next start, at most
		backoff bool          // the state was shown
	}{
		{"after it answered", func(s *Supervisor, f *fakeStart) {
			answered(s)
			synctest.Wait()
			f.child(0).fakeEnd()
		}, 0, false},
		{"the word comes a little behind the end", func(s *Supervisor, f *fakeStart) {
			f.child(0).fakeEnd()
			time.Sleep(10 * time.Millisecond)
			answered(s)
		}, 10 * time.Millisecond, false},
		{"the word comes during the back-off", func(s *Supervisor, f *fakeStart) {
			f.child(0).fakeEnd()
			time.Sleep(60 * time.Millisecond)
			answered(s)
		}, 60 * time.Millisecond, true},
		{"idle for long", func(s *Supervisor, f *fakeStart) {
			time.Sleep(readyProof)
			f.child(0).fakeEnd()
		}, 0, false},
		{"out of range", func(s *Supervisor, f *fakeStart) {
			s.Report(Report{App: "app", Slot: 7, PID: f.child(0).pid, Replace: "why"})
			f.child(0).fakeEnd()
		}, 120 * time.Millisecond, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f := &fakeStart{}
			var died time.Time
			ev, log := runFake(t, f, func(s *Supervisor, _ *events) {
				begin := time.Now()
				c.do(s, f)
				<-f.child(0).Done()
				died = begin
				if c.name == "idle for long" {
					died = begin.Add(readyProof)
				}
				time.Sleep(time.Second)
			})
			if len(f.times) < 2 {
				t.Fatalf("not started again: %s\n%s", ev.states(), log)
			}
			gap := f.times[1].Sub(died)
			if gap < 0 || gap > c.gap+time.Millisecond {
				t.Errorf("started again after %v, want %v", gap, c.gap)
			}
			want := "starting ready starting ready stopping absent"
			if c.backoff {
				want = "starting ready backoff starting ready stopping absent"
			}
			if got := ev.states(); got != want {
				t.Errorf("states %q, want %q", got, want)
			}
		})
	}
}

// A child that answers each time before it dies is never held back, and the
// pause begins anew after a good one.
func TestBackoffResets(t *testing.T) {
	f := &fakeStart{life: 250 * time.Millisecond}
	var s atomic.Pointer[Supervisor]
	good := map[int]bool{3: true, 4: true}
	f.onNext = func(c *Child) {
		if good[len(f.times)] {
			time.AfterFunc(220*time.Millisecond, func() { answered(s.Load()) })
		}
	}
	runFake(t, f, func(sup *Supervisor, _ *events) {
		s.Store(sup)
		time.Sleep(4 * time.Second)
	})
	rest := func(i int) time.Duration { return f.gaps()[i] - f.life }
	for i, want := range []time.Duration{100, 200, 0, 0, 100} {
		want *= time.Millisecond
		if d := rest(i); d < want*8/10 || d > want*12/10 {
			t.Errorf("pause %d: %v, want about %v", i, d, want)
		}
	}
}

// The words of one child are not those of its successor.
func TestLastWords(t *testing.T) {
	f := &fakeStart{}
	_, log := runFake(t, f, func(s *Supervisor, _ *events) {
		first := f.child(0)
		time.AfterFunc(10*time.Millisecond, first.fakeEnd)
		s.Report(Report{PID: first.pid, Replace: "silent"})
		time.Sleep(time.Second)
		f.child(1).fakeEnd()
		time.Sleep(2 * time.Second)
	})
	if !log.has("child is replaced", "reason=silent") || log.has("last_words", fmt.Sprintf("words of %d\\n", 1<<30+1)) {
		t.Error(log)
	}
}

func TestLastLines(t *testing.T) {
	var l lastLines
	for _, s := range []string{"a", "b", "c", "d", "e"} {
		l.add([]byte(s))
	}
	if got := l.take(); got != "c\nd\ne" {
		t.Errorf("%q", got)
	}
	l.add([]byte("f"))
	if got := l.take() + l.take(); got != "f" {
		t.Errorf("%q", got)
	}
}

func TestStatesHaveNames(t *testing.T) {
	for s := Absent; s <= BackingOff+1; s++ {
		if s.String() == "" {
			t.Error(uint8(s))
		}
	}
}
