package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What is written where it means nothing is said, with its place.
func TestUnused(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "/run/sluice")
	app := func(kind, keys string) string { return "[[app]]\nname = \"a\"\n" + kind + "\n" + keys }
	const (
		scripts   = `kind = "cgi"`
		elsewhere = "kind = \"fastcgi\"\naddress = [\"tcp:h:9000\"]"
		children  = "kind = \"fastcgi\"\ncommand = [\"x\"]"
	)
	for _, tt := range []struct{ name, text, want string }{
		{"nothing written", app(scripts, ""), ""},
		{"scripts", app(scripts, "max = 3\nscale = \"static\"\numask = \"0022\"\nbackground = \"1s\""),
			`f:5:1: app "a": scale means nothing for an app of scripts`},
		{"scripts that connect", app(scripts, "connect_timeout = \"2s\"\n[app.send_file]\nreproxy = [\"http://x/\"]"), ""},
		{"scripts that do not", app(scripts, "connect_timeout = \"2s\""), `f:4:1: app "a": connect_timeout means nothing for an app of scripts`},
		{"elsewhere", app(elsewhere, "user = \"u\"\nmax_conns = 3\nrlimit = { files = 10 }\nbackground = \"1s\""),
			"f:5:1: app \"a\": user means nothing for an app that runs elsewhere\n" +
				"f:7:12: app \"a\": rlimit.files means nothing for an app that runs elsewhere\n" +
				`f:8:1: app "a": background means nothing for an app that runs elsewhere`},
		{"children", app(children, "max = 3\nmax_requests = 2\nbalance = \"hash\"\nuser = \"u\""),
			`f:7:1: app "a": balance means nothing for an app that sluice runs`},
		{"no permits", "[accept]\npermits = 3\nlock_dir = \"/tmp\"",
			"f:2:1: accept.permits means nothing in the accept mode \"none\"\nf:3:1: accept.lock_dir means nothing in the accept mode \"none\""},
		{"permits", "[accept]\nmode = \"partial\"\npermits = 3", ""},
		{"a folder for locks", "[accept]\nmode = \"fcntl\"\nlock_dir = \"/tmp\"", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Parse("f", []byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, strings.Join(c.Unused(), "\n")); diff != "" {
				t.Error(diff)
			}
		})
	}
	if got := (&Config{}).Unused(); got != nil {
		t.Errorf("of a configuration that was not loaded: %q", got)
	}
}
