package main

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/internal/status"
)

var (
	propertySeed = flag.Uint64("property.seed", 0, "of TestProperty; 0: one of the clock, which the test prints")
	propertyTime = flag.Duration("property.time", 15*time.Second, "how long TestProperty changes things")
)

// propertyRun is a server, what the model knows of it, and who changes it.
type propertyRun struct {
	*site
	history
	at      place
	rand    *rand.Rand
	plan    *plan // that serves
	number  int   // of the last plan
	folders int   // of configurations that have been written
	taken   net.Listener
	busy    sync.WaitGroup // who kills beside a step
}

// Random changes of the configuration, reloads in every way, kills and restarts,
// under a light load, against a model of what must be true: every answer is one of
// a configuration that was in force, nothing fails that has not been killed
// itself, children of unchanged apps stay, a bad file changes nothing, and in the
// end there is what a fresh start would have made.
func TestProperty(t *testing.T) {
	seed := *propertySeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("again: go test ./cmd/sluice -run TestProperty -args -property.seed=%d -property.time=%v", seed, *propertyTime)
	r := startProperty(t, seed)
	load := startPropertyLoad(t, &r.history, r.at, seed)
	steps := 0
	for end := time.Now().Add(*propertyTime); time.Now().Before(end) && !t.Failed(); steps++ {
		r.step()
	}
	t.Logf("%d steps", steps)
	load.end()
	if !t.Failed() {
		r.wantFresh()
	}
}

func startProperty(t *testing.T, seed uint64) *propertyRun {
	dir := testDir(t)
	r := &propertyRun{rand: rand.New(rand.NewPCG(seed, 1000)), plan: firstPlan()}
	r.at = place{dir: dir, runtime: filepath.Join(dir, "run"), addr: "127.0.0.1:" + freePort(), second: "127.0.0.1:" + freePort(), page: "127.0.0.1:" + freePort(),
		unix: filepath.Join(dir, "web.sock"), files: filepath.Join(dir, "files"), script: filepath.Join(dir, "cgi/plan.cgi")}
	write(t, dir, "files/big", string(bigText()))
	write(t, dir, "files/small", smallText)
	write(t, dir, "cgi/plan.cgi", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nplan %s\\n' \"$PLAN\"\n")
	var err error
	if r.taken, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.taken.Close() })
	r.site = &site{t: t, dir: dir, addr: r.at.addr}
	r.begin(r.plan)
	r.put(r.plan, "", true)
	r.testServer = startServe(t, dir, "sluice", "conf/sluice.toml")
	return r
}

func startServe(t testing.TB, dir, name, config string) *testServer {
	s, err := startProcess(dir, name, os.Environ(), "serve", "-c", config)
	if err != nil {
		t.Fatal(err)
	}
	s.endsWith(t)
	if err := s.ready(); err != nil {
		t.Fatal(err)
	}
	return s
}

// put writes a plan: into a new folder to which a link is moved, as a volume of
// Kubernetes changes, or, where only the main file differs, by a rename or in place.
func (r *propertyRun) put(p *plan, rot string, all bool) {
	r.t.Helper()
	for _, site := range []string{"default", "other.test"} {
		if _, err := os.Stat(filepath.Join(p.root(r.at, site), "page.txt")); err == nil {
			continue // and is being asked for
		}
		write(r.t, p.root(r.at, site), "page.txt", fmt.Sprintf("plan %d %s\n", p.number, site))
	}
	conf := filepath.Join(r.dir, "conf")
	how := r.rand.IntN(3)
	if all || !maps.Equal(p.included(r.at), r.plan.included(r.at)) {
		how = 0
	}
	fail := func(err error) {
		if err != nil {
			r.t.Fatal(err)
		}
	}
	switch how {
	case 0:
		r.folders++
		folder := fmt.Sprintf("conf.%d", r.folders)
		write(r.t, filepath.Join(r.dir, folder), "sluice.toml", p.text(r.at, rot))
		for name, text := range p.included(r.at) {
			write(r.t, filepath.Join(r.dir, folder, "conf.d"), name, text)
		}
		fail(os.Symlink(folder, conf+".next"))
		fail(os.Rename(conf+".next", conf))
	case 1:
		write(r.t, conf, ".next", p.text(r.at, rot))
		fail(os.Rename(filepath.Join(conf, ".next"), filepath.Join(conf, "sluice.toml")))
	case 2:
		write(r.t, conf, "sluice.toml", p.text(r.at, rot))
	}
}

// ask is sluice with the control socket.
func (r *propertyRun) ask(args ...string) (string, error) {
	return r.sluice(append(args, "--control", filepath.Join(r.at.runtime, "control.sock"))...)
}

