package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// built is this program as a release of a version, built once.
var built = func() func(t testing.TB, version string) string {
	var mu sync.Mutex
	all := map[string]string{}
	return func(t testing.TB, version string) string {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if all[version] == "" {
			path := filepath.Join(builds, "sluice-"+version)
			out, err := exec.Command("go", "build", "-ldflags", "-X main.version="+version, "-o", path, ".").CombinedOutput()
			if err != nil {
				t.Fatalf("go build: %v\n%s", err, out)
			}
			all[version] = path
		}
		return all[version]
	}
}()

// install puts a binary, or the text of one, where the server was started from.
func install(t testing.TB, dir, from, text string) {
	t.Helper()
	if from != "" {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		text = string(b)
	}
	next := filepath.Join(dir, "bin", "next")
	if err := os.MkdirAll(filepath.Dir(next), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(next, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(dir, "bin", "sluice")); err != nil {
		t.Fatal(err)
	}
}

// startRelease is startSite for a release of version 1.0.0 that lies in the folder;
// head is as that of configure.
func startRelease(t testing.TB, dir, head, config string) *site {
	t.Helper()
	install(t, dir, built(t, "1.0.0"), "")
	s := &site{t: t, dir: dir, addr: "127.0.0.1:" + freePort()}
	s.configure(head, config)
	var err error
	if s.testServer, err = startCommand(dir, "sluice", exec.Command(filepath.Join(dir, "bin/sluice"), "serve", "-c", "sluice.toml")); err != nil {
		t.Fatal(err)
	}
	s.endsWith(t)
	t.Cleanup(func() { s.nothingLeft() })
	if err := s.ready(); err != nil {
		t.Fatal(err)
	}
	return s
}

// nothingLeft stops the server and looks whether anything of it is still there.
func (s *site) nothingLeft() {
	s.t.Helper()
	if s.running() {
		if out, err := s.sluice("stop", "--control", filepath.Join(s.dir, "run/control.sock")); err != nil {
			s.t.Errorf("stop: %v\n%s", err, out)
		}
		if code, err := s.wait(stopWait); err != nil || code != 0 {
			s.t.Errorf("status %d, %v", code, err)
		}
	}
	if _, err := os.Stat(filepath.Join(s.dir, "run")); err == nil {
		left, _ := filepath.Glob(filepath.Join(s.dir, "run/*"))
		s.t.Errorf("the runtime directory is left: %q", left)
	}
	if !waitFor(time.Second, func() bool { return len(s.processes()) == 0 }) {
		s.t.Errorf("processes are left: %v", s.processes())
	}
}

// processes are those that run a binary of the folder's.
func (s *site) processes() (all []string) {
	exes, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, exe := range exes {
		if to, err := os.Readlink(exe); err == nil && strings.HasPrefix(to, filepath.Join(s.dir, "bin")) {
			all = append(all, filepath.Base(filepath.Dir(exe)))
		}
	}
	return all
}

// upgrade upgrades, and returns what is said of it.
func (s *site) upgrade() string {
	s.t.Helper()
	out, err := s.sluice("upgrade", "-c", "sluice.toml")
	if err != nil {
		s.t.Fatalf("upgrade: %v\n%s", err, out)
	}
	return out
}

// An upgrade under load: no request fails, children keep their pids, what goes on
// goes on.
func TestUpgrade(t *testing.T) {
	for name, head := range map[string]string{
		"one worker": "", "sysvsem": "workers = 2\naccept.mode = \"sysvsem\"\n",
		"flock":     "workers = 2\naccept.mode = \"flock\"\n",
		"reuseport": "workers = 3\naccept.mode = \"reuseport\"\n", "seats": "workers = 2\nlimits.per_client = 500\nlimits.connections = 1000\n",
	} {
		t.Run(name, func(t *testing.T) { upgradeUnderLoad(t, head) })
	}
}

func upgradeUnderLoad(t *testing.T, head string) {
	next := built(t, "2.0.0")
	dir := withSite(t)
	write(t, dir, "www/file.txt", "static\n")
	write(t, dir, "www/fine.cgi", okScript)
	const size = 40 << 20
	write(t, dir, "www/big", strings.Repeat("x", size))
	page, local := "127.0.0.1:"+freePort(), filepath.Join(dir, "web.sock")
	addr := "127.0.0.1:" + freePort()
	s := startRelease(t, dir, fmt.Sprintf("listen = [%q, %q]\nstatus.listen = %q\n", addr, "unix:"+local, page)+head, scripted("max = 3\nqueue = 200\n"))
	s.addr = addr
	children := s.children()
	if len(children) != 3 {
		t.Fatalf("children %v", children)
	}

	download, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer download.Close()
	fmt.Fprintf(download, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
	in := bufio.NewReader(download)
	big, err := http.ReadResponse(in, nil)
	if err != nil || big.StatusCode != 200 {
		t.Fatal(big, err)
	}
	var idle []*keepClient
	for range 30 {
		k := &keepClient{addr: s.addr}
		defer k.close()
		if a, err := k.get("/file.txt"); err != nil || a.StatusCode != 200 {
			t.Fatal(a, err)
		}
		idle = append(idle, k)
	}
	busyAnswer := make(chan *httpAnswer, 1)
	go func() {
		a, err := httpRequest{target: "/app?sleep=2s"}.send("tcp", s.addr)
		if err != nil {
			t.Error(err)
		}
		busyAnswer <- a
	}()
	if !waitFor(startWait, func() bool { return busy(s.status(), "app") == 1 }) {
		t.Fatal("no child is busy")
	}
	load := s.traffic(6, "/app", "/file.txt", "/fine.cgi", "/app?sleep=3ms")
	time.Sleep(300 * time.Millisecond)

	install(t, dir, next, "")
	if got, want := s.upgrade(), "1.0.0 -> 2.0.0\ngeneration 2\nnothing has changed\n"; got != want {
		t.Errorf("upgrade says %q, want %q", got, want)
	}
	st := s.status()
	if st.Version != "2.0.0" || st.PID != s.pid() || st.Generation != 2 {
		t.Errorf("version %s, pid %d, generation %d", st.Version, st.PID, st.Generation)
	}
	if len(busyAnswer) > 0 {
		t.Error("the busy child has answered already")
	}
	if a := <-busyAnswer; a == nil || a.StatusCode != 200 || !slices.Contains(children, a.pid(t)) {
		t.Errorf("the busy child answers %v", a)
	}
	time.Sleep(200 * time.Millisecond)
	load.end()
	s.sameChildren(children)
	for i, k := range idle {
		if a, err := k.get("/file.txt"); err != nil || a.StatusCode != 200 {
			t.Fatalf("idle connection %d: %v, %v", i, a, err)
		}
	}
	if n, err := io.Copy(io.Discard, big.Body); n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
	if a, err := (httpRequest{target: "/app"}).send("unix", local); err != nil || a.StatusCode != 200 {
		t.Errorf("%v, %v", a, err)
	}
	if a, err := (httpRequest{target: "/status.json"}).send("tcp", page); err != nil || !strings.Contains(a.body, `"2.0.0"`) {
		t.Errorf("%v, %v", a, err)
	}
	for _, c := range appOf(s.status(), "app").Children {
		if c.State != "ready" || c.Restarts != 0 || c.AgeSeconds < 2 {
			t.Errorf("child %+v", c)
		}
	}
	// The new master looks after them.
	syscall.Kill(children[0], syscall.SIGKILL)
	if !waitFor(stopWait, func() bool { c := s.children(); return len(c) == 3 && !slices.Contains(c, children[0]) }) {
		t.Errorf("children %v, were %v", s.children(), children)
	}
	s.get(200, "/app")
	s.reload()
	s.settled()
	if sem, _ := filepath.Glob(filepath.Join(s.dir, "run/accept.sem*")); len(sem) > 1 {
		t.Errorf("semaphores %q", sem)
	}
	s.nothingLeft()
	if _, err := os.Stat(local); err == nil {
		t.Error("the unix socket is left")
	}
}

// What cannot take over changes nothing.
func TestUpgradeRefused(t *testing.T) {
	dir := withSite(t)
	s := startRelease(t, dir, "", scripted("max = 2"))
	workers, children := s.workers(), s.children()
	good, err := os.ReadFile(filepath.Join(dir, "sluice.toml"))
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "bin/sluice")
	for _, c := range []struct{ name, from, text, config, want string }{
		{"exits", "", "#!/bin/sh\necho no such thing >&2\nexit 1\n", "", "it ended: exit status 1: no such thing"},
		{"says nothing", "/bin/true", "", "", "it ended without a word"},
		{"no program", "", "sluice\n", "", "exec format error"},
		{"hangs", "", "#!/bin/sh\nexec sleep 100\n", "", "it says nothing for 10s"},
		{"says no", "", "#!/bin/sh\necho '{\"Version\":\"9\",\"Error\":\"too new\"}' >&3\n", "", "too new"},
		{"goes after its trial", "", "#!/bin/sh\nrm \"$0\"\nexec " + built(t, "2.0.0") + " \"$@\"\n", "", "no such file"},
		{"bad configuration", built(t, "2.0.0"), "", "[[app", "sluice.toml:4:"},
		{"refused configuration", built(t, "2.0.0"), "", "user = \"nobody\"\n" + scripted("max = 2"), "cannot change"},
	} {
		t.Run(c.name, func(t *testing.T) {
			install(t, dir, c.from, c.text)
			if c.config != "" {
				s.configure("", c.config)
			}
			load := s.traffic(2, "/app", "/x.cgi")
			out, err := s.sluice("upgrade", "--control", filepath.Join(dir, "run/control.sock"))
			time.Sleep(200 * time.Millisecond)
			load.end()
			os.WriteFile(filepath.Join(dir, "sluice.toml"), good, 0o644)
			if err == nil || !strings.Contains(out, c.want) {
				t.Errorf("%v: %s; want %q", err, out, c.want)
			}
			st := s.status()
			if st.Version != "1.0.0" || st.Generation != 1 || !slices.Equal(s.workers(), workers) {
				t.Errorf("version %s, generation %d, workers %v, were %v", st.Version, st.Generation, s.workers(), workers)
			}
			s.sameChildren(children)
		})
	}
	install(t, dir, built(t, "2.0.0"), "")
	if err := os.Chmod(binary, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := s.sluice("upgrade", "-c", "sluice.toml"); err == nil || !strings.Contains(out, "permission denied") {
		t.Errorf("%v: %s", err, out)
	}
	os.Chmod(binary, 0o755)
	// After all that it still can.
	if out := s.upgrade(); !strings.HasPrefix(out, "1.0.0 -> 2.0.0\ngeneration 2\n") {
		t.Error(out)
	}
	s.sameChildren(children)
}

// A program that cannot take over after all, which the trial did not show, leaves
// nothing behind.
func TestUpgradeFailsBehindTrial(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"ends":           "#!/bin/sh\n[ -n \"$SLUICE_ESTATE\" ] && exit 1\nexec %s \"$@\"\n",
		"no descriptors": "#!/bin/sh\n[ -n \"$SLUICE_ESTATE\" ] && for fd in 4 5 6 7 8 9; do [ $fd = $SLUICE_ESTATE ] || eval \"exec $fd<&-\"; done\nexec %s \"$@\"\n",
		"no estate":      "#!/bin/sh\n[ -n \"$SLUICE_ESTATE\" ] && SLUICE_ESTATE=0\nexec %s \"$@\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := withSite(t)
			s := startRelease(t, dir, "", scripted("max = 2"))
			install(t, dir, "", fmt.Sprintf(text, built(t, "2.0.0")))
			all := append(s.workers(), s.children()...)
			out, err := s.sluice("upgrade", "-c", "sluice.toml")
			if err == nil {
				t.Errorf("upgrade: %s", out)
			}
			if code, err := s.wait(stopWait); err != nil || code != 1 {
				t.Errorf("status %d, %v", code, err)
			}
			if name == "no descriptors" { // it knows what there is
				for _, pid := range all {
					if alive(pid) {
						t.Errorf("process %d is left", pid)
					}
				}
				if _, err := os.Stat(filepath.Join(dir, "run")); err == nil {
					t.Error("the runtime directory is left")
				}
			}
			for _, pid := range all {
				if !waitFor(10*time.Second, func() bool { return !alive(pid) }) {
					t.Errorf("process %d is left", pid)
				}
			}
			next, err := startProcess(dir, "next", os.Environ(), "serve", "-c", "sluice.toml")
			if err != nil {
				t.Fatal(err)
			}
			if err := next.ready(); err != nil {
				t.Error(err)
			}
			next.end()
		})
	}
}

