package front

import (
	"io"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"sluice/internal/exchange"
	"sluice/internal/front/peer"
	"sluice/internal/securelink"
)

// signedSite has routes of signed links of every kind.
func signedSite(t *testing.T) (h *Handler, key securelink.Key, app, auth *refuses) {
	t.Helper()
	dir := tree(t, "open", "files/a b", "files/sub/x", "files/sub/index.html", "files/%2F", "pdf/x.pdf", "pdf/x.txt", "one", "shut/a", "in/a")
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	app, auth = &refuses{}, &refuses{}
	front := func(b *refuses) *App { return &App{App: &exchange.App{Name: "app", Backend: b, Log: log}} }
	key = securelink.Key("0123456789abcdef")
	link, bound := &securelink.Guard{Key: key}, &securelink.Guard{Key: key, Client: true}
	s := &Site{Root: dir, Index: []string{"index.html"}, Routes: []*Route{
		{Prefix: "/signed/", Alias: dir + "/files/", Static: true, Link: link},
		{Prefix: "/bound/", Alias: dir + "/files/", Static: true, Link: bound},
		{Prefix: "/pdf/", Ending: ".pdf", Static: true, Link: link},
		{Prefix: "/one", Exact: true, Static: true, Link: link},
		{Prefix: "/app", App: front(app), Link: link},
		{Prefix: "/shut/", Static: true, Link: link, Authorizer: front(auth)},
		{Prefix: "/in/", Static: true, Internal: true, Link: link},
		{Prefix: "/keep/", Alias: dir + "/files/", Static: true, Link: link, Slashes: KeepSlashes},
	}}
	other := &Site{Hosts: []string{"other"}, Root: dir, Fallback: "/app", Routes: []*Route{
		{Prefix: "/app", App: front(app), Internal: true, Link: link}}}
	proxies, err := peer.ParseNetworks([]string{"10.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	return &Handler{Sites: NewSites([]*Site{s, other}), Log: log, Proxies: proxies}, key, app, auth
}

func TestSignedLinks(t *testing.T) {
	h, key, app, auth := signedSite(t)
	future := time.Now().Add(time.Hour).Unix()
	const client = "192.0.2.7"
	// query signs a path; "-" is no signature, "old" an expired one.
	query := func(path, of string) string {
		l := securelink.Link{Path: path, Expires: future}
		switch of {
		case "-":
			return ""
		case "old":
			l.Expires = 1000
		case "":
		default:
			l.Client = netip.MustParseAddr(of)
		}
		return "?" + key.Query(l)
	}
	for _, c := range []struct {
		name   string
		method string // "" is GET
		target string
		signed string // the path that is signed
		of     string
		want   int
		asked  int // the app or the authorizer
	}{
		{"a file", "", "/signed/a%20b", "/signed/a b", "", 200, 0},
		{"HEAD", "HEAD", "/signed/a%20b", "/signed/a b", "", 200, 0},
		{"another spelling", "", "/x/../signed//%61%20b", "/signed/a b", "", 200, 0},
		{"no signature", "", "/signed/a%20b", "", "-", 403, 0},
		{"expired", "", "/signed/a%20b", "/signed/a b", "old", 410, 0},
		{"of another file", "", "/signed/a%20b", "/signed/sub/x", "", 403, 0},
		{"of the raw path", "", "/signed/a%20b", "/signed/a%20b", "", 403, 0},
		{"of a client, where none is wanted", "", "/signed/a%20b", "/signed/a b", client, 403, 0},
		{"POST", "POST", "/signed/a%20b", "/signed/a b", "", 405, 0},
		{"POST without a signature", "POST", "/signed/a%20b", "", "-", 403, 0},

		{"a missing file", "", "/signed/no", "/signed/no", "", 404, 0},
		{"a missing file without a signature", "", "/signed/no", "", "-", 403, 0},
		{"a missing file, expired", "", "/signed/no", "/signed/no", "old", 410, 0},
		{"the folder's index", "", "/signed/sub/", "/signed/sub/", "", 200, 0},
		{"a folder without an index", "", "/signed/", "/signed/", "", 403, 0},
		{"a folder without its slash", "", "/signed/sub", "/signed/sub", "", 301, 0},
		{"a folder without its slash and signature", "", "/signed/sub", "", "-", 403, 0},
		{"the prefix without its slash", "", "/signed", "/signed", "", 301, 0},
		{"the prefix without its slash and signature", "", "/signed", "", "-", 403, 0},
		{"an encoded slash", "", "/signed/%2F", "/signed//", "", 404, 0},
		{"an encoded slash that is kept", "", "/keep/%2f", "/keep/%2F", "", 200, 0},
		{"above the root", "", "/../signed/a", "/signed/a", "", 400, 0},

		{"of its client", "", "/bound/a%20b", "/bound/a b", client, 200, 0},
		{"of another client", "", "/bound/a%20b", "/bound/a b", "192.0.2.8", 403, 0},
		{"of the proxy", "", "/bound/a%20b", "/bound/a b", "10.0.0.1", 403, 0},
		{"of no client", "", "/bound/a%20b", "/bound/a b", "", 403, 0},
		{"of its client, expired", "", "/bound/a%20b", "/bound/a b", "old", 403, 0}, // signed for everybody

		{"an ending", "", "/pdf/x.pdf", "/pdf/x.pdf", "", 200, 0},
		{"an ending without a signature", "", "/pdf/x.pdf", "", "-", 403, 0},
		{"a missing one", "", "/pdf/no.pdf", "", "-", 403, 0},
		{"another ending is another route", "", "/pdf/x.txt", "", "-", 200, 0},
		{"exactly", "", "/one", "/one", "", 200, 0},
		{"exactly, without a signature", "", "/one", "", "-", 403, 0},
		{"not below", "", "/one/x", "", "-", 404, 0},
		{"no such route", "", "/open", "", "-", 200, 0},

		{"an app", "", "/app/a%20b", "/app/a b", "", 503, 1},
		{"an app without a signature", "", "/app/a%20b", "", "-", 403, 0},
		{"an app, expired", "", "/app", "/app", "old", 410, 0},
		{"POST to an app", "POST", "/app", "/app", "", 405, 0},
		{"an authorizer", "", "/shut/a", "/shut/a", "", 503, 1},
		{"an authorizer without a signature", "", "/shut/a", "", "-", 403, 0},
		{"internal", "", "/in/a", "/in/a", "", 404, 0},
		{"internal without a signature", "", "/in/a", "", "-", 404, 0},
		{"a fallback that is internal", "", "http://other/some/path", "/some/path", "", 503, 1},
		{"a fallback without a signature", "", "http://other/some/path", "", "-", 403, 0},
	} {
		app.asked, auth.asked = 0, 0
		method := c.method
		if method == "" {
			method = "GET"
		}
		r := httptest.NewRequest(method, c.target+query(c.signed, c.of), nil)
		r.RemoteAddr = "10.0.0.1:4711"
		r.Header.Set("X-Forwarded-For", "198.51.100.1, "+client)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := app.asked + auth.asked; w.Code != c.want || got != c.asked {
			t.Errorf("%s: %d, asked %d times; want %d, %d", c.name, w.Code, got, c.want, c.asked)
		}
	}
}

// The target of a local redirect needs a signature of its own, also where it is
// internal.
func TestSignedLocalRedirect(t *testing.T) {
	h, key, _, _ := signedSite(t)
	site := h.Sites.Find("example.org")
	link := func(path string) string {
		return path + "?" + key.Query(securelink.Link{Path: path, Expires: time.Now().Add(time.Hour).Unix()})
	}
	for target, want := range map[string]int{
		"/in/a": 403, link("/in/a"): 200, "/signed/sub/x": 403, link("/signed/sub/x"): 200, "/open": 200,
	} {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Fatal(err)
		}
		rec := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/elsewhere?"+strings.TrimPrefix(link("/in/a"), "/in/a?"), nil)
		w := respond(rec, r)
		tt := site.find(u, query{inside: true, open: true})
		done, err := h.unsigned(w, redirected(r, u), u, tt, true)
		if err == nil && !done {
			err = h.plain(w, r, u, tt)
		}
		if err != nil || rec.Code != want {
			t.Errorf("%s: %d, %v; want %d", target, rec.Code, err, want)
		}
	}
}

// Nothing is opened for who has no right to it.
func TestSignedFileIsNotOpened(t *testing.T) {
	h, _, _, _ := signedSite(t)
	site := h.Sites.Find("example.org")
	for _, path := range []string{"/signed/a%20b", "/signed/sub/", "/pdf/x.pdf", "/one"} {
		u, _ := url.ParseRequestURI(path)
		if tt := site.find(u, query{open: true}); tt.opened != nil || tt.File == "" {
			t.Errorf("%s: opened %v, file %q", path, tt.opened, tt.File)
		}
	}
}
