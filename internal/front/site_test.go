package front

import (
	"strings"
	"testing"
)

func TestSitesFind(t *testing.T) {
	named := func(hosts ...string) *Site { return &Site{Hosts: hosts} }
	sites := NewSites([]*Site{
		named("example.org", "www.example.org"), named("*.example.org"), named("*.deep.example.org"), named("::1"), named("127.0.0.1"), named(),
	})
	only := NewSites([]*Site{named("example.org")})
	for _, tc := range []struct{ host, want string }{
		{"example.org", "example.org www.example.org"},
		{"example.org:8080", "example.org www.example.org"},
		{"EXAMPLE.org", "example.org www.example.org"},
		{"example.org.", "example.org www.example.org"},
		{"example.org.:80", "example.org www.example.org"},
		{"www.example.org", "example.org www.example.org"},
		{"a.example.org", "*.example.org"},
		{"a.b.example.org", "*.example.org"},
		{"deep.example.org", "*.example.org"},
		{"a.deep.example.org", "*.deep.example.org"},
		{".example.org", "default"},
		{"anexample.org", "default"},
		{"[::1]", "::1"},
		{"[::1]:80", "::1"},
		{"127.0.0.1:80", "127.0.0.1"},
		{"", "default"},
		{":80", "default"},
		{"other", "default"},
	} {
		got := strings.Join(sites.Find(tc.host).Hosts, " ")
		if got == "" {
			got = "default"
		}
		if got != tc.want {
			t.Errorf("%q: %s, want %s", tc.host, got, tc.want)
		}
	}
	if only.Find("other") != nil || only.Find("") != nil {
		t.Error("a site for a host that no site has")
	}
}

// The order in which routes are tried does not depend on the order in which they
// were written.
func TestRouteOrder(t *testing.T) {
	routes := []*Route{
		{Text: "/"}, {Text: "*.php", Ending: ".php"}, {Text: "/blog/*.php", Ending: ".php"}, {Text: "/blog/"}, {Text: "/blog/a/"}, {Text: "= /blog/", Exact: true},
	}
	for i, prefix := range []string{"/", "/", "/blog/", "/blog/", "/blog/a/", "/blog/"} {
		routes[i].Prefix = prefix
	}
	want := "= /blog/ | /blog/a/ | /blog/*.php | /blog/ | *.php | /"
	for turn := range routes {
		s := &Site{Routes: append(append([]*Route{}, routes[turn:]...), routes[:turn]...)}
		s.prepare()
		var got []string
		for _, r := range s.Routes {
			got = append(got, r.Text)
		}
		if text := strings.Join(got, " | "); text != want {
			t.Errorf("%s, want %s", text, want)
		}
	}
}