// A configuration that is broken between the trial and the exec leaves the old workers
// under the new master, and a reload makes up for it.
func TestUpgradeConfigurationChanges(t *testing.T) {
	next := built(t, "2.0.0")
	dir := withSite(t)
	s := startRelease(t, dir, "", scripted("max = 2"))
	workers, children := s.workers(), s.children()
	install(t, dir, "", "#!/bin/sh\n[ -n \"$SLUICE_ESTATE\" ] && echo '[[' >sluice.toml\nexec "+next+" \"$@\"\n")
	load := s.traffic(4, "/app", "/x.cgi")
	out, err := s.sluice("upgrade", "-c", "sluice.toml")
	time.Sleep(300 * time.Millisecond)
	load.end()
	if err == nil || !strings.Contains(out, "1.0.0 -> 2.0.0\nthe workers still run 1.0.0: ") || !strings.Contains(out, "sluice.toml:1:") {
		t.Errorf("%v: %s", err, out)
	}
	s.configure("", scripted("max = 2"))
	if st := s.status(); st.Generation != 1 || !slices.Equal(s.workers(), workers) {
		t.Errorf("generation %d, workers %v, were %v", st.Generation, s.workers(), workers)
	}
	syscall.Kill(workers[0], syscall.SIGKILL)
	if !waitFor(startWait, func() bool { w := s.workers(); return len(w) == 1 && w[0] != workers[0] }) {
		t.Errorf("workers %v, were %v", s.workers(), workers)
	}
	s.reload()
	s.settled()
	if st := s.status(); st.Version != "2.0.0" || st.Generation != 2 {
		t.Errorf("version %s, generation %d", st.Version, st.Generation)
	}
	s.sameChildren(children)
}

