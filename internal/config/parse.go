package config

import (
	"errors"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"
)

// shape is what a node is in TOML.
type shape int

const (
	aTable shape = iota + 1
	anArray
	aString
	anInteger
	aBool
	aFloat
	aTime
)

// node is one value of a file.
type node struct {
	shape   shape
	at      pos
	text    string   // decoded for a string, as written for the other scalars
	items   []*node  // of an array
	entries []*entry // of a table, in the order of the file
	index   map[string]*entry
}

// entry is one key of a table and its value.
type entry struct {
	name  string
	at    pos
	value *node
}

func newTable(at pos) *node {
	return &node{shape: aTable, at: at, index: map[string]*entry{}}
}

func (n *node) find(name string) *entry { return n.index[name] }

// put adds a key, or replaces what it was.
func (n *node) put(e *entry) {
	if old := n.index[e.name]; old != nil {
		*old = *e
		return
	}
	n.index[e.name] = e
	n.entries = append(n.entries, e)
}

// parseTree turns one file into a tree. Syntax errors and keys that are set
// twice in the file are go-toml's; it stops at the first.
func parseTree(src *source, data []byte, found *problems) *node {
	root := newTable(pos{src: src})
	var probe map[string]any
	if err := toml.Unmarshal(data, &probe); err != nil {
		found.add(syntaxPosition(src, err), "%s", strings.TrimPrefix(err.Error(), "toml: "))
		return root
	}
	b := builder{src: src, data: data, root: root, current: root, found: found}
	b.parser.Reset(data)
	for b.parser.NextExpression() {
		b.expression(b.parser.Expression())
	}
	if err := b.parser.Error(); err != nil {
		found.add(pos{src: src}, "%v", err)
	}
	return root
}

func syntaxPosition(src *source, err error) pos {
	at := pos{src: src}
	var decode *toml.DecodeError
	if errors.As(err, &decode) {
		if line, column := decode.Position(); line >= 1 && line <= len(src.lines) {
			at.offset = src.lines[line-1] + max(column, 1) - 1
		}
	}
	return at
}

// builder hangs the expressions of one file, line by line, into a tree.
type builder struct {
	src     *source
	data    []byte
	parser  unstable.Parser
	root    *node
	current *node // the table that the last header opened
	found   *problems
}

// part is one name of a dotted key.
type part struct {
	name string
	at   pos
	end  int // offset behind it
}

func (b *builder) expression(e *unstable.Node) {
	switch e.Kind {
	case unstable.Table:
		b.current = b.descend(b.root, b.parts(e.Key()))
	case unstable.ArrayTable:
		parts := b.parts(e.Key())
		last := parts[len(parts)-1]
		b.current = b.appendTable(b.descend(b.root, parts[:len(parts)-1]), last)
	case unstable.KeyValue:
		b.assign(b.current, e)
	}
}

func (b *builder) parts(it unstable.Iterator) []part {
	var list []part
	for it.Next() {
		raw := it.Node().Raw
		list = append(list, part{
			name: string(it.Node().Data),
			at:   pos{src: b.src, offset: int(raw.Offset)},
			end:  int(raw.Offset + raw.Length),
		})
	}
	return list
}

// descend follows the names, and makes the tables that no header has named.
// In an array of tables the last one is meant.
func (b *builder) descend(n *node, parts []part) *node {
	for _, p := range parts {
		e := n.find(p.name)
		if e == nil {
			e = &entry{name: p.name, at: p.at, value: newTable(p.at)}
			n.put(e)
		}
		n = e.value
		if n.shape == anArray && len(n.items) > 0 {
			n = n.items[len(n.items)-1]
		}
		if n.shape != aTable {
			b.found.add(p.at, "%s: is not a table, see %s", p.name, e.at)
			return newTable(p.at)
		}
	}
	return n
}

func (b *builder) appendTable(parent *node, last part) *node {
	e := parent.find(last.name)
	if e == nil {
		e = &entry{name: last.name, at: last.at, value: &node{shape: anArray, at: last.at}}
		parent.put(e)
	}
	t := newTable(last.at)
	if e.value.shape != anArray {
		b.found.add(last.at, "%s: is not an array of tables, see %s", last.name, e.at)
		return t
	}
	e.value.items = append(e.value.items, t)
	return t
}

func (b *builder) assign(table *node, kv *unstable.Node) {
	parts := b.parts(kv.Key())
	last := parts[len(parts)-1]
	table = b.descend(table, parts[:len(parts)-1])
	if old := table.find(last.name); old != nil {
		b.found.add(last.at, "%s: set twice, first at %s", last.name, old.at)
		return
	}
	value := b.value(kv.Value(), b.valueOffset(last.end))
	table.put(&entry{name: last.name, at: last.at, value: value})
}

// valueOffset finds the value behind a key: go-toml keeps no position of arrays.
func (b *builder) valueOffset(keyEnd int) int {
	rest := strings.TrimLeft(string(b.data[keyEnd:min(keyEnd+1024, len(b.data))]), " \t=")
	return min(keyEnd+1024, len(b.data)) - len(rest)
}

// value converts one value. at is its offset where the parser does not tell;
// an array within an array has the position of the outer one.
func (b *builder) value(v *unstable.Node, at int) *node {
	if v.Raw.Length > 0 {
		at = int(v.Raw.Offset)
	}
	n := &node{at: pos{src: b.src, offset: at}, text: string(v.Data)}
	switch v.Kind {
	case unstable.Array:
		n.shape = anArray
		for it := v.Children(); it.Next(); {
			n.items = append(n.items, b.value(it.Node(), at))
		}
	case unstable.InlineTable:
		n = newTable(n.at)
		for it := v.Children(); it.Next(); {
			b.assign(n, it.Node())
		}
	case unstable.String:
		n.shape = aString
	case unstable.Integer:
		n.shape = anInteger
	case unstable.Bool:
		n.shape = aBool
	case unstable.Float:
		n.shape = aFloat
	default:
		n.shape = aTime
	}
	return n
}
