package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// unit is a service as systemd starts it: with sockets, and with a manager that
// listens.
type unit struct {
	*site
	manager *net.UnixConn
}

// passed is a socket that the manager opens.
type passed struct {
	name string
	file *os.File
	addr string // where clients find it
}

func passTCP(t testing.TB, name string) passed {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return pass(t, name, l)
}

func pass(t testing.TB, name string, l net.Listener) passed {
	t.Helper()
	defer l.Close()
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	f, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return passed{name, f, l.Addr().String()}
}

// startUnit starts a server with sockets and environment as a unit would have.
func startUnit(t testing.TB, dir, config string, env []string, sockets ...passed) *unit {
	t.Helper()
	path := filepath.Join(dir, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { manager.Close() })
	write(t, dir, "sluice.toml", "runtime = \"run\"\nwatch = false\n"+config)
	cmd := exec.Command("sh", "-c", "LISTEN_PID=$$ WATCHDOG_PID=$$ exec sluice serve -c sluice.toml")
	var names []string
	for _, s := range sockets {
		cmd.ExtraFiles = append(cmd.ExtraFiles, s.file)
		names = append(names, s.name)
	}
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+path)
	if len(sockets) > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprint("LISTEN_FDS=", len(sockets)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	cmd.Env = append(cmd.Env, env...)
	u := &unit{site: &site{t: t, dir: dir}, manager: manager}
	if u.testServer, err = startCommand(dir, "sluice", cmd); err != nil {
		t.Fatal(err)
	}
	u.endsWith(t)
	return u
}

// hears waits for a message that has a match, and returns it.
func (u *unit) hears(expr string) string {
	u.t.Helper()
	var all []string
	u.manager.SetReadDeadline(time.Now().Add(startWait))
	for {
		var b [4096]byte
		n, err := u.manager.Read(b[:])
		if err != nil {
			u.t.Fatalf("systemd does not hear %q, but %q: %v", expr, all, err)
		}
		if text := string(b[:n]); regexp.MustCompile(expr).MatchString(text) {
			return text
		} else if len(all) < 50 {
			all = append(all, text)
		}
	}
}

const envScript = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\nenv\nls -l /proc/self/fd | wc -l\n"

const scriptSite = `
[[app]]
name = "scripts"
kind = "cgi"
pass_env = ["PATH", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "WATCHDOG_USEC"]
[[site]]
root = "www"
[[site.route]]
match = "*.cgi"
app = "scripts"
`

// Sockets of systemd's: two of one name, one of them a unix socket, with several
// workers and in a mode that binds a socket for each where it may.
func TestSocketActivation(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"none", "reuseport"} {
		t.Run(mode, func(t *testing.T) {
			dir := testDir(t)
			write(t, dir, "www/env.cgi", envScript)
			l, err := net.Listen("unix", filepath.Join(dir, "web.sock"))
			if err != nil {
				t.Fatal(err)
			}
			one, local, other := passTCP(t, "web"), pass(t, "web", l), passTCP(t, "other")
			u := startUnit(t, dir, fmt.Sprintf("listen = [\"systemd:web\"]\nworkers = 2\n[accept]\nmode = %q\n", mode)+scriptSite, nil, one, local, other)
			if err := u.ready(); err != nil {
				t.Fatal(err)
			}
			get := func(network string, p passed) {
				t.Helper()
				for range 4 {
					a, err := httpRequest{target: "/env.cgi"}.send(network, p.addr)
					if err != nil {
						t.Fatal(err)
					}
					a.want(t, 200)
					if m := regexp.MustCompile(`(?m)^(LISTEN_|NOTIFY_|WATCHDOG_).*`).FindString(a.body); m != "" {
						t.Errorf("a child has %s", m)
					}
				}
			}
			get("tcp", one)
			get("unix", local)

			// One more name by a reload, and one less.
			write(t, dir, "sluice.toml", "runtime = \"run\"\nwatch = false\nworkers = 2\nlisten = [\"systemd:other\", \"systemd:web\"]\n"+fmt.Sprintf("accept.mode = %q\n", mode)+scriptSite)
			u.reloads("listener systemd:other: opened")
			get("tcp", one)
			get("unix", local)
			get("tcp", other)
			write(t, dir, "sluice.toml", "runtime = \"run\"\nwatch = false\nworkers = 2\nlisten = [\"systemd:other\"]\n"+fmt.Sprintf("accept.mode = %q\n", mode)+scriptSite)
			u.reloads("listener systemd:web: closed")
			get("tcp", other)
			write(t, dir, "sluice.toml", "runtime = \"run\"\nwatch = false\nworkers = 2\nlisten = [\"systemd:web\"]\n"+fmt.Sprintf("accept.mode = %q\n", mode)+scriptSite)
			u.reloads("listener systemd:web: opened")
			get("tcp", one)
			get("unix", local)

			u.end()
			// They are systemd's: whoever comes waits for the next start.
			for _, p := range []passed{one, local} {
				network := map[bool]string{true: "unix", false: "tcp"}[p == local]
				c, err := net.Dial(network, p.addr)
				if err != nil {
					t.Errorf("after the end: %v", err)
					continue
				}
				c.Close()
			}
		})
	}
}

