package cgi_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cgi"
	"sluice/internal/leak"
	"sluice/internal/poll"
)

// pollers runs a test with each way to wait for the pipes of a script.
func pollers(t *testing.T, test func(*testing.T, cgi.Poller)) {
	t.Run("goroutines", func(t *testing.T) { test(t, nil) })
	t.Run("poller", func(t *testing.T) { test(t, newPoller(t)) })
}

// setPoller is a Poller by a set.
type setPoller struct {
	set    *poll.Set
	refuse bool // to listen to errors
}

func newPoller(t testing.TB) *setPoller {
	t.Helper()
	set, err := poll.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(set.Close)
	return &setPoller{set: set}
}

func (p *setPoller) Output(fd int) (cgi.Output, error) { return p.set.Pipe(fd) }

func (p *setPoller) Notify(fd int, f func(more, ended bool)) (func(), error) {
	if p.refuse {
		return nil, errRefused
	}
	w, err := p.set.Edges(fd, unix.EPOLLIN, func(events uint32) {
		f(events&unix.EPOLLIN != 0, events&unix.EPOLLHUP != 0)
	})
	if err != nil {
		return nil, err
	}
	return w.Forget, nil
}

var errRefused = errors.New("refused")

// TestPollerRefuses: nothing is started, and nothing is left.
func TestPollerRefuses(t *testing.T) {
	p := newPoller(t)
	p.refuse = true
	before := leak.Now()
	for _, in := range []cgi.Input{{}, {Memory: text(1 << 20)}} {
		if _, err := cgi.Run(&starter, shell("true"), in, cgi.Options{Poller: p}); !errors.Is(err, errRefused) {
			t.Error(err)
		}
	}
	if !leak.Settles(before) {
		t.Errorf("leak: before %v, after %v", before, leak.Now())
	}
}

// TestPollerErrorsWhileItRuns: what a script says there is heard at once, again
// and again, and its last words need no line end.
func TestPollerErrorsWhileItRuns(t *testing.T) { pollers(t, testErrorsWhileItRuns) }

func testErrorsWhileItRuns(t *testing.T, p cgi.Poller) {
	lines, seen := stderrOf()
	s := run(t, "for i in 1 2 3; do echo $i >&2; read x; done; printf last >&2; read x; exec 2>&-; echo ok; exec sleep 60",
		cgi.Input{}, cgi.Options{Poller: p, Stderr: lines})
	// Without an input read fails at once, so the pauses are as short as they can be.
	want := fmt.Sprintf("%d 1\n%[1]d 2\n%[1]d 3\n%[1]d last\n", s.PID())
	if !eventually(func() bool { return seen() == want }) {
		t.Errorf("%q, want %q", seen(), want)
	}
	if got := line(t, s); got != "ok" {
		t.Error(got)
	}
}

// TestSilentScriptHasNoGoroutine is what a Poller is for.
func TestSilentScriptHasNoGoroutine(t *testing.T) {
	p := newPoller(t)
	before := leak.Now()
	var all []*cgi.Script
	for range 10 {
		s := run(t, "echo ready; exec sleep 60", cgi.Input{}, cgi.Options{Poller: p})
		line(t, s)
		all = append(all, s)
	}
	if now := leak.Now(); now.Goroutines > before.Goroutines {
		t.Errorf("%d goroutines for %d scripts", now.Goroutines-before.Goroutines, len(all))
	}
}

// TestScriptEndsUnasked: one whose end nobody asks for is a zombie until its
// conversation is closed, and none after that.
func TestScriptEndsUnasked(t *testing.T) { pollers(t, testEndsUnasked) }

func testEndsUnasked(t *testing.T, p cgi.Poller) {
	for _, how := range []cgi.Closing{cgi.Complete, cgi.Stop, cgi.Abort} {
		s, err := cgi.Run(&starter, shell("echo x"), cgi.Input{}, cgi.Options{Poller: p, StopGrace: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		pid := s.PID()
		if b, err := io.ReadAll(s); string(b) != "x\n" || err != nil {
			t.Errorf("%q, %v", b, err)
		}
		s.Close(how)
		if !eventually(func() bool { return state(pid) == "" }) {
			t.Errorf("%v: a zombie is left", how)
		}
	}
}

// TestNullIsShared: what one script does with its empty input is nothing to
// another.
func TestNullIsShared(t *testing.T) {
	for range 3 {
		s := run(t, "readlink /proc/$$/fd/0; wc -c; exec <&-; echo x >&0", cgi.Input{}, cgi.Options{})
		if got := output(t, s); got != os.DevNull+"\n0\n" {
			t.Errorf("%q", got)
		}
	}
}

// TestInputIsGone: the end of a script that never reads frees what its input was
// written by.
func TestInputIsGone(t *testing.T) { pollers(t, testInputIsGone) }

func testInputIsGone(t *testing.T, p cgi.Poller) {
	before := leak.Now()
	s := run(t, "kill -KILL $$", cgi.Input{Memory: []byte(strings.Repeat("x", 1<<20))}, cgi.Options{Poller: p})
	if got := output(t, s); got != "" {
		t.Errorf("%q", got)
	}
	if end, ok := s.Ended(5 * time.Second); !ok || end.Signal != syscall.SIGKILL {
		t.Error(end, ok)
	}
	s.Close(cgi.Complete)
	if !leak.Settles(before) {
		t.Errorf("leak: before %v, after %v", before, leak.Now())
	}
}
