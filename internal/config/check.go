package config

import (
	"fmt"
	"path/filepath"
	"slices"
)

// checker looks at values that are each right but may not go together.
type checker struct {
	*origin
	found *problems
}

// wrote reports whether the key of a field stands in the file, even wrongly.
func (o *origin) wrote(field any) bool {
	_, ok := o.marks[field]
	return ok
}

// failed reports whether the value of a field was refused already, so that what
// follows from it is not reported as well.
func (o *origin) failed(field any) bool { return o.marks[field].failed }

// bad reports a field at its value; one that nobody wrote at the owner's header,
// a key of the top at the beginning of the file.
func (c *checker) bad(field, owner any, key, format string, args ...any) {
	at, path := c.place(field, owner, key)
	c.found.add(at, "%s: %s", path, fmt.Sprintf(format, args...))
}

// place is where a field was written and the key as messages name it.
func (o *origin) place(field, owner any, key string) (pos, string) {
	if m, ok := o.marks[field]; ok {
		return m.value.at, m.path
	}
	if m, ok := o.marks[owner]; ok && owner != nil {
		return m.at, scope(m.path + ": ").key(key)
	}
	return pos{src: o.src}, key
}

// missing reports a key that must be written.
func (c *checker) missing(owner any, format string, args ...any) {
	m := c.marks[owner]
	c.found.add(m.at, "%s: %s", m.path, fmt.Sprintf(format, args...))
}

func (c *checker) check() {
	d := c.draft
	c.checkListeners()
	c.checkControl()
	if d.Linger.Idle > d.Linger.Total {
		field := &d.Linger.Idle
		if !c.wrote(field) {
			field = &d.Linger.Total
		}
		c.bad(field, nil, "linger", "idle %s is more than total %s", showDuration(d.Linger.Idle), showDuration(d.Linger.Total))
	}
	names := c.checkNames()
	for _, a := range d.Apps {
		c.checkApp(a)
	}
	c.checkHosts()
	for _, s := range d.Sites {
		c.checkSite(s, names)
	}
}

// checkControl: bind(2) would refuse a longer path at start.
func (c *checker) checkControl() {
	d := c.draft
	if len(d.Control) <= maxSocketPath {
		return
	}
	key, field := "control", &d.Control
	if !c.wrote(field) && c.wrote(&d.Runtime) {
		key, field = "runtime", &d.Runtime
	}
	c.bad(field, nil, key, "want a path of the control socket of at most %d bytes, %q has %d", maxSocketPath, d.Control, len(d.Control))
}

func (c *checker) checkListeners() {
	d, seen := c.draft, map[endpoint]pos{}
	for i, e := range d.listen {
		if m, ok := c.marks[&d.listen]; ok {
			seen[e] = m.value.items[i].at
		}
	}
	for _, l := range d.long {
		if !c.wrote(&l.where) {
			c.missing(l, "address is missing")
		}
		if c.failed(&l.where) || !c.wrote(&l.where) {
			continue
		}
		if first, twice := seen[l.where]; twice {
			c.bad(&l.where, l, "address", "%q stands twice, first at %s", l.where, first)
		} else {
			seen[l.where] = c.marks[&l.where].value.at
		}
		for _, field := range []any{&l.Mode, &l.User, &l.Group} {
			if m, ok := c.marks[field]; ok && !isUnix(l) {
				c.found.add(m.at, "%s: only for a unix socket, not for %q", m.path, l.where)
			}
		}
		if m, ok := c.marks[&l.Backlog]; ok && !bindsItself(l) {
			c.found.add(m.at, "%s: not for %q: its socket unit says it (Backlog=)", m.path, l.where)
		}
	}
}

// checkNames returns the apps by name.
func (c *checker) checkNames() map[string]*App {
	names := map[string]*App{}
	for _, a := range c.draft.Apps {
		switch first := names[a.Name]; {
		case !c.wrote(&a.Name):
			c.missing(a, "name is missing")
		case a.Name == "":
		case first != nil:
			c.bad(&a.Name, a, "name", "%q stands twice, first at %s", a.Name, c.marks[&first.Name].value.at)
		default:
			names[a.Name] = a
		}
	}
	return names
}

