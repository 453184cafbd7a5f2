package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// list is an array of at least low elements. An element that fails does not
// hide what is wrong with the next.
func list[V any](elem kind[V], low int) kind[[]V] {
	return kind[[]V]{
		read: func(s spot) ([]V, bool) {
			if s.n.shape != anArray {
				s.bad("want a list such as [\"…\"]")
				return nil, false
			}
			if len(s.n.items) < low {
				s.r.found.add(s.n.at, "%s: want at least one element, got none", s.path)
				return nil, false
			}
			good, all := true, []V(nil)
			for _, item := range s.n.items {
				v, ok := elem.read(s.item(item))
				good = good && ok
				all = append(all, v)
			}
			return all, good
		},
		toml: func(p *printer, all []V) string {
			if len(all) < low {
				return ""
			}
			shown := make([]string, len(all))
			for i, v := range all {
				shown[i] = elem.toml(p, v)
			}
			return "[" + strings.Join(shown, ", ") + "]"
		},
	}
}

// set is a list in which nothing may stand twice.
func set[V comparable](elem kind[V], low int) kind[[]V] {
	k := list(elem, low)
	return kind[[]V]{
		toml: k.toml,
		read: func(s spot) ([]V, bool) {
			all, ok := k.read(s)
			if !ok {
				return nil, false
			}
			for i, v := range all {
				if first := slices.Index(all, v); first < i {
					item := s.n.items[i]
					s.r.found.add(item.at, "%s: %s stands twice, first at %s", s.path, item.got(), s.n.items[first].at)
					ok = false
				}
			}
			return all, ok
		},
	}
}

// dictionary is a table of strings under free names.
func dictionary(name func(string) (string, error), value func(string) error) kind[map[string]string] {
	return kind[map[string]string]{
		read: func(s spot) (map[string]string, bool) {
			if s.n.shape != aTable {
				s.bad(`want a table such as { NAME = "value" }`)
				return nil, false
			}
			before, all := len(s.r.found), map[string]string{}
			for _, e := range s.n.entries {
				key, err := name(e.name)
				if err != nil {
					s.r.found.add(e.at, "%s: %v, got %s", s.path, err, quote(e.name))
					continue
				}
				one := newSpot(s.r, scope(s.path).key(e.name), e.value)
				if e.value.shape != aString {
					one.bad("want a string")
				} else if err := value(e.value.text); err != nil {
					one.bad("%v", err)
				} else if _, twice := all[key]; twice {
					s.r.found.add(e.at, "%s: %s stands twice", s.path, quote(key))
				}
				all[key] = e.value.text
			}
			if len(all) == 0 {
				return nil, len(s.r.found) == before
			}
			return all, len(s.r.found) == before
		},
		toml: func(p *printer, all map[string]string) string {
			var shown []string
			for _, k := range slices.Sorted(maps.Keys(all)) {
				shown = append(shown, p.quote(k)+" = "+p.quote(all[k]))
			}
			if len(shown) == 0 {
				return ""
			}
			return "{ " + strings.Join(shown, ", ") + " }"
		},
	}
}

// record is an inline table with rows of its own; nil when it is not there.
func record[U any](sub schema[U]) kind[*U] {
	return kind[*U]{
		read: func(s spot) (*U, bool) {
			if s.n.shape != aTable {
				s.bad("want a table such as { %s = … }", sub[0].name)
				return nil, false
			}
			before, u := len(s.r.found), new(U)
			sub.reset(u, s.r.everything)
			sub.read(s.r, scope(s.path), u, s.n)
			return u, len(s.r.found) == before
		},
		toml: func(p *printer, u *U) string {
			if u == nil {
				return ""
			}
			var shown []string
			for _, row := range sub {
				if v := row.toml(p, u); v != "" {
					shown = append(shown, row.name+" = "+v)
				}
			}
			return "{ " + strings.Join(shown, ", ") + " }"
		},
	}
}

// words is a set of a few known words whose case does not matter.
func words(known ...string) kind[[]string] {
	want := "want one of " + strings.Join(known, ", ")
	return set(text(want, func(_ spot, text string) (string, error) {
		for _, w := range known {
			if strings.EqualFold(text, w) {
				return w, nil
			}
		}
		return "", fmt.Errorf("%s", want)
	}, same), 0)
}
