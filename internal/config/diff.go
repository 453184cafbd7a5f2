package config

import (
	"fmt"
	"slices"
	"strings"
)

// Effect is what a change of a key takes. The rows of the schema say it.
type Effect int

const (
	// NewGeneration: workers of a new generation have it, and the master takes
	// its own part of it over.
	NewGeneration Effect = iota + 1
	// RetuneApp: the limits of an app, which apply to what runs.
	RetuneApp
	// RestartApp: other children, one after the other.
	RestartApp
	// Relisten: a socket is opened, closed or changed.
	Relisten
	// RestartServer: nothing less; a reload with such a change is refused.
	RestartServer
)

var effectNames = map[Effect]string{NewGeneration: "generation", RetuneApp: "retune", RestartApp: "restart", Relisten: "listen", RestartServer: "server"}

// String is one word.
func (e Effect) String() string { return effectNames[e] }

// MarshalText is String.
func (e Effect) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// Kind is how something is different in the new one of two configurations.
type Kind string

// Kinds of a change.
const (
	Added     Kind = "added"
	Removed   Kind = "removed"
	Changed   Kind = "changed"
	Reordered Kind = "reordered"
	Restarted Kind = "restarted" // of an app: its children are replaced
	Retuned   Kind = "retuned"   // of an app: the limits of what runs are others
	Opened    Kind = "opened"    // of a listener
	Closed    Kind = "closed"    // of a listener
)

// Change is one key that is different, or one table that was added or removed.
type Change struct {
	// Key is its path, such as limits.connections, app.php.max or
	// site."example.org".route."*.php".app; "*" is the site without hosts.
	Key  string `json:"key"`
	Kind Kind   `json:"kind"`
	// Old and New are as Print writes them; "" where there is none, or where they
	// are not for a log (env).
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
	// At is FILE:LINE:COLUMN of the new value, or the flag that gave it; "" for a
	// default.
	At    string `json:"at,omitempty"`
	Takes Effect `json:"takes"`

	table, element string // of the top level: where the key stands
	pos            pos
}

// String is the change on one line.
func (c Change) String() string {
	var b strings.Builder
	b.WriteString(c.Key + ": ")
	switch {
	case c.Old == "" && c.New == "" || c.Kind == Reordered:
		b.WriteString(string(c.Kind))
	default:
		fmt.Fprintf(&b, "%s -> %s", orNone(c.Old), orNone(c.New))
	}
	if c.At != "" {
		fmt.Fprintf(&b, " (%s)", c.At)
	}
	return b.String()
}

func orNone(shown string) string {
	if shown == "" {
		return "none"
	}
	return shown
}

// AppChange is what becomes of an app.
type AppChange struct {
	Name string `json:"name"`
	Kind Kind   `json:"kind"` // Added Removed Restarted Retuned
}

// ListenerChange is what becomes of a listener.
type ListenerChange struct {
	Address  string   `json:"address"` // as in `listen`
	Kind     Kind     `json:"kind"`    // Opened Closed Changed
	Listener Listener `json:"-"`       // the new one, or the closed one
	Old      Listener `json:"-"`       // of a changed one
}

// Changes are what is different between two configurations. They hold nothing of
// where something was written, or of the order of keys: only what is in effect.
type Changes struct {
	Keys []Change `json:"changes"`
	// Apps are those that were added or removed, whose children have to be others
	// (also: are no longer sluice's own), or whose limits are. One that is not
	// here stays as it is.
	Apps []AppChange `json:"apps"`
	// Listeners are those that open or close, and those that are not as they were:
	// backlog, mode, owner, or a socket for each worker or not any more.
	Listeners []ListenerChange `json:"listeners"`

	src *source // the new main file; nil without one
}

// Diff tells two configurations apart, key by key. What is written in other
// words and means the same is no change.
func Diff(old, new *Config) *Changes {
	c := &Changes{Keys: []Change{}, Apps: []AppChange{}, Listeners: []ListenerChange{}}
	d := &differ{}
	from, to := old.forDiff(d, false), new.forDiff(d, true)
	fileRows.diff(d, where{takes: NewGeneration}, from, to)
	c.Keys = append(c.Keys, d.list...)
	for i := range c.Keys {
		c.Keys[i].lessFor(old, new)
	}
	if new.origin != nil {
		c.src = new.origin.src
	}
	c.diffApps(old, new)
	c.diffListeners(old, new)
	return c
}

// Empty reports whether nothing is different.
func (c *Changes) Empty() bool { return len(c.Keys) == 0 && len(c.Listeners) == 0 }

// String has one line for each change, then one for each app and listener that
// is touched: what a reload says.
func (c *Changes) String() string {
	if c.Empty() {
		return "nothing has changed"
	}
	var lines []string
	for _, k := range c.Keys {
		lines = append(lines, k.String())
	}
	for _, a := range c.Apps {
		lines = append(lines, fmt.Sprintf("app %s: %s", a.Name, a.Kind))
	}
	for _, l := range c.Listeners {
		lines = append(lines, fmt.Sprintf("listener %s: %s", l.Address, l.Kind))
	}
	return strings.Join(lines, "\n")
}

// Refused is nil or Errors with the changes that only a restart of the server
// can make.
func (c *Changes) Refused() error {
	var found problems
	for _, k := range c.Keys {
		if k.Takes == RestartServer {
			if k.At == "" {
				k.pos.src = c.src // as what is missing
			}
			found.add(k.pos, "%s: cannot change from %s to %s without a restart", k.Key, orNone(k.Old), orNone(k.New))
		}
	}
	return found.err()
}

// supervised reports whether sluice runs children of the app that outlive a
// request.
func supervised(a *App) bool { return a != nil && a.Kind == KindFastCGI && len(a.Command) > 0 }

// lessFor: where no children of sluice's own live on, there is nothing to
// restart.
func (k *Change) lessFor(old, new *Config) {
	if k.table == "app" && k.Takes == RestartApp && !supervised(old.app(k.element)) && !supervised(new.app(k.element)) {
		k.Takes = NewGeneration
	}
}

func (c *Config) app(name string) *App {
	i := slices.IndexFunc(c.Apps, func(a *App) bool { return a.Name == name })
	if i < 0 {
		return nil
	}
	return c.Apps[i]
}

func (c *Changes) diffApps(old, new *Config) {
	for _, a := range new.Apps {
		switch before := old.app(a.Name); {
		case before == nil:
			c.Apps = append(c.Apps, AppChange{a.Name, Added})
		case supervised(before) != supervised(a) || c.app(a.Name) == RestartApp:
			c.Apps = append(c.Apps, AppChange{a.Name, Restarted})
		case c.app(a.Name) == RetuneApp:
			c.Apps = append(c.Apps, AppChange{a.Name, Retuned})
		}
	}
	for _, a := range old.Apps {
		if new.app(a.Name) == nil {
			c.Apps = append(c.Apps, AppChange{a.Name, Removed})
		}
	}
}

// app is the most that a change of an app's keys takes.
func (c *Changes) app(name string) (most Effect) {
	for _, k := range c.Keys {
		if k.table == "app" && k.element == name && k.Kind == Changed {
			most = max(most, k.Takes)
		}
	}
	return most
}
