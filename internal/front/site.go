package front

import (
	"net"
	"sort"
	"strings"

	"sluice/cgi"
	"sluice/internal/exchange"
	"sluice/internal/scoreboard"
	"sluice/internal/securelink"
	"sluice/sendfile"
)

// Site is one set of hosts, with a folder and routes.
type Site struct {
	Hosts          []string // lower case; "*.example.org" matches every name below; none: the default site
	Root           string
	Index          []string
	Fallback       string
	HideDotfiles   bool
	FollowSymlinks bool
	Types          map[string]string
	Routes         []*Route
	Files          *sendfile.Cache // keeps files open; nil: none are kept

	sources sources
}

// Route says what answers a part of a site. Exactly one of App, Deny and the
// static forms holds.
type Route struct {
	Text   string // as the operator wrote the match
	Place  int    // cgi.Command.Place of its scripts
	Exact  bool
	Prefix string // the whole path if Exact
	Ending string // ".ext" or ""

	App        *App
	Authorizer *App              // asked before anything else; nil: nobody
	Link       *securelink.Guard // looked at before that; nil: a URL needs no signature
	Dir        string
	Script     string
	Alias      string
	Static     bool
	Deny       bool
	Internal   bool
	Env        map[string]string
	Slashes    SlashPolicy
	Stream     bool
	Params     func(meta *cgi.Meta, set func(name, value string)) error // maps the meta-variables; nil: as they are

	// Of an application that has the whole prefix: SCRIPT_NAME, and SCRIPT_FILENAME.
	name, file string
}

// SlashPolicy is what an encoded slash in a path means.
type SlashPolicy uint8

// The policies.
const (
	RefuseSlashes SlashPolicy = iota // 404
	DecodeSlashes                    // as a slash
	KeepSlashes                      // stays encoded
)

// App is an application as the front sees it.
type App struct {
	*exchange.App
	Scripts           bool     // every request starts a program (CGI)
	Filter            bool     // is given the file that the URL reaches
	Interpreter       []string // runs the script; none: it is executed itself
	ScriptRoot        string   // the application's name for the site's root; then no file is looked for
	Dir               string   // working directory of scripts; "": the script's own
	Env               map[string]string
	PassAuthorization bool
	OnComplete        string // path that is told what became of the files that it named; "": none
	Records           *scoreboard.Records
}

// prepare sorts the routes into the order in which they are tried: exact ones,
// then the longest prefix, and with the same prefix an ending before none.
func (s *Site) prepare() {
	sort.SliceStable(s.Routes, func(i, j int) bool {
		a, b := s.Routes[i], s.Routes[j]
		switch {
		case a.Exact != b.Exact:
			return a.Exact
		case len(a.Prefix) != len(b.Prefix):
			return len(a.Prefix) > len(b.Prefix)
		}
		return a.Ending != "" && b.Ending == ""
	})
	for _, r := range s.Routes {
		if r.name = r.Prefix; !r.Exact {
			r.name = strings.TrimSuffix(r.Prefix, "/")
		}
		r.file = s.Root + r.name
	}
	s.sources = sourcesOf(s)
}

// Sites finds the site of a host.
type Sites struct {
	exact    map[string]*Site
	wild     []wildcard // longest first
	fallback *Site
}

type wildcard struct {
	suffix string // ".example.org"
	site   *Site
}

// NewSites prepares the sites for use.
func NewSites(all []*Site) *Sites {
	t := &Sites{exact: map[string]*Site{}}
	for _, s := range all {
		s.prepare()
		if len(s.Hosts) == 0 {
			t.fallback = s
		}
		for _, h := range s.Hosts {
			if rest, ok := strings.CutPrefix(h, "*"); ok {
				t.wild = append(t.wild, wildcard{rest, s})
			} else {
				t.exact[h] = s
			}
		}
	}
	sort.SliceStable(t.wild, func(i, j int) bool { return len(t.wild[i].suffix) > len(t.wild[j].suffix) })
	return t
}

// Find returns the site of a Host value, or nil.
func (t *Sites) Find(host string) *Site {
	if len(t.exact)+len(t.wild) == 0 {
		return t.fallback
	}
	if strings.LastIndexByte(host, ':') >= 0 {
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if s := t.exact[host]; s != nil {
		return s
	}
	for _, w := range t.wild {
		if strings.HasSuffix(host, w.suffix) && len(host) > len(w.suffix) {
			return w.site
		}
	}
	return t.fallback
}
