package main

import (
	"encoding/json"
	"errors"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/internal/status"
)

// status asks the server.
func (s *site) status() *status.Status {
	s.t.Helper()
	cmd := exec.Command("sluice", "status", "-c", "sluice.toml", "--json")
	cmd.Dir = s.dir
	out, err := cmd.Output()
	if err != nil {
		var e *exec.ExitError
		errors.As(err, &e)
		s.t.Fatalf("sluice status: %v: %s", err, e.Stderr)
	}
	return decodeStatus(s.t, out)
}

func decodeStatus(t testing.TB, out []byte) *status.Status {
	t.Helper()
	st := &status.Status{}
	if err := json.Unmarshal(out, st); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return st
}

func appOf(st *status.Status, name string) status.App {
	for _, a := range st.Apps {
		if a.Name == name {
			return a
		}
	}
	return status.App{}
}

// requestOf is a request that a child of the app has, and the child.
func requestOf(st *status.Status, app string) (status.Child, *status.Request) {
	for _, c := range appOf(st, app).Children {
		if c.Request != nil {
			return c, c.Request
		}
	}
	return status.Child{}, nil
}

// background makes a request whose answer nobody waits for.
func (s *site) background(target string) {
	s.t.Helper()
	cmd := exec.Command("curl", "-s", "-o", "/dev/null", "http://"+s.addr+target)
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
}

const hangScript = "#!/bin/sh\nexec sleep 100\n"

// A hung child is in the slow log with its pid and where it hangs, whether it
// was stopped or sleeps; and when it goes on the end is there too.
func TestSlowLogOfHungChild(t *testing.T) {
	needs(t, "curl")
	dir := testDir(t)
	write(t, dir, "www/hang.cgi", hangScript)
	s := startSite(t, dir, "[log]\nslow = \"400ms\"\n"+scripted("max = 1"))
	pid := s.get(200, "/app").pid(t)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	s.background("/app?x=y")
	who := `msg="slow request" method=GET request="/app\?x=y" client=127\.0\.0\.1:\d+ app=app pid=` + strconv.Itoa(pid)
	s.waitLog(t, who+` phase=header waits_for=child took=\d+ms .*spent.header=\d+ms child.state=stopped`)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	s.waitLog(t, `msg="slow request ended" .* app=app pid=`+strconv.Itoa(pid)+` status=200 .*spent.header=`)
	s.background("/hang.cgi")
	s.waitLog(t, `msg="slow request" .*request=/hang.cgi .*app=scripts pid=\d+ phase=header .*child.state=sleeping child.wchan=\S*nanosleep`)
	// A slow client is the client's doing.
	write(t, dir, "www/big", strings.Repeat("x", 8<<20))
	slowDownload(t, s.addr, "/big", 8<<20, 1<<20)
	s.waitLog(t, `msg="slow request" .*request=/big client=\S+ phase=send waits_for=client `)
}

// The status names the children and what they do; a worker that is killed takes
// its connections and requests out of it.
func TestStatus(t *testing.T) {
	needs(t, "curl")
	dir := testDir(t)
	write(t, dir, "www/hang.cgi", hangScript)
	s := startSite(t, dir, scripted("max = 2"))
	worker, children := family(s.pid())
	s.background("/hang.cgi?a=b")
	s.background("/app?sleep=100s")
	var st *status.Status
	if !waitFor(10*time.Second, func() bool {
		st = s.status()
		_, script := requestOf(st, "scripts")
		_, app := requestOf(st, "app")
		return script != nil && app != nil
	}) {
		t.Fatalf("the requests are not in the status: %+v", st)
	}
	if len(st.Workers) != 1 || st.Workers[0].PID != worker || st.Workers[0].State != "running" || st.Workers[0].Requests != 2 ||
		st.Workers[0].Connections.Working != 2 || st.PID != s.pid() || st.Generation != 1 || st.Version != version {
		t.Errorf("workers: %+v", st)
	}
	var pids []int
	for _, c := range appOf(st, "app").Children {
		pids = append(pids, c.PID)
		if c.State != "ready" || c.AgeSeconds <= 0 || c.AgeSeconds > 60 || c.MemoryBytes < 100_000 {
			t.Errorf("child %+v", c)
		}
	}
	if slices.Sort(pids); !slices.Equal(pids, children) {
		t.Errorf("children %d, want %d", pids, children)
	}
	c, r := requestOf(st, "scripts")
	if !slices.Contains(childrenOf(worker), c.PID) || r.Method != "GET" || r.URL != "/hang.cgi?a=b" || r.Phase != "header" ||
		!strings.HasPrefix(r.Client, "127.0.0.1:") || r.Seconds <= 0 || c.MemoryBytes < 100_000 {
		t.Errorf("the script %+v has %+v", c, r)
	}
	if err := syscall.Kill(worker, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if !waitFor(10*time.Second, func() bool {
		st = s.status()
		return st.Workers[0].PID != worker && st.Workers[0].State == "running"
	}) {
		t.Fatalf("no successor in the status: %+v", st)
	}
	if _, r := requestOf(st, "scripts"); r != nil || st.Workers[0].Connections.Working != 0 || st.Workers[0].Requests != 0 {
		t.Errorf("of the dead worker there is still %+v, %+v", r, st.Workers)
	}
}

// All processes are killed at once: the file tells what they did.
func TestStatusAfterCrash(t *testing.T) {
	needs(t, "curl")
	dir := testDir(t)
	write(t, dir, "www/hang.cgi", hangScript)
	s := startSite(t, dir, "[status]\nscoreboard = \"board\"\n"+scripted("max = 1"))
	s.background("/hang.cgi?a=b")
	if !waitFor(10*time.Second, func() bool { _, r := requestOf(s.status(), "scripts"); return r != nil }) {
		t.Fatal("the request is not in the status")
	}
	worker, _ := family(s.pid())
	script, _ := requestOf(s.status(), "scripts")
	defer syscall.Kill(script.PID, syscall.SIGKILL)
	for _, pid := range []int{worker, s.pid()} {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	for _, pid := range []int{s.pid(), worker} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	<-s.done
	cmd := exec.Command("sluice", "status", "-c", "sluice.toml", "--json")
	cmd.Dir = dir
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(stderr.String(), "not running, last state: it was killed, and seen last at ") {
		t.Errorf("%v, %s", err, stderr.String())
	}
	st := decodeStatus(t, out)
	c, r := requestOf(st, "scripts")
	if st.PID != s.pid() || st.Workers[0].PID != worker || st.Workers[0].Connections.Working != 1 || r == nil ||
		r.URL != "/hang.cgi?a=b" || c.PID != script.PID {
		t.Errorf("the last state: %+v", st)
	}
	if app := appOf(st, "app"); len(app.Children) != 1 || app.Children[0].State != "ready" || app.Children[0].PID == 0 {
		t.Errorf("the children of the last state: %+v", app)
	}
}
