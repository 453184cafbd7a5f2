package spawner

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cgi"
)

func TestCgroupFolder(t *testing.T) {
	const mounts = "22 1 0:21 / /proc rw,nosuid - proc proc rw\n" +
		"30 23 0:26 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n" +
		"31 23 0:27 %s %s rw,relatime shared:10 master:2 - cgroup2 cgroup2 rw,nsdelegate\n"
	cases := []struct{ groups, root, mount, want string }{
		{"0::/system.slice/sluice.service\n", "/", "/sys/fs/cgroup", "/sys/fs/cgroup/system.slice/sluice.service"},
		{"4:memory:/x\n1:name=systemd:/\n0::/\n", "/", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/unified"},
		{"0::/a/b", "/a", "/mnt", "/mnt/b"},
		{"0::/a", "/a", "/mnt", "/mnt"},
		{"0::/ab", "/a", "/mnt", ""},
		{"0::/../x", "/a", "/mnt", ""},
		{"0::/a b", "/", `/mnt\040of\134all`, `/mnt of\all/a b`},
		{"4:memory:/x\n", "/", "/mnt", ""},
		{"", "/", "/mnt", ""},
	}
	for _, c := range cases {
		got, err := cgroupFolder(c.groups, fmt.Sprintf(mounts, c.root, c.mount))
		if got != c.want || (err != nil) != (c.want == "") || err != nil && !errors.Is(err, ErrNotDelegated) {
			t.Errorf("%q in %s on %s: %q, %v, want %q", c.groups, c.root, c.mount, got, err, c.want)
		}
	}
	if _, err := cgroupFolder("0::/\n", "22 1 0:21 / /proc rw - proc proc rw\n"); err != ErrNotDelegated {
		t.Error(err)
	}
}

// testCgroup is an empty control group, which is removed at the end.
func testCgroup(t *testing.T, name string) string {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	root, err := cgroupFolder("0::/\n", string(mounts))
	if err != nil {
		t.Skip("the system has no control groups of version 2")
	}
	dir := filepath.Join(root, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skipf("no control group can be made here: %v", err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Errorf("something is left: %v", err)
		}
	})
	return dir
}

// cgroupsIn runs a test process in a control group and returns what it says.
func cgroupsIn(t *testing.T, f *Forker, dir, what string) []string {
	t.Helper()
	p := program(t, "cgroups", orderVariable+"="+what, "TMPDIR="+t.TempDir())
	p.Cgroup = dir
	return told(t, f, p)
}

func expectLines(t *testing.T, got []string, want ...string) {
	t.Helper()
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

func TestCgroups(t *testing.T) {
	f := forker(t)
	dir := testCgroup(t, fmt.Sprint("sluice-test-", os.Getpid()))
	expectLines(t, cgroupsIn(t, f, dir, "supervise"),
		"own sluice", "again: control group "+dir+"/sluice is in use by another server",
		"child in app-app/0", "grandchild in app-app/0",
		"killed: grandchild gone true, successor in app-app/0",
		"stopped: grandchild gone true, app left false",
		"closed: in "+filepath.Base(dir)+", leaf left false")
}

// What a killed server leaves is taken over, and its stray children end.
func TestCgroupsLeftOver(t *testing.T) {
	f := forker(t)
	dir := testCgroup(t, fmt.Sprint("sluice-test-", os.Getpid()))
	lines := cgroupsIn(t, f, dir, "crash")
	if len(lines) != 1 {
		t.Fatalf("%q", lines)
	}
	var stray int
	fmt.Sscanf(lines[0], "stray %d", &stray)
	if stray == 0 || zombie(stray) {
		t.Fatalf("%q", lines)
	}
	expectLines(t, cgroupsIn(t, f, dir, "take over"), "begun <nil>, populated false")
	eventually(t, time.Second, "the stray one is gone", func() bool { return zombie(stray) })
}

func TestNotDelegated(t *testing.T) {
	f := forker(t)
	for name, c := range map[string]struct{ attribute, want string }{
		".service":            {"", "no control group is delegated to this process"},
		".scope":              {"", "no control group is delegated to this process"},
		".slice":              {"0", "no control group is delegated to this process"},
		"-delegated.service":  {"1", "<nil>"},
		"-a.service-by-name":  {"", "<nil>"},
		"-by-nobody.sluice.d": {"", "<nil>"},
	} {
		dir := testCgroup(t, fmt.Sprint("sluice-test-", os.Getpid(), name))
		if c.attribute != "" {
			// root's attribute; where a container may not set it, the user's.
			if unix.Setxattr(dir, "trusted.delegate", []byte(c.attribute), 0) != nil {
				must(t, unix.Setxattr(dir, "user.delegate", []byte(c.attribute), 0))
			}
		}
		expectLines(t, cgroupsIn(t, f, dir, "open"), "open "+c.want)
	}
	if delegated(filepath.Dir(testCgroup(t, fmt.Sprint("sluice-test-", os.Getpid())))) {
		t.Log("this root is one of a namespace")
	}
	if delegated(t.TempDir()) {
		t.Error("a folder that is no control group")
	}
}

// A process that executes itself anew goes on from its leaf.
func TestCgroupsAgain(t *testing.T) {
	f := forker(t)
	dir := testCgroup(t, fmt.Sprint("sluice-test-", os.Getpid()))
	expectLines(t, cgroupsIn(t, f, dir, "exec"), "own sluice", "app "+dir+"/app-x")
}

// childCgroups is a server in a control group that is delegated to it.
func childCgroups() {
	how := os.Getenv(orderVariable)
	g, err := OpenCgroups()
	own := func() string { d, _ := ownCgroup(); return filepath.Base(d) }
	switch how {
	case "open":
		fmt.Println("open", err)
		if err == nil {
			g.Close()
		}
	case "supervise":
		fmt.Println("own", own())
		_, err := OpenCgroups()
		fmt.Println("again:", err)
		superviseIn(g)
		g.Close()
		_, err = os.Stat(g.leaf.Name())
		fmt.Printf("closed: in %s, leaf left %v\n", own(), err == nil)
	case "crash":
		app, _ := g.App("app")
		dir, _ := app.begin(0)
		pid, err := syscall.ForkExec("/bin/sleep", []string{"sleep", "60"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Setsid: true}})
		if err != nil || writeCgroup(dir, "cgroup.procs", fmt.Sprint(pid)) != nil {
			fmt.Println(err)
		}
		fmt.Println("stray", pid)
	case "take over":
		app, err := g.App("app")
		if err != nil {
			fmt.Println(err)
			return
		}
		dir, err := app.begin(0)
		fmt.Printf("begun %v, populated %v\n", err, populated(dir))
		app.remove()
		g.Close()
	case "exec":
		if os.Getenv("AGAIN") == "" {
			fmt.Println("own", own())
			syscall.Exec("/proc/self/exe", []string{"again"}, append(os.Environ(), "AGAIN=1"))
		}
		app, err := g.App("x")
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println("app", app.dir)
		app.remove()
		g.Close()
	}
}

