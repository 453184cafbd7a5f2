package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// elsewhere is a scripted child that the test runs, as an application that
// sluice does not start. It goes when the test ends.
func elsewhere(t testing.TB, l net.Listener) *exec.Cmd {
	t.Helper()
	f, err := l.(interface {
		File() (*os.File, error)
	}).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	l.Close()
	cmd := exec.Command("fcgi-child")
	cmd.Stdin = f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(cmd) })
	return cmd
}

func end(cmd *exec.Cmd) {
	if cmd.ProcessState == nil {
		cmd.Process.Kill()
		cmd.Wait()
	}
}

func listenUnix(t testing.TB, path string) net.Listener {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// One of two programs elsewhere dies under load: no GET fails, whether it died
// of one or is not there any more; nor when it comes back.
func TestUpstreamDies(t *testing.T) {
	dir := withSite(t)
	paths := []string{filepath.Join(dir, "a.sock"), filepath.Join(dir, "b.sock")}
	first := elsewhere(t, listenUnix(t, paths[0]))
	second := elsewhere(t, listenUnix(t, paths[1]))
	s := startSite(t, dir, strings.Replace(scripted(""), `command = ["fcgi-child"]`,
		fmt.Sprintf("address = [\"unix:%s weight=2\", \"unix:%s\"]\nfail_timeout = \"300ms\"", paths[0], paths[1]), 1))
	seen := map[int]int{}
	for range 30 {
		seen[s.get(200, "/app").pid(t)]++
	}
	if seen[first.Process.Pid] != 20 || seen[second.Process.Pid] != 10 {
		t.Errorf("by weight 2 and 1: %v", seen)
	}
	load := s.load("/app?sleep=2ms", 4)
	time.Sleep(200 * time.Millisecond)
	first.Process.Signal(syscall.SIGKILL)
	first.Wait()
	time.Sleep(500 * time.Millisecond)
	if a := s.do(httpRequest{method: "POST", target: "/app", body: "x"}); a.StatusCode != 200 || a.pid(t) != second.Process.Pid {
		t.Errorf("a POST: %s", a.Status)
	}
	s.waitLog(t, `address is out after its failures.* app=app address=\S*a\.sock max_fails=3 for=300ms`)
	syscall.Unlink(paths[0])
	third := elsewhere(t, listenUnix(t, paths[0]))
	if !waitFor(10*time.Second, func() bool { return s.get(200, "/app").pid(t) == third.Process.Pid }) {
		t.Error("the one that came back gets no requests")
	}
	if done, failed := load(); len(failed) > 0 || done < 50 {
		t.Errorf("%d of %d requests failed: %.500q", len(failed), done, failed)
	}
	// Nobody is there: 502 after connect_timeout.
	for _, p := range []*exec.Cmd{second, third} {
		end(p)
	}
	if a := s.do(httpRequest{target: "/app"}); a.StatusCode != 502 || a.took < 900*time.Millisecond {
		t.Errorf("without any: %s after %v", a.Status, a.took)
	}
	s.waitLog(t, `child not reached.* app=app address=.*sock`)
	s.waitLog(t, `address is back.* app=app address=\S*a\.sock`)
}

// A name is looked up, and all its addresses are tried.
func TestUpstreamByName(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	child := elsewhere(t, l)
	s := startSite(t, withSite(t), strings.Replace(scripted(""), `command = ["fcgi-child"]`,
		fmt.Sprintf("address = [\"tcp:localhost:%d\"]", port), 1))
	for range 3 {
		if got := s.get(200, "/app").pid(t); got != child.Process.Pid {
			t.Errorf("an answer from %d", got)
		}
	}
}
