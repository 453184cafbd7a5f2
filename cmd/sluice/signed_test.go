package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The secret is read before rights are given up: neither the workers nor
// anybody else can, and there is no child to ask.
func TestSecretOfRoot(t *testing.T) {
	asRoot(t)
	dir := testDir(t)
	write(t, dir, "files/a.txt", "for who has a link")
	secret := write(t, dir, "link.key", strings.Repeat("s", 32)+"\n")
	must(t, os.Chmod(secret, 0o600))
	s := startSite(t, dir, `
user = "www-data"
[[site]]
root = "files"
[[site.route]]
match = "/signed/"
alias = "files"
secure_link = { secret_file = "link.key" }
`)
	out, err := exec.Command("sluice", "sign", "--secret-file", secret, "--expires", "1h", "/signed/a.txt").Output()
	must(t, err)
	if a := s.get(200, strings.TrimSpace(string(out))); a.body != "for who has a link" {
		t.Errorf("%q", a.body)
	}
	s.get(403, "/signed/a.txt")
	if _, children := family(s.pid()); len(children) > 0 {
		t.Errorf("children %v", children)
	}
}

// What docs/signed-links.md shows makes links that are taken.
func TestDocumentedSignatures(t *testing.T) {
	programs := map[string][]string{"sh": {"sh"}, "php": {"php-cgi", "-q"}, "python": {"python3"}, "perl": {"perl", "-w"}}
	needs(t, "sh", "openssl", "php-cgi", "python3", "perl")
	text, err := os.ReadFile("../../docs/signed-links.md")
	must(t, err)
	dir := testDir(t)
	write(t, dir, "files/annual report.pdf", "pages")
	must(t, os.Chmod(write(t, dir, "link.key", strings.Repeat("0f", 32)+"\n"), 0o600))
	s := startSite(t, dir, "[[site]]\nroot = \"files\"\n[[site.route]]\nmatch = \"/signed/\"\nalias = \"files\"\nsecure_link = { secret_file = \"link.key\" }\n")
	for _, m := range regexp.MustCompile("(?s)\n```([a-z]+)\n(.*?)\n```").FindAllStringSubmatch(string(text), -1) {
		language, program := m[1], m[2]
		command, ok := programs[language]
		if !ok {
			continue
		}
		delete(programs, language)
		file := write(t, dir, "example."+language, program)
		cmd := exec.Command(command[0], append(command[1:], filepath.Base(file))...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", language, err, out)
			continue
		}
		link := strings.TrimSpace(string(out))
		if !strings.HasPrefix(link, "/signed/annual%20report.pdf?expires=") {
			t.Errorf("%s: %q", language, link)
			continue
		}
		if a := s.get(200, link); a.body != "pages" {
			t.Errorf("%s: %q", language, a.body)
		}
	}
	if len(programs) > 0 {
		t.Errorf("no examples in %v", programs)
	}
}
