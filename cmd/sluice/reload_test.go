package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
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

	"sluice/internal/status"
)

// configure writes another configuration of the server's; head is what stands
// before it beside runtime and watch.
func (s *site) configure(head, config string) {
	s.t.Helper()
	if !strings.Contains(head, "listen") {
		head += fmt.Sprintf("listen = [%q]\n", s.addr)
	}
	write(s.t, s.dir, "next.toml", fmt.Sprintf("runtime = %q\nwatch = false\n", filepath.Join(s.dir, "run"))+head+config)
	if err := os.Rename(filepath.Join(s.dir, "next.toml"), filepath.Join(s.dir, "sluice.toml")); err != nil {
		s.t.Fatal(err)
	}
}

// reload reloads, and returns what is said of it.
func (s *site) reload() string {
	s.t.Helper()
	out, err := s.sluice("reload", "-c", "sluice.toml")
	if err != nil {
		s.t.Fatalf("reload: %v\n%s", err, out)
	}
	return out
}

// settled waits until nothing is left of earlier generations.
func (s *site) settled() {
	s.t.Helper()
	if !waitFor(stopWait, func() bool {
		st := s.status()
		return !slices.ContainsFunc(st.Workers, func(w status.Worker) bool { return w.State != "running" || w.Generation != st.Generation })
	}) {
		s.t.Fatalf("workers are left over: %+v", s.status().Workers)
	}
}

// busy counts the children of an app that have a request.
func busy(st *status.Status, app string) (n int) {
	for _, c := range appOf(st, app).Children {
		if c.Request != nil {
			n++
		}
	}
	return n
}

// sameChildren waits until the children are these.
func (s *site) sameChildren(want []int) {
	s.t.Helper()
	if !waitFor(stopWait, func() bool { return slices.Equal(s.children(), want) }) {
		s.t.Errorf("children %v, were %v", s.children(), want)
	}
}

// keepClient is a client with a connection that it keeps.
type keepClient struct {
	addr string
	c    net.Conn
	in   *bufio.Reader
}

func (k *keepClient) close() {
	if k.c != nil {
		k.c.Close()
	}
	k.c = nil
}

