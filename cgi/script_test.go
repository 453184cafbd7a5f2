package cgi_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/cgi"
	"sluice/internal/leak"
	"sluice/spawner"
)

var starter spawner.Scripts

// shell is a command that runs the text.
func shell(text string) cgi.Command {
	return cgi.Command{Path: "/bin/sh", Args: []string{"sh", "-c", text}, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/"}
}

// run starts the text. Whatever the test does, the script is stopped and
// reaped at its end.
func run(t testing.TB, text string, in cgi.Input, opt cgi.Options) *cgi.Script {
	t.Helper()
	return runCommand(t, shell(text), in, opt)
}

func runCommand(t testing.TB, c cgi.Command, in cgi.Input, opt cgi.Options) *cgi.Script {
	t.Helper()
	s, err := cgi.Run(&starter, c, in, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close(cgi.Stop)
		syscall.Kill(-s.PID(), syscall.SIGKILL)
		<-s.Done()
	})
	return s
}

// output reads the whole answer.
func output(t testing.TB, s *cgi.Script) string {
	t.Helper()
	s.SetReadDeadline(time.Now().Add(5 * time.Second))
	b, err := io.ReadAll(s)
	if err != nil {
		t.Fatalf("%v after %q", err, b)
	}
	return string(b)
}

// line reads one line of the answer.
func line(t testing.TB, s *cgi.Script) string {
	t.Helper()
	s.SetReadDeadline(time.Now().Add(5 * time.Second))
	var all []byte
	for b := make([]byte, 1); ; {
		if _, err := s.Read(b); err != nil {
			t.Fatalf("%v after %q", err, all)
		}
		if b[0] == '\n' {
			return string(all)
		}
		all = append(all, b[0])
	}
}

func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH || state(pid) == "Z" }

// state is the state of a process in /proc; "" for none.
func state(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(b), ") ")
	s, _, _ := strings.Cut(rest, " ")
	return s
}

func TestScriptSurroundings(t *testing.T) { pollers(t, testScriptSurroundings) }

func testScriptSurroundings(t *testing.T, p cgi.Poller) {
	// Descriptors that a script must not get.
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()

	dir := t.TempDir()
	c := shell(`pwd; ls /proc/$$/fd; tr '\0' '\n' </proc/$$/environ; echo end`)
	c.Dir, c.Env = dir, []string{"PATH=/usr/bin:/bin", "A=b c", "EMPTY="}
	s := runCommand(t, c, cgi.Input{Memory: []byte("x")}, cgi.Options{Poller: p})
	if pg, err := syscall.Getpgid(s.PID()); err != nil || pg != s.PID() {
		t.Errorf("process group %d, %v; want its own, %d", pg, err, s.PID())
	}
	if got, want := output(t, s), dir+"\n0\n1\n2\nPATH=/usr/bin:/bin\nA=b c\nEMPTY=\nend\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if end, ok := s.Ended(5 * time.Second); !ok || !end.OK() {
		t.Error(end, ok)
	}
}

// TestScriptBlockingFiles: what is non-blocking here would make a script fail
// with EAGAIN.
func TestScriptBlockingFiles(t *testing.T) { pollers(t, testScriptBlockingFiles) }

func testScriptBlockingFiles(t *testing.T, p cgi.Poller) {
	s := run(t, `cat /proc/$$/fdinfo/0 /proc/$$/fdinfo/1 /proc/$$/fdinfo/2`, cgi.Input{Memory: []byte("x")}, cgi.Options{Poller: p})
	n := 0
	for l := range strings.Lines(output(t, s)) {
		if flags, ok := strings.CutPrefix(l, "flags:"); ok {
			n++
			f, err := strconv.ParseUint(strings.TrimSpace(flags), 8, 64)
			if err != nil || f&syscall.O_NONBLOCK != 0 {
				t.Errorf("descriptor %d has flags %s", n-1, flags)
			}
		}
	}
	if n != 3 {
		t.Errorf("%d descriptors", n)
	}
}

func TestScriptEnding(t *testing.T) { pollers(t, testScriptEnding) }

