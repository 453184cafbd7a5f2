package spawner

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cgi"
)

// crew is a supervisor of real processes.
type crew struct {
	*Supervisor
	t    *testing.T
	dir  string
	ev   events
	log  logText
	errs *cgi.ErrorLog
	done bool
}

func newCrew(t *testing.T, mode string, children int, change func(*SupervisorOptions)) *crew {
	t.Helper()
	c := &crew{t: t, dir: t.TempDir()}
	c.errs = &cgi.ErrorLog{App: "app", Log: c.log.logger()}
	o := SupervisorOptions{App: "app", Program: program(t, mode), Max: children, SocketDir: c.dir, SocketGID: -1,
		StartTimeout: 5 * time.Second, StopSignal: syscall.SIGTERM, StopGrace: 2 * time.Second,
		Ledger: NewLedger(LedgerOptions{Queue: 8, Slots: make([]SlotOptions, children)}),
		Event:  c.ev.add, Stderr: c.errs.For, Log: c.log.logger()}
	if change != nil {
		change(&o)
	}
	if o.Start == nil {
		o.Start = forker(t).Start
	}
	s, err := NewSupervisor(o)
	must(t, err)
	c.Supervisor = s
	t.Cleanup(func() { c.stop(5 * time.Second) })
	return c
}

func (c *crew) stop(d time.Duration) time.Duration {
	if c.done {
		return 0
	}
	c.done = true
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	begin := time.Now()
	c.Stop(ctx)
	return time.Since(begin)
}

// ask connects to a child and returns its answer, the pid.
func (c *crew) ask(slot int) (int, error) { return askAt("unix", SocketPath(c.dir, "app", slot)) }

// askSocket asks whoever has a listening socket.
func askSocket(f *os.File) (int, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return 0, err
	}
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	at := l.Addr()
	l.Close()
	unix.SetNonblock(int(f.Fd()), false) // as net has made it
	return askAt(at.Network(), at.String())
}

func askAt(network, address string) (int, error) {
	nc, err := net.Dial(network, address)
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(5 * time.Second))
	fmt.Fprintln(nc, "hello")
	b, err := io.ReadAll(nc)
	if err != nil {
		return 0, err
	}
	var pid int
	_, err = fmt.Sscan(string(b), &pid)
	return pid, err
}

func (c *crew) pid(slot int) int { return c.Events()[slot].PID }

func (c *crew) await(slot int, st State) {
	c.t.Helper()
	eventually(c.t, 5*time.Second, fmt.Sprintf("slot %d is %v: %s\n%s", slot, st, c.ev.states(), &c.log), func() bool {
		return c.Events()[slot].State == st
	})
}

func TestSupervisorLife(t *testing.T) {
	c := newCrew(t, "accept", 2, nil)
	for i := range 2 {
		fi, err := os.Stat(SocketPath(c.dir, "app", i))
		must(t, err)
		if fi.Mode().Perm() != 0o660 || fi.Mode()&os.ModeSocket == 0 {
			t.Errorf("mode %v", fi.Mode())
		}
		if fl, err := unix.FcntlInt(c.slots[i].socket.Fd(), unix.F_GETFL, 0); err != nil || fl&unix.O_NONBLOCK != 0 {
			t.Errorf("the socket does not block: %#x, %v", fl, err)
		}
	}
	must(t, c.Start())
	if e := c.Events(); e[0].State != Ready || e[1].State != Ready || e[1].Slot != 1 || e[1].App != "app" {
		t.Errorf("events %+v", e)
	}
	for i := range 2 {
		if pid, err := c.ask(i); pid != c.pid(i) || err != nil {
			t.Errorf("slot %d: pid %d, %v; want %d", i, pid, err, c.pid(i))
		}
	}
	eventually(t, time.Second, "its output is in the log", func() bool {
		return c.log.has("stderr", "app=app", fmt.Sprintf("pid=%d", c.pid(0)), "request hello")
	})
	pids := []int{c.pid(0), c.pid(1)}
	if d := c.stop(5 * time.Second); d > time.Second {
		t.Errorf("stopped after %v", d)
	}
	for i, pid := range pids {
		if !gone(pid) {
			t.Errorf("child %d is left", pid)
		}
		if _, err := os.Stat(SocketPath(c.dir, "app", i)); !os.IsNotExist(err) {
			t.Errorf("socket %d is left: %v", i, err)
		}
	}
	if !strings.HasSuffix(c.ev.states(), "absent") {
		t.Error(c.ev.states())
	}
}

