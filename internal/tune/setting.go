package tune

import (
	"fmt"
	"strings"
)

// Setting is what is tried: a line of the report.
type Setting struct {
	Accept  string // accept mode
	Permits int    // of the mode partial; 0 for the others
	Workers int
	Linger  string // lingering close mode; "": the default
}

// The modes, the simplest first: where nothing speaks for the one or the other,
// the earlier is recommended.
var (
	acceptModes = []string{"none", "exclusive", "reuseport", "flock", "fcntl", "sysvsem", "posixsem", "pthread", "uslock", "partial"}
	lingerModes = []string{"timed", "adaptive", "always", "so_linger", "off"}
)

// acceptSettings are every accept mode with 1 to so many workers, the first the
// default.
func acceptSettings(workers int) []Setting {
	var list []Setting
	for _, mode := range acceptModes {
		for n := 1; n <= workers; n++ {
			if mode != "partial" {
				list = append(list, Setting{Accept: mode, Workers: n})
				continue
			}
			// All workers at once would be none.
			for permits := 1; permits < max(n, 2); permits *= 2 {
				list = append(list, Setting{Accept: mode, Permits: permits, Workers: n})
			}
		}
	}
	return list
}

// lingerSettings are the lingering close modes, the first the default.
func lingerSettings(int) []Setting {
	var list []Setting
	for _, mode := range lingerModes {
		list = append(list, Setting{Accept: "none", Workers: 1, Linger: mode})
	}
	return list
}

// mode is the accept mode, with its permits.
func (s Setting) mode() string {
	if s.Permits > 0 {
		return fmt.Sprintf("%s %d", s.Accept, s.Permits)
	}
	return s.Accept
}

// String is the name of a setting: what differs in its study.
func (s Setting) String() string {
	switch {
	case s.Linger != "":
		return s.Linger
	case s.Workers == 1:
		return s.mode() + ", 1 worker"
	}
	return fmt.Sprintf("%s, %d workers", s.mode(), s.Workers)
}

// TOML are the lines of the configuration file: of a study of lingering only
// those that are about it.
func (s Setting) TOML() string {
	var b strings.Builder
	if s.Linger != "" {
		fmt.Fprintf(&b, "[linger]\nmode = %q\n", s.Linger)
		return b.String()
	}
	fmt.Fprintf(&b, "workers = %d\n\n[accept]\nmode = %q\n", s.Workers, s.Accept)
	if s.Permits > 0 {
		fmt.Fprintf(&b, "permits = %d\n", s.Permits)
	}
	return b.String()
}

// study is a question: which of these settings, under these loads.
type study struct {
	title    string
	settings func(workers int) []Setting
	loads    []Load
}

var studies = []study{
	{"Accept modes", acceptSettings, []Load{Connect, Keepalive}},
	{"Lingering close", lingerSettings, []Load{Connect, Keepalive, Early}},
}
