package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/lockmodes"
)

// acceptSite is a server with two listeners, a TCP one and a unix one, and two
// workers, which are another user's where that can be.
func acceptSite(t *testing.T, accept string) *site {
	t.Helper()
	dir := testDir(t)
	write(t, dir, "www/index.html", "hello")
	write(t, dir, "www/fd.cgi", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nls -l /proc/$$/fd\n")
	write(t, dir, "locks/x", "")
	if err := os.Remove(filepath.Join(dir, "locks/x")); err != nil {
		t.Fatal(err)
	}
	user := ""
	if os.Geteuid() == 0 {
		user = "user = \"nobody\"\n"
	}
	return startSite(t, dir, "workers = 2\n"+user+accept+`
[[listener]]
address = "unix:web.sock"
mode = "0666"
[[app]]
name = "scripts"
kind = "cgi"
[[site]]
root = "www"
[[site.route]]
match = "*.cgi"
app = "scripts"
`)
}

// ask makes a request at one of the two listeners.
func (s *site) ask(i int, target string) (string, error) {
	network, addr := "tcp", s.addr
	if i%2 == 1 {
		network, addr = "unix", filepath.Join(s.dir, "web.sock")
	}
	a, err := httpRequest{method: "GET", target: target, host: "x"}.send(network, addr)
	switch {
	case err != nil:
		return "", err
	case a.err != nil:
		return "", a.err
	case a.StatusCode != 200:
		return "", fmt.Errorf("%s", a.Status)
	}
	return a.body, nil
}

// serving are the pids of the workers that accept.
func (s *site) serving() (pids []int) {
	for _, w := range s.status().Workers {
		if w.State == "running" {
			pids = append(pids, w.PID)
		}
	}
	return pids
}

// descriptors are what a process has open.
func descriptors(pid int) (all []string) {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil {
			all = append(all, to)
		}
	}
	return all
}

// semaphore is the number of the server's System V semaphore; "" is none.
func (s *site) semaphore() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "run/accept.sem"))
	id, _, _ := strings.Cut(string(b), " ")
	return id
}

// isSemaphore reports whether there is a System V semaphore of a number.
func isSemaphore(t *testing.T, id string) bool {
	b, err := os.ReadFile("/proc/sysvipc/sem")
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(strings.Split(string(b), "\n"), func(line string) bool {
		w := strings.Fields(line)
		return len(w) > 1 && w[1] == id
	})
}

// Every mode serves on two listeners with two workers, of which both get
// connections and either may be killed; and nothing is left of it.
func TestAcceptModes(t *testing.T) {
	for _, mode := range lockmodes.Names() {
		t.Run(mode, func(t *testing.T) {
			s := acceptSite(t, fmt.Sprintf("[accept]\nmode = %q\npermits = 1\nlock_dir = \"locks\"\n", mode))
			sem := s.semaphore()
			if (sem != "") != (mode == "sysvsem") || sem != "" && !isSemaphore(t, sem) {
				t.Errorf("semaphore %q", sem)
			}
			s.loadBoth(t)
			if out, err := s.ask(0, "/fd.cgi"); err != nil || strings.Contains(out, "accept") || strings.Contains(out, "socket:") {
				t.Errorf("a script has the descriptors\n%s%v", out, err)
			}
			s.lockFile(t, mode)
			s.killEach(t, mode)
			if t.Failed() {
				return
			}
			s.cmd.Process.Signal(syscall.SIGTERM)
			if code, err := s.wait(stopWait); code != 0 || err != nil {
				t.Errorf("the stop: %d, %v", code, err)
			}
			if isSemaphore(t, sem) {
				t.Errorf("the semaphore %s is left", sem)
			}
			for _, dir := range []string{"locks", "run"} {
				if left, _ := os.ReadDir(filepath.Join(s.dir, dir)); len(left) > 0 {
					t.Errorf("left in %s: %v", dir, left)
				}
			}
			if strings.Contains(s.text(), "accept lock fails") {
				t.Error("the accept lock fails")
			}
		})
	}
}

// loadBoth makes requests until both workers have accepted some, and sees that
// the status counts them.
func (s *site) loadBoth(t *testing.T) {
	t.Helper()
	sum := uint64(0)
	for limit := time.Now().Add(20 * time.Second); ; {
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				if body, err := s.ask(i, "/"); err != nil || body != "hello" {
					t.Errorf("%q, %v", body, err)
				}
			})
		}
		wg.Wait()
		sum += 40
		var got, least uint64
		least = 1 << 60
		st := s.status()
		for _, w := range st.Workers {
			if w.Wakeups < w.Empty || w.Wakeups-w.Empty > w.Accepts {
				t.Errorf("worker %d: %+v", w.PID, w.Accepting)
			}
			got += w.Accepts
			least = min(least, w.Accepts)
		}
		if got < sum {
			t.Errorf("%d of %d connections are counted", got, sum)
		}
		if t.Failed() || least > 0 {
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("one worker gets no connection: %+v", st.Workers)
		}
	}
}

