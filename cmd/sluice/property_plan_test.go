package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// plan is a configuration as the model has it. None is changed once it has been
// written.
type plan struct {
	number  int // its pages and scripts say it
	workers int
	mode    string // [accept]
	linger  string
	watch   bool
	backlog int
	limits  map[string]string
	second  bool // listeners beside the one that stays
	unix    bool
	page    bool // [status] listen
	other   bool // the site of other.test
	scripts string
	apps    map[string]appPlan
}

// appPlan is an app of a plan.
type appPlan struct {
	who      int // its children say it: another one is other children
	scale    string
	max      int
	queue    int
	recycle  int // max_requests; 0: none
	keep     bool
	included bool // stands in a file of its own
	denied   bool // by its route
}

// appNames are the apps that come and go.
var appNames = []string{"alpha", "beta", "gamma"}

// firstPlan is what a run begins with.
func firstPlan() *plan {
	p := &plan{workers: 1, mode: "none", linger: "timed", backlog: 512, limits: map[string]string{}, apps: map[string]appPlan{}}
	p.apps["alpha"] = appPlan{scale: "static", max: 2, queue: 64, keep: true}
	return p
}

// next is another plan that differs in a few things, drawn by lot.
func (p *plan) next(r *rand.Rand, number int) *plan {
	n := *p
	n.number, n.limits, n.apps = number, maps.Clone(p.limits), maps.Clone(p.apps)
	for range 1 + r.IntN(3) {
		planEdits[r.IntN(len(planEdits))](&n, r)
	}
	return &n
}

func oneOf[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

// planEdits are what somebody might change. Those of apps are there more than
// once, to come more often.
var planEdits = []func(*plan, *rand.Rand){
	editApp, editApp, editApp, editApp,
	func(p *plan, r *rand.Rand) { p.workers = oneOf(r, 1, 1, 2, 3) },
	func(p *plan, r *rand.Rand) {
		p.mode = oneOf(r, "none", "flock", "fcntl", "sysvsem", "posixsem", "pthread", "uslock", "partial", "exclusive", "reuseport")
		p.workers = oneOf(r, 1, 2, 3)
	},
	func(p *plan, r *rand.Rand) { p.linger = oneOf(r, "off", "timed", "always", "adaptive", "so_linger") },
	func(p *plan, r *rand.Rand) { p.watch = !p.watch },
	func(p *plan, r *rand.Rand) { p.backlog = oneOf(r, 64, 512, 4096) },
	func(p *plan, r *rand.Rand) { p.second = !p.second },
	func(p *plan, r *rand.Rand) { p.unix = !p.unix },
	func(p *plan, r *rand.Rand) { p.page = !p.page },
	func(p *plan, r *rand.Rand) { p.other = !p.other },
	func(p *plan, r *rand.Rand) {
		if os.Geteuid() == 0 {
			p.scripts = oneOf(r, "", "nobody")
		}
	},
	func(p *plan, r *rand.Rand) {
		key := oneOf(r, "connections", "keepalive_requests", "header_timeout", "per_client")
		p.limits[key] = map[string]string{"connections": oneOf(r, "500", "1000"), "keepalive_requests": oneOf(r, "0", "7", "100"),
			"header_timeout": oneOf(r, `"10s"`, `"20s"`), "per_client": oneOf(r, "0", "200")}[key]
	},
}

// editApp adds, removes, changes or tunes an app.
func editApp(p *plan, r *rand.Rand) {
	name := oneOf(r, appNames...)
	a, there := p.apps[name]
	what := r.IntN(8)
	switch {
	case !there:
		a = appPlan{who: p.number, scale: "static", max: 1 + r.IntN(3), queue: 64, keep: true, included: r.IntN(2) == 0}
	case what == 0:
		delete(p.apps, name)
		return
	case what == 1:
		a.who = p.number
	case what == 2:
		a.scale = oneOf(r, "static", "static", "dynamic", "ondemand")
	case what == 3:
		a.max = 1 + r.IntN(4)
	case what == 4:
		a.included = !a.included
	case what == 5:
		a.denied = !a.denied
	case what == 6:
		a.recycle = oneOf(r, 0, 0, 20)
	case what == 7:
		a.keep, a.queue = !a.keep, 50+r.IntN(100)
	}
	p.apps[name] = a
}

// place is where the server of a plan is.
type place struct {
	dir           string // of everything
	runtime       string
	addr, second  string
	page          string
	unix          string
	files, script string
}

// text is the main file. Rot is what stands wrongly in it.
func (p *plan) text(at place, rot string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "include = [\"conf.d/*.toml\"]\nruntime = %q\nwatch = %v\nworkers = %d\n%s", at.runtime, p.watch, p.workers, rot)
	if p.second {
		fmt.Fprintf(&b, "listen = [%q]\n", at.second)
	}
	fmt.Fprintf(&b, "accept.mode = %q\nlinger.mode = %q\n", p.mode, p.linger)
	if p.page {
		fmt.Fprintf(&b, "status.listen = %q\n", at.page)
	}
	for _, k := range slices.Sorted(maps.Keys(p.limits)) {
		fmt.Fprintf(&b, "limits.%s = %s\n", k, p.limits[k])
	}
	fmt.Fprintf(&b, "[[listener]]\naddress = %q\nbacklog = %d\n", at.addr, p.backlog)
	if p.unix {
		fmt.Fprintf(&b, "[[listener]]\naddress = %q\nmode = \"0666\"\n", "unix:"+at.unix)
	}
	fmt.Fprintf(&b, "[[app]]\nname = \"scripts\"\nkind = \"cgi\"\nenv = { PLAN = \"%d\" }\n", p.number)
	if p.scripts != "" {
		fmt.Fprintf(&b, "user = %q\n", p.scripts)
	}
	for _, name := range slices.Sorted(maps.Keys(p.apps)) {
		if a := p.apps[name]; !a.included {
			b.WriteString(a.text(name, at))
		}
	}
	sites := []string{"default"}
	if p.other {
		sites = append(sites, "other.test")
	}
	for _, s := range sites {
		p.site(&b, s, at)
	}
	return b.String()
}

