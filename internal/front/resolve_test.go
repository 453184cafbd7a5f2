package front

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/internal/exchange"
)

// tree makes files below a new folder; one that ends with a slash is a folder,
// and "name -> target" is a symbolic link.
func tree(t testing.TB, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		link, target, isLink := strings.Cut(n, " -> ")
		path := filepath.Join(dir, link)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		switch {
		case err != nil:
		case isLink:
			err = os.Symlink(target, path)
		case strings.HasSuffix(n, "/"):
			err = os.MkdirAll(path, 0o755)
		default:
			err = os.WriteFile(path, []byte(n), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func cgiApp(name string) *App  { return &App{App: &exchange.App{Name: name}, Scripts: true} }
func fcgiApp(name string) *App { return &App{App: &exchange.App{Name: name}} }

// said is a Target in one line, with the folder of the test as $.
func said(t Target, dir string) string {
	var s string
	switch {
	case t.Location != "":
		s = fmt.Sprintf("%d to %s", t.Status, t.Location)
	case t.Status != 0:
		s = fmt.Sprint(t.Status)
	case t.App != nil:
		s = fmt.Sprintf("%s runs %s as %s", t.App.Name, t.ScriptFilename, t.ScriptName)
		if t.PathInfo != "" {
			s += " with " + t.PathInfo
		}
	default:
		s = "file " + t.Root + t.File
	}
	return strings.ReplaceAll(s, dir, "$")
}

func resolveText(s *Site, target string, inside bool, dir string) string {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return "not a target"
	}
	text := said(s.Resolve(u, inside), dir)
	// What is opened on the way is the same, and no way around a rule.
	t := s.find(u, query{inside: inside, open: true})
	defer t.close()
	if got := said(t, dir); got != text {
		return text + ", but when it is opened " + got
	}
	if t.opened != nil {
		if name := filepath.Clean(t.Root + t.File); t.opened.Name() != t.Root+t.File || !linkless(name) || t.Status != 0 {
			return text + ", but opened is " + t.opened.Name()
		}
	}
	return text
}

// What a file is opened by: at once where that says all, else where it was.
func TestOpenHere(t *testing.T) {
	dir := tree(t, "www/file", "www/sub/index.html", "www/link -> file", "www/run.cgi", "www/closed", "www/.dot", "real/file", "rooted -> real")
	pipe := filepath.Join(dir, "www/pipe")
	if err := unix.Mkfifo(pipe, 0o644); err != nil {
		t.Fatal(err)
	}
	app := cgiApp("scripts")
	s := &Site{Root: dir + "/www", Index: []string{"index.html"}, HideDotfiles: true, FollowSymlinks: true, Fallback: "/file", Routes: []*Route{
		{Prefix: "/", Ending: ".cgi", App: app},
		{Prefix: "/auth/", Static: true, Alias: dir + "/www/", Authorizer: app},
		{Prefix: "/all/", Static: true, Alias: dir + "/www/"},
		{Prefix: "/real/", Static: true, Alias: dir + "/real/"},
		{Prefix: "/rooted/", Static: true, Alias: dir + "/rooted/"},
		{Prefix: "/one", Exact: true, Static: true, Alias: dir + "/www/file"},
		{Prefix: "/closed/", Static: true, Alias: dir + "/www/", Internal: true},
	}}
	NewSites([]*Site{s})
	for _, c := range []struct {
		target string
		opened bool
	}{
		{"/file", true}, {"/sub/", true}, {"/one", true}, {"/real/file", true}, {"/nothing", true}, // the fallback
		{"/link", false}, {"/rooted/file", false}, {"/auth/file", false}, {"/sub", false}, {"/.dot", false},
		{"/run.cgi", false}, {"/all/run.cgi", false}, {"/all/file", true}, {"/pipe", false}, {"/closed/file", false}, {"/file/", true}, // likewise
	} {
		u, err := url.ParseRequestURI(c.target)
		if err != nil {
			t.Fatal(err)
		}
		got := s.find(u, query{open: true})
		if (got.opened != nil) != c.opened {
			t.Errorf("%s: opened %v: %+v", c.target, got.opened, got)
		}
		got.close()
		if got := s.Resolve(u, false); got.opened != nil {
			t.Errorf("%s: opened by Resolve", c.target)
		}
		if text := resolveText(s, c.target, false, dir); strings.Contains(text, ", but ") {
			t.Errorf("%s: %s", c.target, text)
		}
	}
}

func TestResolve(t *testing.T) {
	dir := tree(t, "www/index.html", "www/page.php", "www/a.php/b.php", "www/x.PHP", "www/blog/x.php", "www/docs/", "www/docs/file.txt",
		"www/front.php", "www/.secret", "www/.well-known/x", "www/cgi-bin/run", "www/cgi-bin/sub/run", "www/cgi-bin/static/logo.png",
		"www/single", "www/scripts/index.php", "www/link.txt -> page.php", "www/robots.txt", "www/internal/x", "cgi/tool", "cgi/deep/tool",
		"icons/i.png", "icons/index.html", "icons/sub/", "gitweb/gitweb.cgi", "gitweb/static/g.css", "gitlink -> gitweb")
	p := func(name string) string { return filepath.Join(dir, name) }
	php, scripts, blog := fcgiApp("php"), cgiApp("cgi"), fcgiApp("blog")
	site := &Site{
		Root: p("www"), Index: []string{"index.html", "index.php"}, HideDotfiles: true, FollowSymlinks: true,
		Routes: []*Route{
			{Text: "*.php", Prefix: "/", Ending: ".php", App: php},
			{Text: "/blog/*.php", Prefix: "/blog/", Ending: ".php", App: blog},
			{Text: "/cgi-bin/", Prefix: "/cgi-bin/", App: scripts},
			{Text: "/cgi-bin/static/", Prefix: "/cgi-bin/static/", Static: true},
			{Text: "/bin/", Prefix: "/bin/", App: scripts, Dir: p("cgi")},
			{Text: "/single", Prefix: "/single", App: scripts},
			{Text: "/gitweb", Prefix: "/gitweb", App: scripts, Script: p("gitweb/gitweb.cgi")},
			{Text: "/gitweb/static/", Prefix: "/gitweb/static/", Alias: p("gitweb/static"), Static: true},
			{Text: "/source/", Prefix: "/source/", Alias: p("gitlink"), Static: true},
			{Text: "/icons/", Prefix: "/icons/", Alias: p("icons"), Static: true},
			{Text: "/virtual", Prefix: "/virtual", App: php},
			{Text: "/deny/", Prefix: "/deny/", Deny: true},
			{Text: "*.bak", Prefix: "/", Ending: ".bak", Deny: true},
			{Text: "/internal/", Prefix: "/internal/", Internal: true, Static: true},
			{Text: "*.key", Prefix: "/", Ending: ".key", Internal: true, Static: true},
			{Text: "= /robots.txt", Exact: true, Prefix: "/robots.txt", Static: true},
			{Text: "= /deny/not", Exact: true, Prefix: "/deny/not", App: php},
		},
	}
	NewSites([]*Site{site})
	for _, tc := range []struct{ target, want string }{
		{"/", "file $/www/index.html"},
		{"/page.php", "php runs $/www/page.php as /page.php"},
		{"/page.php/", "php runs $/www/page.php as /page.php with /"},
		{"/page.php/a/b", "php runs $/www/page.php as /page.php with /a/b"},
		{"/page.php/x.php", "php runs $/www/page.php as /page.php with /x.php"},
		{"/a.php/b.php/c", "php runs $/www/a.php/b.php as /a.php/b.php with /c"},
		{"/page%2ephp", "php runs $/www/page.php as /page.php"},
		{"/page.php%2f", "404"},
		{"/page.php%00", "400"},
		{"/page.php%20", "404"},
		{"/x.PHP", "403"},
		{"/missing.php", "404"},
		{"/page.php/.git", "php runs $/www/page.php as /page.php with /.git"},
		{"/.secret", "404"},
		{"/.secret.php/x", "404"},
		{"/%2esecret", "404"},
		{"/.well-known/x", "file $/www/.well-known/x"},
		{"/blog/x.php", "blog runs $/www/blog/x.php as /blog/x.php"},
		{"/docs", "301 to /docs/"},
		{"/docs/", "403"},
		{"/docs/file.txt", "file $/www/docs/file.txt"},
		{"/docs/file.txt/", "404"},
		{"/docs/../page.php", "php runs $/www/page.php as /page.php"},
		{"/docs//file.txt", "file $/www/docs/file.txt"},
		{"/../page.php", "400"},
		{"/docs/../../page.php", "400"},
		{"/scripts/", "php runs $/www/scripts/index.php as /scripts/index.php"},
		{"/link.txt", "403"},
		{"/cgi-bin/run", "cgi runs $/www/cgi-bin/run as /cgi-bin/run"},
		{"/cgi-bin/sub/run/info", "cgi runs $/www/cgi-bin/sub/run as /cgi-bin/sub/run with /info"},
		{"/cgi-bin/", "403"},
		{"/cgi-bin", "301 to /cgi-bin/"},
		{"/cgi-bin/none/x", "404"},
		{"/cgi-bin/static/logo.png", "file $/www/cgi-bin/static/logo.png"},
		{"/bin/tool", "cgi runs $/cgi/tool as /bin/tool"},
		{"/bin/deep/tool/x/y", "cgi runs $/cgi/deep/tool as /bin/deep/tool with /x/y"},
		{"/bin/deep", "403"},
		{"/single", "cgi runs $/www/single as /single"},
		{"/single/info", "cgi runs $/www/single as /single with /info"},
		{"/singles", "404"},
		{"/gitweb", "cgi runs $/gitweb/gitweb.cgi as /gitweb"},
		{"/gitweb/", "cgi runs $/gitweb/gitweb.cgi as /gitweb with /"},
		{"/gitweb/a.git", "cgi runs $/gitweb/gitweb.cgi as /gitweb with /a.git"},
		{"/gitweb/static/g.css", "file $/gitweb/static/g.css"},
		{"/gitweb/static/../../gitweb.cgi", "404"},
		{"/source/gitweb.cgi", "403"},
		{"/source/static/g.css", "file $/gitlink/static/g.css"},
		{"/icons/", "file $/icons/index.html"},
		{"/icons", "301 to /icons/"},
		{"/icons/sub", "301 to /icons/sub/"},
		{"/icons/sub/", "403"},
		{"/icons/../gitweb/gitweb.cgi", "cgi runs $/gitweb/gitweb.cgi as /gitweb with /gitweb.cgi"},
		{"/virtual/a/b", "php runs $/www/virtual as /virtual with /a/b"},
		{"/virtual", "php runs $/www/virtual as /virtual"},
		{"/virtually", "404"},
		{"/deny/x", "403"},
		{"/deny", "403"},
		{"/deny/not", "php runs $/www/deny/not as /deny/not"},
		{"/x.bak", "403"},
		{"/X.BAK", "403"},
		{"/x.bak/", "403"},
		{"/internal/x", "404"},
		{"/internal", "404"},
		{"/x.key", "404"},
		{"/robots.txt", "file $/www/robots.txt"},
		{"/robots.txt/x", "404"},
		{"http://x/page.php", "php runs $/www/page.php as /page.php"},
		{"http://x", "file $/www/index.html"},
		{"http://x?q", "file $/www/index.html"},
		{"/none", "404"},
	} {
		if got := resolveText(site, tc.target, false, dir); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.target, got, tc.want)
		}
	}
	if got := resolveText(site, "/internal/x", true, dir); got != "file $/www/internal/x" {
		t.Errorf("from inside: %s", got)
	}
	if got := said(site.Resolve(&url.URL{Host: "x:80"}, false), dir); got != "400" {
		t.Errorf("CONNECT x:80: %s", got)
	}
}

