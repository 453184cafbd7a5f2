package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// repository makes a bare repository in repos/test.git with a few commits.
func repository(t testing.TB, dir string) {
	work := filepath.Join(dir, "work")
	program(t, dir, "git", "init", "-q", "-b", "main", work)
	for i := range 5 {
		write(t, work, "folder/file.txt", fmt.Sprintf("version %d\n", i))
		program(t, work, "git", "add", ".")
		program(t, work, "git", "commit", "-q", "-m", fmt.Sprintf("commit %d", i))
	}
	program(t, dir, "git", "clone", "-q", "--bare", work, filepath.Join(dir, "repos/test.git"))
}

func TestGitweb(t *testing.T) {
	needs(t, "git", "perl")
	needsFile(t, "/usr/share/gitweb/gitweb.cgi")
	dir := testDir(t)
	repository(t, dir)
	write(t, dir, "gitweb.conf", fmt.Sprintf("$projectroot = %q;\n@stylesheets = ('/gitweb/static/gitweb.css');\n", filepath.Join(dir, "repos")))
	s := startSite(t, dir, `
[[app]]
name = "scripts"
kind = "cgi"
[[site]]
[[site.route]]
match = "/gitweb"
app = "scripts"
script = "/usr/share/gitweb/gitweb.cgi"
env = { GITWEB_CONFIG = "`+dir+`/gitweb.conf" }
[[site.route]]
match = "/gitweb/static/"
alias = "/usr/share/gitweb/static/"
`)
	s.get(200, "/gitweb").has(t, "test.git", "/gitweb/static/gitweb.css")
	s.get(200, "/gitweb/").has(t, "test.git")
	s.get(200, "/gitweb?p=test.git;a=summary").has(t, "commit 4", "shortlog")
	s.get(200, "/gitweb/test.git/tree").has(t, "folder")
	s.get(200, "/gitweb?p=test.git;a=tree;f=folder;hb=HEAD").has(t, "file.txt")
	s.get(200, "/gitweb?p=test.git;a=blob_plain;f=folder/file.txt;hb=HEAD").has(t, "version 4\n")
	s.get(404, "/gitweb?p=missing.git").has(t, "No such project")
	s.get(404, "/gitweb?p=test.git;a=blob;f=missing;hb=HEAD")
	if a := s.get(200, "/gitweb/static/gitweb.css"); a.Header.Get("Content-Type") != "text/css" && !strings.HasPrefix(a.Header.Get("Content-Type"), "text/css;") {
		t.Errorf("the style sheet has the type %q", a.Header.Get("Content-Type"))
	}
	s.get(404, "/gitweb/static/missing.css")
	s.get(404, "/")
}

func TestGitHTTPBackend(t *testing.T) {
	needs(t, "git")
	needsFile(t, "/usr/lib/git-core/git-http-backend")
	dir := testDir(t)
	repository(t, dir)
	s := startSite(t, dir, `
[[app]]
name = "git"
kind = "cgi"
[[site]]
[[site.route]]
match = "/git"
app = "git"
script = "/usr/lib/git-core/git-http-backend"
env = { GIT_PROJECT_ROOT = "`+dir+`/repos", GIT_HTTP_EXPORT_ALL = "1", REMOTE_USER = "tester" }
`)
	url := "http://" + s.addr + "/git/test.git"
	program(t, dir, "git", "clone", "-q", url, "clone")
	clone := filepath.Join(dir, "clone")
	if got := program(t, clone, "git", "log", "--format=%s"); strings.Count(got, "commit") != 5 {
		t.Errorf("the clone has\n%s", got)
	}
	// 20 MB, chunked: the pack is larger than the buffer.
	write(t, clone, "large.bin", string(noise(20<<20)))
	program(t, clone, "git", "add", ".")
	program(t, clone, "git", "commit", "-q", "-m", "large")
	program(t, clone, "git", "-c", "http.postBuffer=65536", "-c", "pack.compression=0", "push", "-q", "origin", "HEAD")
	want := program(t, clone, "git", "rev-parse", "HEAD")
	if got := program(t, filepath.Join(dir, "repos/test.git"), "git", "rev-parse", "main"); got != want {
		t.Errorf("the server has %s after the push of %s", got, want)
	}
	program(t, dir, "git", "clone", "-q", "--depth", "1", url, "shallow")
	if got := program(t, filepath.Join(dir, "shallow"), "git", "rev-list", "--count", "HEAD"); got != "1\n" {
		t.Errorf("the shallow clone has %s commits", got)
	}
	program(t, filepath.Join(dir, "shallow"), "git", "fetch", "-q", "--deepen", "2")
	program(t, filepath.Join(dir, "shallow"), "git", "fsck")
	if out, err := exec.Command("git", "ls-remote", "http://"+s.addr+"/git/missing.git").CombinedOutput(); err == nil {
		t.Errorf("ls-remote of a repository that does not exist: %s", out)
	}
}
