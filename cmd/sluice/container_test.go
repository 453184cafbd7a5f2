package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// startContainer starts a server as the first process of a pid namespace, as a
// container does, and returns its pid as it is outside.
func startContainer(t *testing.T, dir, config string) (s *site, pid int) {
	t.Helper()
	needs(t, "unshare")
	if out, err := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "true").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no pid namespace can be made here: %v: %s", err, out)
	}
	s = &site{t: t, dir: dir, addr: "127.0.0.1:" + freePort()}
	write(t, dir, "sluice.toml", fmt.Sprintf("listen = [%q]\nruntime = \"run\"\nwatch = false\n", s.addr)+config)
	var err error
	cmd := exec.Command("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sluice", "serve", "-c", "sluice.toml")
	if s.testServer, err = startCommand(dir, "sluice", cmd); err != nil {
		t.Fatal(err)
	}
	s.endsWith(t)
	if err := s.ready(); err != nil {
		t.Fatal(err)
	}
	inside := childrenOf(s.pid())
	if len(inside) != 1 {
		t.Fatalf("unshare has the children %v", inside)
	}
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", inside[0]))
	if !strings.Contains(string(status), fmt.Sprintf("NSpid:\t%d\t1\n", inside[0])) {
		t.Fatalf("it is not the first process:\n%s", status)
	}
	return s, inside[0]
}

// stateOf is the letter of a process's state.
func stateOf(pid int) string {
	b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	_, rest, _ := strings.Cut(string(b), ") ")
	state, _, _ := strings.Cut(rest, " ")
	return state
}

// The first process of a container gets everybody's orphans, and reaps them;
// signals reach it, though the kernel would ignore their default.
func TestContainer(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT} {
		t.Run(signal.String(), func(t *testing.T) {
			dir := withSite(t)
			write(t, dir, "www/orphan.cgi", "#!/bin/sh\nsetsid sh -c 'setsid sh -c \"while test ! -e go; do sleep 0.1; done\" & echo >>started' >/dev/null 2>&1 &\nprintf 'Content-Type: text/plain\\n\\nok\\n'\n")
			s, pid := startContainer(t, dir, scripted("max = 1"))
			worker, children := family(pid)
			if worker == 0 || len(children) != 1 {
				t.Fatalf("worker %d, children %v", worker, children)
			}
			for range 5 {
				s.get(200, "/orphan.cgi").has(t, "ok")
			}
			if err := waitText(filepath.Join(dir, "www/started"), `\n\n\n\n\n`, logWait); err != nil {
				t.Fatal(err)
			}
			if !waitFor(logWait, func() bool { return len(childrenOf(pid)) > 2 }) {
				t.Error("no orphan has come")
			}
			write(t, dir, "www/go", "")
			if !waitFor(logWait, func() bool { return len(childrenOf(pid)) == 2 }) {
				for _, c := range childrenOf(pid) {
					t.Errorf("child %d is left, in state %s", c, stateOf(c))
				}
			}
			syscall.Kill(pid, syscall.SIGHUP)
			s.waitLog(t, "msg=reloaded")
			s.get(200, "/x.cgi")
			syscall.Kill(pid, signal)
			if code, err := s.wait(stopWait); err != nil || code != 0 {
				t.Errorf("status %d, %v", code, err)
			}
			if _, err := os.Stat(filepath.Join(dir, "run")); err == nil {
				t.Error("the runtime directory is left")
			}
		})
	}
}

// A container that cannot start says why by its status, as anywhere.
func TestContainerExitStatus(t *testing.T) {
	t.Parallel()
	dir := withSite(t)
	s, pid := startContainer(t, dir, scripted("max = 1"))
	cmd := exec.Command("unshare", "--pid", "--fork", "--mount-proc", "sluice", "serve", "-c", "sluice.toml")
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 3 || !strings.Contains(string(out), "is in use") {
		t.Errorf("%v:\n%s", err, out)
	}
	// Killed, the kernel kills all that is in it.
	_, children := family(pid)
	syscall.Kill(pid, syscall.SIGKILL)
	if code, err := s.wait(stopWait); err != nil || code == 0 {
		t.Errorf("status %d, %v", code, err)
	}
	for _, c := range children {
		if !waitFor(logWait, func() bool { return !alive(c) }) {
			t.Errorf("child %d is left", c)
		}
	}
}
