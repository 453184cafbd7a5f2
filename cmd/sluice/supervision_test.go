package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/status"
)

// sluice runs a command to its end and returns what it printed.
func (s *site) sluice(args ...string) (string, error) {
	cmd := exec.Command("sluice", args...)
	cmd.Dir = s.dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// children are the processes of the applications.
func (s *site) children() []int {
	_, children := family(s.pid())
	return children
}

// wantChildren waits until so many run.
func (s *site) wantChildren(n int, d time.Duration) {
	s.t.Helper()
	if !waitFor(d, func() bool { return len(s.children()) == n }) {
		s.t.Fatalf("%d children after %v, want %d", len(s.children()), d, n)
	}
}

// load asks from several clients at once for so long, and fails the test for
// every answer that is not 200. It returns how many it got from each child.
func (s *site) loadApp(clients int, d time.Duration, r func(i int) httpRequest) map[int]int {
	s.t.Helper()
	var mu sync.Mutex
	by := map[int]int{}
	var failed, total atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for range clients {
		wg.Go(func() {
			for time.Now().Before(end) {
				i := int(total.Add(1))
				a, err := r(i).send("tcp", s.addr)
				if err != nil || a.err != nil || a.StatusCode != 200 {
					if failed.Add(1) < 4 {
						s.t.Errorf("request %d: %v, %v", i, a, err)
					}
					continue
				}
				if m := pidLine.FindStringSubmatch(a.body); m != nil {
					mu.Lock()
					by[a.pid(s.t)]++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if failed.Load() > 0 {
		s.t.Errorf("%d of %d requests failed", failed.Load(), total.Load())
	}
	return by
}

func toApp(int) httpRequest { return httpRequest{target: "/app"} }

// getAndPost are requests that may be repeated and that may not, in turn.
func getAndPost(i int) httpRequest {
	if i%2 == 0 {
		return httpRequest{target: "/app", method: "POST", body: "x"}
	}
	return toApp(i)
}

func TestScaleOnDemand(t *testing.T) {
	s := startSite(t, withSite(t), scripted("scale = \"ondemand\"\nmax = 3\nidle_timeout = \"400ms\"\n"))
	if n := len(s.children()); n != 0 {
		t.Fatalf("%d children before any request", n)
	}
	s.get(200, "/app")
	s.wantChildren(1, time.Second)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() { s.get(200, "/app?sleep=300ms") })
	}
	s.wantChildren(3, 3*time.Second)
	wg.Wait()
	s.wantChildren(0, 5*time.Second)
	if a := s.do(httpRequest{target: "/app", method: "POST", body: "x"}); a.StatusCode != 200 {
		t.Errorf("the first request after all have gone: %s", a.Status)
	}
}

func TestScaleDynamic(t *testing.T) {
	s := startSite(t, withSite(t), scripted("scale = \"dynamic\"\nmin = 1\nmax = 4\nspare = 1\nidle_timeout = \"500ms\"\n"))
	s.wantChildren(1, time.Second)
	var wg sync.WaitGroup
	wg.Go(func() { s.get(200, "/app?sleep=1500ms") })
	s.wantChildren(2, time.Second) // one that is busy, and the spare one
	for range 6 {
		wg.Go(func() { s.get(200, "/app?sleep=1200ms") })
	}
	s.wantChildren(4, 4*time.Second)
	wg.Wait()
	s.wantChildren(1, 5*time.Second)
}

// No child gets more than its max_requests, and nobody notices that it goes.
func TestMaxRequests(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 3\nmax_requests = 10\n"))
	by := s.loadApp(8, 3*time.Second, getAndPost)
	full := 0
	for pid, n := range by {
		if n > 10 {
			t.Errorf("child %d has answered %d times", pid, n)
		}
		if n == 10 {
			full++
		}
	}
	if len(by) < 6 || full < len(by)-3-len(by)/20 { // those of the end, and one whose request went elsewhere
		t.Errorf("%d children, %d of them to the full: %v", len(by), full, by)
	}
}

func TestMaxAge(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 2\nmax_age = \"500ms\"\n"))
	if by := s.loadApp(4, 3*time.Second, getAndPost); len(by) < 6 {
		t.Errorf("%d children answered in six times their age", len(by))
	}
	// A child that computes is not interrupted.
	s.get(200, "/app?sleep=1200ms")
}

// A child is retired when its process tree is too large, after its request.
func TestMaxMemory(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 1\nmax_memory = \"200MiB\"\n"))
	first := s.get(200, "/app").pid(t)
	if got := s.get(200, "/app?grow=300&sleep=2500ms").pid(t); got != first {
		t.Fatalf("child %d answers, want %d", got, first)
	}
	if !waitFor(4*time.Second, func() bool { return !alive(first) }) {
		t.Fatal("the child that grew is alive")
	}
	if got := s.get(200, "/app").pid(t); got == first {
		t.Error("an answer from the child that grew")
	}
	s.waitLog(t, fmt.Sprintf(`max_memory.*pid=%d|pid=%d.*max_memory`, first, first))
}

