package master

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/assemble"
	"sluice/internal/config"
	"sluice/spawner"
)

const foreignConfig = `
[[app]]
name = "foreign"
kind = "cgi"
user = "games"
max = 1
env = { OVER = "app", LD_BIND_NOW = "1" }
pass_env = ["PASSED"]
[[app]]
name = "own"
kind = "cgi"
[[site]]
root = "www"
[[site.route]]
match = "/s/*.cgi"
app = "foreign"
dir = "scripts"
env = { OVER = "route" }
[[site.route]]
match = "/own/"
app = "own"
dir = "scripts"
[[site.route]]
match = "/one"
app = "foreign"
script = "one.cgi"
[[site.route]]
match = "/cgi-bin/"
app = "foreign"
authorizer = "leave"
[[app]]
name = "leave"
kind = "fastcgi"
role = "authorizer"
address = ["tcp:127.0.0.1:1"]
`

// Places of foreignConfig.
const (
	inFolder = iota
	ofWorker
	oneScript
	belowRoot
)

// deskRig is a desk, and the worker's end of its channel.
type deskRig struct {
	t      *testing.T
	dir    string
	conn   *net.UnixConn
	desk   *scriptDesk
	bad    chan error
	config *config.Config
}

func newDeskRig(t *testing.T) *deskRig {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can change the user")
	}
	r := &deskRig{t: t, bad: make(chan error, 8)}
	r.makeFiles()
	c, err := config.Parse(filepath.Join(r.dir, "sluice.toml"), []byte(foreignConfig))
	must(t, err)
	r.config = c
	ids, err := assemble.LookUpIdentities(c)
	must(t, err)
	places, err := assemble.Places(c, ids, []string{"PASSED=on", "SECRET=1"})
	must(t, err)
	conn, theirs, err := packetPair(fileScripts)
	must(t, err)
	r.conn, err = packetConn(theirs)
	must(t, err)
	r.desk = newScriptDesk(places, conn, &spawner.Scripts{}, time.Second, slog.New(slog.DiscardHandler))
	r.desk.bad = func(err error) { r.bad <- err }
	go r.desk.serve()
	t.Cleanup(func() {
		r.conn.Close()
		r.desk.stop()
	})
	return r
}