func TestResolvePolicies(t *testing.T) {
	dir := tree(t, "www/x.php", "www/sub/a", "www/link -> sub/a", "www/out -> ../secret", "www/lib -> sub", "www/.hidden", "secret", "real/www/f",
		"root -> real/www")
	root := filepath.Join(dir, "www")
	for _, tc := range []struct {
		name   string
		site   Site
		target string
		want   string
	}{
		{"fallback", Site{Fallback: "/x.php"}, "/a/b", "php runs $/www/x.php as /x.php"},
		{"fallback of a missing script", Site{Fallback: "/x.php"}, "/none.php", "php runs $/www/x.php as /x.php"},
		{"fallback of a folder", Site{Fallback: "/x.php"}, "/sub/", "php runs $/www/x.php as /x.php"},
		{"fallback that is missing", Site{Fallback: "/none"}, "/a", "404"},
		{"fallback that is itself", Site{Fallback: "/none"}, "/none", "404"},
		{"fallback and dots", Site{Fallback: "/x.php", HideDotfiles: true}, "/.git/x", "404"},
		{"dotfiles shown", Site{}, "/.hidden", "file $/www/.hidden"},
		{"dotfiles hidden", Site{HideDotfiles: true}, "/.hidden", "404"},
		{"links", Site{FollowSymlinks: true}, "/out", "file $/www/out"},
		{"no links", Site{}, "/out", "404"},
		{"no links, below", Site{}, "/link", "404"},
		{"no links, folder", Site{}, "/lib/a", "404"},
		{"no links, and a root that is one", Site{Root: filepath.Join(dir, "root")}, "/f", "file $/root/f"},
		{"slash refused", Site{}, "/x.php/a%2Fb", "404"},
		{"slash decoded", Site{Routes: []*Route{{Prefix: "/", Ending: ".php", App: fcgiApp("php"), Slashes: DecodeSlashes}}},
			"/x.php/a%2Fb", "php runs $/www/x.php as /x.php with /a/b"},
		{"slash kept", Site{Routes: []*Route{{Prefix: "/", Ending: ".php", App: fcgiApp("php"), Slashes: KeepSlashes}}},
			"/x.php/a%2fb%20", "php runs $/www/x.php as /x.php with /a%2Fb "},
		{"slash kept, dots", Site{Routes: []*Route{{Prefix: "/", Ending: ".php", App: fcgiApp("php"), Slashes: KeepSlashes}}},
			"/x.php/..%2f..%2fy", "400"},
		{"slash decoded, dots", Site{Routes: []*Route{{Prefix: "/", Ending: ".php", App: fcgiApp("php"), Slashes: DecodeSlashes}}},
			"/x.php/..%2f..%2fy", "400"},
		{"elsewhere", Site{Routes: []*Route{{Prefix: "/", Ending: ".php", App: &App{App: &exchange.App{Name: "far"}, ScriptRoot: "/srv"}}}},
			"/none.php/info", "far runs /srv/none.php as /none.php with /info"},
		{"folder redirect never to a host", Site{}, "//sub", "301 to /sub/"},
	} {
		s := tc.site
		if s.Root == "" {
			s.Root = root
		}
		if s.Routes == nil {
			s.Routes = []*Route{{Prefix: "/", Ending: ".php", App: fcgiApp("php")}}
		}
		NewSites([]*Site{&s})
		if got := resolveText(&s, tc.target, false, dir); got != tc.want {
			t.Errorf("%s: %s: %s, want %s", tc.name, tc.target, got, tc.want)
		}
	}
}

