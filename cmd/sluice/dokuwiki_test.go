package main

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wikiInstalled is where Debian's package is; its data lies elsewhere.
const wikiInstalled = "/usr/share/dokuwiki"

// startWiki serves Debian's DokuWiki with a setting of xsendfile, a
// configuration and data of its own, and more in the app's send_file and among
// the site's routes.
func startWiki(t *testing.T, dir string, setting int, fnencode, sendFile, routes string) *site {
	t.Helper()
	for _, name := range []string{"pages", "attic", "media", "media_attic", "media_meta", "meta", "cache", "index", "locks", "tmp", "log"} {
		must(t, os.MkdirAll(filepath.Join(dir, "data", name), 0o755))
	}
	write(t, dir, "conf/local.php", fmt.Sprintf("<?php\n$conf['savedir'] = '%s/data';\n$conf['xsendfile'] = %d;\n$conf['fnencode'] = '%s';\n$conf['useacl'] = 0;\n$conf['cssdatauri'] = 0;\n", dir, setting, fnencode))
	prepend := write(t, dir, "prepend.php", fmt.Sprintf("<?php define('DOKU_CONF', '%s/conf/');\n", dir))
	return startSite(t, dir, fmt.Sprintf(`
[[app]]
name = "php"
kind = "fastcgi"
command = ["php-cgi", "-d", "auto_prepend_file=%s"]
max = 2
[app.send_file]
%s
[[site]]
root = %q
index = ["doku.php"]
[[site.route]]
match = "*.php"
app = "php"
[[site.route]]
match = "/inc/"
deny = true
[[site.route]]
match = "/bin/"
deny = true
[[site.route]]
match = "/vendor/"
deny = true
`, prepend, sendFile, wikiInstalled)+routes)
}

// upload gives the wiki a file as its media manager does.
func upload(t *testing.T, s *site, name, text string) {
	t.Helper()
	var body bytes.Buffer
	m := multipart.NewWriter(&body)
	for key, value := range map[string]string{"call": "mediaupload", "ns": "docs", "mediaid": name} {
		must(t, m.WriteField(key, value))
	}
	w, err := m.CreateFormFile("qqfile", name)
	must(t, err)
	_, err = w.Write([]byte(text))
	must(t, err)
	must(t, m.Close())
	s.post(200, "/lib/exe/ajax.php", body.String(), "Content-Type: "+m.FormDataContentType()).has(t, `"success":true`)
}

// The three settings of xsendfile, each as docs/recipes.md has it. Names that
// are not ASCII are on the disk as fnencode says.
func TestDokuWiki(t *testing.T) {
	needs(t, "php-cgi")
	needsFile(t, wikiInstalled+"/lib/exe/fetch.php")
	for _, c := range []struct {
		name     string
		setting  int
		fnencode string
	}{
		{"without", 0, "url"},
		{"X-LIGHTTPD-send-file", 1, "url"},
		{"X-Sendfile", 2, "url"},
		{"X-Accel-Redirect", 3, "utf-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := testDir(t)
			inside := "/data/"
			sendFile := fmt.Sprintf("roots = [%q]\ndecode = false", dir+"/data")
			routes := ""
			if c.setting == 3 {
				// DokuWiki takes its data for a folder of its own, and cuts off as many
				// bytes as that has.
				sendFile = ""
				inside = "/" + (dir + "/data/")[len(wikiInstalled)+1:]
				routes = fmt.Sprintf("[[site.route]]\nmatch = %q\ninternal = true\nalias = %q\n", inside, dir+"/data/")
			}
			s := startWiki(t, dir, c.setting, c.fnencode, sendFile, routes)
			wiki(t, s, c.setting)
			s.get(404, inside+"media/docs/report.pdf")
		})
	}
}

// wiki is what has to work with every setting.
func wiki(t *testing.T, s *site, setting int) {
	s.get(200, "/doku.php?id=start").has(t, "<html", "start")
	text := string(noise(300 << 10))
	for _, name := range []string{"report.pdf", "übersicht_100.pdf"} {
		upload(t, s, name, text)
		target := "/lib/exe/fetch.php?media=docs:" + url.QueryEscape(name)
		a := s.get(200, target)
		if a.body != text || a.Header.Get("Content-Type") != "application/pdf" {
			t.Fatalf("%s: %d bytes of %s, want %d", name, len(a.body), a.Header.Get("Content-Type"), len(text))
		}
		if d := a.Header.Get("Content-Disposition"); !strings.HasPrefix(d, "inline;") && !strings.HasPrefix(d, "attachment;") {
			t.Errorf("%s: Content-Disposition %q", name, d)
		}
		if a.Header.Get("Cache-Control") == "" || a.Header.Get("Content-Security-Policy") == "" && setting != 3 || a.Header.Get("Last-Modified") == "" {
			t.Errorf("%s: fields of the wiki are missing: %v", name, a.Header)
		}
		for field := range a.Header {
			if strings.HasPrefix(field, "X-Accel-") || strings.HasPrefix(field, "X-Sendfile") || strings.HasPrefix(field, "X-Lighttpd-") {
				t.Errorf("%s: %s reaches the client", name, field)
			}
		}
		if part := s.get(206, target, "Range: bytes=1000-1999"); part.body != text[1000:2000] {
			t.Errorf("%s: a range of %d bytes", name, len(part.body))
		}
		s.get(304, target, "If-Modified-Since: "+a.Header.Get("Last-Modified"))
		if head := s.do(httpRequest{method: "HEAD", target: target}); head.StatusCode != 200 || head.ContentLength != int64(len(text)) && setting > 0 {
			t.Errorf("%s: HEAD: %s, %d bytes", name, head.Status, head.ContentLength)
		}
	}
	s.get(404, "/lib/exe/fetch.php?media=docs:missing.pdf")
	s.get(403, "/inc/init.php")
}

// A plugin that looks for its server finds the one that the route names.
func TestPluginLooksForItsServer(t *testing.T) {
	needs(t, "php-cgi")
	dir := testDir(t)
	write(t, dir, "files/a.txt", "sent")
	write(t, dir, "www/download.php", `<?php
header('Content-Type: text/plain');
if (stristr(getenv('SERVER_SOFTWARE'), 'lighttpd')) { header('X-LIGHTTPD-send-file: `+dir+`/files/a.txt'); exit; }
echo 'read by PHP';
`)
	const app = "[[app]]\nname = \"php\"\nkind = \"fastcgi\"\ncommand = [\"php-cgi\"]\nmax = 1\n[app.send_file]\nroots = [\"files\"]\n" +
		"[[site]]\nroot = \"www\"\n[[site.route]]\nmatch = \"*.php\"\napp = \"php\"\n"
	for env, want := range map[string]string{"": "read by PHP", "env = { SERVER_SOFTWARE = \"lighttpd\" }\n": "sent"} {
		s := startSite(t, dir, app+env)
		if a := s.get(200, "/download.php"); a.body != want {
			t.Errorf("%q: %q, want %q", env, a.body, want)
		}
		s.end()
	}
}
