package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cgroupRoot is where control groups of version 2 are mounted.
func cgroupRoot(t *testing.T) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if head, tail, _ := strings.Cut(line, " - "); strings.HasPrefix(tail, "cgroup2 ") {
			return strings.Fields(head)[4]
		}
	}
	t.Skip("no control groups of version 2 are mounted here")
	return ""
}

// delegate makes a control group as an administrator does who delegates one, and
// has the test start its processes there.
func delegate(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can delegate a control group")
	}
	root := cgroupRoot(t)
	dir := filepath.Join(root, fmt.Sprintf("sluice-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip("no control group can be made here: ", err)
	}
	join := func(group string) {
		if err := os.WriteFile(filepath.Join(group, "cgroup.procs"), []byte("0"), 0); err != nil {
			t.Fatal(err)
		}
	}
	before := root
	if own, err := os.ReadFile("/proc/self/cgroup"); err == nil {
		for line := range strings.Lines(string(own)) {
			if path, ok := strings.CutPrefix(line, "0::"); ok {
				before = filepath.Join(root, strings.TrimSpace(path))
			}
		}
	}
	join(dir)
	t.Cleanup(func() {
		join(before)
		if !waitFor(5*time.Second, func() bool { os.Remove(filepath.Join(dir, "sluice")); return os.Remove(dir) == nil }) {
			left, _ := filepath.Glob(filepath.Join(dir, "*"))
			t.Errorf("control group %s cannot be removed: %q", dir, left)
		}
	})
	return dir
}

// Where a control group is delegated, whatever a child has started ends with it,
// also out of its process group; and with the master, when that is killed.
func TestControlGroups(t *testing.T) {
	dir := delegate(t)
	s := startSite(t, withSite(t), scripted("max = 2\n"))
	// The master has left the group, so that it can hand on controllers.
	procs, err := os.ReadFile(filepath.Join(dir, "sluice", "cgroup.procs"))
	if err != nil || !slices.Contains(strings.Fields(string(procs)), strconv.Itoa(s.pid())) {
		t.Fatalf("the master is not in the leaf: %q, %v", procs, err)
	}
	fork := func() (child, grandchild int) {
		a := s.get(200, "/app?do=fork")
		_, text, _ := strings.Cut(a.body, "grandchild=")
		grandchild, _ = strconv.Atoi(strings.TrimSpace(text))
		if grandchild < 2 || !alive(grandchild) {
			t.Fatalf("no grandchild: %q", a.body)
		}
		return a.pid(t), grandchild
	}
	child, grandchild := fork()
	group, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", grandchild))
	if !strings.Contains(string(group), "/app-app/") {
		t.Errorf("the grandchild is in %s", group)
	}
	// Another program in the master's place has the same groups, with all in them.
	s.upgrade()
	s.upgrade()
	procs, err = os.ReadFile(filepath.Join(dir, "sluice", "cgroup.procs"))
	if err != nil || !slices.Contains(strings.Fields(string(procs)), strconv.Itoa(s.pid())) {
		t.Errorf("the master is not in the leaf any more: %q, %v", procs, err)
	}
	if !alive(grandchild) || !slices.Contains(s.children(), child) {
		t.Errorf("grandchild %v, children %v, was %d", alive(grandchild), s.children(), child)
	}
	syscall.Kill(child, syscall.SIGKILL)
	if !waitFor(2*time.Second, func() bool { return !alive(grandchild) }) {
		t.Error("a grandchild outlives its child")
	}
	s.get(200, "/app")
	_, grandchild = fork()
	worker := s.workers()[0]
	syscall.Kill(s.pid(), syscall.SIGKILL)
	for _, pid := range []int{grandchild, worker} {
		if !waitFor(10*time.Second, func() bool { return !alive(pid) }) {
			t.Errorf("process %d (worker %d, grandchild %d) is alive 10 s after the master's death", pid, worker, grandchild)
		}
	}
	for _, name := range []string{"app-app/0", "app-app/1", "app-app"} {
		os.Remove(filepath.Join(dir, name))
	}
}
