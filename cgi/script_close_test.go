package cgi_test

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"sluice/cgi"
)

// TestClose: what each manner does to a script that works on.
func TestClose(t *testing.T) { pollers(t, testClose) }

func testClose(t *testing.T, p cgi.Poller) {
	const (
		works  = "trap 'exit 7' TERM; trap 'exit 8' INT; echo ready; exec >&-; for i in 1 2 3 4 5; do sleep 0.02; done; exit 5"
		stays  = "trap 'exit 7' TERM; trap 'exit 8' INT; echo ready; while :; do sleep 0.01; done"
		ignore = "trap '' TERM INT; echo ready; while :; do sleep 0.01; done"
	)
	term, kill := cgi.Ending{Signal: syscall.SIGTERM}, cgi.Ending{Signal: syscall.SIGKILL}
	minute, moment := time.Minute, 50*time.Millisecond
	for _, c := range []struct {
		name string
		text string
		how  cgi.Closing
		opt  cgi.Options
		want cgi.Ending
		min  time.Duration
	}{
		{"complete, in the background to its end", works, cgi.Complete, cgi.Options{Background: minute, StopGrace: minute}, cgi.Ending{Status: 5}, 0},
		{"complete, no background", stays, cgi.Complete, cgi.Options{StopGrace: minute}, cgi.Ending{Status: 7}, 0},
		{"complete, too long in the background", stays, cgi.Complete, cgi.Options{Background: moment, StopGrace: minute}, cgi.Ending{Status: 7}, moment},
		{"complete, too long and it ignores the signal", ignore, cgi.Complete, cgi.Options{Background: moment, StopGrace: moment}, kill, 2 * moment},
		{"stop", stays, cgi.Stop, cgi.Options{Background: minute, StopGrace: minute}, cgi.Ending{Status: 7}, 0},
		{"stop, no trap", "echo ready; exec sleep 60", cgi.Stop, cgi.Options{Background: minute, StopGrace: minute}, term, 0},
		{"stop, ignored", ignore, cgi.Stop, cgi.Options{StopGrace: moment}, kill, moment},
		{"stop, no grace", ignore, cgi.Stop, cgi.Options{}, kill, 0},
		{"abort", stays, cgi.Abort, cgi.Options{Background: minute, StopGrace: minute}, cgi.Ending{Status: 7}, 0},
		{"abort, ignored", ignore, cgi.Abort, cgi.Options{StopGrace: moment}, kill, moment},
		{"another signal", stays, cgi.Stop, cgi.Options{StopSignal: syscall.SIGINT, StopGrace: minute}, cgi.Ending{Status: 8}, 0},
		{"SIGKILL as the signal", ignore, cgi.Stop, cgi.Options{StopSignal: syscall.SIGKILL, StopGrace: minute}, kill, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.opt.Poller = p
			s := run(t, c.text, cgi.Input{}, c.opt)
			line(t, s)
			start := time.Now()
			s.Close(c.how)
			s.Close(cgi.Abort) // only the first counts
			if d := time.Since(start); d > time.Second {
				t.Errorf("Close took %v", d)
			}
			end, ok := s.Ended(5 * time.Second)
			if d := time.Since(start); !ok || end != c.want || d < c.min {
				t.Errorf("%v, %v after %v; want %v", end, ok, d, c.want)
			}
			if !eventually(func() bool { return state(s.PID()) == "" }) {
				t.Error("a zombie is left")
			}
		})
	}
}

// TestCloseStopsTheGroup: children of the script end with it, whether they heed
// the signal or the script does.
func TestCloseStopsTheGroup(t *testing.T) { pollers(t, testCloseStopsTheGroup) }

func testCloseStopsTheGroup(t *testing.T, p cgi.Poller) {
	for _, c := range []struct{ name, trap, childs string }{
		{"both heed it", "", ""},
		{"the child ignores it", "", "trap '' TERM; "},
		{"both ignore it", "trap '' TERM; ", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := run(t, c.trap+"("+c.childs+"echo x >"+filepath.Join(t.TempDir(), "on")+"; while :; do sleep 0.01; done) & echo $!; wait",
				cgi.Input{}, cgi.Options{Poller: p, StopGrace: 50 * time.Millisecond})
			pid, err := strconv.Atoi(line(t, s))
			if err != nil {
				t.Fatal(err)
			}
			s.Close(cgi.Stop)
			if _, ok := s.Ended(5 * time.Second); !ok {
				t.Error("the script lives on")
			}
			if !eventually(func() bool { return gone(pid) }) {
				syscall.Kill(pid, syscall.SIGKILL)
				t.Error("its child lives on")
			}
		})
	}
}

// TestBackgroundWorks: what a script does after it closed its output is done.
func TestBackgroundWorks(t *testing.T) { pollers(t, testBackgroundWorks) }

func testBackgroundWorks(t *testing.T, p cgi.Poller) {
	name := filepath.Join(t.TempDir(), "done")
	s := run(t, "echo ok; exec >&-; sleep 0.05; cat >"+name, cgi.Input{Memory: text(200 << 10)}, cgi.Options{Poller: p, Background: time.Minute})
	if got := output(t, s); got != "ok\n" {
		t.Fatal(got)
	}
	s.Close(cgi.Complete)
	if end, ok := s.Ended(5 * time.Second); !ok || !end.OK() {
		t.Error(end, ok)
	}
	if fi, err := os.Stat(name); err != nil || fi.Size() != 200<<10 {
		t.Errorf("%v, %v", fi, err)
	}
}

func TestClosingString(t *testing.T) {
	for c, want := range map[cgi.Closing]string{cgi.Complete: "complete", cgi.Stop: "stop", cgi.Abort: "abort"} {
		if c.String() != want {
			t.Error(c, want)
		}
	}
}
