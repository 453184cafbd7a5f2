package assemble

import (
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sluice/cgi"
	"sluice/internal/config"
	"sluice/spawner"
)

// load parses a configuration whose files lie in dir.
func load(t *testing.T, dir, text string) *config.Config {
	t.Helper()
	c, err := config.Parse(filepath.Join(dir, "sluice.toml"), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The master finds the script that the worker means, for every kind of route.
func TestPlacesAgreeWithResolve(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can change the user")
	}
	dir := t.TempDir()
	for _, name := range []string{"www/a.cgi", "www/sub/b.cgi", "www/blog/c.cgi", "www/bin/d", "www/bin/deep/e", "www/exact", "lib/f", "lib/g.cgi", "one.cgi"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c := load(t, dir, `
[[app]]
name = "php"
kind = "fastcgi"
address = ["tcp:h:9000"]
[[app]]
name = "s"
kind = "cgi"
user = "games"
command = ["sh", "-e"]
dir = "lib"
[[site]]
hosts = ["other"]
root = "www"
[[site.route]]
match = "/"
app = "php"
[[site]]
root = "www/"
[[site.route]]
match = "*.cgi"
app = "s"
[[site.route]]
match = "/blog/*.cgi"
app = "s"
[[site.route]]
match = "/bin/"
app = "s"
[[site.route]]
match = "= /exact"
app = "s"
[[site.route]]
match = "/lib/"
app = "s"
dir = "lib/"
[[site.route]]
match = "/lib/*.cgi"
app = "s"
dir = "lib"
[[site.route]]
match = "/one"
app = "s"
script = "one.cgi"
`)
	ids, err := LookUpIdentities(c)
	if err != nil {
		t.Fatal(err)
	}
	places, err := Places(c, ids, nil)
	if err != nil {
		t.Fatal(err)
	}
	if places[0] != nil || len(places) != 8 {
		t.Fatalf("%d places, the first is %v", len(places), places[0])
	}
	w, err := NewWorker(c, Inputs{Log: slog.New(slog.DiscardHandler), Ledger: LocalLedgers(c),
		Scripts: func(*config.App) cgi.Starter { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	sh, err := spawner.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	for target, file := range map[string]string{"/a.cgi/info": "www/a.cgi", "/sub/b.cgi": "www/sub/b.cgi", "/blog/c.cgi": "www/blog/c.cgi",
		"/bin/d/x": "www/bin/d", "/bin/deep/e": "www/bin/deep/e", "/exact": "www/exact", "/lib/f": "lib/f", "/lib/g.cgi": "lib/g.cgi", "/one/x": "one.cgi"} {
		u, err := url.Parse(target)
		if err != nil {
			t.Fatal(err)
		}
		got := w.Handler.Sites.Find("any").Resolve(u, false)
		file = filepath.Join(dir, file)
		if got.ScriptFilename != file {
			t.Fatalf("%s reaches %+v", target, got)
		}
		path := ""
		if got.Folder != "" {
			path = strings.TrimPrefix(file, got.Folder)
		}
		cmd, err := places[got.Route.Place].Command(path, nil)
		if err != nil {
			t.Errorf("%s: %v", target, err)
			continue
		}
		if cmd.Path != sh || !reflect.DeepEqual(cmd.Args, []string{sh, "-e", file}) || cmd.Dir != filepath.Join(dir, "lib") {
			t.Errorf("%s: %+v", target, cmd)
		}
	}
}

func TestLookUpIdentities(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can change the user")
	}
	app := func(name, keys string) string {
		return "[[app]]\nname = \"" + name + "\"\nkind = \"cgi\"\n" + keys + "\n"
	}
	c := load(t, "/", "user = \"www-data\"\n"+app("inherits", "")+app("same", `user = "33"`)+app("other", `user = "games"`)+
		app("group", `group = "games"`)+app("both", "user = \"list\"\ngroup = \"games\"")+app("number", "user = 4242424\ngroup = 4242425"))
	ids, err := LookUpIdentities(c)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]struct {
		id    spawner.Identity
		apart bool
	}{
		"inherits": {spawner.Identity{UID: 33, GID: 33, Groups: []int{33}}, false},
		"same":     {spawner.Identity{UID: 33, GID: 33, Groups: []int{33}}, false},
		"other":    {spawner.Identity{UID: 5, GID: 60, Groups: []int{60}}, true},
		"group":    {spawner.Identity{UID: 33, GID: 60, Groups: []int{33}}, true},
		"both":     {spawner.Identity{UID: 38, GID: 60, Groups: []int{38}}, true},
		"number":   {spawner.Identity{UID: 4242424, GID: 4242425}, true},
	}
	for _, a := range c.Apps {
		w := want[a.Name]
		if got := ids.App(a); !reflect.DeepEqual(*got, w.id) || ids.Apart(a) != w.apart {
			t.Errorf("%s: %+v, apart %v; want %+v, %v", a.Name, *got, ids.Apart(a), w.id, w.apart)
		}
	}
	for name, keys := range map[string]string{"a name": `user = "no-such-user"`, "a number": "user = 4242424", "a group": `group = "no-such-group"`} {
		if _, err := LookUpIdentities(load(t, "/", app("x", keys))); err == nil || !strings.Contains(err.Error(), `app "x": `) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Without any user, all is root's; and root's scripts are the worker's own.
	c = load(t, "/", app("x", "")+app("games", `user = "games"`))
	if ids, err = LookUpIdentities(c); err != nil || ids.Workers != nil || ids.Apart(c.Apps[0]) || !ids.Apart(c.Apps[1]) {
		t.Errorf("%+v, %v", ids, err)
	}
}
