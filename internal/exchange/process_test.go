package exchange

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/cgi"
	"sluice/fcgi"
	"sluice/spawner"
)

// childBehaviour is the application of the tests as a process of its own.
func childBehaviour(c *call) {
	pid := ok + strconv.Itoa(os.Getpid())
	switch c.params["QUERY_STRING"] {
	case "last": // ends with its answer
		c.say(pid)
		c.Close()
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "kill":
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "some": // dies in the middle
		c.out(pid)
		time.Sleep(60 * time.Millisecond)
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "stop":
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	default:
		c.say(pid)
	}
}

// newCrewRig is an App before a supervisor's children.
func newCrewRig(t *testing.T, children int, change func(*App)) *rig {
	t.Helper()
	r := &rig{farm: &farm{}, t: t}
	self, err := os.Executable()
	must(t, err)
	reaper := spawner.NewReaper()
	dir := t.TempDir()
	var sup atomic.Pointer[spawner.Supervisor]
	po := spawner.PoolOptions{App: "app", KeepAlive: true, ConnectTimeout: time.Second,
		Report: func(rep spawner.Report) { r.report(rep); sup.Load().Report(rep) }}
	lo := spawner.LedgerOptions{Queue: 64, QueueTimeout: 5 * time.Second, Slots: make([]spawner.SlotOptions, children)}
	for i := range children {
		po.Targets = append(po.Targets, spawner.Target{Network: "unix", Address: spawner.SocketPath(dir, "app", i)})
	}
	r.ledger = spawner.NewLedger(lo)
	po.Ledger = r.ledger
	r.pool = spawner.NewPool(po)
	errs := &cgi.ErrorLog{App: "app", Log: r.log.logger()}
	s, err := spawner.NewSupervisor(spawner.SupervisorOptions{App: "app", Max: children, SocketDir: dir, SocketGID: -1,
		Program:      spawner.Program{Command: []string{self}, Env: []string{childVariable + "=1", "GORACE=atexit_sleep_ms=0"}, Dir: "/"},
		StartTimeout: 5 * time.Second, StopSignal: syscall.SIGTERM, StopGrace: time.Second,
		Start: (&spawner.Forker{Reaper: reaper, Do: onThread}).Start, Event: r.pool.Apply, Ledger: r.ledger, Stderr: errs.For, Log: r.log.logger()})
	must(t, err)
	sup.Store(s)
	must(t, s.Start())
	t.Cleanup(func() {
		s.Stop(context.Background())
		r.pool.Close()
		reaper.Close()
	})
	r.start(&FastCGI{Pool: r.pool, Role: fcgi.Responder, WriteTimeout: time.Second, Stderr: errs}, change)
	return r
}

// An idle child that is killed, or that ends by itself after each answer, costs
// no request although there is no other.
func TestKilledChildCostsNothing(t *testing.T) {
	r := newCrewRig(t, 1, nil)
	for i := range 7 {
		for _, m := range []string{"GET", "POST"} {
			if got := r.fetch(m, "/x"); got != "200" {
				t.Fatalf("round %d: %s: %s\n%s", i, m, got, &r.log)
			}
		}
		r.free(time.Second)
		pid := r.ledger.Counts().Children[0].PID
		syscall.Kill(pid, syscall.SIGKILL)
		// One that still takes a request while it dies is not idle.
		eventually(t, time.Second, "it is dead", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
	}
	for i := range 10 {
		if got := r.fetch("GET", "/x?last"); got != "200" {
			t.Fatalf("request %d: %s\n%s", i, got, &r.log)
		}
	}
	r.free(time.Second)
}

// fetch is the status of an answer, or what went wrong.
func (r *rig) fetch(method, path string) string {
	r.t.Helper()
	res := r.do(method, path, nil)
	if res.err != nil || res.end.err != nil {
		return fmt.Sprint(res.status, " ", res.err, " ", res.end.err)
	}
	return strconv.Itoa(res.status)
}

func TestChildProcessDies(t *testing.T) {
	r := newCrewRig(t, 2, nil)
	res := r.do("POST", "/x?kill", nil)
	if res.status != 502 || res.end.err.Kind != Died {
		t.Errorf("%+v, %v", res, res.end.err)
	}
	res = r.do("GET", "/x?some", nil)
	if res.err == nil || res.end.err.Kind != Died || !res.end.err.Started {
		t.Errorf("%+v, %v", res, res.end.err)
	}
	r.free(time.Second)
}

// A child that is silent is replaced, and the next request gets an answer.
func TestSilentChildIsReplaced(t *testing.T) {
	r := newCrewRig(t, 1, func(a *App) { a.HeaderTimeout = 300 * time.Millisecond })
	if res := r.do("GET", "/x", nil); res.status != 200 {
		t.Fatalf("%+v", res)
	}
	old := r.ledger.Counts().Children[0].PID
	res := r.do("GET", "/x?stop", nil)
	if res.status != 504 || res.end.err.PID != old {
		t.Errorf("%+v, %v", res, res.end.err)
	}
	r.app.HeaderTimeout = 5 * time.Second
	res = r.do("GET", "/x", nil)
	if res.status != 200 || res.body == strconv.Itoa(old) || !zombie(old) {
		t.Errorf("%+v, %v", res, res.end.err)
	}
}
