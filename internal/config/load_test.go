package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// minimal is a configuration to which a case adds its lines.
const minimal = `
[[app]]
name = "a"
kind = "fastcgi"
command = ["x"]
`

func TestMessages(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "/run/sluice")
	long := "/" + strings.Repeat("d", 95)
	tests := []struct{ name, text, want string }{
		{"type of an app's key", minimal + `max = "four"`, `f:6:7: app "a": max: want a whole number of 1 or more, got "four"`},
		{"unknown key with a neighbour", `listne = []`, `f:1:1: unknown key "listne" (did you mean "listen"?)`},
		{"unknown key without one", `zzz = 1`, `f:1:1: unknown key "zzz"`},
		{"unknown key of a nested table", minimal + "[app.send_file]\n  root = []", `f:7:3: app "a": send_file: unknown key "root" (did you mean "roots"?)`},
		{"dotted key", `limits.conections = 1`, `f:1:8: limits: unknown key "conections" (did you mean "connections"?)`},
		{"element of a list over several lines", "listen = [\n  \":80\",\n  \"x\",\n]", `f:3:3: listen: want host:port, "[::1]:8080", "unix:/path" or "systemd:NAME" (no port), got "x"`},
		{"array behind blanks", "listen   =   []", `f:1:14: listen: want at least one element, got none`},
		{"list in a list", `listen = [ [":80"] ]`, `f:1:10: listen: want host:port, "[::1]:8080", "unix:/path" or "systemd:NAME", got a list`},
		{"type error before not supported", `workers = "2"`, `f:1:11: workers: want a whole number from 0 to 64, got "2"`},
		{"value that is not built", minimal + "[[site]]\nroot = \"/x\"\n[[site.route]]\nmatch = \"/\"\napp = \"a\"\nstream_body = true", `f:11:1: site #1: route "/": stream_body: not supported yet`},
		{"integer beyond 64 bits", "workers = 99999999999999999999", `f:1:11: decimal number is too large to fit in a 64-bit signed integer`},
		{"end within a string", "user = \"x", `f:1:9: unterminated basic string`},
		{"table defined twice", "[limits]\n[log]\n[limits]\n", `f:3:2: table limits already exists`},
		{"long text is cut", `user = "` + strings.Repeat("x y", 50) + `"`, `f:1:8: user: want the name or the number of an account, got "` + strings.Repeat("x y", 26) + `x …"`},
		{"socket path too long", `listen = ["unix:` + long + "/abcdefghijkl\"]", `f:1:11: listen: want a socket path of at most 107 bytes, this has 109, got "unix:` + long[:75] + `…"`},
		{"control too long by runtime", `runtime = "` + long + `"`, `f:1:11: runtime: want a path of the control socket of at most 107 bytes, "` + long + `/control.sock" has 109`},
		{"backlog of a socket that systemd opens", "[[listener]]\naddress = \"systemd:web\"\nbacklog = 5\nmode = \"0600\"",
			"f:3:1: listener \"systemd:web\": backlog: not for \"systemd:web\": its socket unit says it (Backlog=)\n" +
				"f:4:1: listener \"systemd:web\": mode: only for a unix socket, not for \"systemd:web\""},
		{"control too long", `control = "` + long + `/control.sock"`, `f:1:11: control: want a path of the control socket of at most 107 bytes, "` + long + `/control.sock" has 109`},
		{"role of a script", "[[app]]\nname = \"a\"\nkind = \"cgi\"\nrole = \"filter\"", `f:4:8: app "a": role: "filter" is only for kind = "fastcgi"`},
		{"authorizer", minimal + "[[site]]\nroot = \"/x\"\n[[site.route]]\nmatch = \"/\"\napp = \"a\"\nauthorizer = \"a\"",
			`f:11:14: site #1: route "/": authorizer: "a" is not the name of an app with role = "authorizer"`},
		{"route to an authorizer", minimal + "role = \"authorizer\"\n[[site]]\nroot = \"/x\"\n[[site.route]]\nmatch = \"/\"\napp = \"a\"",
			`f:11:7: site #1: route "/": app: "a" has the role authorizer, want a responder or a filter`},
		{"the same include twice", `include = ["a", "a"]`, "f:1:12: include: \"a\": no such file\nf:1:17: include: \"a\": no such file\nf:1:17: include: \"a\" stands twice, first at f:1:12"},
		{"malformed pattern", `include = ["[a"]`, `f:1:12: include: want a file name pattern with every [ closed, got "[a"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("f", []byte(tt.text))
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(tt.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestContradictionsOfWhatComes: rules about keys that are not supported yet.
func TestContradictionsOfWhatComes(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "/run/sluice")
	tests := []struct{ name, text, want string }{
		{"min", minimal + "min = 5", `f:6:7: app "a": min: 5 is more than max, 4`},
		{"children", minimal + "max = 1_000_000_000", `f:6:7: app "a": max: 1000000000 requests at once are more than 1048576`},
		{"connections", minimal + "max = 1000\nconnections = 2000", `f:7:15: app "a": connections: 2000000 requests at once are more than 1048576`},
		{"spare", minimal + "max = 1\nspare = 2", `f:7:9: app "a": spare: 2 is more than max, 1`},
		{"linger", "linger.idle = \"31s\"", `f:1:15: linger.idle: idle 31s is more than total 30s`},
		{"linger total", "linger.total = \"1s\"", `f:1:16: linger.total: idle 2s is more than total 1s`},
		{"secure link without a secret", "[[site]]\n[[site.route]]\nmatch = \"/\"\nalias = \"/x\"\nsecure_link = {}",
			`f:5:15: site #1: route "/": secure_link: secret_file is missing`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse("f", []byte(tt.text), noDisk, true)
			if err == nil || err.Error() != tt.want {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

func TestLoadInclude(t *testing.T) {
	fixed(t)
	_, err := Load("testdata/include/main.toml")
	if err == nil {
		t.Fatal("no error")
	}
	golden(t, "testdata/include/main.errors", err.Error()+"\n")
}

func TestLoadIncludeMerges(t *testing.T) {
	fixed(t)
	dir := t.TempDir()
	files := map[string]string{
		"main.toml":        "include = [\"sites-[ab]/*.toml\", \"one.toml\"]\nlimits.connections = 5\n[[app]]\nname = \"m\"\nkind = \"cgi\"\n",
		"one.toml":         "limits.body_bytes = 7\n[[app]]\nname = \"one\"\nkind = \"cgi\"\ndir = \"d\"\n",
		"sites-a/1.toml":   "[[site]]\nroot = \"www\"\n",
		"sites-b/2.toml":   "[[app]]\nname = \"b\"\nkind = \"cgi\"\n",
		"sites-c/3.toml":   "syntax error",
		"sites-b/skip.txt": "syntax error",
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c, err := Load(filepath.Join(dir, "main.toml"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, a := range c.Apps {
		names = append(names, a.Name)
	}
	if diff := cmp.Diff([]string{"m", "b", "one"}, names); diff != "" {
		t.Error(diff)
	}
	if c.Limits.Connections != 5 || c.Limits.BodyBytes != 7 {
		t.Errorf("limits: %+v", c.Limits)
	}
	if want := filepath.Join(dir, "sites-a/www"); c.Sites[0].Root != want {
		t.Errorf("root %q, want %q", c.Sites[0].Root, want)
	}
	if want := filepath.Join(dir, "d"); c.Apps[2].Dir != want {
		t.Errorf("dir %q, want %q", c.Apps[2].Dir, want)
	}
	if want := []string{filepath.Join(dir, "sites-[ab]/*.toml"), filepath.Join(dir, "one.toml")}; !cmp.Equal(want, c.Include) {
		t.Errorf("include %q, want %q", c.Include, want)
	}
	roundTrip(t, c.File, c, false)
}

// TestLoadFolderWithMetacharacters: the folder's own name is no pattern.
func TestLoadFolderWithMetacharacters(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "we[ird]*")
	os.Mkdir(dir, 0o755)
	os.WriteFile(filepath.Join(dir, "main.toml"), []byte(`include = ["a.toml"]`), 0o644)
	os.WriteFile(filepath.Join(dir, "a.toml"), []byte("limits.connections = 3"), 0o644)
	c, err := Load(filepath.Join(dir, "main.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Limits.Connections != 3 {
		t.Error("a.toml was not included")
	}
}

func TestLoadWithoutFile(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "x.toml")
	_, err := Load(missing)
	var one *Error
	if !errors.As(err, &one) || one.Line != 0 || err.Error() != missing+": no such file" {
		t.Errorf("missing: %v", err)
	}
	dir := t.TempDir()
	if _, err := Load(dir); err == nil || err.Error() != dir+": is a directory" {
		t.Errorf("folder: %v", err)
	}
}

// TestBrokenIncludeHidesOnlyItself: no follow-up errors about what it holds.
func TestBrokenIncludeHidesOnlyItself(t *testing.T) {
	d := disk{
		glob: func(p string) ([]string, error) { return []string{p}, nil },
		read: func(string) ([]byte, error) { return []byte("[[app]\n"), nil },
	}
	text := "include = [\"apps.toml\"]\nworkers = \"x\"\n[[site]]\nroot = \"/\"\n[[site.route]]\nmatch = \"/\"\napp = \"there\"\n"
	_, err := parse("/e/main.toml", []byte(text), d, false)
	want := "/e/main.toml:2:11: workers: want a whole number from 0 to 64, got \"x\"\n" +
		"/e/apps.toml:1:6: expected ']]' to close array table name"
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestParseWithoutName(t *testing.T) {
	c, err := Parse("", []byte("runtime = \"/run/x\""))
	if err != nil || c.File != "" || c.Control != "/run/x/control.sock" {
		t.Fatalf("%+v, %v", c, err)
	}
	if _, err := Parse("", []byte("x = 1")); err == nil || err.Error() != `unknown key "x"` {
		t.Error(err)
	}
}

func TestDefaults(t *testing.T) {
	fixed(t)
	c, err := Parse("/etc/sluice.toml", []byte(minimal+"[[app]]\nname = \"c\"\nkind = \"cgi\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Linger.Mode != "timed" || !c.Watch || c.Status.Listen != "" {
		t.Error("a default of a feature that is not built is in effect")
	}
	if a := c.Apps[0]; a.Scale != "dynamic" || a.Min != 1 || a.Spare != 1 || c.Workers != 1 {
		t.Errorf("scale %q, min %d, spare %d, workers %d", a.Scale, a.Min, a.Spare, c.Workers)
	}
	if diff := cmp.Diff(sendFileHeaders, c.Apps[0].SendFile.Headers); diff != "" {
		t.Error(diff)
	}
	if c.Apps[0].Max != 4 || c.Apps[1].Max != 32 {
		t.Errorf("max %d and %d, want 4 and 32", c.Apps[0].Max, c.Apps[1].Max)
	}
	if c.Control != "/run/sluice/control.sock" || c.Accept.LockDir != "/run/sluice" {
		t.Errorf("control %q, lock_dir %q", c.Control, c.Accept.LockDir)
	}
	want := []Listener{{Network: "tcp", Address: "127.0.0.1:8080", Backlog: 4096}}
	if diff := cmp.Diff(want, c.Listeners); diff != "" {
		t.Error(diff)
	}
	c, err = Parse("/etc/sluice.toml", []byte("user = \"u\"\ngroup = \"g\"\n[[listener]]\naddress = \"unix:s\"\n"+minimal))
	if err != nil {
		t.Fatal(err)
	}
	if c.Apps[0].User != "u" || c.Apps[0].Group != "g" {
		t.Error("an app does not have the user of the top")
	}
	want = []Listener{{Network: "unix", Address: "/etc/s", Backlog: 4096, Mode: 0o660}}
	if diff := cmp.Diff(want, c.Listeners); diff != "" {
		t.Error(diff)
	}
}

// TestListenerError: what is only found out when a listener is opened has a
// place, too.
func TestListenerError(t *testing.T) {
	fixed(t)
	c, err := Parse("f", []byte("listen = [\":1\", \"systemd:a\"]\n[[listener]]\naddress = \"systemd:b\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	flags, err := c.With(Overrides{Listen: []string{"systemd:c"}})
	if err != nil {
		t.Fatal(err)
	}
	none, err := Parse("f", nil)
	if err != nil {
		t.Fatal(err)
	}
	for want, got := range map[string]error{
		`f:1:17: listen: "systemd:a": no luck`:                        c.ListenerError(1, errors.New("no luck")),
		`f:3:11: listener "systemd:b": address: "systemd:b": no luck`: c.ListenerError(2, errors.New("no luck")),
		`listen: "systemd:c": no luck`:                                flags.ListenerError(0, errors.New("no luck")),
		`f:1:1: listen: "127.0.0.1:8080": no luck`:                    none.ListenerError(0, errors.New("no luck")),
	} {
		if got.Error() != want {
			t.Errorf("got %v, want %s", got, want)
		}
	}
}

func TestDefaultRuntime(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "/run/one:/run/two")
	if got := DefaultRuntime("x"); got != "/run/one" {
		t.Errorf("systemd: %q", got)
	}
	t.Setenv("RUNTIME_DIRECTORY", "")
	t.Setenv("XDG_RUNTIME_DIR", "/run/user/7")
	parent := "/run/user/7"
	if os.Geteuid() == 0 {
		parent = "/run"
	}
	// printf /etc/sluice.toml | sha256sum
	if got, want := DefaultRuntime("/etc/sluice.toml"), parent+"/sluice-f4e00e95f82f"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if os.Geteuid() != 0 {
		t.Setenv("XDG_RUNTIME_DIR", "relative")
		t.Setenv("TMPDIR", "/var/tmp")
		if got := DefaultRuntime(""); filepath.Dir(got) != "/var/tmp" {
			t.Errorf("temporary: %q", got)
		}
	}
}

func TestEqual(t *testing.T) {
	parse := func(text string) *Config {
		c, err := Parse("/etc/sluice.toml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if !parse(minimal).Equal(parse("\n\nworkers = 1\n" + minimal)) {
		t.Error("the same values are not equal")
	}
	if parse(minimal).Equal(parse("limits.connections = 1\n" + minimal)) {
		t.Error("different values are equal")
	}
}
