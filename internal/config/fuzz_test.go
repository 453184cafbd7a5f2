package config

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// FuzzParse: no input panics; each is either refused, every mistake with a
// position and on one line, or can be printed and read again.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/empty.toml", "testdata/everything.toml", "testdata/bad/values.toml", "testdata/bad/shapes.toml", "testdata/bad/contradictions.toml"} {
		data, err := os.ReadFile(pattern)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
	}
	f.Setenv("RUNTIME_DIRECTORY", "/run/sluice")
	f.Fuzz(func(t *testing.T, text string) {
		for _, everything := range []bool{false, true} {
			c, err := parse("/etc/sluice.toml", []byte(text), noDisk, everything)
			if err == nil {
				roundTrip(t, "/etc/sluice.toml", c, everything)
				continue
			}
			var all Errors
			if !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("not Errors: %v", err)
			}
			for _, one := range all {
				if one.Line < 1 || one.Column < 1 || one.File == "" || one.Message == "" || strings.ContainsAny(one.Message, "\n") {
					t.Fatalf("%+v", one)
				}
			}
		}
	})
}
