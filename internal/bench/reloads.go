package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// disturbance is something that an operator does to a server while requests go on,
// and after which the server is as good as before.
type disturbance struct {
	name, title string
	times       int
	every       time.Duration // from the beginning of one to that of the next, at least
	// do does it once, for each server that can, and returns when it has been done.
	do map[string]func(context.Context, *disturbed) error
}

// disturbances are those that are measured.
var disturbances = []disturbance{{
	name: "reload", title: "another configuration (the time that idle connections are kept)", times: 100, every: 150 * time.Millisecond,
	do: map[string]func(context.Context, *disturbed) error{"sluice": reloadSluice, "nginx": reloadNginx, "lighttpd": reloadLighttpd},
}, {
	// A new master of nginx is a process of its own, which this program would have to
	// find and end; lighttpd's restart above executes it anew already.
	name: "upgrade", title: "the program is executed anew (`sluice upgrade`; nginx and lighttpd take no part)", times: 10, every: time.Second,
	do: map[string]func(context.Context, *disturbed) error{"sluice": upgradeSluice},
}}

// Bounds of a run, so that all servers together take less than three minutes.
const (
	undisturbedTime = 10 * time.Second
	disturbedTime   = 16 * time.Second // fewer than times are done if it takes longer
	changeLimit     = 5 * time.Second  // of a single one
	leastPause      = 100 * time.Millisecond
	restTime        = 3 * time.Second // before what a server holds is looked at
)

// disturbed is a server, with FastCGI children and static files, that is disturbed.
type disturbed struct {
	b    *bench
	in   *instance
	idle int // seconds, of the present configuration
}

func (b *bench) startDisturbed(ctx context.Context, name, why string) (*disturbed, error) {
	i := slices.IndexFunc(servers, func(s server) bool { return s.name == name })
	in := &instance{server: servers[i], scenario: scenario{name: why, kind: kindFastCGI, path: "/app"}, dir: filepath.Join(b.dir, why+"-"+name)}
	if err := os.MkdirAll(in.dir, 0o755); err != nil {
		return nil, err
	}
	if b.user != "" { // nginx's workers are its
		if err := os.Chmod(in.dir, 0o777); err != nil {
			return nil, err
		}
	}
	var err error
	if in.port, err = freePort(); err != nil {
		return nil, err
	}
	if err := in.start(ctx, b, in); err != nil {
		return nil, err
	}
	d := &disturbed{b: b, in: in, idle: usualIdle}
	for range 100 {
		v := &visitor{addr: d.addr(), small: b.small()}
		v.exchange()
		v.close()
		if v.why == "" {
			return d, nil
		}
		if !in.front[0].sleep(ctx, 50*time.Millisecond) {
			break
		}
	}
	return nil, fmt.Errorf("%s does not answer: %s", name, in.front[0].tail())
}

func (d *disturbed) addr() string { return fmt.Sprintf("127.0.0.1:%d", d.in.port) }