func (r *propertyRun) status() *status.Status {
	r.t.Helper()
	out, err := r.ask("status", "--json")
	if err != nil {
		r.t.Fatalf("status: %v: %s", err, out)
	}
	return decodeStatus(r.t, []byte(out))
}

// child is a process of an app, as its environment tells.
type propertyChild struct {
	pid int
	who string
}

// apps are the children of each app that have been executed.
func (r *propertyRun) apps() map[string][]propertyChild { return appsOf(r.pid()) }

func appsOf(master int) map[string][]propertyChild {
	all := map[string][]propertyChild{}
	_, children := family(master)
	for _, pid := range children {
		env := map[string]string{}
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		for kv := range strings.SplitSeq(string(text), "\x00") {
			k, v, _ := strings.Cut(kv, "=")
			env[k] = v
		}
		if env["APP"] != "" && alive(pid) {
			all[env["APP"]] = append(all[env["APP"]], propertyChild{pid, env["WHO"]})
		}
	}
	return all
}

// step does one thing, and looks at what has to be true behind it.
func (r *propertyRun) step() {
	switch n := r.rand.IntN(100); {
	case n < 55:
		r.edit(r.rand.IntN(3) == 0)
	case n < 67:
		r.bad()
	case n < 77:
		r.killChild(r.rand)
	case n < 83:
		r.killWorker(r.rand, syscall.SIGKILL)
	case n < 86:
		r.killWorker(r.rand, syscall.SIGTERM)
	case n < 93:
		r.restart()
	default:
		r.again()
	}
	time.Sleep(time.Duration(r.rand.IntN(300)) * time.Millisecond)
}

func (r *propertyRun) logf(format string, args ...any) {
	r.t.Logf("%s: %s", clock(time.Now()), fmt.Sprintf(format, args...))
}

// edit puts another plan into force.
func (r *propertyRun) edit(strikes bool) {
	r.number++
	old, next := r.plan, r.plan.next(r.rand, r.number)
	ways := []string{"reload", "reload", "signal", "two at once", "reload beside a restart"}
	if old.watch {
		ways = append(ways, "watch", "watch", "watch")
	}
	way := oneOf(r.rand, ways...)
	before := r.apps()
	r.logf("plan %d by %s, strikes: %v: %+v", next.number, way, strikes, *next)
	offset := len(r.text())
	r.begin(next)
	r.put(next, "", false)
	if strikes {
		rand := rand.New(rand.NewPCG(r.rand.Uint64(), 0))
		r.busy.Go(func() {
			for range 1 + rand.IntN(2) {
				time.Sleep(time.Duration(rand.IntN(250)) * time.Millisecond)
				if rand.IntN(2) == 0 {
					r.killChild(rand)
				} else {
					r.killWorker(rand, syscall.SIGKILL)
				}
			}
		})
	}
	restarted := ""
	if way == "reload beside a restart" && len(old.apps) > 0 {
		restarted = oneOf(r.rand, slices.Sorted(maps.Keys(old.apps))...)
		r.busy.Go(func() { r.ask("restart", restarted) }) // fails where the app is removed
	}
	said, err := r.carryOut(way, offset)
	r.busy.Wait()
	delete(before, restarted)
	for tries := 0; err != nil && strikes && tries < 3; tries++ { // a worker on trial may have been killed
		r.logf("once more, since %v", err)
		said, err = r.carryOut("reload", 0)
	}
	if err != nil {
		r.t.Errorf("plan %d by %s: %v\n%s", next.number, way, err, said)
		return
	}
	r.inForce()
	r.plan = next
	if way == "reload" && !old.watch && !strikes {
		for _, name := range appNames {
			for line := range strings.Lines(said) {
				if line = strings.TrimSpace(line); strings.HasPrefix(line, "app "+name+": ") && !slices.Contains(next.said(old), line) {
					r.t.Errorf("said %q, which is not so", line)
				}
			}
		}
		for _, line := range next.said(old) {
			if !strings.Contains(said+"\n", line+"\n") {
				r.t.Errorf("plan %d: %q is not said in\n%s", next.number, line, said)
			}
		}
	}
	r.stayed(before, old)
}