// Ten upgrades leave everything as it was.
func TestUpgradeOften(t *testing.T) {
	s := startSite(t, withSite(t), "status.listen = \"127.0.0.1:"+freePort()+"\"\n"+scripted("max = 2\nqueue = 200\n"))
	write(t, s.dir, "www/fine.cgi", okScript)
	load := s.traffic(4, "/app", "/fine.cgi", "/app?sleep=3ms")
	children := s.children()
	s.upgrade()
	s.settled()
	before, files := s.status(), len(descriptors(s.pid()))
	for range 10 {
		s.upgrade()
		time.Sleep(50 * time.Millisecond)
	}
	load.end()
	s.sameChildren(children)
	s.settled()
	after := s.status()
	if after.Generation != 12 || after.PID != before.PID {
		t.Errorf("generation %d", after.Generation)
	}
	if n := len(descriptors(s.pid())); n > files+1 {
		t.Errorf("%d descriptors, %d before: %q", n, files, descriptors(s.pid()))
	}
	if after.Goroutines > before.Goroutines+10 {
		t.Errorf("%d goroutines, %d before", after.Goroutines, before.Goroutines)
	}
	if after.Memory > before.Memory+before.Memory/2 {
		t.Errorf("%d bytes, %d before", after.Memory, before.Memory)
	}
	if all := childrenOf(s.pid()); len(all) != 3 {
		t.Errorf("processes %v", all)
	}
}

