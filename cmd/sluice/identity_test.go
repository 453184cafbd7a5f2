package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
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

// A script of another user is told the same as one of the worker's.
func TestForeignScriptEnvironment(t *testing.T) {
	asRoot(t)
	dir := testDir(t)
	const env = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; env -0 | sort -z | tr '\\0' '\\n'; cat\n"
	write(t, dir, "dirs/env.cgi", env)
	write(t, dir, "www/x.txt", "")
	text := `
user = "www-data"
[[app]]
name = "foreign"
kind = "cgi"
user = "games"
pass_authorization = true
env = { WHO = "app", OVER = "app", LD_BIND_NOW = "1" }
[[app]]
name = "own"
kind = "cgi"
pass_authorization = true
env = { WHO = "app", OVER = "app", LD_BIND_NOW = "1" }
`
	for _, host := range []string{"foreign", "own"} {
		text += fmt.Sprintf(`
[[site]]
hosts = [%q]
root = "www"
[[site.route]]
match = "/s/"
app = %q
dir = "dirs"
env = { OVER = "route", SERVER_SOFTWARE = "mine", REMOTE_USER = "alice" }
`, host+".test", host)
	}
	s := startSite(t, dir, text)
	var got []string
	for _, host := range []string{"foreign", "own"} {
		a := s.do(httpRequest{method: "POST", target: "/s/env.cgi/a/../b%0Ac%FF?q=%00&x", host: host + ".test", body: strings.Repeat("b", 300_000), fields: []string{
			"X-Odd: a=b \xff", "Proxy: evil", "Ld-Preload: x", "Authorization: Basic eDp5", "X-Sendfile-Type: x",
			"X_Under: 1", "Cookie: a=1", "Cookie: b=2"}})
		if a.StatusCode != 200 {
			t.Fatalf("%s: %s\n%s", host, a.Status, a.body)
		}
		body := strings.ReplaceAll(a.body, host, "HOST")
		lines := slices.DeleteFunc(strings.Split(body, "\n"), func(l string) bool { return strings.HasPrefix(l, "REMOTE_PORT=") })
		got = append(got, strings.Join(lines, "\n"))
	}
	if got[0] != got[1] {
		t.Errorf("a script of another user is told\n%s\nand one of the worker's\n%s", got[0], got[1])
	}
	for _, want := range []string{"\nOVER=route\n", "\nWHO=app\n", "\nLD_BIND_NOW=1\n", "\nSERVER_SOFTWARE=mine\n", "\nREMOTE_USER=alice\n",
		"\nHTTP_LD_PRELOAD=x\n", "\nPATH_INFO=/b\nc\xff\n", "\nPATH_TRANSLATED=" + dir + "/www/b\nc\xff\n", "\nSCRIPT_FILENAME=" + dir + "/dirs/env.cgi\n",
		"\nCONTENT_LENGTH=300000\n", "\nHTTP_AUTHORIZATION=Basic eDp5\n"} {
		if !strings.Contains("\n"+got[0], want) {
			t.Errorf("%q is not in\n%s", want, got[0])
		}
	}
	if !strings.HasSuffix(got[0], strings.Repeat("b", 300_000)) {
		t.Error("the body is not whole")
	}
}

