package front

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestCleaned(t *testing.T) {
	for _, tc := range []struct {
		in, want string // "" is refused
	}{
		{"/", "/"},
		{"/a/b", "/a/b"},
		{"/a/b/", "/a/b/"},
		{"//a", "/a"},
		{"/a//b", "/a/b"},
		{"/a//", "/a/"},
		{"/.", "/"},
		{"/./a", "/a"},
		{"/a/.", "/a/"},
		{"/a/./b", "/a/b"},
		{"/a/..", "/"},
		{"/a/../b", "/b"},
		{"/a/b/../../c", "/c"},
		{"/...", "/..."},
		{"/.a", "/.a"},
		{"/a./b", "/a./b"},
		{"/..a", "/..a"},
		{`/a\b`, `/a\b`},
		{"", ""},
		{"a", ""},
		{"*", ""},
		{"/..", ""},
		{"/../a", ""},
		{"/a/../..", ""},
		{"/a/../../a", ""},
		{"/a\x00", ""},
	} {
		got, ok := cleaned(tc.in)
		if !ok {
			got = ""
		}
		if got != tc.want || ok != (tc.want != "") {
			t.Errorf("cleaned(%q) is %q, %v, want %q", tc.in, got, ok, tc.want)
		}
	}
}

// FuzzCleaned: what comes out is absolute and has nothing that goes up; and it is
// what the library's Clean says, but for the slash at the end.
func FuzzCleaned(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "//", "/..", "/a/./", "/a//b/../c/", "/.../x", "/a\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, ok := cleaned(in)
		if !ok {
			return
		}
		if got == "" || got[0] != '/' || strings.Contains(got, "//") || strings.Contains(got+"/", "/../") || strings.Contains(got+"/", "/./") {
			t.Errorf("cleaned(%q) is %q", in, got)
		}
		if want := path.Clean(in); strings.TrimSuffix(got, "/") != strings.TrimSuffix(want, "/") {
			t.Errorf("cleaned(%q) is %q, want %q", in, got, want)
		}
		if again, ok := cleaned(got); !ok || again != got {
			t.Errorf("cleaned(%q) is %q, not %[2]q", got, again)
		}
	})
}

func TestHidden(t *testing.T) {
	for in, want := range map[string]bool{
		"/":                      false,
		"/a.b/c":                 false,
		"/.a":                    true,
		"/a/.b/c":                true,
		"/a/.b":                  true,
		"/.well-known":           false,
		"/.well-known/x":         false,
		"/.well-known/.x":        true,
		"/.well-known-not":       true,
		"/a/.well-known/x":       false,
		"/.well-known/a/.git/x":  true,
		"/.well-known/./x":       true,
		"/...":                   true,
		"/.well-known/a/b.c/d.e": false,
	} {
		if got := Hidden(in); got != want {
			t.Errorf("Hidden(%q) is %v", in, got)
		}
	}
}

func TestLooksLike(t *testing.T) {
	for in, want := range map[string]bool{
		"x.cgi": true, "X.CGI": true, "x.Cgi": true, "x.cgi.": true, "x.cgi ": true, "x.cgi. .": true, "x.cgi\t": true, ".cgi": true,
		"x.cgi.txt": false, "x.cg": false, "xcgi": false, "x.cgib": false, "": false,
	} {
		if got := looksLike(in, ".cgi"); got != want {
			t.Errorf("looksLike(%q) is %v", in, got)
		}
	}
}

func TestEncodedSlash(t *testing.T) {
	for in, want := range map[string]bool{"/a%2fb": true, "/a%2Fb": true, "/%2f": true, "/a%2": false, "/a%252f": false, "/a/b": false} {
		if got := hasEncodedSlash(in); got != want {
			t.Errorf("hasEncodedSlash(%q) is %v", in, got)
		}
	}
	for in, want := range map[string]string{"/a%2fb%20c": "/a%2Fb c", "/%2F%2f": "/%2F%2F", "/a": "/a", "/a%2fb%2": ""} {
		got, err := keepSlashes(in, url.PathUnescape)
		if err != nil {
			got = ""
		}
		if got != want {
			t.Errorf("keepSlashes(%q) is %q, %v", in, got, err)
		}
	}
}

func TestLocation(t *testing.T) {
	for _, tc := range []struct{ path, query, want string }{
		{"/a/", "", "/a/"},
		{"/a b/", "x=1&y=%20", "/a%20b/?x=1&y=%20"},
		{"//evil.example/", "", "/evil.example/"},
		{"///evil.example/", "", "/evil.example/"},
		{"/a?b/", "", "/a%3Fb/"},
		{"/a\r\nb/", "", "/a%0D%0Ab/"},
	} {
		if got := location(tc.path, tc.query); got != tc.want {
			t.Errorf("location(%q, %q) is %q, want %q", tc.path, tc.query, got, tc.want)
		}
	}
}