func (p *plan) site(b *strings.Builder, name string, at place) {
	b.WriteString("[[site]]\n")
	if name != "default" {
		fmt.Fprintf(b, "hosts = [%q]\n", name)
	}
	fmt.Fprintf(b, "root = %q\n", p.root(at, name))
	fmt.Fprintf(b, "[[site.route]]\nmatch = \"/files/\"\nalias = %q\n", at.files)
	fmt.Fprintf(b, "[[site.route]]\nmatch = \"/cgi\"\nscript = %q\napp = \"scripts\"\n", at.script)
	for _, app := range slices.Sorted(maps.Keys(p.apps)) {
		fmt.Fprintf(b, "[[site.route]]\nmatch = %q\n", "/a/"+app)
		if p.apps[app].denied {
			b.WriteString("deny = true\n")
		} else {
			fmt.Fprintf(b, "app = %q\n", app)
		}
	}
}

func (p *plan) root(at place, site string) string {
	return filepath.Join(at.dir, "www", fmt.Sprint(p.number), site)
}

// included are the files of conf.d.
func (p *plan) included(at place) map[string]string {
	files := map[string]string{}
	for name, a := range p.apps {
		if a.included {
			files[name+".toml"] = a.text(name, at)
		}
	}
	return files
}

func (a appPlan) text(name string, at place) string {
	return fmt.Sprintf("[[app]]\nname = %q\nkind = \"fastcgi\"\ncommand = [\"fcgi-child\"]\nenv = { APP = %q, WHO = \"v%d\" }\n"+
		"scale = %q\nmax = %d\nidle_timeout = \"1s\"\nqueue = %d\nmax_requests = %d\nkeepalive = %v\n[app.send_file]\nroots = [%q]\n",
		name, name, a.who, a.scale, a.max, a.queue, a.recycle, a.keep, at.files)
}

// children are how many an app has that has nothing to do.
func (a appPlan) children() int {
	switch a.scale {
	case "static":
		return a.max
	case "dynamic":
		return 1 // min and spare
	}
	return 0
}

// stays reports whether no child of an app may go when a plan follows another.
func (p *plan) stays(before *plan, name string) bool {
	was, there := before.apps[name]
	is, still := p.apps[name]
	return there && still && was.who == is.who && was.scale == "static" && is.scale == "static" && is.max >= was.max &&
		was.recycle == 0 && is.recycle == 0
}

// said are the lines about apps that a reload says of what it does.
func (p *plan) said(before *plan) []string {
	var lines []string
	for _, name := range appNames {
		was, there := before.apps[name]
		is, still := p.apps[name]
		switch {
		case !there && still:
			lines = append(lines, "app "+name+": added")
		case there && !still:
			lines = append(lines, "app "+name+": removed")
		case there && was.who != is.who:
			lines = append(lines, "app "+name+": restarted")
		case there && (was.scale != is.scale || was.max != is.max || was.queue != is.queue || was.recycle != is.recycle):
			lines = append(lines, "app "+name+": retuned")
		}
	}
	return lines
}
