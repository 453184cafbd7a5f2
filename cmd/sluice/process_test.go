package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// scripted is the configuration of a site whose /app is the scripted child.
func scripted(extra string) string {
	if !strings.Contains(extra, "scale") {
		extra = "scale = \"static\"\n" + extra
	}
	return `
[[app]]
name = "app"
kind = "fastcgi"
command = ["fcgi-child"]
` + extra + `
[[app]]
name = "scripts"
kind = "cgi"
[[site]]
root = "www"
[[site.route]]
match = "/app"
app = "app"
[[site.route]]
match = "*.cgi"
app = "scripts"
`
}

const okScript = "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nok\\n'\n"

var pidLine = regexp.MustCompile(`pid=(\d+)`)

func (a *httpAnswer) pid(t testing.TB) int {
	t.Helper()
	m := pidLine.FindStringSubmatch(a.body)
	if m == nil {
		t.Fatalf("no pid in the answer:\n%s", a.body)
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

// A worker that is killed is replaced, and the children live on.
func TestWorkerKilled(t *testing.T) {
	dir := testDir(t)
	write(t, dir, "www/x.cgi", okScript)
	s := startSite(t, dir, scripted("max = 2"))
	first := s.get(200, "/app").pid(t)
	worker, children := family(s.pid())
	if worker == 0 || len(children) != 2 || !slices.Contains(children, first) {
		t.Fatalf("worker %d, children %d, an answer from %d", worker, children, first)
	}
	for range 2 {
		if err := syscall.Kill(worker, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		// The listener is open all the time: a request waits for the successor.
		begin := time.Now()
		got := s.get(200, "/app").pid(t)
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("the first request after the death took %v", d)
		}
		if !slices.Contains(children, got) {
			t.Errorf("child %d answers, want one of %d", got, children)
		}
		s.get(200, "/x.cgi")
		next, same := family(s.pid())
		if next == worker || !slices.Equal(same, children) {
			t.Fatalf("worker %d after %d, children %d after %d", next, worker, same, children)
		}
		worker = next
	}
	s.waitLog(t, `worker died and is replaced`)
}

// A worker that is killed in the middle of a request leaves a child that works
// on; the child is used again, and the other one meanwhile.
func TestWorkerKilledAtWork(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 1"))
	_, children := family(s.pid())
	go httpRequest{target: "/app?sleep=1s"}.send("tcp", s.addr)
	time.Sleep(300 * time.Millisecond)
	worker, _ := family(s.pid())
	syscall.Kill(worker, syscall.SIGKILL)
	if got := s.get(200, "/app").pid(t); got != children[0] {
		t.Errorf("child %d answers, want %d", got, children[0])
	}
}

// withSite is a folder with the www of the scripted site.
func withSite(t testing.TB) string {
	dir := testDir(t)
	write(t, dir, "www/x.cgi", okScript)
	return dir
}

// When the master is killed, nothing of it is left after 10 s, scripts that
// ignore SIGTERM and a stop_grace of its own included.
func TestMasterKilled(t *testing.T) {
	t.Parallel()
	dir := withSite(t)
	write(t, dir, "www/hang.cgi", "#!/bin/sh\ntrap '' TERM\necho $$ >pid\nwhile :; do sleep 0.1; done\n")
	s := startSite(t, dir, "stop_timeout = \"60s\"\n"+strings.Replace(scripted("max = 2"), `kind = "cgi"`, "kind = \"cgi\"\nstop_grace = \"30s\"", 1))
	worker, children := family(s.pid())
	pidFile := filepath.Join(dir, "www/pid")
	go httpRequest{target: "/hang.cgi"}.send("tcp", s.addr)
	if err := waitText(pidFile, `\d+\n`, logWait); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(pidFile)
	script, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	t.Cleanup(func() { syscall.Kill(script, syscall.SIGKILL) })
	syscall.Kill(s.pid(), syscall.SIGKILL)
	begin := time.Now()
	if !waitFor(time.Second, func() bool { return !slices.ContainsFunc(children, alive) }) {
		t.Errorf("a child is alive a second after the master's death")
	}
	for _, p := range []int{worker, script} {
		if !waitFor(10*time.Second-time.Since(begin), func() bool { return !alive(p) }) {
			t.Errorf("process %d (worker %d, script %d) is alive 10 s after the master's death", p, worker, script)
		}
	}
	// The next one can start at the same place.
	next, err := startProcess(dir, "next", os.Environ(), "serve", "-c", "sluice.toml")
	if err != nil {
		t.Fatal(err)
	}
	defer next.end()
	if err := next.ready(); err != nil {
		t.Error(err)
	}
}

// An idle child that dies, whatever of, costs no request: neither at once nor
// after a moment, neither one that may be repeated nor one that may not.
func TestIdleChildDies(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 1"))
	last := s.get(200, "/app").pid(t)
	for i := range 50 {
		sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGSEGV}[i%3]
		syscall.Kill(last, sig)
		time.Sleep(time.Duration(i%5) * 5 * time.Millisecond)
		r := httpRequest{target: "/app"}
		if i%2 == 0 {
			r.method, r.body = "POST", "x"
		}
		a := s.do(r)
		if a.StatusCode != 200 {
			t.Fatalf("request %d after signal %v: %s", i, sig, a.Status)
		}
		if last = a.pid(t); !alive(last) {
			t.Fatalf("request %d: the answer is from a dead child", i)
		}
	}
	// A child that ends by itself after its answer, as PHP does.
	for i := range 10 {
		if a := s.do(httpRequest{target: "/app?do=exit"}); a.StatusCode != 200 {
			t.Fatalf("request %d to a child that exits: %s", i, a.Status)
		}
	}
}

// An application that ends at once: the server is ready all the same, others
// work, and its own requests are answered at once.
func TestAppThatEnds(t *testing.T) {
	dir := withSite(t)
	s := startSite(t, dir, scripted("max = 1")+`
[[site.route]]
match = "/bad"
app = "bad"
[[app]]
name = "bad"
kind = "fastcgi"
command = ["fcgi-child", "exit"]
max = 2
`)
	s.get(200, "/app")
	s.get(200, "/x.cgi")
	// Between two starts the request may meet a child that is about to die: never
	// for long, and never anything but 503 and 502.
	if !waitFor(5*time.Second, func() bool {
		a := s.do(httpRequest{target: "/bad"})
		if a.took > time.Second || a.StatusCode != 503 && a.StatusCode != 502 {
			t.Fatalf("%s after %v", a.Status, a.took)
		}
		return a.StatusCode == 503 && a.Header.Get("Retry-After") != "" && a.took < 100*time.Millisecond
	}) {
		t.Error("no 503 with Retry-After at once")
	}
	s.waitLog(t, `app=bad .*I never wanted to live`)
	s.waitLog(t, `child ended.* app=bad .*ending="exit status 3".*I never wanted to live.*next="in `)
	s.get(200, "/app")
}

// As root, workers and children run as the user of the configuration.
func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can change the user")
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		t.Fatal(err)
	}
	// testscript puts the binaries where only their owner can enter.
	self, err := exec.LookPath("sluice")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(filepath.Dir(self)), 0o755); err != nil {
		t.Fatal(err)
	}
	dir := withSite(t)
	secret := write(t, dir, "www/secret.txt", "secret")
	if err := os.Chmod(secret, 0o600); err != nil {
		t.Fatal(err)
	}
	unreadable := write(t, dir, "www/unreadable.cgi", okScript)
	if err := os.Chmod(unreadable, 0o711); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "www/open.txt", "open")
	write(t, dir, "www/id.cgi", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; id -u; id -g; id -G; grep NoNewPrivs /proc/self/status\n")
	write(t, dir, "www/send.cgi", "#!/bin/sh\nprintf 'X-Sendfile: %s/secret.txt\\n\\n' \"$DOCUMENT_ROOT\"\n")
	s := startSite(t, dir, "user = \"nobody\"\n"+strings.Replace(scripted("max = 1"), "[[site]]",
		"[app.send_file]\nroots = [\"www\"]\n[[site]]", 1))
	worker, children := family(s.pid())
	child := s.get(200, "/app").pid(t)
	if len(children) != 1 || children[0] != child {
		t.Errorf("children %d, the answer is from %d", children, child)
	}
	for _, pid := range []int{worker, child} {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for _, line := range []string{"Uid", "Gid"} {
			id := map[string]string{"Uid": nobody.Uid, "Gid": nobody.Gid}[line]
			if !strings.Contains(string(status), line+":\t"+strings.Join([]string{id, id, id, id}, "\t")) {
				t.Errorf("process %d does not run as nobody:\n%s", pid, status)
			}
		}
		if strings.Contains(string(status), "Groups:\t0") {
			t.Errorf("process %d has root's groups:\n%s", pid, status)
		}
	}
	a := s.get(200, "/id.cgi")
	if !strings.HasPrefix(a.body, nobody.Uid+"\n"+nobody.Gid+"\n"+nobody.Gid+"\n") {
		t.Errorf("a script runs as\n%s", a.body)
	}
	s.get(200, "/open.txt")
	s.get(403, "/secret.txt")
	s.get(403, "/send.cgi")
	s.get(502, "/unreadable.cgi") // the interpreter cannot read it
	// After a worker's death the next one is nobody, too.
	syscall.Kill(worker, syscall.SIGKILL)
	s.get(403, "/secret.txt")
	if s.waitLog(t, "worker died"); strings.Contains(s.text(), "set user in the configuration") {
		t.Error("a warning about root, although the user is set")
	}
}
