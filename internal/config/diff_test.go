package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestGoldenDiff: each archive has old.toml and new.toml, and what is said of the
// difference: as text, as JSON, and why it is refused, if it is.
func TestGoldenDiff(t *testing.T) {
	fixed(t)
	for _, file := range sources(t, "testdata/diff/*.txtar") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			old, new := parseGolden(t, a.Files[0]), parseGolden(t, a.Files[1])
			if text := Diff(old, old).String(); text != "nothing has changed" {
				t.Errorf("with itself: %s", text)
			}
			got := *a
			got.Files = append(a.Files[:2:2], said(t, Diff(old, new))...)
			golden(t, file, string(txtar.Format(&got)))
		})
	}
}

func parseGolden(t *testing.T, f txtar.File) *Config {
	t.Helper()
	c, err := Parse("/etc/sluice/"+f.Name, f.Data)
	if err != nil {
		t.Fatal(err)
	}
	c.File = "/etc/sluice/sluice.toml"
	return c
}

func said(t *testing.T, c *Changes) []txtar.File {
	t.Helper()
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	files := []txtar.File{{Name: "text", Data: []byte(c.String() + "\n")}, {Name: "json", Data: append(data, '\n')}}
	if err := c.Refused(); err != nil {
		files = append(files, txtar.File{Name: "refused", Data: []byte(err.Error() + "\n")})
	}
	return files
}

// TestEveryKeyTakesSomething: each row, or the one of its table, says what a
// change takes. An app's own keys say it themselves, since a wrong answer there
// leaves old children in place.
func TestEveryKeyTakesSomething(t *testing.T) {
	var paths []keyPath
	fileRows.paths("", &paths)
	for _, p := range paths {
		if p.takes == 0 {
			t.Errorf("%s: nobody says what a change takes", p.name)
		}
	}
	for _, r := range appRows {
		if r.takes == 0 {
			t.Errorf("app.%s: the row does not say what a change takes", r.name)
		}
	}
}

// TestEveryKeyIsTold changes one key after the other of a configuration that has
// them all, and wants to hear of it, and of nothing else.
func TestEveryKeyIsTold(t *testing.T) {
	fixed(t)
	data, err := os.ReadFile("testdata/everything.toml")
	if err != nil {
		t.Fatal(err)
	}
	load := func() *Config {
		c, err := parse("/etc/sluice/everything.toml", data, noDisk, true)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	a := load()
	change := func(key string, alter func(c *Config)) {
		b := load()
		alter(b)
		c := Diff(a, b)
		if len(c.Keys) != 1 || c.Keys[0].Key != key || c.Keys[0].Old == c.Keys[0].New {
			t.Errorf("%s: %v", key, c)
		}
	}
	change("limits.connections", func(c *Config) { c.Limits.Connections++ })
	change("accept.permits", func(c *Config) { c.Accept.Permits++ })
	change("status.listen", func(c *Config) { c.Status.Listen = "" })
	change("send.cache", func(c *Config) { c.Send.Cache++ })
	change("app.php.rlimit.memory", func(c *Config) { c.Apps[0].Rlimit.Memory = 0 })
	change("app.php.send_file.on_complete", func(c *Config) { c.Apps[0].SendFile.OnComplete = "" })
	change("app.php.stderr_rate", func(c *Config) { c.Apps[0].StderrRate.Count++ })
	change(`site."*".route."/signed/".secure_link`, func(c *Config) { c.Sites[0].Routes[1].SecureLink.BindClient = false })
	change(`listener."unix:/run/sluice/http.sock".backlog`, func(c *Config) { c.origin.draft.long[0].Backlog++; c.Listeners[4].Backlog++ })
}

// TestDiffAgreesWithEqual draws pairs of configurations at random: they are told
// apart exactly when they are not equal, forwards and backwards.
func TestDiffAgreesWithEqual(t *testing.T) {
	fixed(t)
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 1))
	for range 300 {
		texts := [2]string{randomText(r), randomText(r)}
		if r.IntN(4) == 0 {
			texts[1] = texts[0]
		}
		var c [2]*Config
		for i := range c {
			var err error
			if c[i], err = Parse("/etc/sluice.toml", []byte(texts[i])); err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, texts[i])
			}
		}
		forth, back := Diff(c[0], c[1]), Diff(c[1], c[0])
		if equal := c[0].Equal(c[1]); forth.Empty() != equal || back.Empty() != equal {
			t.Fatalf("seed %d: equal %v, %v, %v\n%s\n----\n%s", seed, equal, forth, back, texts[0], texts[1])
		}
		if len(forth.Apps) != len(back.Apps) || len(forth.Listeners) != len(back.Listeners) {
			t.Fatalf("seed %d: %v\nback: %v", seed, forth, back)
		}
	}
}