// lockFile looks for the lock file in the folder of the configuration.
func (s *site) lockFile(t *testing.T, mode string) {
	t.Helper()
	want := 0
	if mode == "flock" || mode == "fcntl" {
		want = 1
	}
	for _, pid := range s.serving() {
		n := 0
		for _, to := range descriptors(pid) {
			if strings.HasPrefix(to, filepath.Join(s.dir, "locks")+"/accept-") {
				n++
			}
		}
		if n != want {
			t.Errorf("worker %d has %d lock files open, want %d: %v", pid, n, want, descriptors(pid))
		}
	}
}

// killEach kills each worker, one of which has the lock: the other goes on.
func (s *site) killEach(t *testing.T, mode string) {
	t.Helper()
	for range 2 {
		for i := range 2 {
			pids := s.serving()
			if len(pids) != 2 {
				t.Fatalf("workers %v", pids)
			}
			syscall.Kill(pids[i], syscall.SIGKILL)
			begin := time.Now()
			for j := range 4 {
				// With reuseport a connection may be in the dead worker's backlog, and
				// is served by the successor. What it was reading is lost.
				if body, err := s.ask(j, "/"); err != nil || body != "hello" {
					t.Errorf("after the kill: %q, %v", body, err)
				}
			}
			took := time.Since(begin)
			t.Logf("4 requests after the kill: %v", took)
			if took > 3*time.Second {
				t.Errorf("4 requests after the kill take %v", took)
			}
			if !waitFor(20*time.Second, func() bool {
				now := s.serving()
				return len(now) == 2 && !slices.Contains(now, pids[i])
			}) {
				t.Fatal("the worker is not replaced")
			}
		}
	}
}

// A semaphore that a killed master leaves behind is removed by the next start.
func TestAcceptSemaphoreOfKilledMaster(t *testing.T) {
	s := acceptSite(t, "[accept]\nmode = \"sysvsem\"\n")
	sem := s.semaphore()
	pids := s.serving()
	s.cmd.Process.Kill()
	<-s.done
	if !waitFor(20*time.Second, func() bool { return !slices.ContainsFunc(pids, alive) }) {
		t.Fatal("the workers outlive their master")
	}
	if !isSemaphore(t, sem) {
		t.Fatalf("semaphore %q is gone: nothing is shown", sem)
	}
	again, err := startProcess(s.dir, "again", os.Environ(), "serve", "-c", "sluice.toml", "--accept", "none")
	if err != nil {
		t.Fatal(err)
	}
	defer again.end()
	if err := again.ready(); err != nil {
		t.Fatal(err)
	}
	if isSemaphore(t, sem) || s.semaphore() != "" {
		t.Errorf("the semaphore %s is left", sem)
	}
}

// A flag beats the environment, and that the file.
func TestAcceptFlags(t *testing.T) {
	dir := testDir(t)
	write(t, dir, "sluice.toml", fmt.Sprintf("listen = [\"127.0.0.1:%s\"]\nruntime = \"run\"\n[accept]\nmode = \"sysvsem\"\n[[site]]\nroot = \".\"\n", freePort()))
	env := append(os.Environ(), "SLUICE_ACCEPT=flock")
	for _, tt := range []struct {
		name, want string
		env, args  []string
	}{
		{"environment", filepath.Join(dir, "run/accept-"), env, nil},
		{"flag", "memfd:accept lock", env, []string{"--accept", "partial", "--accept-permits", "3"}},
	} {
		s, err := startProcess(dir, tt.name, tt.env, append([]string{"serve", "-c", "sluice.toml"}, tt.args...)...)
		if err != nil {
			t.Fatal(err)
		}
		defer s.end()
		if err := s.ready(); err != nil {
			t.Fatal(err)
		}
		open := strings.Join(descriptors(s.pid()), "\n")
		if !strings.Contains(open, tt.want) {
			t.Errorf("%s: no %s in\n%s", tt.name, tt.want, open)
		}
		if _, err := os.Stat(filepath.Join(dir, "run/accept.sem")); err == nil {
			t.Errorf("%s: the file's mode is in effect", tt.name)
		}
		s.end()
	}
}

// With reuseport, too, a second server on the same address fails.
func TestReuseportSecondServer(t *testing.T) {
	s := acceptSite(t, "[accept]\nmode = \"reuseport\"\n")
	write(t, s.dir, "other.toml", fmt.Sprintf("listen = [%q]\nruntime = \"other\"\nworkers = 2\n[accept]\nmode = \"reuseport\"\n[[site]]\nroot = \"www\"\n", s.addr))
	other, err := startProcess(s.dir, "other", os.Environ(), "serve", "-c", "other.toml")
	if err != nil {
		t.Fatal(err)
	}
	defer other.end()
	if code, err := other.wait(startWait); code != 3 || err != nil {
		t.Errorf("status %d, %v:\n%s", code, err, other.text())
	}
	if body, err := s.ask(0, "/"); err != nil || body != "hello" {
		t.Errorf("the first server: %q, %v", body, err)
	}
}
