package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// fault is something that happens to the children while requests go on.
type fault struct {
	name, title string
	workers     int      // 0: 1
	app         string   // more lines of the [[app]] block
	child       []string // more arguments of the child
	// strike does it once, every so often; nil: it happens by itself.
	strike func(*faultRun) error
	every  time.Duration
	excuse string // why requests may fail; "": none may
}

// faults are points 2 and 3 of what supervision has to hold, each under two
// loads.
var faults = []fault{
	{name: "none", title: "nothing happens"},
	{name: "term", title: "an idle child gets TERM, 20 a second", strike: killIdle(syscall.SIGTERM), every: 50 * time.Millisecond},
	{name: "kill", title: "an idle child gets KILL, 20 a second", strike: killIdle(syscall.SIGKILL), every: 50 * time.Millisecond},
	{name: "recycle", title: "recycled every 10 requests (max_requests)", app: "max_requests = 10\n"},
	{name: "age", title: "recycled every second (max_age)", app: "max_age = \"1s\"\n"},
	{name: "exit-1", title: "exits by itself after every answer", child: []string{"-last", "1"}},
	{name: "exit-10", title: "exits by itself after every 10 answers", child: []string{"-last", "10"}},
	{name: "restart", title: "sluice restart, one after the other", strike: (*faultRun).restart, every: 50 * time.Millisecond},
	{name: "stop", title: "a child gets STOP, once a second; header_timeout 500 ms", app: "header_timeout = \"500ms\"\n",
		strike: signalChild(syscall.SIGSTOP), every: time.Second, excuse: "504 for the request that the stopped child has"},
	{name: "busy", title: "a child gets KILL, busy or idle, 20 a second, GET", strike: signalChild(syscall.SIGKILL), every: 50 * time.Millisecond,
		excuse: "502 where the repetition is hit as well"},
	{name: "worker", title: "a worker of two gets KILL, once a second", workers: 2, strike: (*faultRun).killWorker, every: time.Second,
		excuse: "the connections that the worker had, idle ones too: most clients ask again by themselves"},
}

// faultLoads are the loads under each fault.
var faultLoads = []struct {
	name string
	run  func(context.Context, string, time.Duration) tally
}{
	{"50/s", func(ctx context.Context, addr string, d time.Duration) tally { return paced(ctx, addr, 50, d) }},
	{"full load", func(ctx context.Context, addr string, d time.Duration) tally { return closedLoop(ctx, addr, 16, d) }},
}

// faultRun is one sluice under one fault.
type faultRun struct {
	b       *bench
	in      *instance
	control string
	strikes int
}

// startFaulty starts a sluice for a fault, with children of 1 ms work.
func (b *bench) startFaulty(ctx context.Context, f fault) (*faultRun, error) {
	in := &instance{server: servers[0], scenario: scenario{name: "fault-" + f.name, kind: kindFastCGI, path: "/app"},
		dir: filepath.Join(b.dir, "fault-"+f.name)}
	if err := os.MkdirAll(in.dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if in.port, err = freePort(); err != nil {
		return nil, err
	}
	st := in.site(b)
	st.Words = append(b.child(false, ""), append([]string{"-work", "1ms"}, f.child...)...)
	st.Command, st.More, st.Workers, st.Log = strings.Join(st.Words, " "), f.app, max(1, f.workers), "debug"
	conf, err := in.write("sluice.toml", st)
	if err != nil {
		return nil, err
	}
	if err := in.run(b, b.sluice, "serve", "-c", conf); err != nil {
		return nil, err
	}
	return &faultRun{b: b, in: in, control: filepath.Join(in.dir, "run", "control.sock")}, awaitReady(ctx, in)
}

// family are the processes of the run's sluice that execute the program.
func (r *faultRun) family(program string) []int {
	var pids []int
	for _, m := range readTable().descendants(r.master()) {
		if m.pid != r.master() && executable(m.pid) == program {
			pids = append(pids, m.pid)
		}
	}
	return pids
}

func (r *faultRun) master() int     { return r.in.front[0].pid() }
func (r *faultRun) children() []int { return r.family(r.b.self) }

// signalChild sends a signal to one of the children, drawn by lot.
func signalChild(s syscall.Signal) func(*faultRun) error {
	return func(r *faultRun) error {
		pids := r.children()
		if len(pids) == 0 {
			return nil
		}
		r.strikes++
		return gone(syscall.Kill(pids[rand.IntN(len(pids))], s))
	}
}

// killIdle sends a signal to a child that waits for a request.
func killIdle(s syscall.Signal) func(*faultRun) error {
	return func(r *faultRun) error {
		pids := r.children()
		for _, i := range rand.Perm(len(pids)) {
			if waitsForRequest(pids[i]) {
				r.strikes++
				return gone(syscall.Kill(pids[i], s))
			}
		}
		return nil
	}
}

// waitsForRequest looks at the system call of a child (proc(5)): it waits for a
// connection, or on a kept one, since a request comes in one piece.
func waitsForRequest(pid int) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
	call, _, _ := strings.Cut(string(text), " ")
	return call == fmt.Sprint(syscall.SYS_ACCEPT4) || call == fmt.Sprint(syscall.SYS_READ)
}

func gone(err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}

func (r *faultRun) killWorker() error {
	for _, pid := range r.family(executable(r.master())) {
		r.strikes++
		return gone(syscall.Kill(pid, syscall.SIGKILL))
	}
	return nil
}

func (r *faultRun) restart() error {
	r.strikes++
	out, err := exec.Command(r.b.sluice, "restart", "--control", r.control, "bench").CombinedOutput()
	if err != nil {
		return fmt.Errorf("restart: %w: %s", err, strings.Join(strings.Fields(string(out)), " "))
	}
	return nil
}

// strikes until the context ends.
func (r *faultRun) strikeOn(ctx context.Context, f fault) error {
	if f.strike == nil {
		<-ctx.Done()
		return nil
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(f.every):
		}
		if err := f.strike(r); err != nil {
			return err
		}
	}
}

// faultRow is what one fault did under one load.
type faultRow struct {
	fault   fault
	load    string
	strikes int
	tally
	recover []time.Duration // from the end of a child to its ready successor
}

// runFault does one fault under every load.
func (b *bench) runFault(ctx context.Context, f fault) ([]faultRow, error) {
	defer b.procs.stopAll()
	r, err := b.startFaulty(ctx, f)
	if err != nil {
		return nil, err
	}
	var rows []faultRow
	for _, l := range faultLoads {
		struck, cancel := context.WithCancel(ctx)
		end := make(chan error, 1)
		r.strikes = 0
		go func() { end <- r.strikeOn(struck, f) }()
		t := l.run(ctx, fmt.Sprintf("127.0.0.1:%d", r.in.port), b.duration)
		cancel()
		if err := <-end; err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		rows = append(rows, faultRow{fault: f, load: l.name, strikes: r.strikes, tally: t})
	}
	recovered, err := recoveries(r.in.front[0].log)
	rows[len(rows)-1].recover = recovered
	return rows, err
}