// makeFiles makes scripts, and what poses as one. The folder can be entered by
// every user.
func (r *deskRig) makeFiles() {
	dir, err := os.MkdirTemp("", "sluice-desk-")
	must(r.t, err)
	r.t.Cleanup(func() { os.RemoveAll(dir) })
	must(r.t, os.Chmod(dir, 0o755))
	r.dir = dir
	for name, text := range map[string]string{
		"scripts/env.cgi": "env", "scripts/sub/env.cgi": "env", "one.cgi": "env", "www/cgi-bin/env.cgi": "env", "www/env.cgi": "env",
		"scripts/sleep.cgi": "exec sleep 60", "scripts/.hidden.cgi": "env", "scripts/.git/env.cgi": "env", "scripts/env.sh": "env",
		"scripts/.cgi": "env", "out.cgi": "env",
	} {
		path := filepath.Join(dir, name)
		must(r.t, os.MkdirAll(filepath.Dir(path), 0o755))
		must(r.t, os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
	}
	must(r.t, os.Mkdir(filepath.Join(dir, "scripts/dir.cgi"), 0o755))
	must(r.t, syscall.Mkfifo(filepath.Join(dir, "scripts/fifo.cgi"), 0o755))
	must(r.t, os.Symlink("../out.cgi", filepath.Join(dir, "scripts/out.cgi")))
	must(r.t, os.Symlink("..", filepath.Join(dir, "scripts/up")))
	must(r.t, os.Symlink(filepath.Join(dir, "scripts/env.cgi"), filepath.Join(dir, "scripts/abs.cgi")))
	must(r.t, os.Symlink("/proc/self/exe", filepath.Join(dir, "scripts/magic.cgi")))
	must(r.t, os.Symlink("env.cgi", filepath.Join(dir, "scripts/in.cgi")))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// send sends a call with the files and the environment.
func (r *deskRig) send(number uint64, place int, path string, env []string) (stdout *os.File) {
	r.t.Helper()
	f, err := writeEnv(env)
	must(r.t, err)
	defer f.Close()
	return r.sendFile(number, place, path, f)
}

func (r *deskRig) sendFile(number uint64, place int, path string, env *os.File) (stdout *os.File) {
	r.t.Helper()
	null, err := os.Open(os.DevNull)
	must(r.t, err)
	defer null.Close()
	out, w, err := os.Pipe()
	must(r.t, err)
	defer w.Close()
	r.t.Cleanup(func() { out.Close() })
	call := scriptCall{Script: number, Start: &scriptStart{Place: place, Path: []byte(path)}}
	must(r.t, sendPacket(r.conn, call, int(null.Fd()), int(w.Fd()), int(w.Fd()), int(env.Fd())))
	return out
}

// news is the next word of the desk.
func (r *deskRig) news() scriptNews {
	r.t.Helper()
	b := make([]byte, maxScriptCall)
	r.conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	n, err := r.conn.Read(b)
	must(r.t, err)
	var news scriptNews
	must(r.t, json.Unmarshal(b[:n], &news))
	return news
}

// What a worker may ask for, and what it is refused: the desk lives on.
func TestDeskPaths(t *testing.T) {
	r := newDeskRig(t)
	var none syscall.Errno
	for i, tc := range []struct {
		place int
		path  string
		want  syscall.Errno
	}{
		{inFolder, "env.cgi", none},
		{inFolder, "sub/env.cgi", none},
		{inFolder, "in.cgi", none},
		{oneScript, "", none},
		{belowRoot, "cgi-bin/env.cgi", none},

		{inFolder, "missing.cgi", syscall.ENOENT},
		{inFolder, "env.cgi/x.cgi", syscall.ENOENT},
		{inFolder, "out.cgi", syscall.EACCES},
		{inFolder, "up/out.cgi", syscall.EACCES},
		{inFolder, "abs.cgi", syscall.EACCES},
		{inFolder, "magic.cgi", syscall.EACCES},
		{inFolder, "fifo.cgi", syscall.EACCES},
		{inFolder, "dir.cgi", syscall.EACCES},
		{inFolder, "env.sh", syscall.EACCES},
		{inFolder, ".cgi", syscall.EACCES},
		{inFolder, ".hidden.cgi", syscall.EACCES},
		{inFolder, ".git/env.cgi", syscall.EACCES},
		{belowRoot, "env.cgi", syscall.EACCES},

		{inFolder, "../out.cgi", syscall.EINVAL},
		{inFolder, "sub/../env.cgi", syscall.EINVAL},
		{inFolder, "./env.cgi", syscall.EINVAL},
		{inFolder, "sub//env.cgi", syscall.EINVAL},
		{inFolder, "env.cgi/", syscall.EINVAL},
		{inFolder, "/bin/sh", syscall.EINVAL},
		{inFolder, r.dir + "/scripts/env.cgi", syscall.EINVAL},
		{inFolder, "env.cgi\x00.cgi", syscall.EINVAL},
		{inFolder, "", syscall.EINVAL},
		{oneScript, "one.cgi", syscall.EINVAL},
		{oneScript, "../bin/sh", syscall.EINVAL},
	} {
		r.send(uint64(i), tc.place, tc.path, nil)
		n := r.news()
		switch {
		case n.Script != uint64(i):
			t.Fatalf("%q: news of %d", tc.path, n.Script)
		case tc.want == none && (n.Error != nil || n.PID <= 0):
			t.Errorf("place %d, %q: refused: %v", tc.place, tc.path, n.Error)
		case tc.want != none && (n.Error == nil || n.Error.Errno != tc.want):
			t.Errorf("place %d, %q: %+v, want %v", tc.place, tc.path, n, tc.want)
		}
		if n.PID > 0 {
			if end := r.news(); end.End == nil || !end.End.OK() {
				t.Errorf("%q: %+v", tc.path, end)
			}
		}
	}
	if len(r.bad) > 0 {
		t.Errorf("the worker is taken for bad: %v", <-r.bad)
	}
}

// The environment of a script is the operator's, and of the worker's what only
// describes the request.
func TestDeskEnvironment(t *testing.T) {
	r := newDeskRig(t)
	out := r.send(1, inFolder, "env.cgi", []string{"QUERY_STRING=a=b", "HTTP_X=1\n2", "PATH_INFO=/../x", "SCRIPT_FILENAME=/etc/passwd",
		"DOCUMENT_ROOT=/", "PATH_TRANSLATED=/etc/shadow", "SERVER_SOFTWARE="})
	if n := r.news(); n.Error != nil {
		t.Fatal(n.Error)
	}
	b, err := io.ReadAll(out)
	must(t, err)
	got := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(b)), "\n"), func(l string) bool { return strings.HasPrefix(l, "_=") })
	want := []string{"QUERY_STRING=a=b", "HTTP_X=1", "2", "PATH_INFO=/../x", "SCRIPT_FILENAME=" + r.dir + "/scripts/env.cgi",
		"DOCUMENT_ROOT=" + r.dir + "/www", "PATH_TRANSLATED=" + r.dir + "/www/x", "SERVER_SOFTWARE=",
		"OVER=route", "LD_BIND_NOW=1", "PASSED=on", "PWD=" + r.dir + "/scripts"}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	r.news() // its end
	out = r.send(3, belowRoot, "cgi-bin/env.cgi", []string{"REMOTE_USER=alice", "AUTH_TYPE=Form"})
	r.news()
	if b, err = io.ReadAll(out); err != nil || !strings.Contains(string(b), "REMOTE_USER=alice\n") || !strings.Contains(string(b), "AUTH_TYPE=Form\n") {
		t.Errorf("with an authorizer: %q, %v", b, err)
	}
	r.news() // its end
	for _, env := range [][]string{{"REMOTE_USER=alice"}, {"AUTH_TYPE=Form"}, {"LD_PRELOAD=/tmp/x"}, {"PATH=/tmp"}, {"PERL5OPT=-d"}, {"OVER=worker"}, {"HTTP_PROXY=x"}, {"X"}, {"=x"}, {""},
		{"QUERY_STRING=", "IFS=x"}} {
		r.send(2, inFolder, "env.cgi", env)
		if n := r.news(); n.Error == nil || n.Error.Errno != syscall.EINVAL {
			t.Errorf("%q: %+v", env, n)
		}
	}
}

