package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

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