// get makes a request; whatever goes wrong is an error.
func (k *keepClient) get(target string) (a *httpAnswer, err error) {
	begin := time.Now()
	if k.c == nil {
		if k.c, err = net.DialTimeout("tcp", k.addr, requestWait); err != nil {
			return nil, err
		}
		k.in = bufio.NewReader(k.c)
	}
	k.c.SetDeadline(begin.Add(requestWait))
	fmt.Fprintf(k.c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target)
	res, err := http.ReadResponse(k.in, nil)
	if err != nil {
		k.close()
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	if res.Close || err != nil {
		k.close()
	}
	return &httpAnswer{Response: res, body: string(body), err: err, took: time.Since(begin)}, err
}

// traffic are clients that ask without end, some on connections that they keep,
// some on a new one for each request. Nothing may go wrong.
type traffic struct {
	s       *site
	quit    chan struct{}
	all     sync.WaitGroup
	total   atomic.Int64
	failed  atomic.Int64
	longest atomic.Int64 // nanoseconds
}

func (s *site) traffic(clients int, targets ...string) *traffic {
	l := &traffic{s: s, quit: make(chan struct{})}
	for i := range clients {
		l.all.Go(func() {
			k := &keepClient{addr: s.addr}
			defer k.close()
			for n := i; ; n++ {
				select {
				case <-l.quit:
					return
				default:
				}
				if i%2 == 0 {
					k.close()
				}
				target := targets[n%len(targets)]
				a, err := k.get(target)
				l.total.Add(1)
				if err != nil || a.StatusCode != 200 {
					if l.failed.Add(1) < 4 {
						s.t.Errorf("%s: %v, %v", target, a, err)
					}
					continue
				}
				for old := l.longest.Load(); int64(a.took) > old && !l.longest.CompareAndSwap(old, int64(a.took)); {
					old = l.longest.Load()
				}
				time.Sleep(time.Duration(i) * time.Millisecond)
			}
		})
	}
	return l
}

// end ends the traffic and says how it went.
func (l *traffic) end() {
	l.s.t.Helper()
	close(l.quit)
	l.all.Wait()
	l.s.t.Logf("%d requests, %d failed, the longest took %v", l.total.Load(), l.failed.Load(), time.Duration(l.longest.Load()))
	if l.failed.Load() > 0 || l.total.Load() < 50 {
		l.s.t.Errorf("%d of %d requests failed", l.failed.Load(), l.total.Load())
	}
}

// Ten reloads under load, in several modes: no request fails, children stay, and
// nothing is left behind.
func TestReloadUnderLoad(t *testing.T) {
	for name, head := range map[string]string{
		"one worker": "", "two workers": "workers = 2\n", "a lock": "workers = 2\naccept.mode = \"posixsem\"\n",
		"sysvsem":   "workers = 2\naccept.mode = \"sysvsem\"\n",
		"exclusive": "workers = 3\naccept.mode = \"exclusive\"\n", "reuseport": "workers = 2\naccept.mode = \"reuseport\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := startSite(t, withSite(t), head+scripted("max = 2\nqueue = 200\n"))
			write(t, s.dir, "www/file.txt", "static\n")
			write(t, s.dir, "www/fine.cgi", okScript)
			load := s.traffic(6, "/app", "/file.txt", "/fine.cgi", "/app?sleep=3ms")
			time.Sleep(200 * time.Millisecond)
			children := s.children()
			before := len(descriptors(s.pid()))
			for range 10 {
				s.reload()
				time.Sleep(100 * time.Millisecond)
			}
			load.end()
			s.sameChildren(children)
			s.settled()
			st := s.status()
			if st.Generation != 11 {
				t.Errorf("generation %d", st.Generation)
			}
			if after := len(descriptors(s.pid())); after > before+1 {
				t.Errorf("%d descriptors, %d before: %q", after, before, descriptors(s.pid()))
			}
			if st.Goroutines > 80 {
				t.Errorf("%d goroutines", st.Goroutines)
			}
			if q := appOf(st, "app").Queue; q.Refused != 0 || q.Waiting != 0 {
				t.Errorf("queue %+v", q)
			}
			if sem, _ := filepath.Glob(filepath.Join(s.dir, "run/accept.sem*")); len(sem) > 1 {
				t.Errorf("semaphores %q", sem)
			}
		})
	}
}

// An idle connection survives, and its next request is answered by a new worker
// by the new configuration.
func TestReloadIdleConnection(t *testing.T) {
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			t.Parallel()
			head := fmt.Sprintf("workers = %d\n", workers)
			s := startSite(t, withSite(t), head+scripted("max = 1"))
			write(t, s.dir, "www/file.txt", "static\n")
			var idle []*keepClient
			for range 100 {
				k := &keepClient{addr: s.addr}
				defer k.close()
				if a, err := k.get("/file.txt"); err != nil || a.StatusCode != 200 {
					t.Fatal(a, err)
				}
				idle = append(idle, k)
			}
			time.Sleep(1500 * time.Millisecond) // then they have no goroutine
			for round := range 2 {
				deny := ""
				want := 200
				if round%2 == 0 {
					want, deny = 403, "[[site.route]]\nmatch = \"= /file.txt\"\ndeny = true\n"
				}
				s.configure(head, scripted("max = 1")+deny)
				s.reload()
				time.Sleep(1200 * time.Millisecond) // what was not parked is by now
				for _, k := range idle {
					a, err := k.get("/file.txt")
					if err != nil || a.StatusCode != want || a.Close {
						t.Fatalf("round %d: %v, %v", round, a, err)
					}
				}
				time.Sleep(1500 * time.Millisecond)
			}
			s.settled()
			idleNow := 0
			for _, w := range s.status().Workers {
				idleNow += w.Connections.Idle
			}
			if idleNow != len(idle) {
				t.Errorf("%d idle connections", idleNow)
			}
		})
	}
}

