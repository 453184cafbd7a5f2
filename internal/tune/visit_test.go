package tune

import (
	"bytes"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"sluice/internal/scoreboard"
)

func worker(pid int, requests, accepts, empty uint64) scoreboard.Worker {
	return scoreboard.Worker{PID: pid, Requests: requests, Accepting: scoreboard.Accepting{Accepts: accepts, Empty: empty}}
}

func TestAccount(t *testing.T) {
	s := Sample{Result: Result{Elapsed: 2 * time.Second, Answers: 400}, Lingering: 0.5}
	err := s.account(
		state{cpu: time.Second, workers: []scoreboard.Worker{worker(7, 10, 5, 1), worker(8, 0, 0, 0)}},
		state{cpu: 1040 * time.Millisecond, workers: []scoreboard.Worker{worker(8, 100, 40, 10), worker(7, 310, 45, 11)}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name      string
		got, want float64
	}{
		{"answers a second", s.rate(), 200}, {"CPU for a request", s.cost(), 100}, {"uneven", s.Uneven, 0.5},
		{"empty wake-ups for a connection", s.empty(), 0.25}, {"lingering", s.linger(), 2.5}, {"whole", s.whole(), 1},
	} {
		if math.Abs(c.got-c.want) > 1e-9 {
			t.Errorf("%s: %v, want %v", c.name, c.got, c.want)
		}
	}
}

func TestAccountOfFaults(t *testing.T) {
	s := Sample{}
	if err := s.account(state{workers: []scoreboard.Worker{worker(7, 0, 0, 0)}}, state{workers: []scoreboard.Worker{worker(8, 9, 0, 0)}}); err == nil ||
		err.Error() != "a worker died" {
		t.Errorf("a worker that was replaced: %v", err)
	}
	s.Failed[refused], s.Failed[reset] = 1, 5
	if err := s.account(state{}, state{}); err == nil || err.Error() != "no request was served: reset" {
		t.Errorf("nothing was served: %v", err)
	}
}

func TestCPUOf(t *testing.T) {
	before, err := cpuOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for begin := time.Now(); time.Since(begin) < 20*time.Millisecond; {
	}
	after, err := cpuOf(os.Getpid())
	if err != nil || after <= before {
		t.Errorf("%v after %v, %v", after, before, err)
	}
	if _, err := cpuOf(1 << 22); err == nil {
		t.Error("a process that cannot be has used CPU time")
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("SLUICE_WORKERS", "3")
	t.Setenv("OTHER", "x")
	text := "\n" + strings.Join(environment(), "\n") + "\n"
	if strings.Contains(text, "SLUICE_") || !strings.Contains(text, "\nOTHER=x\n") {
		t.Errorf("environment %s", text)
	}
}

func TestProgress(t *testing.T) {
	var b bytes.Buffer
	p := newProgress(&b, 100, time.Second)
	p.round(1, 3)
	p.step("one")
	p.drop(29)
	p.round(2, 3)
	p.end()
	if got, want := b.String(), "round 1 of 3, about 1m40s left\nround 2 of 3, about 1m10s left\n"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	b.Reset()
	p = newProgress(&b, 2, time.Second)
	p.terminal = true
	p.round(1, 1)
	p.step("one")
	p.end()
	if got, want := b.String(), clear+"round 1 of 1, about 2s left: one"+clear; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