// superviseIn has children whose grandchildren escape from the process group.
func superviseIn(g *Cgroups) {
	app, err := g.App("app")
	if err != nil {
		fmt.Println(err)
		return
	}
	go forever()
	r := NewReaper()
	defer r.Close()
	dir, _ := os.MkdirTemp("", "")
	self, _ := os.Executable()
	escaped := make(chan int, 8)
	var ev events
	s, err := NewSupervisor(SupervisorOptions{App: "app", Max: 1, SocketDir: dir, SocketGID: -1, Cgroup: app,
		Program: Program{Command: []string{self}, Env: []string{modeVariable + "=escape", quick}},
		Start:   (&Forker{Reaper: r, Do: onThread}).Start, StopSignal: syscall.SIGTERM, StopGrace: time.Second, StartTimeout: time.Second,
		Event: ev.add, Log: (&logText{}).logger(),
		Stderr: func(int) *cgi.Lines {
			return &cgi.Lines{Emit: func(line []byte) {
				var pid int
				if n, _ := fmt.Sscanf(string(line), "grandchild %d", &pid); n == 1 {
					escaped <- pid
				}
			}}
		}})
	if err != nil {
		fmt.Println(err)
		return
	}
	group := func(pid int) string {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		_, path, _ := strings.Cut("\n"+string(b), "\n0::")
		path, _, _ = strings.Cut(path, "\n")
		return filepath.Join(filepath.Base(filepath.Dir(path)), filepath.Base(path))
	}
	s.Start()
	pid, grandchild := s.Events()[0].PID, <-escaped
	fmt.Println("child in", group(pid))
	fmt.Println("grandchild in", group(grandchild))
	syscall.Kill(pid, syscall.SIGKILL)
	second := <-escaped
	for s.Events()[0].State != Ready || s.Events()[0].PID == pid {
		time.Sleep(time.Millisecond)
	}
	fmt.Printf("killed: grandchild gone %v, successor in %s\n", zombie(grandchild), group(s.Events()[0].PID))
	s.Stop(context.Background())
	_, err = os.Stat(app.dir)
	fmt.Printf("stopped: grandchild gone %v, app left %v\n", zombie(second), err == nil)
}

// What a child has read of files is not its memory.
func TestCgroupMemoryIsResident(t *testing.T) {
	a := &Cgroup{t.TempDir()}
	if n, ok := a.memory(0); ok {
		t.Errorf("%d of a group that does not exist", n)
	}
	must(t, os.Mkdir(a.child(0), 0o755))
	for text, want := range map[string]int64{
		"anon 4096\nfile 1000000\nkernel 77\nshmem 5\nfile_mapped 8192\nanon_thp 9\n": 12288,
		"anon 0\n": 0,
		"file 1\n": -1,
		"anon x\n": -1,
		"":         -1,
	} {
		must(t, os.WriteFile(filepath.Join(a.child(0), "memory.stat"), []byte(text), 0o644))
		if n, ok := a.memory(0); ok != (want >= 0) || ok && n != want {
			t.Errorf("%q: %d, %v, want %d", text, n, ok, want)
		}
	}
}
