package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPerlRoles: an authorizer and a filter of FCGI.pm, one behind the other.
func TestPerlRoles(t *testing.T) {
	needs(t, "perl")
	dir := testDir(t)
	program, err := os.ReadFile(filepath.Join(apps(), "perl/roles.fcgi"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(write(t, dir, "roles.fcgi", string(program)), 0o755); err != nil {
		t.Fatal(err)
	}
	content := noise(300_000)
	modified := time.Unix(1_500_000_000, 0)
	if err := os.Chtimes(write(t, dir, "www/large.rev", string(content)), modified, modified); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "www/small.rev", "abc")
	write(t, dir, "www/files/plain.txt", "plain")
	s := startSite(t, dir, `
[[app]]
name = "auth"
kind = "fastcgi"
command = ["./roles.fcgi"]
role = "authorizer"
pass_authorization = true
max = 1
[[app]]
name = "reverse"
kind = "fastcgi"
command = ["./roles.fcgi"]
role = "filter"
max = 1
[[site]]
root = "www"
[[site.route]]
match = "*.rev"
app = "reverse"
authorizer = "auth"
[[site.route]]
match = "/files/"
static = true
authorizer = "auth"
`)
	credentials := func(user, password string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
	}
	a := s.get(401, "/small.rev")
	if a.has(t, "perl asks who you are"); a.Header.Get("Www-Authenticate") != `Basic realm="perl"` {
		t.Errorf("%v", a.Header)
	}
	s.get(401, "/small.rev", credentials("ann", "wrong"))
	s.get(401, "/files/plain.txt")
	ann := credentials("ann", "ann-secret")
	s.get(200, "/files/plain.txt", ann).has(t, "plain")
	s.get(404, "/files/missing", ann)
	for range 5 {
		s.get(200, "/small.rev", ann).has(t, "role=FILTER user=ann type=Basic body=0 data=3 of 3 modified", "cba")
	}
	reversed := slices.Clone(content)
	slices.Reverse(reversed)
	for _, body := range []string{"", "a body", strings.Repeat("body", 50_000)} {
		a := s.do(httpRequest{method: "POST", target: "/large.rev", body: body, fields: []string{ann}})
		want := fmt.Sprintf("role=FILTER user=ann type=Basic body=%d data=300000 of 300000 modified 1500000000\n%s", len(body), reversed)
		if a.StatusCode != 200 || a.body != want {
			t.Errorf("body of %d: %s, %d bytes, %.100q", len(body), a.Status, len(a.body), a.body)
		}
	}
}
