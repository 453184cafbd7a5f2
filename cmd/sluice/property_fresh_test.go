package main

import (
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sluice/internal/status"
)

// belongings are what a server has that has nothing to do: what can be compared
// between two servers.
type belongings struct {
	workers  int
	children map[string]int
	master   map[string]int // descriptors by what they are
	worker   map[string]int // of one worker
	runtime  []string       // files, those that only differ by a number once
}

// wantFresh waits until the server has what one has that was started just now with
// its plan, and shows it.
func (r *propertyRun) wantFresh() {
	r.t.Helper()
	var st *status.Status
	var why string
	if !waitFor(2*stopWait, func() bool {
		st = r.status()
		why = r.unsettled(st)
		return why == ""
	}) {
		r.t.Errorf("does not settle: %s; status %+v", why, st)
		return
	}
	r.wantListeners()
	at := r.at
	at.runtime, at.unix = filepath.Join(r.dir, "fresh.run"), filepath.Join(r.dir, "fresh.sock")
	at.addr, at.second, at.page = "127.0.0.1:"+freePort(), "127.0.0.1:"+freePort(), "127.0.0.1:"+freePort()
	write(r.t, r.dir, "fresh/sluice.toml", r.plan.text(at, ""))
	for name, text := range r.plan.included(at) {
		write(r.t, r.dir, "fresh/conf.d/"+name, text)
	}
	fresh := startServe(r.t, r.dir, "fresh", "fresh/sluice.toml")
	var differs []string
	if !waitFor(stopWait, func() bool {
		differs = belongingsOf(r.pid(), r.at.runtime).differ(belongingsOf(fresh.pid(), at.runtime))
		return len(differs) == 0
	}) {
		r.t.Errorf("a fresh start of plan %+v has other belongings:\n%s", *r.plan, strings.Join(differs, "\n"))
	}
}

// unsettled says what the status and the processes have that a plan does not want,
// or the other way round.
func (r *propertyRun) unsettled(st *status.Status) string {
	var pids []int
	for _, w := range st.Workers {
		if w.State != "running" || w.Generation != st.Generation {
			return fmt.Sprintf("worker %+v", w)
		}
		if n := w.Connections; n.Reading+n.Waiting+n.Working+n.Sending+n.Idle > 0 {
			return fmt.Sprintf("connections of worker %d: %+v", w.PID, n)
		}
		pids = append(pids, w.PID)
	}
	slices.Sort(pids)
	if got := r.workers(); !slices.Equal(got, pids) || len(got) != r.plan.workers {
		return fmt.Sprintf("workers %v, in the status %v, wanted %d", got, pids, r.plan.workers)
	}
	apps := r.apps()
	if want := len(r.plan.apps) + 1; len(st.Apps) != want || len(apps) > want {
		return fmt.Sprintf("%d apps, in the status %d, wanted %d", len(apps), len(st.Apps), want)
	}
	for name, a := range r.plan.apps {
		var shown, real []int
		for _, c := range appOf(st, name).Children {
			if c.PID == 0 {
				continue
			}
			if c.State != "ready" && c.State != "finishing" || c.Claims != 0 || c.Request != nil {
				return fmt.Sprintf("child of %s: %+v", name, c)
			}
			shown = append(shown, c.PID)
		}
		for _, c := range apps[name] {
			if c.who != fmt.Sprintf("v%d", a.who) {
				return fmt.Sprintf("child of %s: %+v, wanted %d", name, c, a.who)
			}
			real = append(real, c.pid)
		}
		slices.Sort(shown)
		slices.Sort(real)
		if !slices.Equal(shown, real) || len(real) != a.children() {
			return fmt.Sprintf("children of %s %v, in the status %v, wanted %d", name, real, shown, a.children())
		}
		if q := appOf(st, name).Queue; q.Waiting != 0 || q.Refused != 0 {
			return fmt.Sprintf("queue of %s: %+v", name, q)
		}
	}
	return ""
}

