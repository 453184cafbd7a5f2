package config

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// fixed takes the environment out of the defaults.
func fixed(t testing.TB) {
	t.Setenv("RUNTIME_DIRECTORY", "/run/sluice")
}

// golden compares with a file below testdata.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: -want +got\n%s", file, diff)
	}
}

func sources(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: no files (%v)", pattern, err)
	}
	return files
}

// TestGoldenPrint: what is printed, and that it is taken again.
func TestGoldenPrint(t *testing.T) {
	fixed(t)
	for _, file := range sources(t, "testdata/good/*.toml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name := "/etc/sluice/" + filepath.Base(file)
			c, err := Parse(name, data)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".toml")+".golden", roundTrip(t, name, c, false))
		})
	}
}

// roundTrip prints a configuration, and checks that the text makes an equal one.
func roundTrip(t testing.TB, name string, c *Config, everything bool) string {
	t.Helper()
	var b bytes.Buffer
	if err := c.print(&b, everything); err != nil {
		t.Fatal(err)
	}
	again, err := parse(name, b.Bytes(), noDisk, everything)
	if err != nil {
		t.Fatalf("the printed text is refused: %v\n%s", err, b.String())
	}
	want := *c
	want.Include = nil
	if !want.Equal(again) {
		var second bytes.Buffer
		again.print(&second, everything)
		t.Fatalf("the printed text makes another configuration\n%s\n%s", b.String(), cmp.Diff(b.String(), second.String()))
	}
	return b.String()
}

// noDisk has no files to include.
var noDisk = disk{
	read: func(string) ([]byte, error) { return nil, os.ErrNotExist },
	glob: func(string) ([]string, error) { return nil, nil },
}

// TestGoldenErrors: every mistake of a file at once, with text and position.
func TestGoldenErrors(t *testing.T) {
	fixed(t)
	for _, file := range sources(t, "testdata/bad/*.toml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(filepath.Base(file), data)
			if err == nil {
				t.Fatal("no error")
			}
			golden(t, strings.TrimSuffix(file, ".toml")+".errors", err.Error()+"\n")
		})
	}
}

// TestGoldenEverything: the whole schema, whatever of it is built.
func TestGoldenEverything(t *testing.T) {
	fixed(t)
	data, err := os.ReadFile("testdata/everything.toml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := parse("/etc/sluice/everything.toml", data, noDisk, true)
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/everything.golden", roundTrip(t, c.File, c, true))
}