// Apps that scale go on with it: what was started before the upgrade ends when it
// idles, and more are started when they are wanted.
func TestUpgradeScales(t *testing.T) {
	for _, scale := range []string{"ondemand", "dynamic\"\nmin = 1\nspare = 1\n#\""} {
		s := startSite(t, withSite(t), scripted("max = 3\nidle_timeout = \"500ms\"\nscale = \""+scale+"\"\n"))
		s.get(200, "/app")
		s.upgrade()
		before := len(s.children())
		s.loadApp(3, 2500*time.Millisecond, func(int) httpRequest { return httpRequest{target: "/app?sleep=50ms"} })
		s.wantChildren(3, stopWait)
		s.upgrade()
		want := 0
		if scale != "ondemand" {
			want = 1 // and one that is spare may be
		}
		if !waitFor(stopWait, func() bool { n := len(s.children()); return n <= want+1 && n >= want && (want > 0 || n == 0) }) {
			t.Errorf("%s: %d children, %d before", scale, len(s.children()), before)
		}
		s.get(200, "/app")
	}
}

// A child that waits for its next start goes on waiting, longer and longer.
func TestUpgradeBackOff(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 1")+"[[app]]\nname = \"bad\"\nkind = \"fastcgi\"\nscale = \"static\"\nmax = 1\ncommand = [\"fcgi-child\", \"exit\"]\n")
	bad := func() string { return appOf(s.status(), "bad").Children[0].State }
	s.waitLog(t, `app=bad .*next="in [1-9]`)
	out, err := s.sluice("upgrade", "-c", "sluice.toml")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !waitFor(stopWait, func() bool { return bad() == "backoff" }) {
		t.Errorf("it is %s", bad())
	}
	// The pauses of about 0.1, 0.2 and 0.4 s go on from where they were.
	pauses := func(text string) (all []time.Duration) {
		for _, m := range regexp.MustCompile(`app=bad .*next="in (.*)"`).FindAllStringSubmatch(text, -1) {
			d, _ := time.ParseDuration(m[1])
			all = append(all, d)
		}
		return all
	}
	var before, after []time.Duration
	if !waitFor(stopWait, func() bool {
		first, second, _ := strings.Cut(s.text(), "executed in the place")
		before, after = pauses(first), pauses(second)
		return len(after) >= 2
	}) || after[1] < before[len(before)-1]*3/2 {
		t.Errorf("pauses of %v before, %v after", before, after)
	}
}