// A download is complete, however many reloads there are meanwhile, and status
// shows the worker that has it.
func TestReloadDownload(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 1"))
	size := 40 << 20
	write(t, s.dir, "www/big", strings.Repeat("x", size))
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
	in := bufio.NewReader(c)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	for range 3 {
		s.reload()
		io.CopyN(io.Discard, res.Body, 1<<10)
	}
	drainingOnes := 0
	for _, w := range s.status().Workers {
		if w.State == "draining" && w.Generation == 1 && w.Connections.Sending+w.Connections.Working == 1 {
			drainingOnes++
		}
	}
	if drainingOnes != 1 {
		t.Errorf("workers %+v", s.status().Workers)
	}
	rest, err := io.Copy(io.Discard, res.Body)
	if err != nil || rest != int64(size)-3<<10 {
		t.Errorf("%d more bytes, %v", rest, err)
	}
	// It idles now, and is a new worker's.
	k := &keepClient{addr: s.addr, c: c, in: in}
	time.Sleep(2500 * time.Millisecond)
	if a, err := k.get("/app"); err != nil || a.StatusCode != 200 {
		t.Errorf("%v, %v", a, err)
	}
	s.settled()
}

// What is wrong with a file is said, and nothing changes.
func TestReloadRefused(t *testing.T) {
	s := startSite(t, withSite(t), "stop_timeout = \"2s\"\n"+scripted("max = 1"))
	workers, children := s.workers(), s.children()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	free := "127.0.0.1:" + freePort()
	for name, c := range map[string]struct{ head, config, want string }{
		"not TOML":               {"", "[[app", `sluice.toml:4:`},
		"unknown key":            {"", "wrokers = 2\n" + scripted(""), `sluice.toml:4:1: `},
		"another runtime":        {"control = \"/tmp/x.sock\"\n", scripted(""), `no server at`},
		"another user":           {"user = \"nobody\"\n", scripted(""), `sluice.toml:3:8: user: cannot change`},
		"address in use":         {fmt.Sprintf("listen = [%q, %q, %q]\n", s.addr, free, other.Addr()), scripted(""), "address already in use"},
		"app that does not live": {"", strings.Replace(scripted("max = 1"), `"fcgi-child"`, `"fcgi-child", "exit"`, 1), `app "app": no child became ready`},
		"program that is none":   {"", strings.Replace(scripted(""), `"fcgi-child"`, `"no-such-program"`, 1), "no-such-program"},
		"spool":                  {"", strings.Replace(scripted(""), "[[site]]", "[[site]]\nhosts = [\"a b\"]", 1), "sluice.toml:"},
	} {
		t.Run(name, func(t *testing.T) {
			s.configure(c.head, c.config)
			out, err := s.sluice("reload", "-c", "sluice.toml")
			if err == nil || !strings.Contains(out, c.want) {
				t.Errorf("%v, %s; want %q", err, out, c.want)
			}
			for _, args := range [][]string{{"reload", "--control", filepath.Join(s.dir, "run/control.sock")}} {
				out, err := s.sluice(args...)
				want := c.want
				if name == "another runtime" {
					want = "sluice.toml:3:11: control: cannot change"
				}
				if err == nil || !strings.Contains(out, want) {
					t.Errorf("by the server: %v, %s; want %q", err, out, want)
				}
			}
			if got := s.workers(); !slices.Equal(got, workers) {
				t.Errorf("workers %v, were %v", got, workers)
			}
			s.sameChildren(children)
			s.get(200, "/app")
			if l, err := net.Listen("tcp", free); err != nil {
				t.Errorf("a listener is left open: %v", err)
			} else {
				l.Close()
			}
		})
	}
	s.configure("", scripted("max = 1"))
	s.reload()
	s.sameChildren(children)
	s.settled()
}