// another writes a configuration that differs from the one before.
func (d *disturbed) another(file string) error {
	d.idle++
	path := filepath.Join(d.in.dir, file)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if file == "sluice.toml" && d.idle == usualIdle+1 { // it goes by the default, which is the usual one
		text = fmt.Appendf(nil, "%s%ds\"\n%s", idleKeys[file], usualIdle, text)
	}
	before, rest, found := strings.Cut(string(text), idleKeys[file])
	digits := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if !found || digits < 1 {
		return fmt.Errorf("no %q in %s", idleKeys[file], path)
	}
	next := path + ".next"
	if err := os.WriteFile(next, []byte(before+idleKeys[file]+fmt.Sprint(d.idle)+rest[digits:]), 0o644); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// usualIdle is how long the configurations keep idle connections, in seconds.
const usualIdle = 75

// idleKeys is what stands before that.
var idleKeys = map[string]string{
	"sluice.toml": `limits.keepalive_idle = "`, "nginx.conf": "keepalive_timeout ", "lighttpd.conf": "server.max-keep-alive-idle = ",
}

func reloadSluice(ctx context.Context, d *disturbed) error {
	if err := d.another("sluice.toml"); err != nil {
		return err
	}
	return d.command(ctx, "reload")
}

// upgradeSluice has it execute its program again.
func upgradeSluice(ctx context.Context, d *disturbed) error { return d.command(ctx, "upgrade") }

// command is one of sluice's, which returns when it has been carried out.
func (d *disturbed) command(ctx context.Context, name string) error {
	out, err := exec.CommandContext(ctx, d.b.sluice, name, "--control", filepath.Join(d.in.dir, "run", "control.sock")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("sluice %s: %w: %s", name, err, strings.Join(strings.Fields(string(out)), " "))
	}
	return nil
}

// reloadNginx does what `nginx -s reload` does. It has been done when there are
// workers that were not there before.
func reloadNginx(ctx context.Context, d *disturbed) error {
	if err := d.another("nginx.conf"); err != nil {
		return err
	}
	before := d.in.frontEnd()
	return d.signalled(ctx, syscall.SIGHUP, func() bool {
		for _, m := range d.in.frontEnd() {
			if !slices.ContainsFunc(before, func(o member) bool { return o.pid == m.pid && o.started == m.started }) {
				return true
			}
		}
		return false
	})
}

// reloadLighttpd is its graceful restart, which it logs.
func reloadLighttpd(ctx context.Context, d *disturbed) error {
	if err := d.another("lighttpd.conf"); err != nil {
		return err
	}
	started := func() int {
		text, _ := os.ReadFile(filepath.Join(d.in.dir, "error.log"))
		return strings.Count(string(text), "server started")
	}
	before := started()
	return d.signalled(ctx, syscall.SIGUSR1, func() bool { return started() > before })
}

// signalled sends a signal to the first process, and waits for what comes of it.
func (d *disturbed) signalled(ctx context.Context, s syscall.Signal, done func() bool) error {
	p := d.in.front[0]
	if err := syscall.Kill(p.pid(), s); err != nil {
		return err
	}
	for end := time.Now().Add(changeLimit); time.Now().Before(end); {
		if done() {
			return nil
		}
		if !p.sleep(ctx, 2*time.Millisecond) {
			return fmt.Errorf("%s has ended: %s", d.in.name, p.tail())
		}
	}
	return fmt.Errorf("%s does nothing about signal %d within %v: %s", d.in.name, s, changeLimit, p.tail())
}

// span is a time.
type span struct{ from, until time.Time }

// disturb does it as often as it is to be done.
func (d *disturbed) disturb(ctx context.Context, what disturbance) (spans []span, err error) {
	end := time.Now().Add(disturbedTime)
	for range what.times {
		if time.Now().After(end) || ctx.Err() != nil {
			break
		}
		s := span{from: time.Now()}
		if err := what.do[d.in.name](ctx, d); err != nil {
			return spans, err
		}
		s.until = time.Now()
		spans = append(spans, s)
		time.Sleep(max(leastPause, time.Until(s.from.Add(what.every))))
	}
	return spans, nil
}

// disturbedRow is what one server's clients saw under one load.
type disturbedRow struct {
	what          disturbance
	server, load  string
	spans         []span
	alone, during visits // without and with it
}

// belongings are what a server holds: master and workers, but for processes, of
// which the children are counted, too.
type belongings struct {
	processes, descriptors int
	resident               int64
}

func (d *disturbed) belongings() (b belongings) {
	t := readTable()
	for _, p := range slices.Concat(d.in.front, d.in.others) {
		b.processes += len(t.descendants(p.pid()))
	}
	for _, m := range d.in.frontEnd() {
		fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", m.pid))
		b.descriptors += len(fds)
		b.resident += procField(fmt.Sprintf("/proc/%d/status", m.pid), "VmRSS:")
	}
	return b
}

// runDisturbed has one server disturbed under every load.
func (b *bench) runDisturbed(ctx context.Context, name string, what disturbance) (rows []disturbedRow, before, after belongings, err error) {
	defer b.procs.stopAll()
	d, err := b.startDisturbed(ctx, name, what.name)
	if err != nil {
		return nil, before, after, err
	}
	d.visit(ctx, visitLoads[len(visitLoads)-1], time.Second) // which warms everything up
	time.Sleep(restTime)
	before = d.belongings()
	for _, l := range visitLoads {
		row := disturbedRow{what: what, server: name, load: l.name, alone: d.visit(ctx, l, undisturbedTime)}
		load, cancel := context.WithCancel(ctx)
		seen := make(chan visits, 1)
		go func() { seen <- d.visit(load, l, time.Hour) }()
		row.spans, err = d.disturb(ctx, what)
		cancel()
		row.during = <-seen
		if err != nil {
			return rows, before, after, err
		}
		rows = append(rows, row)
	}
	time.Sleep(restTime)
	return rows, before, d.belongings(), nil
}