// Children that are killed under load, busy or idle: a GET is repeated on
// another child, so nothing is lost. It is repeated once, so the next child is
// not killed before all are at work again: it might have the same request.
func TestChildrenKilledUnderLoad(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 4\n"))
	var load sync.WaitGroup
	end := time.Now().Add(4 * time.Second)
	load.Go(func() { s.loadApp(2, time.Until(end), toApp) })
	kills := 0
	for time.Now().Before(end) {
		if all := atWork(s.status(), "app"); len(all) == 4 {
			syscall.Kill(all[rand.IntN(len(all))], []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL}[kills%2])
			kills++
		}
		time.Sleep(20 * time.Millisecond)
	}
	load.Wait()
	if kills < 8 {
		t.Errorf("only %d kills", kills)
	}
}

// atWork are the children that wait for requests or answer one.
func atWork(st *status.Status, app string) (pids []int) {
	for _, c := range appOf(st, app).Children {
		if c.State == "ready" && c.PID > 0 {
			pids = append(pids, c.PID)
		}
	}
	return pids
}

func TestRestart(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 3\n"))
	before := s.children()
	var wg sync.WaitGroup
	wg.Go(func() { s.loadApp(4, 2*time.Second, getAndPost) })
	time.Sleep(300 * time.Millisecond)
	out, err := s.sluice("restart", "-c", "sluice.toml", "app")
	if err != nil || !strings.Contains(out, "3") {
		t.Errorf("restart: %v, %q", err, out)
	}
	for _, pid := range s.children() {
		if slices.Contains(before, pid) {
			t.Errorf("child %d was there before the restart", pid)
		}
	}
	wg.Wait()
	for _, app := range []string{"nobody", "scripts"} {
		if out, err := s.sluice("restart", "-c", "sluice.toml", app); err == nil || !strings.Contains(out, app) {
			t.Errorf("restart of %s: %v, %q", app, err, out)
		}
	}
}

// A child whose connection is kept waits for its next request there and not in
// accept: it is ready all the same, so a restart goes on at once.
func TestRestartOfKeptConnections(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 2\n"))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				httpRequest{target: "/app"}.send("tcp", s.addr)
			}
		}
	}()
	for range 5 {
		begin := time.Now()
		if out, err := s.sluice("restart", "-c", "sluice.toml", "app"); err != nil || time.Since(begin) > 4*time.Second {
			t.Errorf("restart: %v after %v, %q", err, time.Since(begin), out)
		}
	}
	close(stop)
	<-done
}

// workers are the processes of the workers.
func (s *site) workers() (all []int) {
	for _, pid := range childrenOf(s.pid()) {
		if isWorker(pid) {
			all = append(all, pid)
		}
	}
	return all
}

// Any worker uses any child, one connection at a time.
func TestSeveralWorkers(t *testing.T) {
	s := startSite(t, withSite(t), "workers = 3\n"+scripted("max = 2\n"))
	if n := len(s.workers()); n != 3 {
		t.Fatalf("%d workers", n)
	}
	by := s.loadApp(12, 2*time.Second, getAndPost)
	if len(by) != 2 {
		t.Errorf("answers from %v, want two children", by)
	}
	st := s.status()
	served := 0
	for _, w := range st.Workers {
		if w.State == "running" && w.Requests > 0 {
			served++
		}
	}
	if len(st.Workers) != 3 || served < 2 {
		t.Errorf("workers %+v", st.Workers)
	}
}

// max scripts at once over all workers.
func TestScriptsOverWorkers(t *testing.T) {
	dir := withSite(t)
	write(t, dir, "www/count.cgi", `#!/bin/sh
echo + >>log
sleep 0.05
echo - >>log
printf 'Content-Type: text/plain\n\nok\n'
`)
	s := startSite(t, dir, "workers = 3\n"+strings.Replace(scripted("max = 1"), `kind = "cgi"`, "kind = \"cgi\"\nmax = 2", 1))
	s.loadApp(10, 2*time.Second, func(int) httpRequest { return httpRequest{target: "/count.cgi"} })
	text, err := os.ReadFile(filepath.Join(dir, "www/log"))
	if err != nil {
		t.Fatal(err)
	}
	now, most := 0, 0
	for _, l := range strings.Fields(string(text)) {
		if l == "+" {
			now++
		} else {
			now--
		}
		most = max(most, now)
	}
	if most != 2 || len(text) < 40 {
		t.Errorf("%d scripts at once, want 2; %d lines", most, len(text)/2)
	}
}

