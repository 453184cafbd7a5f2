package spawner

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Cgroups is the part of the system's control groups (version 2, cgroups(7))
// that is delegated to this process: a folder in which it may make others. In
// it the process itself is moved to a leaf, since only a folder without
// processes can hand on controllers; beside it each app has a folder, and in
// that each child.
type Cgroups struct {
	dir         string
	leaf        *os.File // locked, so that two servers that were started in one group do not share
	controllers []string // that this process switched on for the apps
}

// ErrNotDelegated is a system without control groups of version 2, or one where
// this process may make none.
var ErrNotDelegated = errors.New("no control group is delegated to this process")

// leafName is the group of the server itself.
const leafName = "sluice"

// OpenCgroups moves this process to a leaf of the control group that it is in,
// if that is delegated to it. A process that has executed itself anew finds
// itself in its leaf and goes on from there. Close undoes it.
//
// Errors: ErrNotDelegated; or the group is in use by another server.
func OpenCgroups() (*Cgroups, error) {
	dir, err := ownCgroup()
	if err != nil {
		return nil, err
	}
	if above := filepath.Dir(dir); filepath.Base(dir) == leafName && delegated(above) {
		dir = above
	}
	if !delegated(dir) {
		return nil, ErrNotDelegated
	}
	leaf := filepath.Join(dir, leafName)
	if err := makeCgroup(leaf); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotDelegated, err)
	}
	lock, err := os.Open(leaf)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("control group %s is in use by another server", leaf)
	}
	if err := joinCgroup(leaf); err != nil {
		lock.Close()
		os.Remove(leaf)
		return nil, fmt.Errorf("%w: %w", ErrNotDelegated, err)
	}
	return &Cgroups{dir: dir, leaf: lock, controllers: switchOn(dir)}, nil
}

// App makes the control group of an app.
func (g *Cgroups) App(name string) (*Cgroup, error) {
	a := &Cgroup{filepath.Join(g.dir, "app-"+name)}
	if err := makeCgroup(a.dir); err != nil {
		return nil, err
	}
	switchOn(a.dir)
	return a, nil
}

// Close moves this process back to where it was, and removes its leaf. The
// groups of the apps have to be gone already: see Supervisor.Stop.
func (g *Cgroups) Close() {
	for _, c := range g.controllers {
		writeCgroup(g.dir, "cgroup.subtree_control", "-"+c)
	}
	joinCgroup(g.dir)
	os.Remove(g.leaf.Name())
	g.leaf.Close()
}

// KillFile opens what kills all children of the app, and what they started,
// when "1" is written to it: for who outlives their owner, and could not open it.
func (a *Cgroup) KillFile() (*os.File, error) {
	return os.OpenFile(filepath.Join(a.dir, "cgroup.kill"), os.O_WRONLY, 0)
}

// Cgroup is the control group of an app, with one for each child in it.
type Cgroup struct{ dir string }

func (a *Cgroup) child(slot int) string { return filepath.Join(a.dir, strconv.Itoa(slot)) }

// begin makes the group of a child, or empties what an earlier server left.
func (a *Cgroup) begin(slot int) (string, error) {
	dir := a.child(slot)
	if err := makeCgroup(dir); err != nil {
		return "", err
	}
	killCgroup(dir)
	return dir, nil
}

// kill kills what a child has left, in whatever process group it is.
func (a *Cgroup) kill(slot int) { killCgroup(a.child(slot)) }

// memory is what a child and its descendants have resident; false: the system
// does not count it. memory.current would count what they have read of files,
// too, which the kernel takes back when it likes.
func (a *Cgroup) memory(slot int) (n int64, ok bool) {
	b, err := os.ReadFile(filepath.Join(a.child(slot), "memory.stat"))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name != "anon" && name != "file_mapped" {
			continue
		}
		size, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return 0, false
		}
		n, ok = n+size, true
	}
	return n, ok
}

