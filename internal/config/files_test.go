package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree makes files (mode 0644, +x for a name that ends in *) and folders (a
// final slash) below a new folder.
func tree(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		mode := os.FileMode(0o644)
		if n, ok := strings.CutSuffix(name, "*"); ok {
			name, mode = n, 0o755
		}
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		if strings.HasSuffix(name, "/") {
			err = os.MkdirAll(path, 0o755)
		} else if err == nil {
			err = os.WriteFile(path, nil, mode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestCheckFiles(t *testing.T) {
	dir := tree(t, "run/", "spool/", "www/", "files/", "prog*", "plain", "script.cgi*", "bin/inpath*")
	t.Setenv("RUNTIME_DIRECTORY", filepath.Join(dir, "run/sluice"))
	t.Setenv("PATH", filepath.Join(dir, "bin"))
	site := "[[site]]\nroot = \"www\"\n[[site.route]]\nmatch = \"/\"\napp = \"a\"\n"
	app := "[[app]]\nname = \"a\"\nkind = \"fastcgi\"\n"
	tests := []struct{ name, text, want string }{
		{"all there", "spool_dir = \"spool\"\nuser = \"root\"\ngroup = 0\nlog.access = \"log\"\n" + app + "command = [\"./prog\"]\ndir = \"www\"\nsend_file.roots = [\"files\"]\n" + site + "script = \"script.cgi\"\n", ""},
		{"program in PATH", app + "command = [\"inpath\"]\n" + site, ""},
		{"program not in PATH", app + "command = [\"missing\"]\n", `f:4:12: app "a": command: "missing": not found in PATH`},
		{"program missing", app + "command = [\"./missing\"]\n", `f:4:12: app "a": command: "DIR/missing": no such file`},
		{"program without x", app + "command = [\"./plain\"]\n", `f:4:12: app "a": command: "DIR/plain": not executable`},
		{"program a folder", app + "command = [\"./www\"]\n", `f:4:12: app "a": command: "DIR/www": is a directory`},
		{"user and group", "user = \"no-such-user\"\ngroup = \"no-such-group\"", "f:1:8: user: no user \"no-such-user\"\nf:2:9: group: no group \"no-such-group\""},
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