// Whatever the route, a site without a root serves nothing by accident.
func TestResolveWithoutRoot(t *testing.T) {
	s := &Site{Routes: []*Route{{Prefix: "/x/", Alias: tree(t, "f"), Static: true}}}
	NewSites([]*Site{s})
	for _, target := range []string{"/", "/etc/passwd", "/x", "/y"} {
		got := s.Resolve(&url.URL{Path: target}, false)
		if got.Status != http.StatusNotFound && got.Location != "/x/" {
			t.Errorf("%s: %+v", target, got)
		}
	}
}

// FuzzResolve: no URL leads out of the folders that were named, and none to the
// text of a script.
func FuzzResolve(f *testing.F) {
	for _, s := range []string{"/", "/x.cgi", "/x.cgi/info", "/x.cgi%20", "/x.CGI", "/..", "/a/../../x", "/%2e%2e/x", "/a//b/./c", "/x.cgi%00",
		"/alias/../x", "/alias", "/alias/f", "/cgi-bin/run", "/bin/run/..", "/.git", "/a%2fb", "/alias/%2e%2e%2fsecret", "/link", "/..%2f", "//"} {
		f.Add(s, uint8(0))
		f.Add(s, uint8(255))
	}
	dir := tree(f, "www/index.html", "www/x.cgi", "www/y.CGI", "www/z.cgi.", "www/a/b", "www/.git/x", "www/cgi-bin/run", "www/bin/run",
		"secret", "aliased/f", "aliased/x.cgi", "aliased/run -> ../programs/run", "programs/run", "programs/tool")
	f.Fuzz(func(t *testing.T, target string, bits uint8) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			t.Skip()
		}
		slashes := SlashPolicy(bits & 3 % 3)
		s := &Site{
			Root: dir + "/www", Index: []string{"index.html", "index.cgi"}, HideDotfiles: bits&4 != 0, FollowSymlinks: bits&8 != 0,
			Routes: []*Route{
				{Prefix: "/", Ending: ".cgi", App: cgiApp("x"), Slashes: slashes},
				{Prefix: "/cgi-bin/", App: cgiApp("x"), Slashes: slashes},
				{Prefix: "/bin/", App: cgiApp("x"), Dir: dir + "/programs", Slashes: slashes},
				{Prefix: "/tool", App: cgiApp("x"), Script: dir + "/programs/tool", Slashes: slashes},
				{Prefix: "/alias/", Alias: dir + "/aliased", Static: true, Slashes: slashes},
				{Prefix: "/programs/", Alias: dir + "/programs", Static: true, Slashes: slashes},
			},
		}
		if bits&16 != 0 {
			s.Fallback = "/x.cgi"
		}
		NewSites([]*Site{s})
		checkTarget(t, s, dir, target, s.Resolve(u, bits&32 != 0))
	})
}