// remove removes the groups; what still is in them is killed.
func (a *Cgroup) remove() {
	left, _ := filepath.Glob(filepath.Join(a.dir, "*", "cgroup.procs"))
	for _, procs := range left {
		killCgroup(filepath.Dir(procs))
		removeCgroup(filepath.Dir(procs))
	}
	removeCgroup(a.dir)
}

// removeCgroup removes a group, which the kernel refuses for a moment after the
// last of its processes has gone.
func removeCgroup(dir string) {
	for limit := time.Now().Add(cgroupDeath); os.Remove(dir) != nil && time.Now().Before(limit); time.Sleep(time.Millisecond) {
		if _, err := os.Lstat(dir); err != nil {
			return
		}
	}
}

// cgroupDeath bounds the time that killed processes take to be gone.
const cgroupDeath = time.Second

// killCgroup kills all that is in a group, and waits until it is gone. A kernel
// before 5.14 cannot.
func killCgroup(dir string) {
	for limit := time.Now().Add(cgroupDeath); populated(dir) && time.Now().Before(limit); time.Sleep(time.Millisecond) {
		if writeCgroup(dir, "cgroup.kill", "1") != nil {
			return
		}
	}
}

func populated(dir string) bool {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.events"))
	return err == nil && bytes.Contains(b, []byte("populated 1"))
}

func makeCgroup(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// joinCgroup moves this process to a group.
func joinCgroup(dir string) error { return writeCgroup(dir, "cgroup.procs", "0") }

// switchOn has a group hand on what the apps are accounted with, and returns
// what it could: other processes in it, or an administrator, may be against it.
func switchOn(dir string) (on []string) {
	for _, c := range []string{"memory", "pids"} {
		if writeCgroup(dir, "cgroup.subtree_control", "+"+c) == nil {
			on = append(on, c)
		}
	}
	return on
}

// writeCgroup writes to a file that is there: with O_CREATE a missing one would
// be a question of permission.
func writeCgroup(dir, file, text string) error {
	f, err := os.OpenFile(filepath.Join(dir, file), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(text)
	return err
}

// delegated reports whether this process may arrange a group by itself. In the
// root of all groups nobody may; where systemd rules (its names tell) it says
// whether it leaves the group alone.
func delegated(dir string) bool {
	kind, err := os.ReadFile(filepath.Join(dir, "cgroup.type"))
	if err != nil || strings.TrimSpace(string(kind)) != "domain" {
		return false
	}
	switch filepath.Ext(dir) {
	case ".service", ".scope", ".slice":
		return attribute(dir, "trusted.delegate") == "1" || attribute(dir, "user.delegate") == "1"
	}
	return true
}

func attribute(path, name string) string {
	var b [16]byte
	n, err := unix.Getxattr(path, name, b[:])
	if err != nil {
		return ""
	}
	return string(b[:n])
}

// ownCgroup is the folder of the group that this process is in.
func ownCgroup() (string, error) {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", ErrNotDelegated
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", ErrNotDelegated
	}
	return cgroupFolder(string(groups), string(mounts))
}

// cgroupFolder finds the folder from what /proc/self/cgroup (cgroups(7)) and
// /proc/self/mountinfo (proc(5)) say.
func cgroupFolder(groups, mounts string) (string, error) {
	_, path, ok := strings.Cut("\n"+groups, "\n0::")
	if !ok {
		return "", ErrNotDelegated
	}
	path, _, _ = strings.Cut(path, "\n")
	for line := range strings.Lines(mounts) {
		head, tail, _ := strings.Cut(line, " - ")
		f := strings.Fields(head)
		if len(f) < 5 || !strings.HasPrefix(tail, "cgroup2 ") {
			continue
		}
		root, mount := strings.TrimSuffix(unescape(f[3]), "/"), unescape(f[4])
		if rest, ok := strings.CutPrefix(path, root); ok && (rest == "" || rest[0] == '/') {
			return filepath.Join(mount, rest), nil
		}
	}
	return "", ErrNotDelegated
}

// unescape undoes the octal escapes of mountinfo.
func unescape(s string) string {
	for i := 0; i+3 < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
			s = s[:i] + string([]byte{byte(n)}) + s[i+4:]
		}
	}
	return s
}
