package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// account is a user that every Debian has.
type account struct {
	name     string
	uid, gid int
}

var (
	games = account{"games", 5, 60}
	list  = account{"list", 38, 38}
	www   = account{"www-data", 33, 33}
)

// asRoot prepares a test with several users; others can enter the binaries.
func asRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can change the user")
	}
	self, err := exec.LookPath("sluice")
	if err != nil {
		t.Fatal(err)
	}
	// testscript puts the binaries where only their owner can enter.
	if err := os.Chmod(filepath.Dir(filepath.Dir(self)), 0o755); err != nil {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// secretOf is a file that one user alone can read.
func secretOf(t testing.TB, dir string, a account) string {
	path := write(t, dir, a.name+".secret", "secret of "+a.name)
	if err := os.Chown(path, a.uid, a.gid); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// twoUsers has an app of scripts and one of children for each of two users, and
// an app of the workers' user. dirs/NAME is the folder of scripts of each.
const twoUsers = `
user = "www-data"
[[app]]
name = "games"
kind = "cgi"
user = "games"
umask = "0027"
rlimit = { files = 200, cpu = "77s", memory = "3GiB", processes = 99 }
env = { WHO = "games", OVER = "app" }
stop_grace = "1s"
header_timeout = "1s"
[[app]]
name = "list"
kind = "cgi"
user = "list"
group = "games"
umask = "0077"
[[app]]
name = "own"
kind = "cgi"
umask = "0007"
rlimit = { files = 123 }
[[app]]
name = "fgames"
kind = "fastcgi"
command = ["fcgi-child"]
user = "games"
max = 1
umask = "0027"
rlimit = { files = 200 }
[[app]]
name = "flist"
kind = "fastcgi"
command = ["fcgi-child"]
user = "list"
max = 1
[[site]]
root = "www"
[[site.route]]
match = "/games/"
app = "games"
dir = "dirs/games"
env = { OVER = "route", SERVER_SOFTWARE = "mine" }
[[site.route]]
match = "/list/*.cgi"
app = "list"
dir = "dirs/list"
[[site.route]]
match = "/one"
app = "list"
script = "dirs/one.cgi"
[[site.route]]
match = "/own/"
app = "own"
dir = "dirs/own"
[[site.route]]
match = "/fgames"
app = "fgames"
[[site.route]]
match = "/flist"
app = "flist"
`

// whoScript says who it is, and what it can get at.
const whoScript = `#!/bin/sh
printf 'Content-Type: text/plain\n\n'
echo "uid $(id -ru) $(id -u) gid $(id -rg) $(id -g) groups $(id -G)"
echo "umask $(umask) pwd $(pwd)"
echo "files $(ulimit -n) $(ulimit -Hn) cpu $(ulimit -t) memory $(ulimit -v)"
grep -E 'NoNewPrivs|Max processes' /proc/self/status /proc/self/limits | tr -s ' \t' ' '
for f in $QUERY_STRING; do cat $f; done
`

func TestIdentities(t *testing.T) {
	asRoot(t)
	dir := testDir(t)
	write(t, dir, "www/x.txt", "")
	for _, n := range []string{"games", "list", "own"} {
		write(t, dir, "dirs/"+n+"/who.cgi", whoScript)
	}
	write(t, dir, "dirs/one.cgi", whoScript)
	write(t, dir, "dirs/games/try.cgi", tryScript)
	write(t, dir, "dirs/list/try.cgi", tryScript)
	sg, sl := secretOf(t, dir, games), secretOf(t, dir, list)
	s := startSite(t, dir, twoUsers)
	inherited := limitsOf(t)
	for path, want := range map[string]string{
		"/games/who.cgi": "uid 5 5 gid 60 60 groups 60\numask 0027 pwd " + dir + "/dirs/games\nfiles 200 200 cpu 77 memory 3145728\n" +
			"/proc/self/status:NoNewPrivs: 1\n/proc/self/limits:Max processes 99 99 processes \n",
		"/list/who.cgi": "uid 38 38 gid 60 60 groups 60 38\numask 0077 pwd " + dir + "/dirs/list\n" + inherited,
		"/one":          "uid 38 38 gid 60 60 groups 60 38\numask 0077 pwd " + dir + "/dirs\n" + inherited,
		"/own/who.cgi":  "uid 33 33 gid 33 33 groups 33\numask 0007 pwd " + dir + "/dirs/own\n" + strings.Replace(inherited, inherited[:strings.Index(inherited, " cpu")], "files 123 123", 1),
	} {
		if got := s.get(200, path).body; got != want {
			t.Errorf("%s:\n%s\nwant\n%s", path, got, want)
		}
	}
	for name, a := range map[string]account{"/fgames": games, "/flist": list} {
		pid := s.get(200, name).pid(t)
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		ids := strings.Repeat(fmt.Sprintf("\t%d", a.uid), 4)
		if !bytes.Contains(status, []byte("\nUid:"+ids+"\n")) || !bytes.Contains(status, []byte("\nNoNewPrivs:\t1\n")) {
			t.Errorf("%s does not run as %s:\n%s", name, a.name, status)
		}
	}
	// Neither reads the other's files or sockets, nor the workers' user's children.
	sockets := " " + dir + "/run/children/fgames.0 " + dir + "/run/children/flist.0 " + dir + "/run/control.sock"
	files := " " + sg + " " + sl
	const refused = "refused refused refused"
	for path, want := range map[string]string{
		"/games/try.cgi": "read refused " + refused,
		"/list/try.cgi":  "refused read " + refused,
	} {
		if got := s.get(200, path+"?"+strings.ReplaceAll(files[1:]+sockets, " ", "+")).body; got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// tryScript reads the files, or connects to the sockets, of its query.
const tryScript = `#!/usr/bin/perl
use IO::Socket::UNIX;
print "Content-Type: text/plain\n\n";
print join " ", map {
	/secret/ ? (open(my $f, "<", $_) ? "read" : $!{EACCES} ? "refused" : "$!")
	: (IO::Socket::UNIX->new(Peer => $_) ? "connected" : $!{EACCES} ? "refused" : "$!")
} split /\+/, $ENV{QUERY_STRING};
`

// limitsOf is what whoScript says of limits where none is set.
func limitsOf(t testing.TB) string {
	out, err := exec.Command("sh", "-c", `echo "files $(ulimit -n) $(ulimit -Hn) cpu $(ulimit -t) memory $(ulimit -v)"
echo /proc/self/status:NoNewPrivs: 1
grep 'Max processes' /proc/self/limits | tr -s ' \t' ' ' | sed s,^,/proc/self/limits:,`).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Who is not root has one user, and is told so where another is written.
func TestCheckAsSomebody(t *testing.T) {
	asRoot(t)
	dir := testDir(t)
	write(t, dir, "www/x.txt", "")
	write(t, dir, "sluice.toml", `runtime = "run"
user = "www-data"
[[app]]
name = "a"
kind = "cgi"
user = "games"
[[app]]
name = "b"
kind = "cgi"
user = "nobody"
[[app]]
name = "c"
kind = "cgi"
group = "games"
[[site]]
root = "www"
`)
	self, err := exec.LookPath("sluice")
	must(t, err)
	check := func(id *syscall.Credential) string {
		cmd := exec.Command(self, "check", "-c", "sluice.toml")
		cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: id}
		cmd.Env = append(os.Environ(), "HOME=/")
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	if got := check(nil); got != "" {
		t.Errorf("as root:\n%s", got)
	}
	const why = "only root can run programs as another user or group\n"
	want := "sluice.toml:2:8: user: " + why + `sluice.toml:6:8: app "a": user: ` + why + `sluice.toml:14:9: app "c": group: ` + why
	if got := check(&syscall.Credential{Uid: 65534, Gid: 65534}); got != want {
		t.Errorf("as nobody:\n%s\nwant\n%s", got, want)
	}
}
