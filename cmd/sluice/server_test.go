package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// testServer is a sluice that runs in the background.
type testServer struct {
	cmd      *exec.Cmd
	log, out string // files: its standard error and output
	done     chan struct{}
}

// Bounds of the waits; a test that needs so long has failed.
const (
	startWait = 20 * time.Second
	stopWait  = 20 * time.Second
	logWait   = 10 * time.Second
)

// startProcess starts a sluice with its output in NAME.out and NAME.log of dir.
func startProcess(dir, name string, env []string, args ...string) (*testServer, error) {
	path, err := exec.LookPath("sluice")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Env = env
	return startCommand(dir, name, cmd)
}

// startCommand is startProcess for another way to start it.
func startCommand(dir, name string, cmd *exec.Cmd) (*testServer, error) {
	s := &testServer{cmd: cmd, log: filepath.Join(dir, name+".log"), out: filepath.Join(dir, name+".out"), done: make(chan struct{})}
	s.cmd.Dir = dir
	stderr, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	stdout, err := os.Create(s.out)
	if err != nil {
		return nil, err
	}
	defer stdout.Close()
	s.cmd.Stdout, s.cmd.Stderr = stdout, stderr
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { s.cmd.Wait(); close(s.done) }()
	return s, nil
}

func (s *testServer) pid() int { return s.cmd.Process.Pid }

func (s *testServer) text() string {
	b, _ := os.ReadFile(s.log)
	return string(b)
}

// ready waits until the server says so.
func (s *testServer) ready() error {
	limit := time.Now().Add(startWait)
	for time.Now().Before(limit) {
		if strings.Contains(s.text(), "sluice: ready\n") {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("sluice ended (%v):\n%s", s.cmd.ProcessState, s.text())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return fmt.Errorf("sluice is not ready after %v:\n%s", startWait, s.text())
}

// wait waits for the end and returns the exit status.
func (s *testServer) wait(d time.Duration) (int, error) {
	select {
	case <-s.done:
		return s.cmd.ProcessState.ExitCode(), nil
	case <-time.After(d):
		return 0, fmt.Errorf("sluice has not ended within %v", d)
	}
}

func (s *testServer) running() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// end stops the server by all means.
func (s *testServer) end() {
	if !s.running() {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	s.cmd.Process.Signal(syscall.SIGTERM) // at once
	if _, err := s.wait(stopWait); err != nil {
		s.cmd.Process.Kill()
		<-s.done
	}
}

// raced is what the race detector has found in the server's processes.
func (s *testServer) raced() error {
	if _, report, found := strings.Cut(s.text(), "WARNING: DATA RACE"); found {
		return errors.New("data race:" + report)
	}
	return nil
}

// waitFor waits until cond holds.
func waitFor(d time.Duration, cond func() bool) bool {
	for limit := time.Now().Add(d); ; time.Sleep(5 * time.Millisecond) {
		if cond() {
			return true
		}
		if time.Now().After(limit) {
			return false
		}
	}
}

// waitText waits until a file has a match of the expression.
func waitText(file, expr string, d time.Duration) error {
	re, err := regexp.Compile("(?m)" + expr)
	if err != nil {
		return err
	}
	var text []byte
	if waitFor(d, func() bool {
		text, _ = os.ReadFile(file)
		return re.Match(text)
	}) {
		return nil
	}
	return fmt.Errorf("no match for %#q in %s within %v:\n%s", expr, file, d, text)
}

// waitLog waits for a line of the server's log.
func (s *testServer) waitLog(t testing.TB, expr string) {
	t.Helper()
	if err := waitText(s.log, expr, logWait); err != nil {
		t.Fatal(err)
	}
}

var nextPort atomic.Int32

// freePort is a port on which nobody listens. It is none that the kernel hands
// out by itself, so it stays free, and one of this process's own range.
func freePort() string {
	base := int32(12000 + os.Getpid()%400*50)
	for {
		port := strconv.Itoa(int(base + nextPort.Add(1)%2000))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			l.Close()
			return port
		}
	}
}

// site is a server under test, with a folder and a configuration of its own.
type site struct {
	*testServer
	t    testing.TB
	dir  string
	addr string // 127.0.0.1:PORT
}

// testDir is a folder that other users can enter, too.
func testDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "sluice-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// write writes a file below the folder; one that begins with #! is executable.
func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	mode := os.FileMode(0o644)
	if strings.HasPrefix(text, "#!") {
		mode = 0o755
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// startSite starts a server with the configuration, in which listen, runtime
// and watch stand already, in the folder.
func startSite(t testing.TB, dir, config string) *site {
	t.Helper()
	s := &site{t: t, dir: dir, addr: "127.0.0.1:" + freePort()}
	text := fmt.Sprintf("listen = [%q]\nruntime = %q\nwatch = false\n", s.addr, filepath.Join(dir, "run")) + config
	write(t, dir, "sluice.toml", text)
	var err error
	if s.testServer, err = startProcess(dir, "sluice", os.Environ(), "serve", "-c", "sluice.toml"); err != nil {
		t.Fatal(err)
	}
	s.endsWith(t)
	if err := s.ready(); err != nil {
		t.Fatal(err)
	}
	return s
}

// endsWith stops the server at the end of the test.
func (s *testServer) endsWith(t testing.TB) {
	t.Cleanup(func() {
		s.end()
		if err := s.raced(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("the log of sluice:\n%s", s.text())
		}
	})
}

// needs fails the test when a program is missing.
func needs(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Fatalf("%s is not installed: install it: `make test` does", p)
		}
	}
}

// needsFile is the same for a file of a package.
func needsFile(t testing.TB, files ...string) {
	t.Helper()
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			t.Fatalf("%v: install it: `make test` does", err)
		}
	}
}

// childrenOf are the direct children of a process.
func childrenOf(pid int) []int {
	var all []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		for _, w := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(w); err == nil {
				all = append(all, n)
			}
		}
	}
	slices.Sort(all)
	return all
}

// isWorker reports whether a process is a worker.
func isWorker(pid int) bool {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return bytes.HasPrefix(b, []byte("sluice: worker"))
}

// family is the worker of a master and the children of its applications.
func family(master int) (worker int, children []int) {
	for _, pid := range childrenOf(master) {
		if isWorker(pid) {
			worker = pid
		} else {
			children = append(children, pid)
		}
	}
	return worker, children
}

// alive reports whether a process exists and is no zombie.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := bytes.LastIndexByte(b, ')')
	return i > 0 && len(b) > i+2 && b[i+2] != 'Z'
}
