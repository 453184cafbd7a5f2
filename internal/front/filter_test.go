package front

import (
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"sluice/internal/exchange"
)

// Which file a filter is given, for each form of a route.
func TestResolveFilter(t *testing.T) {
	dir := tree(t, "www/page.f", "www/sub/a", "www/link.f -> page.f", "www/sub/in.f", "other/b", "one")
	filter := &App{App: &exchange.App{Name: "filter"}, Filter: true}
	far := &App{App: &exchange.App{Name: "far"}, Filter: true, ScriptRoot: "/srv"}
	root := filepath.Join(dir, "www")
	routes := []*Route{
		{Prefix: "/", Ending: ".f", App: filter},
		{Prefix: "/sub", App: filter},
		{Prefix: "/sub/far", App: far, Dir: root},
		{Prefix: "/dir/", App: filter, Dir: filepath.Join(dir, "other")},
		{Prefix: "/one", App: filter, Script: filepath.Join(dir, "one")},
		{Prefix: "/files/", Static: true, Alias: root + "/"},
	}
	s := &Site{Root: root, FollowSymlinks: true, Routes: routes}
	NewSites([]*Site{s})
	for target, want := range map[string]string{
		"/page.f":            "$/www/page.f = $/www + /page.f",
		"/page.f/info":       "$/www/page.f = $/www + /page.f with /info",
		"/link.f":            "$/www/link.f = $/www + /link.f",
		"/missing.f":         "404",
		"/sub/a/b":           "$/www/sub/a = $/www + /sub/a with /b",
		"/sub/missing":       "404",
		"/sub/":              "403",
		"/dir/b":             "$/other/b = $/other + /b",
		"/dir/c":             "404",
		"/one/more":          "$/one = $ + /one with /more",
		"/sub/far/page.f":    "/srv/page.f = $/www + /page.f",
		"/sub/far/missing.f": "404",
		"/files/page.f":      "403",
		"/files/sub/a":       "403",
	} {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		got := s.Resolve(u, false)
		text := said(got, dir)
		if got.App != nil {
			text = strings.ReplaceAll(got.ScriptFilename+" = "+got.Root+" + "+got.File, dir, "$")
			if got.PathInfo != "" {
				text += " with " + got.PathInfo
			}
		}
		if text != want {
			t.Errorf("%s: %s, want %s", target, text, want)
		}
	}
	s.FollowSymlinks = false
	u, _ := url.Parse("/link.f")
	if got := s.Resolve(u, false); got.Status != 404 {
		t.Errorf("a link where none counts: %+v", got)
	}
}

// TestFileIsOpenedByPolicy: between the look and the open a link may come.
func TestFileIsOpenedByPolicy(t *testing.T) {
	dir := tree(t, "www/f -> ../secret", "secret")
	for _, follow := range []bool{true, false} {
		target := Target{Site: &Site{FollowSymlinks: follow}, Root: filepath.Join(dir, "www"), File: "/f"}
		f, err := target.open()
		if (err == nil) != follow {
			t.Errorf("links count: %v; opened: %v", follow, err)
		}
		if f != nil {
			f.Close()
		}
	}
}