// The environment comes in a sealed memory file and nothing else: to read from
// another file may never end.
func TestDeskEnvironmentFile(t *testing.T) {
	r := newDeskRig(t)
	memory := func(size int64, seals int) *os.File {
		fd, err := memoryFile("x")
		must(t, err)
		f := os.NewFile(uintptr(fd), "x")
		t.Cleanup(func() { f.Close() })
		must(t, f.Truncate(size))
		_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
		must(t, err)
		return f
	}
	pipe, w, err := os.Pipe()
	must(t, err)
	defer pipe.Close()
	defer w.Close()
	plain, err := os.Open(filepath.Join(r.dir, "one.cgi"))
	must(t, err)
	defer plain.Close()
	for name, tc := range map[string]struct {
		file *os.File
		want syscall.Errno
	}{
		"a pipe":     {pipe, syscall.EINVAL},
		"a file":     {plain, syscall.EINVAL},
		"not sealed": {memory(10, 0), syscall.EINVAL},
		"may shrink": {memory(10, unix.F_SEAL_SEAL|unix.F_SEAL_GROW|unix.F_SEAL_WRITE), syscall.EINVAL},
		"too big":    {memory(maxScriptEnv+1, envSeals), syscall.E2BIG},
	} {
		r.sendFile(1, inFolder, "env.cgi", tc.file)
		if n := r.news(); n.Error == nil || n.Error.Errno != tc.want {
			t.Errorf("%s: %+v, want %v", name, n, tc.want)
		}
	}
	if _, err := writeEnv([]string{"A=" + strings.Repeat("x", maxScriptEnv)}); !errors.Is(err, syscall.E2BIG) {
		t.Errorf("the worker does not notice: %v", err)
	}
}