// carryOut has the server load what has been written.
func (r *propertyRun) carryOut(way string, offset int) (string, error) {
	switch way {
	case "signal":
		syscall.Kill(r.pid(), syscall.SIGHUP)
	case "two at once":
		first := make(chan struct{})
		go func() {
			defer close(first)
			r.ask("reload")
		}()
		out, err := r.ask("reload")
		<-first
		return out, err
	case "reload", "reload beside a restart":
		return r.ask("reload")
	}
	var end []string
	if !waitFor(stopWait, func() bool {
		end = reloadEnd.FindStringSubmatch(r.text()[offset:])
		return end != nil
	}) {
		return "", fmt.Errorf("nothing has come of it")
	}
	if end[1] == "" {
		return "", fmt.Errorf("%s", end[0])
	}
	return end[0], nil
}

// reloadEnd is a line that says that a reload is over, and how.
var reloadEnd = regexp.MustCompile(`(?m)^.*msg=(?:reloaded generation=(\d+)|"reload failed).*$`)

// stayed looks whether the children are there that nobody may have ended.
func (r *propertyRun) stayed(before map[string][]propertyChild, old *plan) {
	r.t.Helper()
	now := r.apps()
	for name, children := range before {
		if !r.plan.stays(old, name) {
			continue
		}
		who := fmt.Sprintf("v%d", old.apps[name].who)
		for _, c := range children {
			if c.who == who && !slices.Contains(now[name], c) && !r.killed(c.pid) {
				r.t.Errorf("child %d of %s has gone: %v, were %v", c.pid, name, now[name], children)
			}
		}
	}
}

// rots are what may be wrong with a file.
func (r *propertyRun) rots() []string {
	return []string{"[[app\n", "wrokers = 2\n", "stop_timeout = \"never\"\n", "control = \"/tmp/another.sock\"\n", "", "port", "program", "child"}
}

// bad writes a file that is wrong in some way, which has to change nothing.
func (r *propertyRun) bad() {
	rot := oneOf(r.rand, r.rots()...)
	p := r.plan.next(r.rand, r.plan.number)
	p.watch = r.plan.watch
	write := rot
	switch rot {
	case "":
		write = "include = []\n" // twice
	case "port":
		write = fmt.Sprintf("status.listen = %q\n", r.taken.Addr())
	case "program", "child":
		command := map[string]string{"program": `"no-such-program"`, "child": `"fcgi-child", "exit"`}[rot]
		write = "app = [{ name = \"bad\", kind = \"fastcgi\", scale = \"static\", max = 1, command = [" + command + "] }]\n"
	}
	way := oneOf(r.rand, "reload", "signal")
	if r.plan.watch && r.rand.IntN(2) == 0 {
		way = "watch"
	}
	before, workers, generation := r.apps(), r.serving(), r.status().Generation
	r.logf("a bad file by %s: %q", way, write)
	offset := len(r.text())
	r.put(p, write, true)
	said, err := r.carryOut(way, offset)
	if err == nil {
		r.t.Errorf("the file with %q was taken: %s", write, said)
	}
	r.put(r.plan, "", true)
	r.stayed(before, r.plan)
	if got := r.serving(); !slices.Equal(got, workers) {
		r.t.Errorf("workers %v, were %v", got, workers)
	}
	if got := r.status().Generation; got != generation {
		r.t.Errorf("generation %d, was %d", got, generation)
	}
}

// serving are the workers that accept, when those that were killed have successors.
func (r *propertyRun) serving() (pids []int) {
	r.t.Helper()
	if !waitFor(stopWait, func() bool {
		st := r.status()
		pids = nil
		for _, w := range st.Workers {
			if w.Generation == st.Generation && w.State == "running" && alive(w.PID) {
				pids = append(pids, w.PID)
			}
		}
		return len(pids) == r.plan.workers
	}) {
		r.t.Errorf("workers %v, wanted %d", pids, r.plan.workers)
	}
	slices.Sort(pids)
	return pids
}

// again reloads what is as it was.
func (r *propertyRun) again() {
	before := r.apps()
	r.logf("again")
	if out, err := r.ask("reload"); err != nil || !strings.Contains(out, "nothing has changed") {
		r.t.Errorf("reload: %v, %s", err, out)
	}
	r.stayed(before, r.plan)
}

// restart replaces the children of an app.
func (r *propertyRun) restart() {
	names := slices.Sorted(maps.Keys(r.plan.apps))
	if len(names) == 0 {
		return
	}
	name := oneOf(r.rand, names...)
	before := r.apps()
	r.logf("restart of %s", name)
	if out, err := r.ask("restart", name); err != nil {
		r.t.Errorf("restart of %s: %v, %s", name, err, out)
		return
	}
	if !waitFor(stopWait, func() bool {
		return !slices.ContainsFunc(r.apps()[name], func(c propertyChild) bool { return slices.Contains(before[name], c) })
	}) {
		r.t.Errorf("children of %s are %v, were %v", name, r.apps()[name], before[name])
	}
}
