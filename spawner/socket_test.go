package spawner

import (
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func listenTCP(t *testing.T) *os.File {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func TestIsShut(t *testing.T) {
	for _, how := range []int{unix.SHUT_RD, unix.SHUT_RDWR, unix.SHUT_WR} {
		for name, f := range map[string]*os.File{"unix": listenAt(t), "tcp": listenTCP(t)} {
			if isShut(f) {
				t.Errorf("%s: it is not shut down", name)
			}
			must(t, unix.Shutdown(int(f.Fd()), how))
			// A socket that listens has no writing half.
			if got, want := isShut(f), how != unix.SHUT_WR; got != want {
				t.Errorf("%s: %v after shutdown %d, want %v", name, got, how, want)
			}
		}
	}
}

// A child that shuts its socket down takes nothing from its successor.
func TestSocketRebuilt(t *testing.T) {
	c := newCrew(t, "shutdown", 1, nil)
	must(t, c.Start())
	var before int
	for range 5 {
		pid, err := c.ask(0)
		if err != nil || pid == before {
			t.Fatalf("pid %d after %d, %v\n%s", pid, before, err, &c.log)
		}
		before = pid
		c.opt().Ledger.Release(Claim{}, Answered)
		eventually(t, time.Second, "a successor is ready", func() bool { return c.Events()[0].State == Ready && c.pid(0) != before })
	}
	if !c.log.has("WARN", "shut its socket down", "slot=0") {
		t.Error(c.log.String())
	}
	path := SocketPath(c.dir, "app", 0)
	c.stop(time.Second)
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is left: %v", err)
	}
}

// Two supervisors overlap when an app is replaced: the first does not take the
// second's sockets away.
func TestSocketOfAnother(t *testing.T) {
	start := forker(t).Start
	with := func(dir string) *crew {
		return newCrew(t, "accept", 1, func(o *SupervisorOptions) {
			o.Start = start
			if dir != "" {
				o.SocketDir = dir
			}
		})
	}
	old := with("")
	must(t, old.Start())
	next := with(old.dir)
	must(t, next.Start())
	old.stop(time.Second)
	next.dir = old.dir
	if pid, err := next.ask(0); err != nil || pid != next.pid(0) {
		t.Errorf("%d, %v", pid, err)
	}
}

// Children that share one socket.
func TestSharedSocket(t *testing.T) {
	for name, listen := range map[string]*os.File{"unix": listenAt(t), "tcp": listenTCP(t)} {
		t.Run(name, func(t *testing.T) {
			must(t, unix.SetNonblock(int(listen.Fd()), false))
			c := newCrew(t, "accept", 3, func(o *SupervisorOptions) { o.Listen, o.SocketDir = listen, "" })
			must(t, c.Start())
			ask := func() int {
				t.Helper()
				pid, err := askSocket(listen)
				must(t, err)
				return pid
			}
			pids := []int{c.pid(0), c.pid(1), c.pid(2)}
			for range 10 {
				if pid := ask(); !slices.Contains(pids, pid) {
					t.Errorf("%d answers, not one of %d", pid, pids)
				}
			}
			syscall.Kill(pids[0], syscall.SIGKILL)
			eventually(t, time.Second, "it is dead", func() bool { return zombie(pids[0]) }) // it may take one more while it dies
			for range 20 {
				ask()
			}
			eventually(t, 2*time.Second, "a successor", func() bool { return c.pid(0) != pids[0] && c.Events()[0].State == Ready })
			if n, err := c.Restart(t.Context()); n != 3 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			if pid := ask(); slices.Contains(pids, pid) {
				t.Errorf("%d answers still", pid)
			}
			c.stop(time.Second)
			if isShut(listen) {
				t.Error("the socket is not the supervisor's")
			}
		})
	}
}

// Whoever ends in order after its requests is restarted for ever: nobody says
// whether it answered.
func TestSharedOnce(t *testing.T) {
	listen := listenAt(t)
	c := newCrew(t, "once", 1, func(o *SupervisorOptions) { o.Listen, o.SocketDir = listen, "" })
	must(t, c.Start())
	for i := range 8 {
		before := c.pid(0)
		if pid, err := askSocket(listen); err != nil || pid != before {
			t.Fatalf("%d: %d, %v", i, pid, err)
		}
		eventually(t, 2*time.Second, "a successor", func() bool { return c.pid(0) != before && c.Events()[0].State == Ready })
	}
	if s := c.ev.states(); strings.Contains(s, "backoff") {
		t.Error(s)
	}
}

func TestSharedRebound(t *testing.T) {
	dir := t.TempDir()
	listen, err := BindChild(dir+"/s", -1, 1)
	must(t, err)
	defer listen.Close()
	c := newCrew(t, "shutdown", 2, func(o *SupervisorOptions) {
		o.Listen, o.Rebind = listen, func() (*os.File, error) { return BindChild(dir+"/s", -1, 1) }
	})
	must(t, c.Start())
	for range 4 {
		pid, err := askSocket(listen)
		must(t, err)
		eventually(t, 2*time.Second, "successors", func() bool {
			e := c.Events()
			return !slices.ContainsFunc(e, func(e Event) bool { return e.PID == pid || e.State != Ready })
		})
	}
	if !c.log.has("WARN", "shut the socket of all down") {
		t.Error(c.log.String())
	}
}

// While a child is restarted, all requests that it may have wait in its socket.
func TestBacklogHoldsAllConnections(t *testing.T) {
	const connections = 3 * childBacklog
	p, err := bindPrivate(t.TempDir()+"/s", -1, connections)
	must(t, err)
	defer p.remove()
	for i := range connections {
		c, err := net.Dial("unix", p.Name())
		if err != nil {
			t.Fatalf("connection %d: %v", i+1, err)
		}
		defer c.Close()
	}
}
