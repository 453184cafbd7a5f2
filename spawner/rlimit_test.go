package spawner

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limitNames are the limits as /proc/PID/limits calls them, and in which unit.
var limitNames = map[string]string{"cpu": "Max cpu time", "files": "Max open files", "processes": "Max processes", "memory": "Max address space"}

// limitsOf reads what a shell says of its own limits, soft and hard.
func limitsOf(lines []string) map[string]string {
	m := map[string]string{}
	for _, line := range lines {
		for key, name := range limitNames {
			if rest, ok := strings.CutPrefix(line, name); ok {
				f := strings.Fields(rest)
				m[key] = f[0] + " " + f[1]
			}
		}
	}
	return m
}

func TestRlimits(t *testing.T) {
	f := forker(t)
	own, err := os.ReadFile("/proc/self/limits")
	must(t, err)
	inherited := limitsOf(strings.Split(string(own), "\n"))
	// This runtime has raised its own soft limit, which the child must not see.
	var soft unix.Rlimit
	must(t, unix.Prlimit(os.Getppid(), unix.RLIMIT_NOFILE, nil, &soft))
	inherited["files"] = fmt.Sprint(soft.Cur, " ", soft.Max)
	cases := []struct {
		name string
		r    Rlimits
		want map[string]string
	}{
		{"none", Rlimits{}, nil},
		// Less than a Go program, which the shim is, has reserved.
		{"memory", Rlimits{Memory: 32 << 20}, map[string]string{"memory": fmt.Sprint(32<<20, " ", 32<<20)}},
		{"cpu", Rlimits{CPU: 1500 * time.Millisecond}, map[string]string{"cpu": "2 2"}},
		{"files", Rlimits{Files: 20}, map[string]string{"files": "20 20"}},
		// Fewer than the threads of the shim.
		{"processes", Rlimits{Processes: 2}, map[string]string{"processes": "2 2"}},
		{"all", Rlimits{Memory: 1 << 30, CPU: time.Hour, Files: 20, Processes: 9},
			map[string]string{"memory": "1073741824 1073741824", "cpu": "3600 3600", "files": "20 20", "processes": "9 9"}},
	}
	for _, c := range cases {
		ids := []*Identity{nil}
		if os.Getuid() == 0 {
			ids = append(ids, &Identity{UID: 65534, GID: 65534})
		}
		for _, id := range ids {
			// The shell reads by itself: it may have no process more.
			p := Program{Command: []string{"/bin/sh", "-c", `while read -r line; do echo "$line"; done </proc/self/limits`}, Rlimits: c.r, As: id, Dir: "/"}
			got := limitsOf(told(t, f, p))
			for key := range limitNames {
				want := inherited[key]
				if w, ok := c.want[key]; ok {
					want = w
				}
				if got[key] != want {
					t.Errorf("%s as %v: %s is %q, want %q", c.name, id, key, got[key], want)
				}
			}
		}
	}
}

// The limits do what they say: a shell that wants more fails.
func TestRlimitsHold(t *testing.T) {
	f := forker(t)
	nobody := &Identity{UID: 65531, GID: 65531}
	if os.Getuid() != 0 {
		nobody = nil
	}
	for _, c := range []struct {
		name, script string
		r            Rlimits
	}{
		{"cpu", "while :; do :; done; echo survived", Rlimits{CPU: time.Second}},
		{"files", "echo survived | /bin/cat", Rlimits{Files: 4}}, // a pipe has two
		{"memory", `x=0123456789; while [ ${#x} -lt 30000000 ]; do x=$x$x; done; echo survived`, Rlimits{Memory: 16 << 20}},
		{"processes", "/bin/true; echo survived", Rlimits{Processes: 1}},
	} {
		if c.name == "processes" && nobody == nil {
			t.Log("not root: the number of processes is not tested")
			continue
		}
		p := Program{Command: []string{"/bin/sh", "-ec", c.script}, Rlimits: c.r, As: nobody, Dir: "/"}
		if got := told(t, f, p); slices.Contains(got, "survived") {
			t.Errorf("%s: %q", c.name, got)
		}
		if c.name == "cpu" {
			continue
		}
		p.Rlimits = Rlimits{Memory: 1 << 30, Files: 100, Processes: 1000}
		if got := told(t, f, p); !slices.Contains(got, "survived") {
			t.Errorf("%s without the limit: %q", c.name, got)
		}
	}
}

// forkedBy is what a program that forks another behind the shim says.
func forkedBy(t *testing.T, f *Forker, o forkOrder) []string {
	t.Helper()
	order, err := json.Marshal(o)
	must(t, err)
	p := program(t, "fork", orderVariable+"="+string(order))
	p.Command, p.Dir = []string{readable(t)}, "/"
	return told(t, f, p)
}

// mayRaise reports whether this process has CAP_SYS_RESOURCE: in a container
// root may lack it.
func mayRaise(t *testing.T) bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	must(t, unix.Capget(&header, &data[0]))
	return data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) != 0
}

// What only root may do is done while it is root, and what cannot be done is
// fatal for the child.
func TestShimRefuses(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root: the change of identity is not tested")
	}
	f := forker(t)
	nobody := &Identity{UID: 65534, GID: 65534}
	echo := Program{Command: []string{"/bin/sh", "-c", "echo it runs; ulimit -n"}, Dir: "/"}
	with := func(r Rlimits, as *Identity) Program {
		p := echo
		p.Rlimits, p.As = r, as
		return p
	}
	raised := []string{"it runs", "900", "exit status 0"}
	if !mayRaise(t) {
		raised = []string{"error: RLIMIT_NOFILE of 900: operation not permitted"}
	}
	for _, c := range []struct {
		name  string
		order forkOrder
		want  []string
	}{
		{"a limit above the present one, by root", forkOrder{Program: with(Rlimits{Files: 900}, nobody), Files: 500}, raised},
		{"a limit above the present one, by another", forkOrder{Program: with(Rlimits{Files: 900}, nil), Files: 500, As: nobody},
			[]string{"error: RLIMIT_NOFILE of 900: operation not permitted"}},
		{"a limit below, by another", forkOrder{Program: with(Rlimits{Files: 400}, nil), Files: 500, As: nobody}, []string{"it runs", "400", "exit status 0"}},
		{"root again", forkOrder{Program: with(Rlimits{}, &Identity{}), As: nobody}, []string{"error: setgroups: operation not permitted"}},
		{"another user", forkOrder{Program: with(Rlimits{}, &Identity{UID: 65533, GID: 65534}), As: nobody}, []string{"error: setgroups: operation not permitted"}},
	} {
		if got := forkedBy(t, f, c.order); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	p := with(Rlimits{}, nil)
	p.Cgroup = t.TempDir()
	if _, err := f.Start(p, listenAt(t), os.Stderr); err == nil || !strings.Contains(err.Error(), "cgroup.procs") {
		t.Errorf("a control group that is none: %v", err)
	}
}
