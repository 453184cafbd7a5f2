package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runsBelow are the processes whose arguments name a file below the folder.
func runsBelow(dir string) (list []string) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range all {
		if b, _ := os.ReadFile(f); strings.Contains(string(b), dir+"/sluice-tune-") {
			list = append(list, strings.ReplaceAll(string(b), "\x00", " "))
		}
	}
	return list
}

// tune that is interrupted in the middle of a load leaves nothing behind, and one
// that is killed no process.
func TestTuneInterrupted(t *testing.T) {
	for _, c := range []struct {
		sig    syscall.Signal
		status int
	}{{syscall.SIGINT, 1}, {syscall.SIGTERM, 1}, {syscall.SIGHUP, 1}, {syscall.SIGKILL, -1}} {
		t.Run(c.sig.String(), func(t *testing.T) {
			t.Parallel()
			dir := testDir(t)
			page := filepath.Join(dir, "report.html")
			s, err := startProcess(dir, "tune", append(os.Environ(), "TMPDIR="+dir), "tune", "--duration", "1m", "--out", page)
			if err != nil {
				t.Fatal(err)
			}
			defer s.end()
			if !waitFor(startWait, func() bool { return len(runsBelow(dir)) > 0 }) {
				t.Fatalf("no server is tried:\n%s", s.text())
			}
			time.Sleep(100 * time.Millisecond) // into the start, or the load
			s.cmd.Process.Signal(c.sig)
			status, err := s.wait(stopWait)
			if err != nil || status != c.status {
				t.Errorf("status %d, %v, want %d:\n%s", status, err, c.status, s.text())
			}
			if !waitFor(stopWait, func() bool { return len(runsBelow(dir)) == 0 }) {
				t.Errorf("left over: %q", runsBelow(dir))
			}
			if c.sig == syscall.SIGKILL {
				return
			}
			if !strings.Contains(s.text(), "sluice: tune: interrupted\n") {
				t.Errorf("it does not say so:\n%s", s.text())
			}
			names, _ := filepath.Glob(filepath.Join(dir, "*"))
			hidden, _ := filepath.Glob(filepath.Join(dir, ".*"))
			for _, name := range append(names, hidden...) {
				if base := filepath.Base(name); base != "tune.log" && base != "tune.out" {
					t.Errorf("left over: %s", name)
				}
			}
		})
	}
}
