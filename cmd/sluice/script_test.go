package main

import (
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
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// The commands that the scripts have beside those of testscript.
var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"server":  serverCommand,
	"http":    httpCommand,
	"raw":     rawCommand,
	"waitlog": waitlogCommand,
	"mask":    maskCommand,
	"fill":    fillCommand,
	"socket":  socketCommand,
	"sleep":   sleepCommand,
	"took":    tookCommand,
	"status":  exitStatusCommand,
}

// passedOn are the variables of a script that its servers get.
var passedOn = []string{"PATH", "HOME", "TMPDIR", "WORK", "PORT", "PORT2", "PORT3", "GORACE", "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR",
	"SECRET", "SLUICE_LISTEN", "SLUICE_WORKERS", "SLUICE_ACCEPT", "SLUICE_ACCEPT_PERMITS", "SLUICE_LINGER", "SLUICE_LINGER_IDLE",
	"SLUICE_LINGER_TOTAL", "SLUICE_KEEPALIVE_IDLE", "SLUICE_LOG_LEVEL"}

type serversKey struct{}

// servers are those that a script has started, by name.
type servers map[string]*testServer

// setUpScript gives a script its ports, puts them into its *.toml files, and
// makes executable what begins with #!.
func setUpScript(e *testscript.Env) error {
	e.Values[serversKey{}] = servers{}
	e.Setenv("APPS", apps())
	for _, name := range []string{"PORT", "PORT2", "PORT3"} {
		e.Setenv(name, freePort())
	}
	for _, dir := range []string{filepath.Dir(e.WorkDir), e.WorkDir} {
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	}
	return filepath.WalkDir(e.WorkDir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.HasPrefix(string(text), "#!") {
			return os.Chmod(path, 0o755)
		}
		if filepath.Ext(path) == ".toml" {
			return os.WriteFile(path, []byte(os.Expand(string(text), e.Getenv)), 0o644)
		}
		return nil
	})
}

// serverCommand starts and stops servers:
//
//	server start [-as NAME] [ARGS]   sluice ARGS, by default serve -c sluice.toml; waits for "sluice: ready"
//	server run [-as NAME] [ARGS]     the same without waiting
//	server ready [NAME]
//	server signal SIGNAL [NAME]
//	server wait STATUS [NAME]        until it has ended, with that status
//	server stop [NAME]               SIGTERM, and wait for status 0
//
// Its output is in NAME.log and NAME.out, and its process id in $PID (of the
// server "sluice") or $PID_NAME.
func serverCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: server start|run|ready|signal|wait|stop")
	}
	all := ts.Value(serversKey{}).(servers)
	verb, args := args[0], args[1:]
	name := "sluice"
	if len(args) > 1 && args[0] == "-as" {
		name, args = args[1], args[2:]
	}
	find := func(i int) *testServer {
		if len(args) > i {
			name = args[i]
		}
		if all[name] == nil {
			ts.Fatalf("there is no server %q", name)
		}
		return all[name]
	}
	switch verb {
	case "start", "run":
		if len(args) == 0 {
			args = []string{"serve", "-c", "sluice.toml"}
		}
		var env []string
		for _, k := range passedOn {
			if v := ts.Getenv(k); v != "" {
				env = append(env, k+"="+v)
			}
		}
		s, err := startProcess(ts.MkAbs("."), name, env, args...)
		ts.Check(err)
		all[name] = s
		ts.Defer(func() {
			s.end()
			ts.Logf("[%s.log]\n%s", name, s.text())
			ts.Check(s.raced())
		})
		variable := "PID"
		if name != "sluice" {
			variable = "PID_" + name
		}
		ts.Setenv(variable, strconv.Itoa(s.pid()))
		if verb == "start" {
			ts.Check(s.ready())
		}
	case "ready":
		ts.Check(find(0).ready())
	case "signal":
		sig := unix.SignalNum("SIG" + args[0])
		if sig == 0 {
			ts.Fatalf("no signal %s", args[0])
		}
		ts.Check(find(1).cmd.Process.Signal(sig))
	case "wait", "stop":
		want := 0
		i := 0
		if verb == "wait" {
			var err error
			want, err = strconv.Atoi(args[0])
			ts.Check(err)
			i = 1
		}
		s := find(i)
		if verb == "stop" {
			ts.Check(s.cmd.Process.Signal(syscall.SIGTERM))
		}
		got, err := s.wait(stopWait)
		ts.Check(err)
		if got != want {
			ts.Fatalf("sluice ended with %v, want status %d:\n%s", s.cmd.ProcessState, want, s.text())
		}
	default:
		ts.Fatalf("no server %s", verb)
	}
}