// A changed app gets other children, of which one is ready before the first of the
// old ones goes, and no request fails. Limits alone restart nobody.
func TestReloadApps(t *testing.T) {
	config := func(env string, more string) string {
		return scripted("env = { WHO = \"" + env + "\" }\nqueue = 200\n" + more)
	}
	s := startSite(t, withSite(t), config("a", "max = 3\n"))
	first := s.children()
	load := s.traffic(6, "/app?env=WHO", "/app?sleep=5ms")
	var most atomic.Int64
	quit := make(chan struct{})
	go func() {
		for {
			select {
			case <-quit:
				return
			default:
				most.Store(max(most.Load(), int64(len(s.children()))))
				time.Sleep(2 * time.Millisecond)
			}
		}
	}()
	// Limits: the same children, more of them, and fewer.
	s.configure("", config("a", "max = 5\nheader_timeout = \"50s\"\n"))
	s.reload()
	s.wantChildren(5, stopWait)
	for _, pid := range first {
		if !slices.Contains(s.children(), pid) {
			t.Errorf("children %v, were %v", s.children(), first)
		}
	}
	s.configure("", config("a", "max = 3\n"))
	s.reload()
	s.wantChildren(3, stopWait)
	s.sameChildren(first)
	// Another environment: others, soon.
	most.Store(0)
	s.configure("", config("b", "max = 3\n"))
	if out := s.reload(); !strings.Contains(out, "app app: restarted") {
		t.Errorf("said: %s", out)
	}
	s.get(200, "/app?env=WHO").has(t, "WHO=b")
	if !waitFor(stopWait, func() bool {
		now := s.children()
		return len(now) == 3 && !slices.ContainsFunc(now, func(pid int) bool { return slices.Contains(first, pid) })
	}) {
		t.Errorf("children %v, were %v: %+v", s.children(), first, appOf(s.status(), "app"))
	}
	if n := most.Load(); n > 3+1+2 { // scripts are none; one more than max, and who is just being counted while it ends
		t.Errorf("%d children at once", n)
	}
	close(quit)
	load.end()
	s.settled()
}

// Apps come and go.
func TestReloadAddsAndRemovesApps(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 1"))
	first := s.children()
	more := scripted("max = 1") + `
[[site.route]]
match = "/other"
app = "other"
[[app]]
name = "other"
kind = "fastcgi"
command = ["fcgi-child"]
scale = "static"
max = 2
`
	s.configure("", more)
	out := s.reload()
	if !strings.Contains(out, "app other: added") {
		t.Errorf("said: %s", out)
	}
	s.get(200, "/other").has(t, "pid=")
	s.wantChildren(3, stopWait)
	if got := s.children(); !slices.Contains(got, first[0]) {
		t.Errorf("children %v, was %v", got, first)
	}
	// While somebody still uses it, its child stays.
	slow := make(chan *httpAnswer, 1)
	go func() {
		a, _ := httpRequest{target: "/other?sleep=1s"}.send("tcp", s.addr)
		slow <- a
	}()
	if !waitFor(stopWait, func() bool { return busy(s.status(), "other") == 1 }) {
		t.Fatal("nobody is at work")
	}
	s.configure("", scripted("max = 1"))
	s.reload()
	s.get(404, "/other")
	if a := <-slow; a == nil || a.StatusCode != 200 {
		t.Errorf("the request in progress: %+v", a)
	}
	s.wantChildren(1, stopWait)
	if got := s.children(); !slices.Equal(got, first) {
		t.Errorf("children %v, were %v", got, first)
	}
	s.settled()
	if st := s.status(); len(st.Apps) != 2 {
		t.Errorf("apps %+v", st.Apps)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "run/children/*")); len(left) != 1 {
		t.Errorf("sockets %q", left)
	}
}