// What a script of another user may do wrong is answered as for the worker's.
func TestForeignScriptFaults(t *testing.T) {
	asRoot(t)
	dir := testDir(t)
	write(t, dir, "www/x.txt", "")
	folder := "dirs/games/"
	script := func(name, text string) string {
		return write(t, dir, folder+name, "#!/bin/sh\n"+text+"\n")
	}
	const head = "printf 'Content-Type: text/plain\\n\\n'; "
	script("ok.cgi", head+"echo ok")
	script("killed.cgi", "kill -SEGV $$")
	script("exit3.cgi", head+"echo done; exit 3")
	script("hang.cgi", "trap '' TERM; echo $$ >"+dir+"/tmp/hang; sleep 1000 & echo $! >"+dir+"/tmp/grandchild; while :; do sleep 0.1; done")
	script("term.cgi", "echo $$ >"+dir+"/tmp/term; exec sleep 1000")
	script("loud.cgi", "yes noise | head -c 3000000 >&2; "+head+"echo loud")
	script("big.cgi", head+"head -c 5000000 /dev/zero")
	script("count.cgi", head+"wc -c")
	os.Chmod(script("noexec.cgi", head), 0o644)
	os.Chmod(script("closed.cgi", head), 0o700)
	write(t, dir, folder+"lost.cgi", "#!/no/such/interpreter\n")
	os.Chmod(write(t, dir, folder+"text.cgi", "echo hello\n"), 0o755)
	write(t, dir, "dirs/out.cgi", okScript)
	must(t, os.Symlink("../out.cgi", filepath.Join(dir, folder, "out.cgi")))
	must(t, os.Symlink("ok.cgi", filepath.Join(dir, folder, "in.cgi")))
	must(t, syscall.Mkfifo(filepath.Join(dir, folder, "fifo.cgi"), 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "tmp"), 0o755))
	must(t, os.Chown(filepath.Join(dir, "tmp"), games.uid, games.gid))
	write(t, dir, "dirs/list/x.cgi", okScript)
	write(t, dir, "dirs/own/x.cgi", okScript)
	write(t, dir, "dirs/one.cgi", okScript)
	s := startSite(t, dir, twoUsers)

	for name, want := range map[string]int{"ok": 200, "in": 200, "killed": 502, "exit3": 200, "loud": 200, "big": 200, "noexec": 403,
		"closed": 403, "lost": 502, "text": 502, "out": 403, "fifo": 403, "missing": 404} {
		s.get(want, "/games/"+name+".cgi")
	}
	s.waitLog(t, `app=games .*killed by signal 11`)
	s.waitLog(t, `script ended badly.*app=games.*exit status 3`)
	s.waitLog(t, `no interpreter: neither`)
	s.waitLog(t, `its interpreter does not exist`)
	s.waitLog(t, `app=games.*noise`)
	if a := s.do(httpRequest{method: "POST", target: "/games/count.cgi", body: strings.Repeat("x", 5_000_000)}); strings.TrimSpace(a.body) != "5000000" {
		t.Errorf("of a body of 5,000,000 bytes there came %q", a.body)
	}
	// header_timeout: the whole group ends, by KILL in the end.
	if a := s.get(504, "/games/hang.cgi"); a.took > 10*time.Second {
		t.Errorf("504 after %v", a.took)
	}
	for _, name := range []string{"hang", "grandchild"} {
		gone(t, dir, name)
	}
	// A client that leaves.
	c, err := net.Dial("tcp", s.addr)
	must(t, err)
	c.Write(httpRequest{method: "GET", target: "/games/term.cgi", host: s.addr}.bytes())
	if err := waitText(filepath.Join(dir, "tmp/term"), `\d+\n`, logWait); err != nil {
		t.Fatal(err)
	}
	c.Close()
	gone(t, dir, "term")
	// The worker dies, and so do the scripts that it had the master start.
	os.Remove(filepath.Join(dir, "tmp/term"))
	worker, _ := family(s.pid())
	go httpRequest{target: "/games/term.cgi"}.send("tcp", s.addr)
	if err := waitText(filepath.Join(dir, "tmp/term"), `\d+\n`, logWait); err != nil {
		t.Fatal(err)
	}
	must(t, syscall.Kill(worker, syscall.SIGKILL))
	gone(t, dir, "term")
	s.get(200, "/games/ok.cgi")
	// And with the server.
	os.Remove(filepath.Join(dir, "tmp/hang"))
	go httpRequest{target: "/games/hang.cgi"}.send("tcp", s.addr)
	if err := waitText(filepath.Join(dir, "tmp/hang"), `\d+\n`, logWait); err != nil {
		t.Fatal(err)
	}
	s.end()
	gone(t, dir, "hang")
}

// gone waits for the end of the process whose number is in a file.
func gone(t testing.TB, dir, name string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "tmp", name))
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	if !waitFor(logWait, func() bool { return !alive(pid) }) {
		syscall.Kill(pid, syscall.SIGKILL)
		t.Errorf("%s: process %d lives on", name, pid)
	}
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