// httpCommand makes a request and prints the answer: status line, fields, a
// blank line, body:
//
//	http STATUS METHOD URL [-H 'NAME: VALUE'] [-data TEXT] [-file FILE] [-chunked] [-old] [-unix SOCKET] [-o FILE]
//
// A URL that begins with a slash is for 127.0.0.1:$PORT, and is sent as it is.
// With ! the answer has to end so that the client can tell that it is not whole.
func httpCommand(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: http STATUS METHOD URL [flags]")
	}
	status, err := strconv.Atoi(args[0])
	ts.Check(err)
	r := httpRequest{method: args[1], target: args[2]}
	network, addr, to := "tcp", "127.0.0.1:"+ts.Getenv("PORT"), ""
	if rest, ok := strings.CutPrefix(r.target, "http://"); ok {
		i := strings.IndexByte(rest, '/')
		addr, r.target = rest[:i], rest[i:]
	}
	for i := 3; i < len(args); i++ {
		value := func() string {
			if i++; i == len(args) {
				ts.Fatalf("%s needs a value", args[i-1])
			}
			return args[i]
		}
		switch args[i] {
		case "-H":
			f := value()
			if h, ok := strings.CutPrefix(f, "Host: "); ok {
				r.host = h
			} else {
				r.fields = append(r.fields, f)
			}
		case "-data":
			r.body = value()
		case "-file":
			r.body = ts.ReadFile(value())
		case "-chunked":
			r.chunked = true
		case "-old":
			r.old = true
		case "-unix":
			network, addr = "unix", ts.MkAbs(value())
		case "-o":
			to = ts.MkAbs(value())
		default:
			ts.Fatalf("no flag %s", args[i])
		}
	}
	a, err := r.send(network, addr)
	if neg && err != nil {
		return
	}
	ts.Check(err)
	printAnswer(ts, a)
	if to != "" {
		ts.Check(os.WriteFile(to, []byte(a.body), 0o644))
	}
	ts.Setenv("TOOK", strconv.FormatInt(a.took.Milliseconds(), 10))
	switch {
	case neg && a.err == nil:
		ts.Fatalf("the answer is whole: %s", a.Status)
	case !neg && a.err != nil:
		ts.Fatalf("the answer ends with %v", a.err)
	case a.StatusCode != status:
		ts.Fatalf("status %s, want %d\n%.2000s", a.Status, status, a.body)
	}
}

func printAnswer(ts *testscript.TestScript, a *httpAnswer) {
	out := ts.Stdout()
	fmt.Fprintf(out, "%s %s\n", a.Proto, a.Status)
	for _, te := range a.TransferEncoding {
		fmt.Fprintf(out, "Transfer-Encoding: %s\n", te)
	}
	var names []string
	for name := range a.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, v := range a.Header[name] {
			fmt.Fprintf(out, "%s: %s\n", name, v)
		}
	}
	if len(a.body) > 64<<10 {
		fmt.Fprintf(out, "\n%d bytes of body\n", len(a.body))
		return
	}
	fmt.Fprintf(out, "\n%s", a.body)
}

// rawCommand sends a file, its line ends made CRLF and \xNN replaced, and prints
// all that comes back.
func rawCommand(ts *testscript.TestScript, neg bool, args []string) {
	text := strings.ReplaceAll(ts.ReadFile(args[0]), "\n", "\r\n")
	text = regexp.MustCompile(`\\x[0-9a-f]{2}`).ReplaceAllStringFunc(text, func(s string) string {
		n, _ := strconv.ParseUint(s[2:], 16, 8)
		return string([]byte{byte(n)})
	})
	c, err := net.Dial("tcp", "127.0.0.1:"+ts.Getenv("PORT"))
	ts.Check(err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(requestWait))
	_, err = c.Write([]byte(text))
	ts.Check(err)
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		fmt.Fprintf(ts.Stdout(), "%s", strings.ReplaceAll(string(buf[:n]), "\r", ""))
		if err != nil {
			return
		}
	}
}

// waitlogCommand waits for a line in the log: waitlog REGEXP [FILE]
func waitlogCommand(ts *testscript.TestScript, neg bool, args []string) {
	file := "sluice.log"
	if len(args) > 1 {
		file = args[1]
	}
	ts.Check(waitText(ts.MkAbs(file), args[0], logWait))
}

// maskCommand replaces in a file (or stdout) what differs from run to run:
// mask FILE TO
func maskCommand(ts *testscript.TestScript, neg bool, args []string) {
	text := ts.ReadFile(args[0])
	for _, name := range []string{"WORK", "PATH", "PORT2", "PORT3", "PORT"} {
		text = strings.ReplaceAll(text, ts.Getenv(name), "$"+name)
	}
	text = regexp.MustCompile(`(?m)^REMOTE_PORT=\d+$`).ReplaceAllString(text, "REMOTE_PORT=*")
	text = regexp.MustCompile(`(?m)^Date: .*\n`).ReplaceAllString(text, "")
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o644))
}

// fillCommand makes a file of so many bytes: fill FILE BYTES
func fillCommand(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	b := make([]byte, n)
	for i := range b {
		b[i] = "abcdefghijklmnopqrstuvwxyz012345"[i%32]
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b, 0o644))
}

// socketCommand makes a unix socket: socket stale|live FILE
func socketCommand(ts *testscript.TestScript, neg bool, args []string) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: ts.MkAbs(args[1])})
	ts.Check(err)
	l.SetUnlinkOnClose(false)
	if args[0] == "stale" {
		l.Close()
		return
	}
	ts.Defer(func() { l.Close() })
}

// sleepCommand sleeps: sleep DURATION
func sleepCommand(ts *testscript.TestScript, neg bool, args []string) {
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	time.Sleep(d)
}

// tookCommand checks how long the last http took: took MIN MAX
func tookCommand(ts *testscript.TestScript, neg bool, args []string) {
	ms, err := strconv.Atoi(ts.Getenv("TOOK"))
	ts.Check(err)
	low, err := time.ParseDuration(args[0])
	ts.Check(err)
	high, err := time.ParseDuration(args[1])
	ts.Check(err)
	if d := time.Duration(ms) * time.Millisecond; d < low || d > high {
		ts.Fatalf("the request took %v, not between %v and %v", d, low, high)
	}
}

// exitStatusCommand runs a program and expects an exit status: status N PROGRAM ARGS
func exitStatusCommand(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s ended with status %d, want %d", args[1], got, want)
	}
}
