package config

import (
	"slices"
	"strings"
)

// schema is the rows of one table of the file, which fill a T.
type schema[T any] []row[T]

// row is one key of a table: the one place that says what it may be, what it
// is when nobody writes it, and whether its feature exists.
type row[T any] struct {
	name  string
	reset func(t *T, everything bool)
	read  func(r *reader, in scope, t *T, e *entry)
	toml  func(p *printer, t *T) string         // a plain key: its value, "" leaves it out
	block func(p *printer, t *T, header string) // a table: everything from its header on
	paths func(prefix string, list *[]keyPath)  // every key of the row, for tests and Print
	when  func(t *T) bool                       // nil, or whether Print has it

	takes  Effect                                 // what a change of it takes; 0: what one of its table takes
	hidden bool                                   // its values are not for a log
	field  func(t *T) any                         // a plain key: the pointer to what it fills
	diff   func(d *differ, in where, old, new *T) // a table: what has changed in it
}

// keyPath is the dotted name of a key, such as app.send_file.roots.
type keyPath struct {
	name  string
	open  bool // some value of it is supported
	takes Effect
}

// kind is a type of value: how it is read from a node, and written as TOML.
type kind[V any] struct {
	read func(s spot) (V, bool) // reports what is wrong itself
	toml func(p *printer, v V) string
}

// support says what of a row is built: given the default of the documentation
// it returns the default in effect, and which values are accepted.
type support[V any] func(def V) (effect V, accepts func(V) bool)

// built supports every value.
func built[V any](def V) (V, func(V) bool) { return def, func(V) bool { return true } }

// only supports the listed values. The first is in effect where the default is
// not among them.
func only[V comparable](values ...V) support[V] {
	accepts := func(v V) bool { return slices.Contains(values, v) }
	return func(def V) (V, func(V) bool) {
		if !accepts(def) {
			def = values[0]
		}
		return def, accepts
	}
}

// key is a row with a plain value.
func key[T, V any](name string, field func(*T) *V, k kind[V], def V, yet support[V]) row[T] {
	effect, accepts := yet(def)
	return row[T]{
		name: name,
		reset: func(t *T, everything bool) {
			*field(t) = effect
			if everything {
				*field(t) = def
			}
		},
		read: func(r *reader, in scope, t *T, e *entry) {
			s := newSpot(r, in.key(name), e.value)
			dst := field(t)
			v, ok := k.read(s)
			if ok && !accepts(v) && !r.everything {
				r.found.add(e.at, "%s: not supported yet", s.path)
				ok = false
			}
			if ok {
				*dst = v
			}
			r.marks[dst] = mark{path: s.path, at: e.at, value: e.value, failed: !ok}
		},
		toml: func(p *printer, t *T) string {
			if v := *field(t); p.everything || accepts(v) {
				return k.toml(p, v)
			}
			return ""
		},
		paths: func(prefix string, list *[]keyPath) {
			var zero V
			open := accepts(effect) || accepts(zero)
			*list = append(*list, keyPath{name: prefix + name, open: open})
		},
		field: func(t *T) any { return field(t) },
	}
}

// table is a row with a table of its own rows.
func table[T, U any](name string, field func(*T) *U, sub schema[U], yet support[U]) row[T] {
	var zero U
	_, accepts := yet(zero)
	return row[T]{
		name:  name,
		reset: func(t *T, everything bool) { sub.reset(field(t), everything) },
		read: func(r *reader, in scope, t *T, e *entry) {
			s := newSpot(r, in.key(name), e.value)
			if e.value.shape != aTable {
				s.bad("want a table")
				return
			}
			before := len(r.found)
			sub.read(r, in.table(name), field(t), e.value)
			if len(r.found) == before && !accepts(*field(t)) && !r.everything {
				r.found.add(e.at, "%s: not supported yet", s.path)
				sub.reset(field(t), false)
			}
		},
		block: func(p *printer, t *T, header string) {
			if p.everything || accepts(*field(t)) {
				p.table("["+header+name+"]", func() { sub.print(p, field(t), header+name+".") })
			}
		},
		paths: func(prefix string, list *[]keyPath) {
			first := len(*list)
			sub.paths(prefix+name+".", list)
			for i := range (*list)[first:] {
				(*list)[first+i].open = (*list)[first+i].open && accepts(zero)
			}
		},
		diff: func(d *differ, in where, old, new *T) { sub.diff(d, in, field(old), field(new)) },
	}
}

// tables is a row with an array of tables. title is the key whose text names an
// element in messages; names are what an element is known by from one
// configuration to the next.
func tables[T, U any](name, title string, names func(*U) []string, list func(*T) *[]*U, sub schema[U]) row[T] {
	return row[T]{
		name:  name,
		reset: func(t *T, _ bool) { *list(t) = nil },
		read: func(r *reader, in scope, t *T, e *entry) {
			s := newSpot(r, in.key(name), e.value)
			if e.value.shape != anArray {
				s.bad("want an array of tables, [[%s]]", name)
				return
			}
			for i, item := range e.value.items {
				if item.shape != aTable {
					s.item(item).bad("want an array of tables, [[%s]]", name)
					continue
				}
				u, within := new(U), in.element(name, i, item, title)
				sub.reset(u, r.everything)
				r.marks[u] = mark{path: strings.TrimSuffix(string(within), ": "), at: item.at, value: item}
				sub.read(r, within, u, item)
				*list(t) = append(*list(t), u)
			}
		},
		block: func(p *printer, t *T, header string) {
			for _, u := range *list(t) {
				p.table("[["+header+name+"]]", func() { sub.print(p, u, header+name+".") })
			}
		},
		paths: func(prefix string, list *[]keyPath) { sub.paths(prefix+name+".", list) },
		diff: func(d *differ, in where, old, new *T) {
			diffTables(d, in, sub, names, *list(old), *list(new))
		},
	}
}

// onlyWhen leaves a row out of Print where it means nothing.
func (r row[T]) onlyWhen(when func(*T) bool) row[T] {
	r.when = when
	return r
}

// taking says what a change of the row's key, or of a key of its table, takes.
func (r row[T]) taking(e Effect) row[T] {
	r.takes = e
	return r
}

// unseen keeps the row's values out of what is said of a change.
func (r row[T]) unseen() row[T] {
	r.hidden = true
	return r
}

func (s schema[T]) reset(t *T, everything bool) {
	for _, row := range s {
		row.reset(t, everything)
	}
}

func (s schema[T]) read(r *reader, in scope, t *T, n *node) {
	for _, e := range n.entries {
		i := slices.IndexFunc(s, func(row row[T]) bool { return row.name == e.name })
		if i < 0 {
			r.found.add(e.at, "%sunknown key %q%s", in.before(), e.name, didYouMean(e.name, s.names()))
			continue
		}
		s[i].read(r, in, t, e)
	}
}

func (s schema[T]) names() []string {
	list := make([]string, len(s))
	for i, row := range s {
		list[i] = row.name
	}
	return list
}

func (s schema[T]) paths(prefix string, list *[]keyPath) {
	for _, row := range s {
		first := len(*list)
		row.paths(prefix, list)
		for i := range (*list)[first:] {
			if k := &(*list)[first+i]; k.takes == 0 {
				k.takes = row.takes
			}
		}
	}
}
