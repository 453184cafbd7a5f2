package config

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree makes files (mode 0644, an executable script for a name that ends in *) and folders (a
// final slash) below a new folder.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		mode, text := os.FileMode(0o644), ""
		if n, ok := strings.CutSuffix(name, "*"); ok {
			name, mode, text = n, 0o755, "#!/bin/sh\n"
		}
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else if err == nil {
			err = os.WriteFile(path, []byte(text), mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCheckFiles(t *testing.T) {
	dir := tree(t, "run/", "spool/", "www/", "files/", "prog*", "plain", "script.cgi*", "bin/inpath*")
	for name, text := range map[string]string{"text": "echo hello\n", "empty": "", "bare": "#! \n", "lost": "#!/no/such/perl -w\n", "binary": "\x7fXXX\x00\x01", "long": strings.Repeat("x", maxShed+1)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("RUNTIME_DIRECTORY", filepath.Join(dir, "run/sluice"))
	t.Setenv("PATH", filepath.Join(dir, "bin"))
	self, selfGroup := strconv.Itoa(os.Getuid()), strconv.Itoa(os.Getgid())
	site := "[[site]]\nroot = \"www\"\n[[site.route]]\nmatch = \"/\"\napp = \"a\"\n"
	app := "[[app]]\nname = \"a\"\nkind = \"fastcgi\"\n"
	tests := []struct{ name, text, want string }{
		{"all there", "spool_dir = \"spool\"\nuser = " + self + "\ngroup = " + selfGroup + "\nlog.access = \"log\"\n" + app + "command = [\"./prog\"]\ndir = \"www\"\nsend_file.roots = [\"files\"]\n" + site + "script = \"script.cgi\"\n", ""},
		{"program in PATH", app + "command = [\"inpath\"]\n" + site, ""},
		{"program not in PATH", app + "command = [\"missing\"]\n", `f:4:12: app "a": command: "missing": not found in PATH`},
		{"program missing", app + "command = [\"./missing\"]\n", `f:4:12: app "a": command: "DIR/missing": no such file`},
		{"program without x", app + "command = [\"./plain\"]\n", `f:4:12: app "a": command: "DIR/plain": not executable`},
		{"program a folder", app + "command = [\"./www\"]\n", `f:4:12: app "a": command: "DIR/www": is a directory`},
		{"a text", app + "command = [\"./text\"]\n", `f:4:12: app "a": command: "DIR/text": no interpreter: neither a program nor a script that begins with #!`},
		{"an empty file", app + "command = [\"./empty\"]\n", `f:4:12: app "a": command: "DIR/empty": no interpreter: neither a program nor a script that begins with #!`},
		{"nothing behind #!", app + "command = [\"./bare\"]\n", `f:4:12: app "a": command: "DIR/bare": no interpreter: neither a program nor a script that begins with #!`},
		{"an interpreter that is missing", app + "command = [\"./lost\"]\n", `f:4:12: app "a": command: "DIR/lost": its interpreter "/no/such/perl" does not exist`},
		{"a binary of another kind", app + "command = [\"./binary\"]\n", ""},
		{"a user of an app", app + "command = [\"inpath\"]\nuser = \"no-such-user\"\ngroup = \"no-such-group\"", "f:5:8: app \"a\": user: no user \"no-such-user\"\nf:6:9: app \"a\": group: no group \"no-such-group\""},
		{"a number without an entry", app + "command = [\"inpath\"]\nuser = 4242424", `f:5:8: app "a": user: no user "4242424": its group is not known, write group as well`},
		{"user and group", "user = \"no-such-user\"\ngroup = \"no-such-group\"", "f:1:8: user: no user \"no-such-user\"\nf:2:9: group: no group \"no-such-group\""},
		{"shed_file", "send.shed_file = \"text\"", ""},
		{"shed_file missing", "[send]\nshed_file = \"no\"", `f:2:13: send.shed_file: "DIR/no": no such file`},
		{"shed_file a folder", "[send]\nshed_file = \"www\"", `f:2:13: send.shed_file: "DIR/www": want a file`},
		{"shed_file empty", "[send]\nshed_file = \"empty\"", `f:2:13: send.shed_file: "DIR/empty": is empty`},
		{"shed_file too long", "[send]\nshed_file = \"long\"", `f:2:13: send.shed_file: "DIR/long": 262145 bytes, at most 262144`},
		{"spool", "spool_dir = \"plain\"", `f:1:13: spool_dir: "DIR/plain": want a folder`},
		{"runtime", "runtime = \"no/where\"", `f:1:11: runtime: "DIR/no": no such file`},
		{"runtime a file", "runtime = \"plain\"", `f:1:11: runtime: "DIR/plain": want a folder`},
		{"control", "control = \"no/c\"", `f:1:11: control: "DIR/no": no such file`},
		{"log", "log = { error = \"no/e\", access = \"no/a\" }", "f:1:17: log.error: \"DIR/no\": no such file\nf:1:34: log.access: \"DIR/no\": no such file"},
		{"listeners", "listen = [\"unix:no/s\"]\n[[listener]]\naddress = \"unix:no/t\"\nuser = \"no-such-user\"", "f:1:11: listen: \"DIR/no\": no such file\n" +
			"f:3:11: listener \"unix:no/t\": address: \"DIR/no\": no such file\nf:4:8: listener \"unix:no/t\": user: no user \"no-such-user\""},
		{"dir and roots", app + "command = [\"inpath\"]\ndir = \"no\"\n[app.send_file]\nroots = [\"files\", \"plain\"]",
			"f:5:7: app \"a\": dir: \"DIR/no\": no such file\nf:7:19: app \"a\": send_file.roots: \"DIR/plain\": want a folder"},
		{"site", app + "command = [\"inpath\"]\n[[site]]\nroot = \"plain\"\n[[site.route]]\nmatch = \"/a\"\napp = \"a\"\nscript = \"www\"\n[[site.route]]\nmatch = \"/b\"\nalias = \"no\"\n[[site.route]]\nmatch = \"/c\"\napp = \"a\"\ndir = \"no\"",
			"f:6:8: site #1: root: \"DIR/plain\": want a folder\nf:10:10: site #1: route \"/a\": script: \"DIR/www\": want a file\n" +
				"f:13:9: site #1: route \"/b\": alias: \"DIR/no\": no such file\nf:17:7: site #1: route \"/c\": dir: \"DIR/no\": no such file"},
		{"a container's files", app + "address = [\"tcp:h:9000\"]\nscript_root = \"/app\"\n[[site]]\nroot = \"no\"\n[[site.route]]\nmatch = \"/\"\napp = \"a\"\ndir = \"no\"", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse(filepath.Join(dir, "f"), []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := c.CheckFiles(); err != nil {
				got = strings.ReplaceAll(strings.ReplaceAll(err.Error(), dir+"/f:", "f:"), dir, "DIR")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What is sent from memory is read, and again when the configuration is, also with flags.
func TestShedIsRead(t *testing.T) {
	dir := tree(t)
	t.Setenv("RUNTIME_DIRECTORY", dir)
	for _, text := range []string{"busy", "busier"} {
		if err := os.WriteFile(filepath.Join(dir, "busy"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		c, err := Parse(filepath.Join(dir, "f"), []byte("send.shed_file = \"busy\""))
		if err != nil {
			t.Fatal(err)
		}
		flags, err := c.With(Overrides{Listen: []string{"127.0.0.1:1"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*Config{c, flags} {
			if err := c.CheckFiles(); err != nil || string(c.Send.Shed) != text {
				t.Errorf("%v, %q, want %q", err, c.Send.Shed, text)
			}
		}
	}
}

func TestCheckFilesOfFlags(t *testing.T) {
	dir := tree(t)
	t.Setenv("RUNTIME_DIRECTORY", dir)
	c, err := Parse(filepath.Join(dir, "f"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = c.With(Overrides{Listen: []string{"unix:" + dir + "/no/s"}}); err != nil {
		t.Fatal(err)
	}
	want := `--listen: "` + dir + `/no": no such file`
	if err := c.CheckFiles(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := new(Config).CheckFiles(); err == nil {
		t.Error("a Config that was not loaded is accepted")
	}
}

// What everybody can write is nothing to run as somebody.
func TestOthersCanWrite(t *testing.T) {
	dir := tree(t, "open/v.cgi*", "shut/x.cgi*", "sticky/y.cgi*", "shut/z.cgi*")
	for name, mode := range map[string]os.FileMode{"open": 0o777, "sticky": 0o777 | os.ModeSticky, "shut/z.cgi": 0o757} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("RUNTIME_DIRECTORY", filepath.Join(dir, "run"))
	app := "user = " + strconv.Itoa(os.Getuid()) + "\ngroup = " + strconv.Itoa(os.Getgid()) + "\n[[app]]\nname = \"a\"\nkind = \"cgi\"\n"
	site := "[[site]]\nroot = \"shut\"\n[[site.route]]\nmatch = \"/\"\napp = \"a\"\n"
	const why = ": others can write (mode 0777), so they could have anything run"
	for _, tt := range []struct{ name, text, want string }{
		{"shut", app + "dir = \"shut\"\n" + site + "dir = \"shut\"", ""},
		{"dir of the app", app + "dir = \"open\"\n", `f:6:7: app "a": dir: "DIR/open"` + why},
		{"dir of the route", app + site + "dir = \"open\"", `f:11:7: site #1: route "/": dir: "DIR/open"` + why},
		{"a script", app + site + "script = \"shut/z.cgi\"", `f:11:10: site #1: route "/": script: "DIR/shut/z.cgi": others can write (mode 0757), so they could have anything run`},
		{"the folder of a script", app + site + "script = \"sticky/y.cgi\"", `f:11:10: site #1: route "/": script: "DIR/sticky"` + why},
		{"the root of the workers' user", app + strings.ReplaceAll(site, "shut", "open"), ""},
		{"the root of another group", strings.Replace(app, "[[app]]", "[[app]]\ngroup = 12345", 1) + strings.ReplaceAll(site, "shut", "open"), `f:8:8: site #1: root: "DIR/open"` + why},
		{"the runtime directory", "runtime = \"open\"", `f:1:11: runtime: "DIR/open": others can write (mode 0777), so they could take its sockets away`},
		{"a command", app + "command = [\"DIR/shut/z.cgi\"]\n", `f:6:12: app "a": command: "DIR/shut/z.cgi": others can write (mode 0757), so they could have anything run`},
		{"the folder of a command", app + "command = [\"DIR/open/v.cgi\"]\n", `f:6:12: app "a": command: "DIR/open"` + why},
		{"a command in a folder that is sticky", app + "command = [\"DIR/sticky/y.cgi\"]\n", ""},
		{"a root where nothing runs", app + "[[site]]\nroot = \"open\"\n", ""},
		{"a root of an application", strings.ReplaceAll(app, `"cgi"`, "\"fastcgi\"\naddress = [\"tcp:h:9000\"]") + strings.ReplaceAll(site, "shut", "open"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse(filepath.Join(dir, "f"), []byte(strings.ReplaceAll(tt.text, "DIR", dir)))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if err := c.CheckFiles(); err != nil {
				got = strings.ReplaceAll(strings.ReplaceAll(err.Error(), dir+"/f:", "f:"), dir, "DIR")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The secrets of signed links are read with the rights of who checks; what may be
// wrong with them has its position.
func TestSecretsOfLinks(t *testing.T) {
	dir := tree(t, "www/", "script.cgi*")
	const secret = "0123456789abcdef"
	for name, file := range map[string]struct {
		text string
		mode os.FileMode
	}{"key": {secret + "\n", 0o600}, "open": {secret, 0o644}, "written": {secret, 0o602}, "short": {"too short\n", 0o600}, "empty": {"", 0o600}} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(file.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, file.mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("RUNTIME_DIRECTORY", filepath.Join(dir, "run"))
	const head = "[[site]]\nroot = \"www\"\n[[site.route]]\nmatch = \"/\"\nstatic = true\n"
	const remote = "[[app]]\nname = \"a\"\nkind = \"fastcgi\"\naddress = [\"tcp:h:9000\"]\nscript_root = \"/app\"\n[[site]]\nroot = \"no\"\n[[site.route]]\nmatch = \"/\"\napp = \"a\"\n"
	for _, tt := range []struct{ name, text, want, exposed string }{
		{"good", head + "secure_link = { secret_file = \"key\" }", "", ""},
		{"bound", head + "secure_link = { secret_file = \"key\", bind_client = true }", "", ""},
		{"of an app elsewhere", remote + "secure_link = { secret_file = \"key\" }", "", ""},
		{"others can read", head + "secure_link.secret_file = \"open\"", "",
			`f:6:27: site #1: route "/": secure_link.secret_file: "DIR/open" (mode 0644)`},
		{"others can write", head + "secure_link.secret_file = \"written\"",
			`f:6:27: site #1: route "/": secure_link.secret_file: "DIR/written": others can write (mode 0602), so they could sign what they like`, ""},
		{"missing", head + "secure_link = { secret_file = \"no\" }",
			`f:6:31: site #1: route "/": secure_link.secret_file: "DIR/no": no such file`, ""},
		{"missing, of an app elsewhere", remote + "secure_link = { secret_file = \"no\" }",
			`f:11:31: site #1: route "/": secure_link.secret_file: "DIR/no": no such file`, ""},
		{"a folder", head + "secure_link = { secret_file = \"www\" }",
			`f:6:31: site #1: route "/": secure_link.secret_file: "DIR/www": want a file`, ""},
		{"short", head + "secure_link = { secret_file = \"short\" }",
			`f:6:31: site #1: route "/": secure_link.secret_file: "DIR/short": a secret has at least 16 bytes, this one has 9`, ""},
		{"empty", head + "secure_link = { secret_file = \"empty\" }",
			`f:6:31: site #1: route "/": secure_link.secret_file: "DIR/empty": a secret has at least 16 bytes, this one has 0`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse(filepath.Join(dir, "f"), []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			plain := func(s string) string {
				return strings.ReplaceAll(strings.ReplaceAll(s, dir+"/f:", "f:"), dir, "DIR")
			}
			if diff := cmp.Diff(tt.want, plain(errorText(c.CheckFiles()))); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.exposed, plain(strings.Join(c.Exposed(), "\n"))); tt.want == "" && diff != "" {
				t.Error(diff)
			}
			got := string(c.Sites[0].Routes[0].SecureLink.Secret)
			if want := map[bool]string{true: secret}[tt.want == ""]; got != want {
				t.Errorf("secret %q, want %q", got, want)
			}
		})
	}
}

// The sockets of the children have to fit sockaddr_un.
func TestSocketPathOfChildren(t *testing.T) {
	runtime := "/" + strings.Repeat("r", 60)
	app := func(name, kind string) string {
		return "[[app]]\nname = \"" + name + "\"\n" + kind + "\nmax = 11\n"
	}
	const command = "kind = \"fastcgi\"\ncommand = [\"x\"]"
	fits := strings.Repeat("n", maxSocketPath-len(runtime+"/children/.10"))
	for _, tt := range []struct{ name, dir, text, want string }{
		{"fits", runtime, app(fits, command), ""},
		{"the name", runtime, app(fits+"n", command), `f:2:8: app "` + fits + `n": name: want a path of each child's socket of at most 107 bytes, "` + runtime + "/children/" + fits + `n.10" has 108`},
		{"nothing listens", runtime, app(fits+"n", `kind = "cgi"`), ""},
		{"somebody else's", runtime, app(fits+"n", "kind = \"fastcgi\"\naddress = [\"tcp:h:9\"]"), ""},
		{"the folder", "/run", "runtime = \"" + runtime + "\"\n" + app(fits+"n", command), `f:1:11: runtime: want a path of each child's socket of at most 107 bytes, "` + runtime + "/children/" + fits + `n.10" has 108`},
	} {
		t.Setenv("RUNTIME_DIRECTORY", tt.dir)
		_, err := Parse("f", []byte(tt.text))
		if got := errorText(err); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
