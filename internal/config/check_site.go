package config

// feature is something a route can have, for the rules of what goes together.
type feature struct {
	name  string
	field func(*Route) any
	has   func(*Route) bool
}

var features = []feature{
	{"app", func(r *Route) any { return &r.App }, func(r *Route) bool { return r.App != "" }},
	{"dir", func(r *Route) any { return &r.Dir }, func(r *Route) bool { return r.Dir != "" }},
	{"script", func(r *Route) any { return &r.Script }, func(r *Route) bool { return r.Script != "" }},
	{"alias", func(r *Route) any { return &r.Alias }, func(r *Route) bool { return r.Alias != "" }},
	{"static", func(r *Route) any { return &r.Static }, func(r *Route) bool { return r.Static && r.Alias == "" }},
	{"deny", func(r *Route) any { return &r.Deny }, func(r *Route) bool { return r.Deny }},
	{"internal", func(r *Route) any { return &r.Internal }, func(r *Route) bool { return r.Internal }},
	{"env", func(r *Route) any { return &r.Env }, func(r *Route) bool { return len(r.Env) > 0 }},
	{"authorizer", func(r *Route) any { return &r.Authorizer }, func(r *Route) bool { return r.Authorizer != "" }},
	{"stream_body", func(r *Route) any { return &r.StreamBody }, func(r *Route) bool { return r.StreamBody }},
	{"stream_response", func(r *Route) any { return &r.StreamResponse }, func(r *Route) bool { return r.StreamResponse }},
	{"secure_link", func(r *Route) any { return &r.SecureLink }, func(r *Route) bool { return r.SecureLink != nil }},
}

// apart are features that contradict each other: the second is reported.
var apart = [][2]string{
	{"app", "static"}, {"app", "alias"}, {"app", "deny"}, {"static", "deny"}, {"alias", "deny"},
	{"dir", "script"}, {"deny", "internal"}, {"deny", "authorizer"}, {"deny", "secure_link"},
}

// needsApp are features that mean nothing without an app.
var needsApp = []string{"dir", "script", "env", "stream_body", "stream_response"}

func (c *checker) checkSite(s *Site, names map[string]*App) {
	first := map[Match]*Route{}
	for _, r := range s.Routes {
		same := r.Match
		same.Text = ""
		switch {
		case !c.wrote(&r.Match):
			c.missing(r, "match is missing")
		case r.Match.Text == "":
		case first[same] != nil:
			c.bad(&r.Match, r, "match", "stands twice in this site, first at %s", c.marks[&first[same].Match].value.at)
		default:
			first[same] = r
		}
		c.checkRoute(r, names)
	}
	if s.Root == "" && !c.wrote(&s.Root) {
		if why := c.needsRoot(s); why != "" {
			c.missing(s, "root is missing, %s", why)
		}
	}
}

// needsRoot says why a site cannot do without a root.
func (c *checker) needsRoot(s *Site) string {
	switch {
	case len(s.Routes) == 0:
		return "there is no route"
	case s.Fallback != "":
		return "fallback needs it"
	}
	for _, r := range s.Routes {
		if !r.Deny && !c.failed(&r.Match) && !c.wrote(&r.Alias) && !c.wrote(&r.Script) && !c.wrote(&r.Dir) {
			return "the route " + quote(r.Match.Text) + " names no folder of its own"
		}
	}
	return ""
}

func (c *checker) checkRoute(r *Route, names map[string]*App) {
	has, failed := map[string]feature{}, false
	for _, f := range features {
		if f.has(r) {
			has[f.name] = f
		}
		failed = failed || c.failed(f.field(r))
	}
	report := func(name, format string, args ...any) {
		c.bad(has[name].field(r), r, name, format, args...)
	}
	for _, pair := range apart {
		if has[pair[0]].has != nil && has[pair[1]].has != nil {
			report(pair[1], "contradicts %s of the same route", pair[0])
		}
	}
	for _, name := range needsApp {
		if has[name].has != nil && !c.wrote(&r.App) {
			report(name, "only together with app")
		}
	}
	if r.App == "" && !r.Static && !r.Deny && !failed {
		c.missing(r, "want one of app, alias, static = true and deny = true")
	}
	if a := names[r.App]; r.App != "" && a == nil {
		c.bad(&r.App, r, "app", "%q is not the name of an app%s", r.App, nearestApp(r.App, names))
	} else if a != nil && a.Role == "authorizer" {
		c.bad(&r.App, r, "app", "%q has the role authorizer, want a responder or a filter", r.App)
	}
	if a := names[r.Authorizer]; r.Authorizer != "" && (a == nil || a.Role != "authorizer") {
		c.bad(&r.Authorizer, r, "authorizer", `%q is not the name of an app with role = "authorizer"`, r.Authorizer)
	}
	if r.SecureLink != nil && !c.wrote(&r.SecureLink.SecretFile) {
		c.bad(&r.SecureLink, r, "secure_link", "secret_file is missing")
	}
}
