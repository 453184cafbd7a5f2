package spawner

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// listenAt is a socket for a child that is started without a supervisor.
func listenAt(t *testing.T) *os.File {
	t.Helper()
	f, err := BindChild(t.TempDir()+"/s", -1, 1)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// told runs a program behind the shim and returns what it prints.
func told(t *testing.T, f *Forker, p Program) []string {
	t.Helper()
	r, w, err := os.Pipe()
	must(t, err)
	defer r.Close()
	c, err := f.Start(p, listenAt(t), w)
	w.Close()
	must(t, err)
	out, err := io.ReadAll(r)
	must(t, err)
	<-c.Done()
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return slices.DeleteFunc(lines, func(s string) bool { return strings.Contains(s, "GOCOVERDIR") }) // under -cover
}

func TestShim(t *testing.T) {
	f := forker(t)
	dir := filepath.Dir(readable(t))
	p := program(t, "tell", "B=2 = \"\n", "A=", "PATH=/x")
	p.Dir, p.Umask = dir, 0o027
	t.Setenv("SLUICE_TEST_SECRET", "1")
	expect := func(p Program, ids string) {
		t.Helper()
		// The variable with a line feed is two lines here.
		want := []string{"fd 0 ", "fd 1 ", "fd 2 ", "env B=2 = \"", "", "env A=", "env PATH=/x", "env " + modeVariable + "=tell", "env " + quick,
			"cwd " + dir, "umask 0027", ids, "groups []", "NoNewPrivs: 1", "nonblocking false", "pgrp true", "end"}
		got := told(t, f, p)
		got = slices.DeleteFunc(got, func(s string) bool { return p.As == nil && strings.HasPrefix(s, "groups") })
		if p.As == nil {
			want = slices.DeleteFunc(want, func(s string) bool { return strings.HasPrefix(s, "groups") })
		}
		if !slices.Equal(got, want) {
			t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	expect(p, fmt.Sprint("ids ", os.Getuid(), os.Geteuid(), os.Getgid(), os.Getegid()))
	if os.Getuid() != 0 {
		t.Skip("not root: the change of identity is not tested")
	}
	p.Command = []string{readable(t)}
	p.As = &Identity{UID: 65534, GID: 65533}
	expect(p, "ids 65534 65534 65533 65533")
	p.As.Groups = []int{4, 65533}
	if got := told(t, f, p); !slices.Contains(got, "groups [4 65533]") {
		t.Errorf("%q", got)
	}
	// Who is somebody already need not be root to stay it.
	q := Program{Command: p.Command, Env: []string{modeVariable + "=assume", quick}, As: p.As, Dir: "/"}
	if got := told(t, f, q); !slices.Equal(got, []string{"assume <nil>", "other true"}) {
		t.Errorf("%q", got)
	}
}

// readable is this binary where everybody may execute it.
func readable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "spawner-*")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	self, err := os.Executable()
	must(t, err)
	b, err := os.ReadFile(self)
	must(t, err)
	must(t, os.WriteFile(dir+"/child", b, 0o755))
	return dir + "/child"
}

func TestExecErrors(t *testing.T) {
	f := forker(t)
	dir := t.TempDir()
	file := func(name, content string, mode os.FileMode) string {
		must(t, os.WriteFile(dir+"/"+name, []byte(content), mode))
		return dir + "/" + name
	}
	self := program(t, "accept").Command[0]
	cases := []struct {
		name, cause string
		p           Program
	}{
		{"missing", "no such file", Program{Command: []string{dir + "/none"}}},
		{"not in PATH", "sluice-none: not found in PATH", Program{Command: []string{"sluice-none"}}},
		{"no permission", "permission denied", Program{Command: []string{file("plain", "#!/bin/sh\n", 0o644)}}},
		{"a directory", "is a directory", Program{Command: []string{dir}}},
		{"no interpreter line", "no interpreter", Program{Command: []string{file("text", "hello", 0o755)}}},
		{"interpreter missing", "no such file", Program{Command: []string{file("bad", "#!/no/such/perl\n", 0o755)}}},
		{"folder missing", "chdir", Program{Command: []string{self}, Dir: dir + "/none"}},
	}
	if os.Getuid() == 0 {
		must(t, os.Mkdir(dir+"/closed", 0o700))
		cases = append(cases, struct {
			name, cause string
			p           Program
		}{"folder closed to the child", "permission denied", Program{Command: []string{readable(t)}, Dir: dir + "/closed", As: &Identity{UID: 65534, GID: 65534}}})
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.p.Env = []string{quick}
			_, err := f.Start(c.p, listenAt(t), os.Stderr)
			var e *ExecError
			if !errors.As(err, &e) || !strings.Contains(err.Error(), c.cause) {
				t.Errorf("%v, want %q", err, c.cause)
			}
		})
	}
	f.Self = dir + "/no-shim"
	if _, err := f.Start(Program{Command: []string{self}}, listenAt(t), os.Stderr); err == nil {
		t.Error("no shim")
	}
	f.Reaper.mu.Lock()
	defer f.Reaper.mu.Unlock()
	if len(f.Reaper.known) > 0 {
		t.Errorf("still known: %v", f.Reaper.known)
	}
}

// A killed parent leaves no child behind, also none that is somebody else: the
// change of identity clears the death signal.
func TestParentKilled(t *testing.T) {
	users := []string{""}
	if os.Getuid() == 0 {
		users = append(users, "65534")
	}
	for _, user := range users {
		parentKilled(t, user)
	}
}

func parentKilled(t *testing.T, user string) {
	r := NewReaper()
	defer r.Close()
	out, w, err := os.Pipe()
	must(t, err)
	defer out.Close()
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	parent, err := r.Fork("/proc/self/exe", []string{"doomed"}, &syscall.ProcAttr{
		Env:   []string{modeVariable + "=doomed", orderVariable + "=" + user, quick},
		Files: []uintptr{null.Fd(), w.Fd(), w.Fd()}, Sys: &syscall.SysProcAttr{Setpgid: true}})
	w.Close()
	must(t, err)
	var pid int
	if _, err := fmt.Fscanf(out, "child %d\n", &pid); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	if gone(pid) {
		t.Fatal("the child does not run")
	}
	must(t, syscall.Kill(parent.PID(), syscall.SIGKILL))
	<-parent.Done()
	eventually(t, 2*time.Second, "the child is gone", func() bool { return zombie(pid) })
}

func TestLookPath(t *testing.T) {
	t.Chdir(t.TempDir())
	must(t, os.WriteFile("prog", []byte("#!/bin/sh\n"), 0o755))
	wd, _ := os.Getwd()
	if p, err := LookPath("./prog"); err != nil || p != wd+"/prog" {
		t.Error(p, err)
	}
	t.Setenv("PATH", wd)
	if p, err := LookPath("prog"); err != nil || p != wd+"/prog" {
		t.Error(p, err)
	}
	if bytes.Contains([]byte(wd), []byte("..")) {
		t.Error(wd)
	}
}

// An environment that comes from elsewhere cannot tell a shim what to do.
func TestShimObeysItsOwnOrder(t *testing.T) {
	f := forker(t)
	p := program(t, "tell", "PATH=/x", shimVariable+`={"Path":"/bin/false","Args":["false"]}`)
	if got := told(t, f, p); !slices.Contains(got, "env PATH=/x") || strings.Contains(strings.Join(got, "\n"), shimVariable) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}