func testScriptEnding(t *testing.T, p cgi.Poller) {
	for _, c := range []struct {
		text string
		want cgi.Ending
		ok   bool
		say  string
	}{
		{"exit 0", cgi.Ending{}, true, "exit status 0"},
		{"exit 3", cgi.Ending{Status: 3}, false, "exit status 3"},
		{"kill -KILL $$", cgi.Ending{Signal: syscall.SIGKILL}, false, "killed by signal 9 (killed)"},
		{"kill -SEGV $$", cgi.Ending{Signal: syscall.SIGSEGV}, false, "killed by signal 11 (segmentation fault)"},
	} {
		s := run(t, "echo x; "+c.text, cgi.Input{}, cgi.Options{Poller: p})
		if got := output(t, s); got != "x\n" {
			t.Errorf("%s: %q", c.text, got)
		}
		end, ok := s.Ended(5 * time.Second)
		if !ok || end != c.want || end.OK() != c.ok || end.String() != c.say {
			t.Errorf("%s: %v, %v", c.text, end, ok)
		}
		s.Close(cgi.Complete)
		if again, ok := s.Ended(0); !ok || again != end {
			t.Errorf("%s: after Close %v, %v", c.text, again, ok)
		}
	}
	s := run(t, "exec sleep 60", cgi.Input{}, cgi.Options{Poller: p})
	for _, d := range []time.Duration{-1, 0, time.Millisecond} {
		if end, ok := s.Ended(d); ok {
			t.Errorf("a script that runs ended with %v", end)
		}
	}
}

func TestScriptCannotStart(t *testing.T) { pollers(t, testScriptCannotStart) }

func testScriptCannotStart(t *testing.T, p cgi.Poller) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("#!/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	before := leak.Now()
	for _, c := range []struct {
		name string
		cmd  cgi.Command
		want error
	}{
		{"missing", cgi.Command{Path: filepath.Join(dir, "none"), Dir: dir}, fs.ErrNotExist},
		{"no x bit", cgi.Command{Path: plain, Dir: dir}, fs.ErrPermission},
		{"a folder", cgi.Command{Path: dir, Dir: dir}, fs.ErrPermission},
		{"working directory missing", cgi.Command{Path: "/bin/true", Dir: dir + "/none"}, fs.ErrNotExist},
	} {
		for _, in := range []cgi.Input{{}, {Memory: []byte("x")}, {Memory: make([]byte, 1<<20)}} {
			if _, err := cgi.Run(&starter, c.cmd, in, cgi.Options{Poller: p}); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.name, err, c.want)
			}
		}
	}
	closed, _ := os.Open(plain)
	closed.Close()
	if _, err := cgi.Run(&starter, shell("true"), cgi.Input{File: closed}, cgi.Options{Poller: p}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("input is a closed file: %v", err)
	}
	if !leak.Settles(before) {
		t.Errorf("leak: before %v, after %v", before, leak.Now())
	}
}

// TestScriptsLeaveNothing: 200 scripts, ended in every manner.
func TestScriptsLeaveNothing(t *testing.T) { pollers(t, testScriptsLeaveNothing) }

func testScriptsLeaveNothing(t *testing.T, p cgi.Poller) {
	before := leak.Now()
	texts := []string{"cat", "echo x", "exec sleep 60", "echo e >&2; exec >&-; exit 3", "exec <&-; kill -KILL $$"}
	var pids []int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 50 {
				text := texts[i%len(texts)]
				in := cgi.Input{Memory: make([]byte, (w+i)%3*50<<10)}
				lines := func(int) *cgi.Lines { return &cgi.Lines{Emit: func([]byte) {}} }
				s, err := cgi.Run(&starter, shell(text), in, cgi.Options{Poller: p, StopGrace: 20 * time.Millisecond, Stderr: lines})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				pids = append(pids, s.PID())
				mu.Unlock()
				if i%len(texts) != 2 {
					io.Copy(io.Discard, s)
				}
				s.Close(cgi.Closing(i % 3))
			}
		})
	}
	wg.Wait()
	if !eventually(func() bool { return !slices.ContainsFunc(pids, func(p int) bool { return state(p) != "" }) }) {
		t.Error("a script is left")
	}
	if !leak.Settles(before) {
		t.Errorf("leak: before %v, after %v", before, leak.Now())
	}
}
