package master

import (
	"encoding/json"
	"errors"
	"fmt"
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

	"sluice/cgi"
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
	conn, theirs, err := scriptPair()
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

// What no worker says is the end of it.
func TestDeskNonsense(t *testing.T) {
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	fd := int(null.Fd())
	start := func(place int) scriptCall {
		return scriptCall{Script: 1, Start: &scriptStart{Place: place, Path: []byte("env.cgi")}}
	}
	raw := func(text string) func(*deskRig) error {
		return func(r *deskRig) error { _, err := r.conn.Write([]byte(text)); return err }
	}
	call := func(c scriptCall, fds ...int) func(*deskRig) error {
		return func(r *deskRig) error { return sendPacket(r.conn, c, fds...) }
	}
	for name, send := range map[string]func(*deskRig) error{
		"no JSON":           raw("start"),
		"another type":      raw("[1]"),
		"a negative number": raw(`{"script":-1}`),
		"too long":          raw(`{"script":1,"x":"` + strings.Repeat("x", maxScriptCall) + `"}`),
		"no such place":     call(start(99), fd, fd, fd, fd),
		"place -1":          call(start(-1), fd, fd, fd, fd),
		"the worker's own":  call(start(ofWorker), fd, fd, fd, fd),
		"no descriptors":    call(start(inFolder)),
		"three descriptors": call(start(inFolder), fd, fd, fd),
		"five descriptors":  call(start(inFolder), fd, fd, fd, fd, fd),
		"a hundred of them": call(start(inFolder), slices.Repeat([]int{fd}, 100)...),
		"a number that is taken": func(r *deskRig) error {
			r.send(1, inFolder, "sleep.cgi", nil)
			r.send(1, inFolder, "sleep.cgi", nil)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := openFiles(t)
			r := newDeskRig(t)
			must(t, send(r))
			select {
			case err := <-r.bad:
				if !errors.Is(err, errPacket) {
					t.Error(err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("the desk takes it")
			}
			<-r.desk.done
			r.conn.Close()
			if after := openFiles(t); after > before+1 && name != "a number that is taken" { // the poller's
				t.Errorf("%d files are open, %d before", after, before)
			}
		})
	}
}

func openFiles(t *testing.T) int {
	all, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(all)
}

// Signals reach the scripts of this worker only, and as many as may run do.
func TestDeskSignalsAndBound(t *testing.T) {
	r := newDeskRig(t)
	other := newDeskRig(t)
	other.send(7, inFolder, "sleep.cgi", nil)
	foreign := other.news().PID
	r.send(1, inFolder, "sleep.cgi", nil)
	r.news()
	r.send(2, inFolder, "sleep.cgi", nil)
	r.news()
	r.send(3, inFolder, "sleep.cgi", nil) // beside max = 1 there is one that may work on
	if n := r.news(); n.Error == nil || n.Error.Errno != syscall.EAGAIN {
		t.Errorf("a third script: %+v", n)
	}
	for _, number := range []uint64{7, uint64(foreign), uint64(os.Getpid()), 1 << 63} {
		must(t, sendPacket(r.conn, scriptCall{Script: number, Signal: int(syscall.SIGKILL)}))
	}
	for _, signal := range []int{0, -9, 1000} {
		must(t, sendPacket(r.conn, scriptCall{Script: 2, Signal: signal}))
	}
	must(t, sendPacket(r.conn, scriptCall{Script: 1, Signal: int(syscall.SIGUSR1)}))
	if n := r.news(); n.Script != 1 || n.End == nil || n.End.Signal != syscall.SIGUSR1 {
		t.Errorf("%+v", n)
	}
	if err := syscall.Kill(foreign, 0); err != nil {
		t.Errorf("the other worker's script: %v", err)
	}
	r.send(4, inFolder, "sleep.cgi", nil)
	n := r.news()
	if n.PID == 0 {
		t.Errorf("a place is free again: %+v", n)
	}
	// The worker has gone.
	r.conn.Close()
	<-r.desk.done
	if err := syscall.Kill(n.PID, 0); err != syscall.ESRCH {
		t.Errorf("a script outlives its worker: %v", err)
	}
}

// The worker's half with the master's.
func TestRemoteScripts(t *testing.T) {
	r := newDeskRig(t)
	remote := newRemoteScripts(r.conn, assemble.Names(r.config))
	st := remote.For(r.config.Apps[0])
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(t, err)
	defer null.Close()
	start := func(file, folder string, place int, env ...string) (cgi.Process, error) {
		return st.Start(cgi.Command{Path: file, Script: file, Folder: folder, Place: place, Env: env}, null, null, null)
	}
	folder := r.dir + "/scripts/"
	p, err := start(folder+"env.cgi", folder, inFolder, "QUERY_STRING=", "PATH=/bin", "OVER=x", "GITWEB_CONFIG=/x")
	must(t, err)
	<-p.Done()
	if !p.Ending().OK() || p.PID() == 0 {
		t.Errorf("%d: %v", p.PID(), p.Ending())
	}
	if err := p.Signal(syscall.SIGKILL); err != syscall.ESRCH {
		t.Errorf("a signal after the end: %v", err)
	}
	if _, err := start(r.dir+"/one.cgi", "", oneScript); err != nil {
		t.Error(err)
	}
	for want, f := range map[error]func() (cgi.Process, error){
		os.ErrNotExist:   func() (cgi.Process, error) { return start(folder+"missing.cgi", folder, inFolder) },
		os.ErrPermission: func() (cgi.Process, error) { return start(folder+"out.cgi", folder, inFolder) },
		syscall.EINVAL:   func() (cgi.Process, error) { return start("/bin/sh", folder, inFolder) },
		syscall.ENAMETOOLONG: func() (cgi.Process, error) {
			return start(folder+strings.Repeat("x", maxScriptPath+1), folder, inFolder)
		},
		syscall.E2BIG: func() (cgi.Process, error) {
			return start(folder+"env.cgi", folder, inFolder, "QUERY_STRING="+strings.Repeat("x", maxScriptEnv))
		},
	} {
		if _, err := f(); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	// Stop, and what comes after it.
	if p, err = start(folder+"sleep.cgi", folder, inFolder); err != nil {
		t.Fatal(err)
	}
	remote.Stop(5 * time.Second)
	if e := p.Ending(); e.Signal != syscall.SIGTERM {
		t.Errorf("stopped: %v", e)
	}
	if _, err := start(folder+"env.cgi", folder, inFolder); !errors.Is(err, spawner.ErrStopped) {
		t.Errorf("after Stop: %v", err)
	}
	r.conn.Close()
	<-remote.done
}

// A master that has gone takes its scripts with it.
func TestRemoteScriptsWithoutMaster(t *testing.T) {
	r := newDeskRig(t)
	remote := newRemoteScripts(r.conn, assemble.Names(r.config))
	st := remote.For(r.config.Apps[0])
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(t, err)
	defer null.Close()
	cmd := cgi.Command{Script: r.dir + "/scripts/sleep.cgi", Folder: r.dir + "/scripts/", Place: inFolder}
	p, err := st.Start(cmd, null, null, null)
	must(t, err)
	r.desk.conn.Close()
	select {
	case <-p.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the script is taken for running")
	}
	if e := p.Ending(); e.Signal != syscall.SIGKILL {
		t.Error(e)
	}
	if _, err := st.Start(cmd, null, null, null); !errors.Is(err, errMasterGone) {
		t.Error(fmt.Errorf("another start: %w", err))
	}
}