// Workers that are killed at any moment: the children stay, what the dead held
// is given back, and those who wait elsewhere are served.
func TestWorkersKilledUnderLoad(t *testing.T) {
	s := startSite(t, withSite(t), "workers = 2\n"+scripted("max = 2\nqueue = 200\n"))
	children := s.children()
	stop, done := make(chan struct{}), make(chan struct{})
	var lost, total atomic.Int64
	for range 8 {
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				select {
				case <-stop:
					return
				default:
				}
				total.Add(1)
				a, err := httpRequest{target: "/app?sleep=2ms"}.send("tcp", s.addr)
				if err != nil || a.err != nil {
					lost.Add(1) // its worker was killed
				} else if a.StatusCode != 200 {
					t.Errorf("%s\n%s", a.Status, a.body)
				}
			}
		}()
	}
	const kills = 12
	for range kills {
		time.Sleep(250 * time.Millisecond)
		if w := s.workers(); len(w) > 0 {
			syscall.Kill(w[rand.IntN(len(w))], syscall.SIGKILL)
		}
	}
	close(stop)
	for range 8 {
		<-done
	}
	if n := lost.Load(); n > 8*kills || total.Load() < 200 {
		t.Errorf("%d of %d requests lost by %d kills", n, total.Load(), kills)
	}
	if got := s.children(); !slices.Equal(got, children) {
		t.Errorf("children %v, were %v", got, children)
	}
	if !waitFor(5*time.Second, func() bool { return len(s.workers()) == 2 }) {
		t.Errorf("workers %v", s.workers())
	}
	s.loadApp(4, 500*time.Millisecond, getAndPost)
	if q := appOf(s.status(), "app").Queue; q.Waiting != 0 || q.Refused != 0 {
		t.Errorf("queue %+v", q)
	}
}

// While an app is in back-off it answers at once, and others know nothing of it.
func TestBackOffAnswersAtOnce(t *testing.T) {
	s := startSite(t, withSite(t), "workers = 2\n"+scripted("scale = \"dynamic\"\nmax = 2\n")+`
[[site.route]]
match = "/bad"
app = "bad"
[[app]]
name = "bad"
kind = "fastcgi"
command = ["fcgi-child", "exit"]
max = 4
`)
	if !waitFor(10*time.Second, func() bool {
		a := s.do(httpRequest{target: "/bad"})
		return a.StatusCode == 503 && a.Header.Get("Retry-After") != "" && a.took < 100*time.Millisecond
	}) {
		t.Error("no 503 with Retry-After at once")
	}
	// Thousands of refusals do not fill the log.
	refused := 0
	for range 200 {
		if s.do(httpRequest{target: "/bad"}).StatusCode == 503 {
			refused++
		}
	}
	s.waitLog(t, `more requests were refused.*app=bad requests=\d+`)
	if lines := strings.Count(s.text(), `msg="no child"`); lines > refused/2 || refused < 100 {
		t.Errorf("%d lines about %d refusals", lines, refused)
	}
	s.loadApp(2, time.Second, toApp)
}

// A child that is stopped by a signal is replaced after header_timeout.
func TestStoppedChildIsReplaced(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 1\nheader_timeout = \"500ms\"\nstop_grace = \"300ms\"\n"))
	first := s.get(200, "/app").pid(t)
	syscall.Kill(first, syscall.SIGSTOP)
	if a := s.do(httpRequest{target: "/app"}); a.StatusCode != 504 || a.took > 2*time.Second {
		t.Errorf("%s after %v", a.Status, a.took)
	}
	if got := s.get(200, "/app").pid(t); got == first {
		t.Error("an answer from the child that hung")
	}
}

// Children that exit by themselves after every answer, under load: a request that
// went into a kept connection which nobody read goes elsewhere, as often as it
// takes.
func TestExitsAfterEveryAnswer(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 4\n"))
	by := s.loadApp(8, 3*time.Second, func(i int) httpRequest {
		r := getAndPost(i)
		r.target += "?do=exit"
		return r
	})
	if len(by) < 20 {
		t.Errorf("only %d children", len(by))
	}
}

// A script ends with its worker, and what it has started as well.
func TestScriptsEndWithTheirWorker(t *testing.T) {
	dir := withSite(t)
	write(t, dir, "www/long.cgi", "#!/bin/sh\nsleep 300 &\necho $$ $! >pids\nsleep 300\n")
	s := startSite(t, dir, scripted("max = 1"))
	go httpRequest{target: "/long.cgi"}.send("tcp", s.addr)
	file := filepath.Join(dir, "www/pids")
	if err := waitText(file, `\d+ \d+\n`, logWait); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(file)
	var script, started int
	if _, err := fmt.Sscan(string(text), &script, &started); err != nil {
		t.Fatal(err)
	}
	syscall.Kill(s.workers()[0], syscall.SIGKILL)
	for _, pid := range []int{script, started} {
		if !waitFor(3*time.Second, func() bool { return !alive(pid) }) {
			t.Errorf("process %d (script %d, started by it %d) outlives the worker", pid, script, started)
		}
	}
	s.get(200, "/x.cgi")
}

// Children do not interrupt the front end that wakes them; the front end is what
// it was.
func TestChildrenAreBatch(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 1\n"))
	policy := func(pid int) uint32 {
		a, err := unix.SchedGetAttr(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		return a.Policy
	}
	if p := policy(s.get(200, "/app").pid(t)); p != unix.SCHED_BATCH {
		t.Errorf("policy %d of the child", p)
	}
	if p := policy(s.workers()[0]); p != unix.SCHED_NORMAL {
		t.Errorf("policy %d of the worker", p)
	}
}