// randomText has a few keys, apps, listeners and sites of a small world.
func randomText(r *rand.Rand) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "listen = [%q, %q]\n", fmt.Sprintf("127.0.0.1:%d", 1+r.IntN(2)), fmt.Sprintf("127.0.0.1:%d", 3+r.IntN(2)))
	fmt.Fprintf(&b, "limits.connections = %d\n", 10+r.IntN(2))
	if r.IntN(3) == 0 {
		fmt.Fprintf(&b, "[[listener]]\naddress = \"unix:/run/x\"\nbacklog = %d\n", 5+r.IntN(2))
	}
	names := []string{"a", "b", "c"}
	r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	for _, n := range names[:1+r.IntN(3)] {
		fmt.Fprintf(&b, "[[app]]\nname = %q\nkind = %q\nmax = %d\n", n, "fastcgi", 4+r.IntN(2))
		fmt.Fprintln(&b, []string{`command = ["x"]`, `address = ["tcp:127.0.0.1:1"]`, "command = [\"x\"]\nenv = { A = \"1\" }", "command = [\"x\"]\nenv = { A = \"2\" }"}[r.IntN(4)])
	}
	for _, h := range []string{"", "hosts = [\"h\", \"i\"]\n", "hosts = [\"j\"]\n"}[:r.IntN(4)] {
		fmt.Fprintf(&b, "[[site]]\n%sroot = \"/%d\"\n", h, r.IntN(2))
		for _, m := range []string{"/", "/x", "*.php"}[:r.IntN(4)] {
			fmt.Fprintf(&b, "[[site.route]]\nmatch = %q\n%s = true\n", m, []string{"static", "deny"}[r.IntN(2)])
		}
	}
	return b.String()
}

// TestDiffHidesEnvironment: a reload's result stands in the log.
func TestDiffHidesEnvironment(t *testing.T) {
	fixed(t)
	texts := []string{minimal + `env = { PASSWORD = "hunter2" }`, minimal + `env = { PASSWORD = "swordfish" }`}
	var c []*Config
	for _, text := range texts {
		one, err := Parse("f", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		c = append(c, one)
	}
	all := Diff(c[0], c[1])
	data, _ := json.Marshal(all)
	for _, said := range []string{all.String(), string(data)} {
		if !strings.Contains(said, "app.a.env") || strings.Contains(said, "hunter2") || strings.Contains(said, "swordfish") {
			t.Errorf("said: %s", said)
		}
	}
}

// TestDiffNamesFlags: what a flag has said stands nowhere in the file.
func TestDiffNamesFlags(t *testing.T) {
	fixed(t)
	c, err := Parse("/etc/f", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	two := 2
	n, err := c.With(Overrides{Workers: &two, Listen: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `workers: 1 -> 2 (--workers)
listener."127.0.0.1:1": added (--listen)
listener."127.0.0.1:8080": removed
listener 127.0.0.1:1: opened
listener 127.0.0.1:8080: closed`
	if got := Diff(c, n).String(); got != want {
		t.Errorf("got\n%s", got)
	}
}