// reloads wants a line in what is said of a reload.
func (u *unit) reloads(line string) {
	u.t.Helper()
	cmd := exec.Command("sluice", "reload", "-c", "sluice.toml")
	cmd.Dir = u.dir
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), line+"\n") {
		u.t.Fatalf("reload: %v\n%s", err, out)
	}
}

// A name that was not passed is an error with its place, at the start and by a
// reload, which changes nothing.
func TestSocketActivationWithoutSocket(t *testing.T) {
	t.Parallel()
	dir := testDir(t)
	write(t, dir, "www/env.cgi", envScript)
	const listen = "listen = [\"127.0.0.1:0\", \"systemd:absent\"]\n"
	web := passTCP(t, "web")
	u := startUnit(t, dir, listen+scriptSite, nil, web)
	if code, err := u.wait(startWait); err != nil || code != 3 {
		t.Errorf("status %d, %v", code, err)
	}
	const want = `sluice.toml:3:26: listen: "systemd:absent": systemd has passed no socket of that name, but "web"`
	if !strings.Contains(u.text(), want) {
		t.Errorf("no %q in\n%s", want, u.text())
	}
	os.Remove(filepath.Join(dir, "notify"))

	u = startUnit(t, dir, "listen = [\"systemd:web\"]\n"+scriptSite, nil, web)
	if err := u.ready(); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "sluice.toml", "runtime = \"run\"\nwatch = false\n"+listen+scriptSite)
	cmd := exec.Command("sluice", "reload", "-c", "sluice.toml")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), want) {
		t.Errorf("reload: %v\n%s", err, out)
	}
	a, err := httpRequest{target: "/env.cgi"}.send("tcp", web.addr)
	if err != nil {
		t.Fatal(err)
	}
	a.want(t, 200)
}

// What systemd is told from the start to the end, a failed reload included.
func TestNotify(t *testing.T) {
	t.Parallel()
	dir := testDir(t)
	write(t, dir, "www/env.cgi", envScript)
	port := freePort()
	config := "listen = [\"127.0.0.1:" + port + "\"]\n" + scriptSite
	u := startUnit(t, dir, config, []string{"WATCHDOG_USEC=200000"})
	ready := u.hears(`^READY=1\n`)
	if want := fmt.Sprintf("STATUS=generation 1 serves on 127.0.0.1:%s\nMAINPID=%d", port, u.pid()); !strings.Contains(ready, want) {
		t.Errorf("said %q, want %q", ready, want)
	}
	for range 3 {
		u.hears(`^WATCHDOG=1$`)
	}
	write(t, dir, "sluice.toml", "runtime = \"run\"\nwatch = false\n"+config+"[limits]\nconnections = 99\n")
	syscall.Kill(u.pid(), syscall.SIGHUP)
	u.hears(`^RELOADING=1\nMONOTONIC_USEC=\d+\n`)
	u.hears(`^READY=1\nSTATUS=generation 2 serves`)
	write(t, dir, "sluice.toml", "nonsense")
	syscall.Kill(u.pid(), syscall.SIGHUP)
	u.hears(`^RELOADING=1\n`)
	u.hears(`^READY=1\nSTATUS=generation 2 serves`)
	syscall.Kill(u.pid(), syscall.SIGTERM)
	u.hears(`^STOPPING=1\nSTATUS=stopping within stop_timeout$`)
	if code, err := u.wait(stopWait); err != nil || code != 0 {
		t.Errorf("status %d, %v", code, err)
	}
}

// A master that stands still does not say that it lives.
func TestWatchdogOfStoppedMaster(t *testing.T) {
	t.Parallel()
	u := startUnit(t, testDir(t), "listen = [\"127.0.0.1:0\"]\n", []string{"WATCHDOG_USEC=200000"})
	u.hears(`^READY=1\n`)
	u.hears(`^WATCHDOG=1$`)
	syscall.Kill(u.pid(), syscall.SIGSTOP)
	defer syscall.Kill(u.pid(), syscall.SIGCONT)
	for i := 0; !u.quiet(500 * time.Millisecond); i++ {
		if i == 10 { // what was on its way is less
			t.Fatal("a stopped server says that it lives")
		}
	}
	syscall.Kill(u.pid(), syscall.SIGCONT)
	u.hears(`^WATCHDOG=1$`)
}

// quiet reports whether systemd hears nothing for so long.
func (u *unit) quiet(d time.Duration) bool {
	var b [4096]byte
	u.manager.SetReadDeadline(time.Now().Add(d))
	_, err := u.manager.Read(b[:])
	return err != nil
}

// The unit files mean what they say, and leave a program that was taken over
// little to do.
func TestUnitFiles(t *testing.T) {
	t.Parallel()
	needs(t, "systemd-analyze")
	sluice, err := exec.LookPath("sluice")
	if err != nil {
		t.Fatal(err)
	}
	dir := testDir(t)
	var units []string
	for _, name := range []string{"sluice.service", "sluice.socket"} {
		text, err := os.ReadFile("../../contrib/systemd/" + name)
		if err != nil {
			t.Fatal(err)
		}
		units = append(units, write(t, dir, name, strings.ReplaceAll(string(text), "/usr/bin/sluice", sluice)))
	}
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no"}, units...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("verify: %v\n%s", err, out)
	}
	// The threshold is ten times the level.
	out, err = exec.Command("systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=25", units[0]).CombinedOutput()
	if err != nil {
		t.Errorf("security: %v\n%s", err, out)
	}
}
