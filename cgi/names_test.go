package cgi_test

import (
	"testing"

	"sluice/cgi"
)

func TestSets(t *testing.T) {
	m := browserMeta()
	m.HasBody = true
	m.Request.Header.Set("Content-Type", "text/plain")
	m.Each(func(name, _ string) {
		if !m.Sets(name) {
			t.Errorf("%s is set, and said not to be", name)
		}
	})
	for name, want := range map[string]bool{
		"HTTP_X_FORWARDED_FOR": true, "HTTP_A1": true, "HTTPS": true,
		"HTTP_": false, "HTTP": false, "HTTP_a": false, "HTTP_A\n": false, "HTTP_A=": false, "": false,
		"HTTP_PROXY": false, "HTTP_PROXY_AUTHORIZATION": false, "HTTP_X_SENDFILE_TYPE": false, "HTTP_CONTENT_LENGTH": false,
		"LD_PRELOAD": false, "LD_LIBRARY_PATH": false, "PATH": false, "PERL5OPT": false, "PERL5LIB": false, "PHPRC": false,
		"IFS": false, "BASH_ENV": false, "ENV": false, "REMOTE_USER": false, "AUTH_TYPE": false, "https": false,
	} {
		if got := m.Sets(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
	}
	for _, pass := range []bool{false, true} {
		if got := (&cgi.Meta{PassAuthorization: pass}).Sets("HTTP_AUTHORIZATION"); got != pass {
			t.Errorf("HTTP_AUTHORIZATION with PassAuthorization %v: %v", pass, got)
		}
	}
}