func (c *checker) checkApp(a *App) {
	command, address := c.wrote(&a.Command), c.wrote(&a.Address)
	switch {
	case !c.wrote(&a.Kind):
		c.missing(a, "kind is missing, want %q or %q", KindFastCGI, KindCGI)
	case a.Kind == KindCGI && address:
		c.bad(&a.Address, a, "address", `only for kind = "fastcgi"`)
	case a.Kind == KindCGI && a.Role != "responder":
		c.bad(&a.Role, a, "role", `%q is only for kind = "fastcgi"`, a.Role)
	case a.Kind == KindFastCGI && command && address:
		c.bad(&a.Address, a, "address", "either command or address, not both")
	case a.Kind == KindFastCGI && !command && !address:
		c.missing(a, "one of command and address is missing")
	}
	if a.Kind == KindFastCGI && command {
		c.checkSockets(a)
	}
	if a.Min > a.Max {
		c.bad(&a.Min, a, "min", "%d is more than max, %d", a.Min, a.Max)
	}
	if a.Spare > a.Max {
		c.bad(&a.Spare, a, "spare", "%d is more than max, %d", a.Spare, a.Max)
	}
	c.checkAtOnce(a)
}

// maxAtOnce bounds the requests that the children of an app may have at once:
// each takes memory from the start, and is looked at by the others.
const maxAtOnce = 1 << 20

func (c *checker) checkAtOnce(a *App) {
	field, key, n := &a.Max, "max", a.Max
	switch {
	case len(a.Address) > 0:
		field, key, n = &a.MaxConns, "max_conns", len(a.Address)*a.MaxConns
	case a.Kind == KindFastCGI && c.wrote(&a.Connections):
		field, key, n = &a.Connections, "connections", a.Max*a.Connections
	}
	if n > maxAtOnce {
		c.bad(field, a, key, "%d requests at once are more than %d", n, maxAtOnce)
	}
}

// checkSockets: bind(2) would refuse a longer path at start. The name is as in
// spawner.SocketPath.
func (c *checker) checkSockets(a *App) {
	d := c.draft
	path := filepath.Join(d.Runtime, "children", fmt.Sprintf("%s.%d", a.Name, a.Max-1))
	if len(path) <= maxSocketPath || len(d.Control) > maxSocketPath {
		return
	}
	const format = "want a path of each child's socket of at most %d bytes, %q has %d"
	if c.wrote(&d.Runtime) {
		c.bad(&d.Runtime, nil, "runtime", format, maxSocketPath, path, len(path))
		return
	}
	c.bad(&a.Name, a, "name", format, maxSocketPath, path, len(path))
}

// checkHosts: a request belongs to one site.
func (c *checker) checkHosts() {
	seen := map[string]pos{}
	var none *Site
	for _, s := range c.draft.Sites {
		m := c.marks[&s.Hosts]
		for i, h := range s.Hosts {
			item := m.value.items[i]
			if first, twice := seen[h]; twice {
				c.found.add(item.at, "%s: %q belongs to the site at %s", m.path, h, first)
				continue
			}
			seen[h] = item.at
		}
		if len(s.Hosts) > 0 || m.failed {
			continue
		}
		if none != nil {
			c.missing(s, "hosts is missing: the site at %s is the default one", c.marks[none].at)
			continue
		}
		none = s
	}
}

// nearestApp is the hint behind the name of an app that does not exist.
func nearestApp(word string, names map[string]*App) string {
	var known []string
	for n := range names {
		known = append(known, n)
	}
	slices.Sort(known)
	if hint := didYouMean(word, known); hint != "" {
		return hint
	}
	if len(known) == 0 {
		return " (there is none)"
	}
	return ""
}
