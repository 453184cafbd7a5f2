package main

import (
	"crypto/md5"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// perlSite is a server of the Perl fixtures.
func perlSite(t *testing.T) (*site, []byte) {
	needs(t, "perl")
	for _, module := range []string{"FCGI", "CGI"} {
		if err := exec.Command("perl", "-M"+module, "-e1").Run(); err != nil {
			t.Fatalf("the Perl module %s is missing: install it: `make test` does", module)
		}
	}
	dir := testDir(t)
	if err := os.CopyFS(filepath.Join(dir, "perl"), os.DirFS(filepath.Join(apps(), "perl"))); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"app.fcgi", "form.cgi", "send.cgi"} {
		if err := os.Chmod(filepath.Join(dir, "perl", f), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	file := noise(1 << 20)
	write(t, dir, "files/data", string(file))
	write(t, dir, "secret", "secret")
	return startSite(t, dir, `
[[app]]
name = "perl"
kind = "fastcgi"
command = ["perl/app.fcgi"]
max = 2
[app.send_file]
roots = ["files"]
[[app]]
name = "scripts"
kind = "cgi"
[app.send_file]
roots = ["files"]
[[site]]
root = "perl"
[[site.route]]
match = "/app"
app = "perl"
[[site.route]]
match = "*.cgi"
app = "scripts"
`), file
}

func TestPerlFCGI(t *testing.T) {
	s, file := perlSite(t)
	data := filepath.Join(s.dir, "files/data")
	for range 20 {
		s.get(200, "/app/some/where?q=1").has(t, "method=GET script=/app path=/some/where query=q=1")
	}
	s.post(200, "/app/post", "the body of the request").has(t, "23 of 23: the body of the requ")
	large := strings.Repeat("0123456789", 300_000)
	s.post(200, "/app/post", large).has(t, "3000000 of 3000000: 01234567890123456789")
	a := s.do(httpRequest{method: "POST", target: "/app/post", body: large, chunked: true})
	a.has(t, "3000000 of 3000000")
	if a := s.get(200, "/app/big"); len(a.body) != 160*65536 {
		t.Errorf("%d bytes of a big answer", len(a.body))
	}
	a = s.get(200, "/app/sendfile?"+data)
	if a.body != string(file) || a.Header.Get("Content-Type") != "text/x-own" || a.Header.Get("X-Sendfile") != "" {
		t.Errorf("X-Sendfile: %d bytes, %v", len(a.body), a.Header)
	}
	if a := s.get(200, "/app/lighttpd?"+data); a.body != string(file) {
		t.Errorf("X-LIGHTTPD-send-file: %d bytes", len(a.body))
	}
	s.get(403, "/app/sendfile?"+filepath.Join(s.dir, "secret"))
	s.get(403, "/app/sendfile?"+filepath.Join(s.dir, "files/../secret"))
	s.get(403, "/app/sendfile?"+filepath.Join(s.dir, "files"))
	s.get(404, "/app/sendfile?"+data+".missing")
	s.get(502, "/app/sendfile?files/data")
	s.get(502, "/app/sendfile?")
	// It dies in the middle of a request: that one fails, the next is served.
	s.get(200, "/app")
	for _, how := range []string{"/die-early", "/die-header", "/die-late"} {
		a, err := httpRequest{method: "POST", target: "/app" + how, body: "x"}.send("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case how == "/die-late" && (a.StatusCode != 200 || a.err == nil) && a.StatusCode != 502:
			t.Errorf("%s: %s and %v, want an abort", how, a.Status, a.err)
		case how != "/die-late" && a.StatusCode != 502:
			t.Errorf("%s: %s", how, a.Status)
		}
		s.get(200, "/app")
		s.get(200, "/app")
	}
	s.waitLog(t, `app=perl pid=\d+.*I die before I say anything`)
	s.get(200, "/app/stderr")
	s.waitLog(t, `app=perl pid=\d+.*a complaint of the application`)
}

func TestPerlCGI(t *testing.T) {
	s, file := perlSite(t)
	s.get(200, "/form.cgi?name=x%20y").has(t, "name=x y cookie= self=http://"+s.addr+"/form.cgi?name=x%20y")
	a := s.post(200, "/form.cgi", "name=posted", "Content-Type: application/x-www-form-urlencoded", "Cookie: seen=before")
	a.has(t, "name=posted cookie=before")
	if c := a.Header.Get("Set-Cookie"); !strings.HasPrefix(c, "seen=yes") {
		t.Errorf("Set-Cookie: %q", c)
	}
	upload := noise(2 << 20)
	body, contentType := form(t, map[string]string{"name": "a name"}, upload)
	s.post(200, "/form.cgi", body, contentType).has(t, "name=a name", fmt.Sprintf("file=my file.bin size=%d md5=%x", len(upload), md5.Sum(upload)))
	// CGI.pm writes Status before Location, so this is the client's.
	if a := s.get(302, "/form.cgi?redirect=1"); a.Header.Get("Location") != "/elsewhere" {
		t.Errorf("Location: %q", a.Header.Get("Location"))
	}
	a = s.get(200, "/send.cgi?"+filepath.Join(s.dir, "files/data"))
	if a.body != string(file) || a.Header.Get("Content-Type") != "text/x-own" {
		t.Errorf("X-Sendfile from a script: %d bytes, %v", len(a.body), a.Header)
	}
	s.get(403, "/send.cgi?"+filepath.Join(s.dir, "secret"))
}