// wantListeners looks who can be reached where.
func (r *propertyRun) wantListeners() {
	r.t.Helper()
	for _, l := range []struct {
		network, addr string
		want          bool
	}{{"tcp", r.at.addr, true}, {"tcp", r.at.second, r.plan.second}, {"unix", r.at.unix, r.plan.unix}, {"tcp", r.at.page, r.plan.page}} {
		c, err := net.DialTimeout(l.network, l.addr, requestWait)
		if err == nil {
			c.Close()
		}
		if (err == nil) != l.want {
			r.t.Errorf("at %s: %v, wanted %v", l.addr, err, l.want)
		}
		if l.want && l.addr != r.at.page {
			a, err := httpRequest{target: "/page.txt", host: "any.test"}.send(l.network, l.addr)
			if want := fmt.Sprintf("plan %d default\n", r.plan.number); err != nil || a.body != want {
				r.t.Errorf("at %s: %v, %+v, want %q", l.addr, err, a, want)
			}
		}
	}
}

func belongingsOf(master int, runtime string) belongings {
	b := belongings{children: map[string]int{}, master: kindsOf(master)}
	for _, pid := range childrenOf(master) {
		if isWorker(pid) {
			b.workers++
			b.worker = kindsOf(pid)
		}
	}
	for name, all := range appsOf(master) {
		b.children[name] = len(all)
	}
	filepath.WalkDir(runtime, func(path string, _ os.DirEntry, _ error) error {
		name, _ := filepath.Rel(runtime, path)
		b.runtime = append(b.runtime, numbers.ReplaceAllString(labels.ReplaceAllString(name, ""), "N"))
		return nil
	})
	// A child that is one too many by now leaves its socket to one that may come.
	b.runtime = slices.Compact(b.runtime)
	return b
}

// What tells two of a kind apart: numbers, and those of an app that was there before
// and had to be made anew, and of a generation.
var (
	numbers = regexp.MustCompile(`[.]?\d+`)
	labels  = regexp.MustCompile(`~\d+|\.\d+$`)
)

// kindsOf counts what the descriptors of a process are, files that are only kept
// open for a while aside.
func kindsOf(pid int) map[string]int {
	kinds := map[string]int{}
	for _, to := range descriptors(pid) {
		kind := numbers.ReplaceAllString(to, "N")
		if strings.HasPrefix(to, "/") {
			kind = "file"
		}
		if strings.HasPrefix(to, "/memfd:") {
			kind = "memory"
		}
		kinds[kind]++
	}
	return kinds
}

// tolerance is by how many descriptors of a kind two servers may differ, such as what
// the Go runtime opens when it first needs it. A worker that has served also keeps
// a connection to each child.
const tolerance = 4

// differ says what is different.
func (b belongings) differ(o belongings) (all []string) {
	say := func(what string, x, y any) { all = append(all, fmt.Sprintf("%s: %v, fresh %v", what, x, y)) }
	if b.workers != o.workers {
		say("workers", b.workers, o.workers)
	}
	if !maps.Equal(b.children, o.children) {
		say("children", b.children, o.children)
	}
	if !slices.Equal(b.runtime, o.runtime) {
		say("files", b.runtime, o.runtime)
	}
	kept := 0
	for _, n := range b.children {
		kept += n
	}
	for _, side := range []struct {
		name        string
		mine, fresh map[string]int
		kept        int
	}{{"master", b.master, o.master, 0}, {"worker", b.worker, o.worker, kept}} {
		kinds := maps.Clone(side.mine)
		maps.Copy(kinds, side.fresh)
		for kind := range kinds {
			if d := side.mine[kind] - side.fresh[kind]; d > tolerance+side.kept || d < -tolerance-side.kept {
				say(side.name+", "+kind, side.mine[kind], side.fresh[kind])
			}
		}
	}
	return all
}
