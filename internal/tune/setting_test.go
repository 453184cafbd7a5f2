package tune

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/config"
)

func names(list []Setting) (all []string) {
	for _, s := range list {
		all = append(all, s.String())
	}
	return all
}

func TestSettings(t *testing.T) {
	list := acceptSettings(1)
	if len(list) != len(acceptModes) || list[0] != (Setting{Accept: "none", Workers: 1}) {
		t.Errorf("with one worker %q", names(list))
	}
	var partial []Setting
	for _, s := range acceptSettings(8) {
		if s.Accept == "partial" {
			partial = append(partial, s)
		}
	}
	want := "partial 1, 1 worker; partial 1, 2 workers; partial 1, 3 workers; partial 2, 3 workers; partial 1, 4 workers; partial 2, 4 workers; " +
		"partial 1, 5 workers; partial 2, 5 workers; partial 4, 5 workers"
	if got := strings.Join(names(partial), "; "); !strings.HasPrefix(got, want) {
		t.Errorf("%s", got)
	}
	if got := names(lingerSettings(8)); !slices.Equal(got, lingerModes) {
		t.Errorf("%q", got)
	}
}

// The modes are those of the configuration, each once, and its defaults the first.
func TestModesAreThoseOfTheConfiguration(t *testing.T) {
	for _, c := range []struct {
		key   string
		modes []string
	}{{"accept", acceptModes}, {"linger", lingerModes}} {
		_, err := config.Parse("", []byte("["+c.key+"]\nmode = \"nonsense\"\n[[site]]\nroot = \"/\"\n"))
		if err == nil {
			t.Fatalf("%s: no error", c.key)
		}
		var known []string
		for _, w := range strings.FieldsFunc(err.Error(), func(r rune) bool { return !(r == '_' || r >= 'a' && r <= 'z') }) {
			if slices.Contains(c.modes, w) {
				known = append(known, w)
			}
		}
		slices.Sort(known)
		if want := slices.Sorted(slices.Values(c.modes)); !slices.Equal(known, want) {
			t.Errorf("%s: tune tries %q, and the configuration says: %v", c.key, want, err)
		}
	}
}

func TestTOML(t *testing.T) {
	for _, c := range []struct {
		s    Setting
		want string
	}{
		{Setting{Accept: "flock", Workers: 2}, "workers = 2\n\n[accept]\nmode = \"flock\"\n"},
		{Setting{Accept: "partial", Permits: 2, Workers: 4}, "workers = 4\n\n[accept]\nmode = \"partial\"\npermits = 2\n"},
		{Setting{Accept: "none", Workers: 1, Linger: "timed"}, "[linger]\nmode = \"timed\"\n"},
	} {
		if got := c.s.TOML(); got != c.want {
			t.Errorf("%v:\n%s", c.s, got)
		}
	}
}

func TestRounds(t *testing.T) {
	for d, want := range map[time.Duration]int{MinDuration: 3, time.Second: 3, 2 * time.Second: 5, MaxDuration: 9} {
		if got := Rounds(d); got != want {
			t.Errorf("%v is divided into %d rounds, want %d", d, got, want)
		}
	}
}
