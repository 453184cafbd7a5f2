package spawner

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/cgi"
)

// A subreaper inherits orphans and has to reap them, without taking anybody's
// status. It is a process of its own, as this one would stay a subreaper.
func TestSubreaper(t *testing.T) {
	r := NewReaper()
	defer r.Close()
	out, w, err := os.Pipe()
	must(t, err)
	defer out.Close()
	c, err := r.Fork("/proc/self/exe", []string{"subreap"}, &syscall.ProcAttr{
		Env: []string{modeVariable + "=subreap", quick}, Files: []uintptr{0, w.Fd(), w.Fd()}, Sys: &syscall.SysProcAttr{Setpgid: true}})
	w.Close()
	must(t, err)
	b, err := io.ReadAll(out)
	must(t, err)
	<-c.Done()
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	if !slices.Contains(lines, "owned exit status 0") || !slices.Contains(lines, "orphan reaped") {
		t.Errorf("%q", lines)
	}
}

func TestReaperEndings(t *testing.T) {
	r := NewReaper()
	defer r.Close()
	run := func(script string) cgi.Ending {
		c, err := r.Fork("/bin/sh", []string{"sh", "-c", script}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}, Sys: &syscall.SysProcAttr{Setpgid: true}})
		if err != nil {
			t.Error(err)
			return cgi.Ending{}
		}
		<-c.Done()
		if err := c.Signal(syscall.SIGKILL); err != syscall.ESRCH {
			t.Errorf("signal to a pid that may be another's: %v", err)
		}
		return c.Ending()
	}
	if e := run("kill -9 $$"); e.Signal != syscall.SIGKILL {
		t.Errorf("%+v", e)
	}
	if _, err := r.Fork("/no/such", []string{"x"}, &syscall.ProcAttr{}); !errors.Is(err, syscall.ENOENT) {
		t.Error(err)
	}
	var wg sync.WaitGroup
	for i := range 60 { // each gets its own, also those that end at once
		wg.Go(func() {
			if e := run(fmt.Sprintf("exit %d", i)); e.Status != i || e.Signal != 0 {
				t.Errorf("%d: %+v", i, e)
			}
		})
	}
	wg.Wait()
}

// script starts a shell script by s and returns its output.
func script(t *testing.T, s *Scripts, text string) (cgi.Process, *os.File, error) {
	t.Helper()
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	r, w, err := os.Pipe()
	must(t, err)
	t.Cleanup(func() { r.Close() })
	defer w.Close()
	p, err := s.Start(cgi.Command{Path: "/bin/sh", Args: []string{"sh", "-c", text}, Dir: "/", Env: []string{"A=1"}}, null, w, w)
	return p, r, err
}

func TestScripts(t *testing.T) {
	var s Scripts
	p, out, err := script(t, &s, "echo $A; pwd; exit 4")
	must(t, err)
	b, err := io.ReadAll(out)
	must(t, err)
	<-p.Done()
	if string(b) != "1\n/\n" || p.Ending().Status != 4 || !gone(p.PID()) {
		t.Errorf("%q, %v", b, p.Ending())
	}
	var pipe [2]int // which can be inherited
	must(t, syscall.Pipe(pipe[:]))
	defer syscall.Close(pipe[0])
	defer syscall.Close(pipe[1])
	var fresh Scripts // marks anew
	p, out, err = script(t, &fresh, "ls /proc/self/fd")
	must(t, err)
	b, err = io.ReadAll(out)
	must(t, err)
	<-p.Done()
	if string(b) != "0\n1\n2\n3\n" { // 3 is the listing itself
		t.Errorf("descriptors %q", b)
	}
	_, err = s.Start(cgi.Command{Path: "/no/such", Args: []string{"x"}}, os.Stdin, os.Stdout, os.Stderr)
	if !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	s.Stop(time.Second) // with nothing to stop
}

func TestScriptsStop(t *testing.T) {
	var s Scripts
	const grace = 300 * time.Millisecond
	good, _, err := script(t, &s, "exec sleep 60")
	must(t, err)
	var deaf []cgi.Process
	var pids []int
	for range 3 {
		p, out, err := script(t, &s, "trap '' TERM; sleep 60 & echo $!; wait; wait")
		must(t, err)
		var pid int
		if _, err := fmt.Fscanln(out, &pid); err != nil {
			t.Fatal(err)
		}
		deaf, pids = append(deaf, p), append(pids, pid)
	}
	begin := time.Now()
	s.Stop(grace)
	if d := time.Since(begin); d < grace || d > grace+200*time.Millisecond {
		t.Errorf("stopped after %v", d)
	}
	if good.Ending().Signal != syscall.SIGTERM {
		t.Error(good.Ending())
	}
	for i, p := range deaf {
		if p.Ending().Signal != syscall.SIGKILL {
			t.Error(p.Ending())
		}
		eventually(t, time.Second, "the whole group is gone", func() bool { return zombie(pids[i]) })
	}
	if len(s.running) > 0 {
		t.Errorf("running: %v", s.running)
	}
	if _, _, err := script(t, &s, "exit 0"); !errors.Is(err, ErrStopped) {
		t.Errorf("after the end: %v", err)
	}
}

// Starts that race with Stop are refused, or waited for.
func TestScriptsStopRace(t *testing.T) {
	for range 10 {
		var s Scripts
		var mu sync.Mutex
		var all []cgi.Process
		var wg sync.WaitGroup
		null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
		must(t, err)
		for range 4 {
			wg.Go(func() {
				for {
					p, err := s.Start(cgi.Command{Path: "/bin/sleep", Args: []string{"sleep", "60"}}, null, null, null)
					if err != nil {
						return
					}
					mu.Lock()
					all = append(all, p)
					mu.Unlock()
				}
			})
		}
		time.Sleep(5 * time.Millisecond)
		s.Stop(time.Second)
		wg.Wait()
		for _, p := range all {
			select {
			case <-p.Done():
			default:
				t.Errorf("%d is left", p.PID())
			}
		}
		null.Close()
	}
}

// A child that forks its workers and dies must not leave them behind: they
// would go on accepting on its socket.
func TestGroupEndsWithItsLeader(t *testing.T) {
	r := NewReaper()
	defer r.Close()
	out, w, err := os.Pipe()
	must(t, err)
	defer out.Close()
	c, err := r.Fork("/bin/sh", []string{"sh", "-c", "sleep 1000 & echo started; kill -9 $$"}, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, w.Fd(), 2}, Sys: &syscall.SysProcAttr{Setpgid: true}})
	w.Close()
	must(t, err)
	<-c.Done()
	// The pipe ends when the last of the group has gone.
	must(t, out.SetReadDeadline(time.Now().Add(5*time.Second)))
	b, err := io.ReadAll(out)
	if err != nil || string(b) != "started\n" {
		t.Errorf("%q, %v", b, err)
	}
}
