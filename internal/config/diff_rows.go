package config

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// differ collects what is different.
type differ struct {
	list  []Change
	marks map[any]mark // of the new configuration
	items map[any]pos  // of listeners that stand in listen
}

// where is the table that is being looked at.
type where struct {
	path           string
	takes          Effect
	table, element string // of the top level
}

// key is a key in the table.
func (w where) key(name string, takes Effect) where {
	w.path = strings.TrimPrefix(w.path+"."+name, ".")
	if takes != 0 {
		w.takes = takes
	}
	return w
}

// name is an element of an array of tables.
func (w where) name(name string) where {
	if w.table == "" {
		w.table, w.element = w.path, name
	}
	if !bareKey.MatchString(name) {
		name = new(printer).quote(name)
	}
	w.path += "." + name
	return w
}

func (d *differ) add(w where, c Change) {
	c.Key, c.Takes, c.table, c.element = w.path, w.takes, w.table, w.element
	d.list = append(d.list, c)
}

// at says where something of the new configuration was written.
func (d *differ) at(c Change, field any) Change {
	if p, ok := d.items[field]; ok {
		c.pos, c.At = p, p.String()
	} else if m, ok := d.marks[field]; ok {
		c.pos, c.At = m.value.at, m.value.at.String()
	}
	return c
}

func (s schema[T]) diff(d *differ, in where, old, new *T) {
	for _, r := range s {
		w := in.key(r.name, r.takes)
		if r.diff != nil {
			r.diff(d, w, old, new)
			continue
		}
		a, intact := r.shown(old)
		b, too := r.shown(new)
		if a == b && (intact && too || reflect.DeepEqual(r.field(old), r.field(new))) {
			continue
		}
		c := Change{Kind: Changed, Old: a, New: b}
		if r.hidden {
			c.Old, c.New = "", ""
		}
		d.add(w, d.at(c, r.field(new)))
	}
}

// shown is a value as Print writes it. TOML has no form for some paths, and then
// it is not intact.
func (r row[T]) shown(t *T) (text string, intact bool) {
	if r.when != nil && !r.when(t) {
		return "", true
	}
	p := &printer{everything: true}
	text = r.toml(p, t)
	return text, p.err == nil
}

// diffTables finds for each of the new elements the old one: that of the same
// first name, else one that shares a name.
func diffTables[U any](d *differ, in where, sub schema[U], names func(*U) []string, old, new []*U) {
	from := pair(names, old, new)
	var order []int
	for i, u := range new {
		w := in.name(names(u)[0])
		if from[i] < 0 {
			d.add(w, d.at(Change{Kind: Added}, u))
			continue
		}
		order = append(order, from[i])
		sub.diff(d, w, old[from[i]], u)
	}
	for i, u := range old {
		if !slices.Contains(from, i) {
			d.add(in.name(names(u)[0]), Change{Kind: Removed})
		}
	}
	if !slices.IsSorted(order) {
		d.add(in, Change{Kind: Reordered})
	}
}

// pair says for each of the new elements which of the old ones it was, or -1.
func pair[U any](names func(*U) []string, old, new []*U) []int {
	from, taken := slices.Repeat([]int{-1}, len(new)), map[int]bool{}
	look := func(same func(a, b []string) bool) {
		for i := range new {
			for j := range old {
				if from[i] < 0 && !taken[j] && same(names(old[j]), names(new[i])) {
					from[i], taken[j] = j, true
				}
			}
		}
	}
	look(func(a, b []string) bool { return a[0] == b[0] })
	look(func(a, b []string) bool {
		return slices.ContainsFunc(a, func(name string) bool { return slices.Contains(b, name) })
	})
	return from
}

func (a *App) names() []string          { return []string{a.Name} }
func (r *Route) names() []string        { return []string{r.Match.Text} }
func (l *longListener) names() []string { return []string{l.where.String()} }

// names: without hosts it is the default site, which no host is called like.
func (s *Site) names() []string {
	if len(s.Hosts) == 0 {
		return []string{"*"}
	}
	return s.Hosts
}

// forDiff is the configuration with every listener in its long form. The new one
// also says where everything was written.
func (c *Config) forDiff(d *differ, positions bool) *draft {
	all := &draft{Config: c}
	var long []*longListener
	var short []*node
	if o := c.origin; o != nil && positions {
		d.marks, d.items = o.marks, map[any]pos{}
		long = o.draft.long
		if m, ok := o.marks[&o.draft.listen]; ok {
			short = m.value.items
		}
	}
	first := len(c.Listeners) - len(long)
	for i, l := range c.Listeners {
		one := &longListener{Listener: l, where: endpoint{l.Network, l.Address}}
		switch {
		case i >= first:
			one = long[i-first]
		case i < len(short):
			d.items[one] = short[i].at
		}
		all.long = append(all.long, one)
	}
	return all
}

// ListenerError is Errors with an error about the listener of an index, at the
// place where its address was written.
func (c *Config) ListenerError(i int, err error) error {
	var found problems
	var d differ
	l := c.forDiff(&d, true).long[i]
	var said Change
	if said = d.at(said, l); said.At == "" {
		said = d.at(said, &l.where)
	}
	key := "listen"
	if m, ok := d.marks[&l.where]; ok {
		key, said.pos = m.path, m.value.at
	} else if said.At == "" && c.origin != nil {
		said.pos.src = c.origin.src
	}
	found.add(said.pos, "%s: %v: %v", key, strconv.Quote(l.where.String()), err)
	return found.err()
}

func (c *Changes) diffListeners(old, new *Config) {
	names := func(l *Listener) []string { return []string{endpoint{l.Network, l.Address}.String()} }
	from, to := pointers(old.Listeners), pointers(new.Listeners)
	origin := pair(names, from, to)
	for i, l := range to {
		one := ListenerChange{Address: names(l)[0], Listener: *l}
		switch j := origin[i]; {
		case j < 0:
			one.Kind = Opened
		case otherSocket(from[j], l) || l.Network == "tcp" && perWorker(old) != perWorker(new):
			one.Kind, one.Old = Changed, *from[j]
		default:
			continue
		}
		c.Listeners = append(c.Listeners, one)
	}
	for j, l := range from {
		if !slices.Contains(origin, j) {
			c.Listeners = append(c.Listeners, ListenerChange{Address: names(l)[0], Kind: Closed, Listener: *l})
		}
	}
}

// otherSocket: who has to send a PROXY header is the workers' business alone.
func otherSocket(a, b *Listener) bool {
	x, y := *a, *b
	x.ProxyFrom, y.ProxyFrom = nil, nil
	return !reflect.DeepEqual(x, y)
}

// perWorker is how many sockets a TCP listener consists of.
func perWorker(c *Config) int {
	if c.Accept.Mode == "reuseport" {
		return c.Workers
	}
	return 1
}

func pointers[V any](list []V) []*V {
	all := make([]*V, len(list))
	for i := range list {
		all[i] = &list[i]
	}
	return all
}