// Listeners open, close and change, without a failed request at the one that stays.
func TestReloadListeners(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 1"))
	second := "127.0.0.1:" + freePort()
	unix := filepath.Join(s.dir, "web.sock")
	load := s.traffic(4, "/app")
	for range 3 {
		s.configure(fmt.Sprintf("listen = [%q, %q]\n", second, s.addr), "[[listener]]\naddress = \"unix:web.sock\"\nmode = \"0666\"\n"+scripted("max = 1"))
		out := s.reload()
		if !strings.Contains(out, "listener "+second+": opened") {
			t.Errorf("said: %s", out)
		}
		for network, at := range map[string]string{"tcp": second, "unix": unix} {
			if a, err := (httpRequest{target: "/app"}).send(network, at); err != nil || a.StatusCode != 200 {
				t.Errorf("%s: %v, %v", at, a, err)
			}
		}
		s.configure("listen = [\"unix:web.sock\"]\n", "[[listener]]\naddress = \""+s.addr+"\"\nbacklog = 17\n"+scripted("max = 1"))
		s.reload()
		if c, err := net.Dial("tcp", second); err == nil {
			c.Close()
			t.Error("the listener is still open")
		}
		if fi, err := os.Stat(unix); err != nil || fi.Mode().Perm() != 0o660 {
			t.Errorf("%v, %v", fi, err)
		}
		if n := backlogOf(t, s.addr); n != 17 {
			t.Errorf("backlog %d", n)
		}
		s.configure("", scripted("max = 1"))
		s.reload()
		if _, err := os.Stat(unix); err == nil {
			t.Error("the unix socket is left")
		}
	}
	load.end()
	s.settled()
}

// backlogOf is the length of a listener's queue, as the kernel has it.
func backlogOf(t *testing.T, addr string) int {
	t.Helper()
	out, err := execOutput("ss", "-Hltn", "src", addr)
	if err != nil {
		t.Fatal(err)
	}
	var state string
	var queued, backlog int
	fmt.Sscan(out, &state, &queued, &backlog)
	return backlog
}

// Other modes, and other numbers of workers, of whom each has a socket of its own
// or not: new connections all the time, and none is reset.
func TestReloadAcceptModes(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 2\nqueue = 200"))
	write(t, s.dir, "www/fine.cgi", okScript)
	load := s.traffic(8, "/app", "/fine.cgi")
	for range 2 {
		for _, head := range []string{"workers = 3\naccept.mode = \"reuseport\"\n", "workers = 2\naccept.mode = \"reuseport\"\n", "workers = 4\naccept.mode = \"reuseport\"\n",
			"workers = 2\naccept.mode = \"flock\"\n", "accept.mode = \"reuseport\"\n", "workers = 2\naccept.mode = \"exclusive\"\n", ""} {
			s.configure(head, scripted("max = 2\nqueue = 200"))
			s.reload()
			time.Sleep(50 * time.Millisecond)
		}
	}
	load.end()
	s.settled()
	if n := len(s.workers()); n != 1 {
		t.Errorf("%d workers", n)
	}
}

// A bound for those that drain, by the newest configuration.
func TestReloadDrainTimeout(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 1"))
	write(t, s.dir, "www/big", strings.Repeat("x", 30<<20))
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	s.configure("drain_timeout = \"1s\"\n", scripted("max = 1"))
	begin := time.Now()
	s.reload()
	s.settled()
	if took := time.Since(begin); took < time.Second {
		t.Errorf("cut after %v", took)
	}
	if _, err := io.Copy(io.Discard, res.Body); err == nil {
		t.Error("the download is complete")
	}
	s.waitLog(t, "cut off by drain_timeout")
	s.get(200, "/app")
}

// Workers that are killed in the middle of it: there is always one of the newest
// generation, and clients lose what the dead had and no more.
func TestReloadAndKill(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 2\nqueue = 100"))
	children := s.children()
	var lost, total atomic.Int64
	quit := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			k := &keepClient{addr: s.addr}
			defer k.close()
			for {
				select {
				case <-quit:
					return
				default:
				}
				total.Add(1)
				if a, err := k.get("/app"); err != nil {
					lost.Add(1)
				} else if a.StatusCode != 200 {
					t.Errorf("%s", a.Status)
				}
			}
		})
	}
	const kills = 20
	for i := range kills {
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.sluice("reload", "-c", "sluice.toml") // fails when the new worker is killed first
		}()
		time.Sleep(time.Duration(i*4) * time.Millisecond)
		if w := s.workers(); len(w) > 0 {
			syscall.Kill(w[i%len(w)], syscall.SIGKILL)
		}
		<-done
	}
	close(quit)
	all.Wait()
	s.settled()
	if n := lost.Load(); n > 4*kills*2 || total.Load() < 100 {
		t.Errorf("%d of %d lost", n, total.Load())
	}
	if got := s.children(); !slices.Equal(got, children) {
		t.Errorf("children %v, were %v", got, children)
	}
	if n := len(s.workers()); n != 1 {
		t.Errorf("%d workers", n)
	}
	s.loadApp(4, 300*time.Millisecond, getAndPost)
}

