package main

import (
	"crypto/md5"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const phpLimits = `"-d", "upload_max_filesize=16M", "-d", "post_max_size=20M"`

// phpSite is the configuration of a site of the PHP fixtures; app is the rest of
// the app's block.
func phpSite(dir, app string) string {
	return fmt.Sprintf(`
[[app]]
name = "php"
kind = "fastcgi"
%s
[app.send_file]
roots = [%q]
[[site]]
root = %q
index = ["page.php"]
[[site.route]]
match = "*.php"
app = "php"
env = { FROM_ROUTE = "yes", FILE = "%s/files/data", SESSIONS = "%s/sessions" }
`, app, dir+"/files", dir+"/php", dir, dir)
}

// phpDir is a folder with the fixtures, a file to send, and a place for sessions,
// readable for everybody.
func phpDir(t testing.TB) (dir string, file []byte) {
	dir = testDir(t)
	if err := os.CopyFS(filepath.Join(dir, "php"), os.DirFS(filepath.Join(apps(), "php"))); err != nil {
		t.Fatal(err)
	}
	file = noise(3 << 20)
	write(t, dir, "files/data", string(file))
	if err := os.Mkdir(filepath.Join(dir, "sessions"), 0o777); err != nil {
		t.Fatal(err)
	}
	os.Chmod(filepath.Join(dir, "sessions"), 0o777)
	return dir, file
}

// phpPages is what every way to run PHP has to do.
func phpPages(t *testing.T, s *site, file []byte) {
	t.Helper()
	s.get(200, "/page.php?a=1").has(t, "method=GET a=1")
	s.get(200, "/").has(t, "method=GET")
	s.post(200, "/page.php", "a=posted", "Content-Type: application/x-www-form-urlencoded").has(t, "method=POST a=posted")
	a := s.get(200, "/server.php/in/fo?q=1", "X-Own: header", "Proxy: evil")
	a.has(t, "SCRIPT_NAME=/server.php\n", "SCRIPT_FILENAME="+s.dir+"/php/server.php\n", "PATH_INFO=/in/fo\n",
		"PATH_TRANSLATED="+s.dir+"/php/in/fo\n", "REQUEST_URI=/server.php/in/fo?q=1\n", "QUERY_STRING=q=1\n",
		"DOCUMENT_ROOT="+s.dir+"/php\n", "PHP_SELF=/server.php/in/fo\n", "SERVER_PROTOCOL=HTTP/1.1\n", "REMOTE_ADDR=127.0.0.1\n",
		"HTTP_X_OWN=header\n", "HTTP_PROXY=(unset)\n", "FROM_ROUTE=yes\n", "cwd="+s.dir+"/php\n",
		"SERVER_PORT="+s.addr[strings.IndexByte(s.addr, ':')+1:]+"\n")
	upload := noise(5 << 20)
	body, contentType := form(t, map[string]string{"title": "a title"}, upload)
	want := fmt.Sprintf("name=my file.bin error=0 size=%d md5=%x title=a title", len(upload), md5.Sum(upload))
	s.post(200, "/upload.php", body, contentType).has(t, want)
	a = s.do(httpRequest{method: "POST", target: "/upload.php", body: body, chunked: true, fields: []string{contentType}})
	a.has(t, want)

	cookie := s.get(200, "/session.php").Header.Get("Set-Cookie")
	cookie, _, _ = strings.Cut(cookie, ";")
	for n := 2; n < 6; n++ {
		s.get(200, "/session.php", "Cookie: "+cookie).has(t, fmt.Sprintf("n=%d ", n))
	}
	if a := s.get(500, "/error.php"); strings.Contains(a.body, "wrong") {
		t.Errorf("the client sees %s", a.body)
	}
	s.get(404, "/missing.php")
	s.get(302, "/redirect.php")

	a = s.get(200, "/readfile.php")
	if a.body != string(file) {
		t.Errorf("readfile: %d bytes, or others", len(a.body))
	}
	a = s.get(200, "/send.php")
	if a.body != string(file) || !strings.HasPrefix(a.Header.Get("Content-Type"), "text/x-own") || a.Header.Get("Content-Disposition") == "" || a.Header.Get("X-Sendfile") != "" {
		t.Errorf("X-Sendfile: %d bytes, %v", len(a.body), a.Header)
	}
	a = s.get(206, "/send.php", "Range: bytes=100-199")
	if a.body != string(file[100:200]) {
		t.Errorf("a range by X-Sendfile: %d bytes", len(a.body))
	}
	s.get(304, "/send.php", "If-None-Match: "+s.get(200, "/send.php").Header.Get("Etag"))
}

func TestPHPPool(t *testing.T) {
	needs(t, "php-cgi")
	dir, file := phpDir(t)
	s := startSite(t, dir, phpSite(dir, `command = ["php-cgi", `+phpLimits+"]\nscale = \"static\"\nmax = 3"))
	phpPages(t, s, file)
	s.waitLog(t, `app=php pid=\d+.*what went wrong`)

	// Several children work at once.
	pids := make(chan int, 3)
	for range 3 {
		go func() {
			a, err := httpRequest{target: "/slow.php"}.send("tcp", s.addr)
			if err != nil || a.StatusCode != http.StatusOK {
				pids <- 0
				return
			}
			pids <- a.pid(t)
		}()
	}
	seen := map[int]bool{}
	for range 3 {
		seen[<-pids] = true
	}
	if len(seen) != 3 || seen[0] {
		t.Errorf("three requests at once were answered by %v", seen)
	}
	// One dies in the middle of a request: 502 for that one only.
	s.get(502, "/fatal.php")
	s.get(200, "/page.php")
	// None of them is shaken off by an idle second.
	time.Sleep(time.Second)
	s.get(200, "/page.php")
}

// PHP ends a child by itself after PHP_FCGI_MAX_REQUESTS; nobody notices.
func TestPHPRecyclesItself(t *testing.T) {
	needs(t, "php-cgi")
	dir, _ := phpDir(t)
	s := startSite(t, dir, phpSite(dir, `command = ["php-cgi"]
max = 2
env = { PHP_FCGI_MAX_REQUESTS = "3" }`))
	seen := map[int]bool{}
	for i := range 30 {
		a := s.do(httpRequest{target: "/page.php"})
		if a.StatusCode != 200 {
			t.Fatalf("request %d: %s", i, a.Status)
		}
		seen[a.pid(t)] = true
	}
	if len(seen) < 8 {
		t.Errorf("%d children for 30 requests of which each may answer 3", len(seen))
	}
}

// fpm is a php-fpm that the test runs.
type fpm struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func startFPM(t testing.TB, dir, listen string) *fpm {
	t.Helper()
	conf := write(t, dir, "fpm.conf", fmt.Sprintf(`[global]
error_log = %s/fpm.log
daemonize = no
[www]
listen = %s
listen.mode = 0666
pm = static
pm.max_children = 2
php_admin_value[upload_max_filesize] = 16M
php_admin_value[post_max_size] = 20M
`, dir, listen))
	args := []string{"-F", "-y", conf}
	if os.Geteuid() == 0 {
		args = append(args, "-R")
		b, _ := os.ReadFile(conf)
		os.WriteFile(conf, append(b, "user = root\ngroup = root\n"...), 0o644)
	}
	f := &fpm{cmd: exec.Command("php-fpm8.2", args...), done: make(chan struct{})}
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { f.cmd.Wait(); close(f.done) }()
	t.Cleanup(f.stop)
	if err := waitText(filepath.Join(dir, "fpm.log"), `ready to handle connections\n(?s:.*)`, logWait); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *fpm) stop() {
	f.cmd.Process.Signal(syscall.SIGTERM)
	<-f.done
}

// An external php-fpm, over both kinds of sockets; it is restarted in between.
func TestPHPFPM(t *testing.T) {
	needs(t, "php-fpm8.2")
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			dir, file := phpDir(t)
			listen := filepath.Join(dir, "fpm.sock")
			address := "unix:" + listen
			if network == "tcp" {
				listen = "127.0.0.1:" + freePort()
				address = "tcp:" + listen
			}
			f := startFPM(t, dir, listen)
			s := startSite(t, dir, phpSite(dir, fmt.Sprintf("address = [%q]", address)))
			phpPages(t, s, file)
			f.stop()
			if a := s.do(httpRequest{target: "/page.php"}); a.StatusCode != 502 && a.StatusCode != 503 {
				t.Errorf("without php-fpm: %s", a.Status)
			}
			os.Remove(filepath.Join(dir, "fpm.log"))
			startFPM(t, dir, listen)
			for range 5 {
				s.get(200, "/page.php")
			}
		})
	}
}