// Signals in the middle of an upgrade are not fatal.
func TestUpgradeSignals(t *testing.T) {
	t.Run("HUP", func(t *testing.T) {
		s := startSite(t, withSite(t), scripted("max = 1"))
		for range 8 {
			generation := s.status().Generation
			s.cmd.Process.Signal(syscall.SIGUSR2)
			time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
			for range 3 {
				s.cmd.Process.Signal(syscall.SIGHUP)
				time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
			}
			if !waitFor(startWait, func() bool { return s.status().Generation >= generation+1 }) {
				t.Fatalf("generation %d after %d", s.status().Generation, generation)
			}
			time.Sleep(300 * time.Millisecond)
			generation = s.status().Generation
			s.cmd.Process.Signal(syscall.SIGHUP)
			if !waitFor(startWait, func() bool { return s.status().Generation > generation }) {
				t.Fatal("a HUP behind it is not heard")
			}
		}
	})
	// Within a few milliseconds TERM ends the server as SIGKILL does.
	t.Run("TERM", func(t *testing.T) {
		late := 0
		for range 8 {
			dir := withSite(t)
			s := startSite(t, dir, scripted("max = 1"))
			s.cmd.Process.Signal(syscall.SIGUSR2)
			time.Sleep(time.Duration(rand.IntN(120)) * time.Millisecond)
			s.cmd.Process.Signal(syscall.SIGTERM)
			code, err := s.wait(500 * time.Millisecond)
			if err != nil { // it was ignored
				late++
				s.cmd.Process.Signal(syscall.SIGTERM)
				code, err = s.wait(stopWait)
			}
			switch {
			case err == nil && code == -1:
				late++
			case err != nil || code != 0:
				t.Fatalf("status %d, %v", code, err)
			default:
				if _, err := os.Stat(filepath.Join(dir, "run")); err == nil {
					t.Error("the runtime directory is left")
				}
			}
		}
		if late > 4 {
			t.Errorf("%d of 8 came in the wrong moment", late)
		}
	})
}

// Two upgrades, and a reload, at the same time are carried out one after the other.
func TestUpgradeTogether(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 1"))
	for range 3 {
		generation := s.status().Generation
		var all sync.WaitGroup
		for _, command := range []string{"upgrade", "reload", "upgrade", "status"} {
			all.Go(func() {
				if out, err := s.sluice(command, "-c", "sluice.toml"); err != nil {
					t.Errorf("%s: %v\n%s", command, err, out)
				}
			})
		}
		all.Wait()
		if got := s.status().Generation; got != generation+3 {
			t.Errorf("generation %d after %d", got, generation)
		}
	}
}

// A server that is being stopped is not upgraded.
func TestUpgradeWhileStopping(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 1"))
	s.background("/app?sleep=3s")
	if !waitFor(startWait, func() bool { return busy(s.status(), "app") == 1 }) {
		t.Fatal("no child is busy")
	}
	s.cmd.Process.Signal(syscall.SIGQUIT)
	s.waitLog(t, "msg=stopping")
	if out, err := s.sluice("upgrade", "-c", "sluice.toml"); err == nil || !strings.Contains(out, "being stopped") {
		t.Errorf("%v: %s", err, out)
	}
	if code, err := s.wait(stopWait); err != nil || code != 0 {
		t.Errorf("status %d, %v", code, err)
	}
}

// A master that is killed after an upgrade leaves nothing for longer than 10 s.
func TestUpgradeMasterKilled(t *testing.T) {
	t.Parallel()
	dir := withSite(t)
	s := startSite(t, dir, "accept.mode = \"sysvsem\"\nworkers = 2\n"+scripted("max = 2"))
	s.background("/app?sleep=60s")
	s.upgrade()
	s.upgrade()
	all := append(s.workers(), s.children()...)
	if len(all) < 4 {
		t.Fatalf("processes %v", all)
	}
	s.cmd.Process.Kill()
	for _, pid := range all {
		if !waitFor(10*time.Second, func() bool { return !alive(pid) }) {
			t.Errorf("process %d is alive 10 s after the master's death", pid)
		}
	}
	next, err := startProcess(dir, "next", os.Environ(), "serve", "-c", "sluice.toml")
	if err != nil {
		t.Fatal(err)
	}
	defer next.end()
	if err := next.ready(); err != nil {
		t.Error(err)
	}
	if sem, _ := filepath.Glob(filepath.Join(dir, "run/accept.sem*")); len(sem) != 1 {
		t.Errorf("semaphores %q", sem)
	}
}