// A stop waits for those that drain, within its time; one at once does not.
func TestStopWhileDraining(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args  []string
		whole bool
	}{"stop": {[]string{"stop"}, true}, "now": {[]string{"stop", "--now"}, false}} {
		t.Run(name, func(t *testing.T) {
			s := startSite(t, withSite(t), scripted("max = 1"))
			answer := make(chan *httpAnswer, 1)
			go func() {
				a, err := httpRequest{target: "/app?sleep=2s"}.send("tcp", s.addr)
				if err != nil {
					a = nil
				}
				answer <- a
			}()
			if !waitFor(stopWait, func() bool { return busy(s.status(), "app") == 1 }) {
				t.Fatal("nobody is at work")
			}
			s.reload()
			s.reload()
			if out, err := s.sluice(append(c.args, "-c", "sluice.toml")...); err != nil {
				t.Fatal(err, out)
			}
			if code, err := s.wait(stopWait); code != 0 || err != nil {
				t.Errorf("status %d, %v", code, err)
			}
			if a := <-answer; (a != nil && a.StatusCode == 200 && a.err == nil) != c.whole {
				t.Errorf("answer %+v, want whole: %v", a, c.whole)
			}
			if _, err := os.Stat(filepath.Join(s.dir, "run")); err == nil {
				t.Error("the runtime directory is left")
			}
		})
	}
}

// The next hour belongs to the next configuration: SIGHUP does the same, and says
// what it has changed or why not.
func TestReloadBySignal(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 1"))
	s.configure("", "limits.keepalive_requests = 7\n"+scripted("max = 1"))
	syscall.Kill(s.pid(), syscall.SIGHUP)
	s.waitLog(t, `reload change="limits.keepalive_requests: 0 -> 7 .*sluice.toml:4:29`)
	s.configure("", "nonsense = 1\n"+scripted("max = 1"))
	syscall.Kill(s.pid(), syscall.SIGHUP)
	s.waitLog(t, `reload failed, nothing has changed.*sluice.toml:4:1: `)
	s.get(200, "/app")
}

// A client has as many connections as it may have, over all generations, and
// those that idle count in the new one.
func TestReloadKeepsSeats(t *testing.T) {
	s := startSite(t, withSite(t), "limits.per_client = 2\n"+scripted("max = 1"))
	s.configure("limits.per_client = 2\n", scripted("max = 1"))
	first, second := &keepClient{addr: s.addr}, &keepClient{addr: s.addr}
	defer first.close()
	defer second.close()
	for range 3 {
		for _, k := range []*keepClient{first, second} {
			if a, err := k.get("/app"); err != nil || a.StatusCode != 200 || a.Close {
				t.Fatal(a, err)
			}
		}
		time.Sleep(1500 * time.Millisecond)
		s.reload()
		s.settled()
		third := &keepClient{addr: s.addr}
		if a, err := third.get("/app"); err != nil || a.StatusCode != 503 {
			t.Errorf("a third connection: %v, %v", a, err)
		}
		third.close()
	}
	first.close()
	if !waitFor(stopWait, func() bool {
		third := &keepClient{addr: s.addr}
		defer third.close()
		a, err := third.get("/app")
		return err == nil && a.StatusCode == 200
	}) {
		t.Error("a seat is not free again")
	}
}