func checkTarget(t *testing.T, s *Site, dir, target string, got Target) {
	switch {
	case got.Location != "":
		if !strings.HasPrefix(got.Location, "/") || strings.HasPrefix(location(got.Location, ""), "//") {
			t.Errorf("%q: redirect to %q", target, got.Location)
		}
	case got.Status != 0:
		if got.Status < 400 || got.Status > 404 {
			t.Errorf("%q: status %d", target, got.Status)
		}
	case got.App != nil:
		file := filepath.Clean(got.ScriptFilename)
		if !within(file, dir+"/www") && !within(file, dir+"/programs") {
			t.Errorf("%q: the script %q is outside", target, file)
		}
		if s.HideDotfiles && Hidden(got.ScriptName) {
			t.Errorf("%q: the script %q is hidden", target, got.ScriptName)
		}
	default:
		file := filepath.Clean(got.Root + got.File)
		if !within(file, dir+"/www") && !within(file, dir+"/aliased") {
			t.Errorf("%q: the file %q is outside", target, file)
		}
		real, err := filepath.EvalSymlinks(file)
		if err == nil && (looksLike(real, ".cgi") || strings.HasSuffix(real, "/run") && !strings.HasSuffix(real, "/www/bin/run")) {
			t.Errorf("%q: the source of %q is sent", target, real)
		}
		if s.HideDotfiles && Hidden(got.File) {
			t.Errorf("%q: the file %q is hidden", target, got.File)
		}
	}
}