func TestReadiness(t *testing.T) {
	cases := []struct {
		mode     string
		min, max time.Duration
	}{
		{"accept", 0, time.Second},
		{"poll", 45 * time.Millisecond, time.Second},
		{"select", 45 * time.Millisecond, time.Second},
		{"epoll", 45 * time.Millisecond, time.Second},
		{"parent", 45 * time.Millisecond, time.Second},
		{"hungread", 700 * time.Millisecond, 1500 * time.Millisecond}, // only the time tells
	}
	for _, m := range cases {
		t.Run(m.mode, func(t *testing.T) {
			c := newCrew(t, m.mode, 1, func(o *SupervisorOptions) { o.StartTimeout = 700 * time.Millisecond })
			begin := time.Now()
			must(t, c.Start())
			d := time.Since(begin)
			if c.Events()[0].State != Ready || d < m.min || d > m.max {
				t.Errorf("%+v after %v", c.Events(), d)
			}
			if m.mode == "hungread" {
				return
			}
			pid, err := c.ask(0)
			if err != nil || m.mode != "parent" && pid != c.pid(0) {
				t.Errorf("pid %d, %v", pid, err)
			}
			c.stop(5 * time.Second)
			eventually(t, time.Second, "it is gone", func() bool { return zombie(pid) })
		})
	}
	if look(1<<30) != unknown {
		t.Error("a process that is not there")
	}
}

// An idle child that is killed costs no request: connects queue on its socket,
// and its successor serves them.
func TestKilledIdle(t *testing.T) {
	c := newCrew(t, "accept", 1, nil)
	must(t, c.Start())
	old, err := c.ask(0)
	must(t, err)
	cl, err := c.opt().Ledger.Claim(t.Context(), Anyone)
	must(t, err)
	c.opt().Ledger.Release(cl, Answered)
	syscall.Kill(old, syscall.SIGKILL)
	eventually(t, time.Second, "it is dead", func() bool { return gone(old) }) // it may take one more while it dies
	for range 5 {
		if pid, err := c.ask(0); err != nil || pid == old {
			t.Fatalf("pid %d (old %d), %v", pid, old, err)
		}
	}
	if !c.log.has("WARN", "child ended", fmt.Sprintf("pid=%d", old), "killed by signal 9", "answered=true") {
		t.Error(c.log.String())
	}
	if s := c.ev.states(); strings.Contains(s, "backoff") {
		t.Error(s)
	}
}

// A program that ends after each request is no crash, however fast they come.
func TestOneRequestEach(t *testing.T) {
	c := newCrew(t, "once", 1, nil)
	must(t, c.Start())
	pool := NewPool(PoolOptions{App: "app", Report: c.Report,
		Targets: []Target{{"unix", SocketPath(c.dir, "app", 0)}},
		Ledger:  c.opt().Ledger})
	events := make(chan struct{})
	go func() { // as the worker hears of them
		defer close(events)
		for n := 0; ; n++ {
			c.ev.mu.Lock()
			if n >= len(c.ev.all) {
				n--
				c.ev.mu.Unlock()
				time.Sleep(200 * time.Microsecond)
				continue
			}
			e := c.ev.all[n]
			c.ev.mu.Unlock()
			pool.Apply(e)
			if e.State == Absent {
				return
			}
		}
	}()
	eventually(t, time.Second, "the pool knows", func() bool { return pool.Counts().Children[0].State == Ready })
	for range 15 {
		l, err := pool.Lease(t.Context(), Anyone)
		if err != nil {
			t.Fatalf("%v: %s", err, c.ev.states())
		}
		if _, err := c.ask(0); err != nil {
			t.Fatal(err)
		}
		l.Release(Answered, nil)
	}
	c.stop(5 * time.Second)
	<-events
	if s := c.ev.states(); strings.Contains(s, "backoff") {
		t.Error(s)
	}
}