// Scripts go on behind a reload, whoever starts them; what a script does behind
// its answer, too.
func TestReloadWithScripts(t *testing.T) {
	dir := testDir(t)
	os.Chmod(dir, 0o777)
	write(t, dir, "www/slow.cgi", "#!/bin/sh\nsleep 1\nprintf 'Content-Type: text/plain\\n\\ndone\\n'\n")
	write(t, dir, "www/behind.cgi", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nok\\n'\nexec >&-\nsleep 1\necho yes >"+dir+"/behind\n")
	other, who := "", ""
	if os.Geteuid() == 0 {
		who, other = "user = \"nobody\"\n", "user = \"games\"\n"
	}
	config := who + "[[app]]\nname = \"scripts\"\nkind = \"cgi\"\n" + other + `
[[site]]
root = "www"
[[site.route]]
match = "*.cgi"
app = "scripts"
`
	s := startSite(t, dir, config)
	answers := make(chan *httpAnswer, 4)
	for range cap(answers) {
		go func() {
			a, err := httpRequest{target: "/slow.cgi"}.send("tcp", s.addr)
			if err != nil {
				t.Error(err)
			}
			answers <- a
		}()
	}
	if !waitFor(stopWait, func() bool { return busy(s.status(), "scripts") == cap(answers) }) {
		t.Fatal("the scripts do not run")
	}
	s.get(200, "/behind.cgi")
	s.reload()
	s.get(200, "/slow.cgi").has(t, "done")
	for range cap(answers) {
		if a := <-answers; a == nil || a.StatusCode != 200 || a.body != "done\n" {
			t.Errorf("%+v", a)
		}
	}
	s.settled()
	if _, err := os.Stat(filepath.Join(dir, "behind")); err != nil {
		t.Errorf("what a script did behind its answer: %v", err)
	}
}

// Logs go where the new configuration wants them, and the scoreboard stays where
// it is.
func TestReloadLogs(t *testing.T) {
	board := "[status]\nscoreboard = \"board\"\n"
	s := startSite(t, withSite(t), board+scripted("max = 1"))
	s.configure("", "log.error = \"error.log\"\nlog.access = \"access.log\"\nlog.level = \"debug\"\n"+board+scripted("max = 1"))
	s.reload()
	s.settled()
	s.get(200, "/app")
	for file, want := range map[string]string{"error.log": "reloaded generation=2", "access.log": `"GET /app HTTP/1.1" 200`} {
		if err := waitText(filepath.Join(s.dir, file), want, logWait); err != nil {
			t.Error(err)
		}
	}
	s.sluice("stop", "-c", "sluice.toml")
	if code, err := s.wait(stopWait); code != 0 || err != nil {
		t.Errorf("status %d, %v", code, err)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, ".board*")); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
	out, _ := s.sluice("status", "-c", "sluice.toml")
	if !strings.Contains(out, "generation 2") || !strings.Contains(out, "stopped") {
		t.Errorf("the last state: %s", out)
	}
}

func execOutput(name string, args ...string) (string, error) {
	out, err := exec.Command(name, args...).Output()
	return string(out), err
}

// An old worker that wants a child behind a reload gets it at once, though the new
// one keeps a connection to it.
func TestReloadOfKeptConnections(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 1\nheader_timeout = \"30s\""))
	s.get(200, "/app")
	var uploads []net.Conn
	for range 5 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(requestWait))
		io.WriteString(c, "POST /app HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf ")
		uploads = append(uploads, c)
	}
	if !waitFor(stopWait, func() bool {
		return s.status().Workers[0].Connections.Working >= 5 || s.status().Workers[0].Connections.Reading >= 5
	}) {
		t.Fatalf("%+v", s.status().Workers)
	}
	s.reload()
	for i, c := range uploads {
		s.get(200, "/app") // leaves a connection, which is kept
		begin := time.Now()
		io.WriteString(c, "whole")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("upload %d: %v, %v", i, res, err)
		}
		if took := time.Since(begin); took > 5*time.Second {
			t.Errorf("upload %d took %v", i, took)
		}
	}
	s.settled()
}