// A worker and a child that die in the middle of it are found, and replaced.
func TestUpgradeDeaths(t *testing.T) {
	s := startSite(t, withSite(t), "workers = 2\n"+scripted("max = 2"))
	for range 5 {
		s.cmd.Process.Signal(syscall.SIGUSR2)
		generation := s.status().Generation
		time.Sleep(time.Duration(rand.IntN(80)) * time.Millisecond)
		for _, pid := range []int{s.workers()[0], s.children()[0]} {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		if !waitFor(startWait, func() bool {
			st := s.status()
			return st.Generation > generation && len(s.workers()) == 2 && len(s.children()) == 2
		}) {
			t.Fatalf("workers %v, children %v, %+v", s.workers(), s.children(), s.status())
		}
		s.settled()
		s.get(200, "/app")
		s.get(200, "/x.cgi")
	}
}

// Scripts of other users, which the master has started, go on; and those that are
// asked for meanwhile are started.
func TestUpgradeForeignScripts(t *testing.T) {
	asRoot(t)
	dir := withSite(t)
	write(t, dir, "www/long.cgi", "#!/bin/sh\nsleep 2\nprintf 'Content-Type: text/plain\\n\\n%s\\n' \"$(id -un) $(umask) $(grep NoNewPrivs /proc/self/status | tr -dc 01)\"\n")
	write(t, dir, "www/short.cgi", okScript)
	s := startSite(t, dir, "user = \"www-data\"\nstop_timeout = \"5s\"\n"+
		strings.Replace(scripted("max = 1"), "kind = \"cgi\"", "kind = \"cgi\"\nuser = \"games\"\numask = \"0027\"", 1))
	for range 2 {
		answer := make(chan *httpAnswer, 1)
		go func() {
			a, err := httpRequest{target: "/long.cgi"}.send("tcp", s.addr)
			if err != nil {
				t.Error(err)
			}
			answer <- a
		}()
		load := s.traffic(3, "/short.cgi")
		time.Sleep(300 * time.Millisecond)
		s.upgrade()
		s.upgrade()
		time.Sleep(100 * time.Millisecond)
		load.end()
		if a := <-answer; a == nil || a.StatusCode != 200 || a.body != "games 0027 1\n" {
			t.Errorf("%v", a)
		}
	}
}

// A manager sees one service throughout: it reloads, with the same main process,
// and keeps its sockets.
func TestUpgradeUnit(t *testing.T) {
	t.Parallel()
	dir := withSite(t)
	web := passTCP(t, "web")
	u := startUnit(t, dir, "listen = [\"systemd:web\"]\n"+scripted("max = 1"), []string{"WATCHDOG_USEC=1000000"}, web)
	u.addr = web.addr
	u.hears(`(?m)^READY=1`)
	for i := range 2 {
		u.upgrade()
		u.hears(`(?m)^RELOADING=1`)
		if text := u.hears(`(?m)^READY=1[^$]*generation ` + fmt.Sprint(i+2)); !strings.Contains(text, fmt.Sprint("MAINPID=", u.pid())) {
			t.Errorf("systemd hears %q", text)
		}
		u.hears(`(?m)^WATCHDOG=1`)
		u.get(200, "/app")
	}
}

// A demo is made of its program, and is not upgraded.
func TestUpgradeDemo(t *testing.T) {
	dir := testDir(t)
	s, err := startProcess(dir, "sluice", os.Environ(), "demo", "--listen", "127.0.0.1:"+freePort())
	if err != nil {
		t.Fatal(err)
	}
	s.endsWith(t)
	if err := s.ready(); err != nil {
		t.Fatal(err)
	}
	b, _ := os.ReadFile(s.out)
	_, control, _ := strings.Cut(string(b), "\ncontrol ")
	out, err := exec.Command("sluice", "upgrade", "--control", strings.TrimSpace(control)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "cannot be upgraded") {
		t.Errorf("%v: %s", err, out)
	}
}