func TestEndingIsLogged(t *testing.T) {
	c := newCrew(t, "exit3", 1, nil)
	must(t, c.Start())
	c.await(0, BackingOff)
	if !c.log.has("child ended", "exit status 3", `last_words="two\nthree\nfour"`) {
		t.Error(c.log.String())
	}
}

func TestReplaceStopped(t *testing.T) {
	c := newCrew(t, "accept", 1, nil)
	must(t, c.Start())
	old := c.pid(0)
	syscall.Kill(old, syscall.SIGSTOP)
	begin := time.Now()
	c.Report(Report{Slot: 0, PID: old + 1, Replace: "another's"})
	c.Report(Report{Slot: 0, PID: old, Replace: "silent"})
	eventually(t, 2*time.Second, "a successor", func() bool { return c.pid(0) != old && c.Events()[0].State == Ready })
	if pid, err := c.ask(0); err != nil || pid == old || !gone(old) {
		t.Errorf("pid %d, old %d: %v", pid, old, err)
	}
	if time.Since(begin) > 1500*time.Millisecond || !c.log.has("child is replaced", "silent") {
		t.Errorf("%v\n%s", time.Since(begin), &c.log)
	}
	if s := c.ev.states(); !strings.HasPrefix(s, "starting ready stopping starting ready") {
		t.Error(s)
	}
}

// A child that ignores the stop signal is killed after the grace, with all of
// its group.
func TestDeafChild(t *testing.T) {
	const grace = 400 * time.Millisecond
	grandchild := func(c *crew) (pid int) {
		eventually(t, 2*time.Second, "the grandchild", func() bool {
			_, after, _ := strings.Cut(c.log.String(), `line="grandchild `)
			fmt.Sscanf(after, "%d", &pid)
			return pid != 0
		})
		return pid
	}
	check := func(name string, ctx time.Duration, grace, want time.Duration) {
		t.Run(name, func(t *testing.T) {
			c := newCrew(t, "deaf", 1, func(o *SupervisorOptions) { o.StopGrace = grace })
			must(t, c.Start())
			pid, other := c.pid(0), grandchild(c)
			d := c.stop(ctx)
			if d < want-10*time.Millisecond || d > want+100*time.Millisecond {
				t.Errorf("stopped after %v, want %v", d, want)
			}
			eventually(t, time.Second, "the group is gone", func() bool { return gone(pid) && zombie(other) })
		})
	}
	check("grace", 5*time.Second, grace, grace)
	check("deadline", grace, time.Minute, grace)
}

// zombie reports whether a process is gone, but perhaps for who has to reap it.
func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}

func TestStopWaits(t *testing.T) {
	c := newCrew(t, "slowexit", 2, func(o *SupervisorOptions) { o.StartTimeout = 500 * time.Millisecond })
	must(t, c.Start())
	if d := c.stop(5 * time.Second); d < 290*time.Millisecond || d > time.Second {
		t.Errorf("stopped after %v", d)
	}
	eventually(t, time.Second, "its last words", func() bool { return c.log.has("goodbye") })
}

func TestBindChild(t *testing.T) {
	dir := t.TempDir()
	long := dir + "/" + strings.Repeat("x", maxSocketPath-len(dir))
	if _, err := BindChild(long, -1, 1); err == nil || !strings.Contains(err.Error(), "108 bytes") {
		t.Errorf("too long: %v", err)
	}
	if _, err := NewSupervisor(SupervisorOptions{App: "x", Max: 3, SocketDir: dir + "/none"}); err == nil {
		t.Error("a folder that does not exist")
	}
	path := long[:len(long)-1]
	f, err := BindChild(path, -1, 1)
	must(t, err)
	defer f.Close()
	again, err := BindChild(path, os.Getgid(), 1) // what a killed one left
	must(t, err)
	defer again.Close()
	if os.Getuid() == 0 {
		g, err := BindChild(dir+"/g", 65534, 1)
		must(t, err)
		defer g.Close()
		fi, _ := os.Stat(dir + "/g")
		if fi.Sys().(*syscall.Stat_t).Gid != 65534 {
			t.Error("group")
		}
	}
	for range childBacklog {
		c, err := net.Dial("unix", path)
		must(t, err)
		defer c.Close()
	}
}
