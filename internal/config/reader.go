package config

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// reader is one pass over a tree: what was wrong, and where everything stood.
type reader struct {
	found      problems
	marks      map[any]mark // by the pointer to the field that the key fills
	everything bool         // accept what is not supported yet, for tests of the whole schema
}

// mark is where a field of the Config was written.
type mark struct {
	path   string // the key as messages name it
	at     pos    // of the key
	value  *node
	failed bool // the value was refused
}

var bareKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// scope is the table that keys stand in, as the beginning of their path: "" at
// the top, "limits" in a table, `app "php": ` in an element of an array.
type scope string

func (s scope) key(name string) string {
	if !bareKey.MatchString(name) {
		name = quote(name)
	}
	if s == "" || strings.HasSuffix(string(s), ": ") {
		return string(s) + name
	}
	return string(s) + "." + name
}

func (s scope) table(name string) scope { return scope(s.key(name)) }

// element names one of an array of tables by the text of its title key, which
// may be a list, or by its number.
func (s scope) element(name string, i int, item *node, title string) scope {
	label := "#" + strconv.Itoa(i+1)
	if e := item.find(title); e != nil {
		v := e.value
		if v.shape == anArray && len(v.items) > 0 {
			v = v.items[0]
		}
		if v.shape == aString {
			label = quote(v.text)
		}
	}
	return scope(s.before() + name + " " + label + ": ")
}

// before is the scope as the beginning of a sentence about it.
func (s scope) before() string {
	if s == "" || strings.HasSuffix(string(s), ": ") {
		return string(s)
	}
	return string(s) + ": "
}

// spot is a value that is being read.
type spot struct {
	r    *reader
	path string
	n    *node
}

func newSpot(r *reader, path string, n *node) spot {
	if n.at.flag != "" {
		path = n.at.flag
	}
	return spot{r: r, path: path, n: n}
}

// item is an element of the value, under the same key.
func (s spot) item(n *node) spot { return spot{r: s.r, path: s.path, n: n} }

// bad reports the value; the format says what would be right.
func (s spot) bad(format string, args ...any) {
	s.r.found.add(s.n.at, "%s: %s, got %s", s.path, fmt.Sprintf(format, args...), s.n.got())
}

// absolute is a path of the file, relative to the file it stands in, or one of
// a flag, relative to the working directory.
func (s spot) absolute(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	if s.n.at.src != nil {
		return filepath.Join(s.n.at.src.dir, path)
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

// got is a value as messages show it.
func (n *node) got() string {
	switch n.shape {
	case aTable:
		return "a table"
	case anArray:
		return "a list"
	case aString:
		return quote(n.text)
	}
	return n.text
}

// quote shows foreign text on one line of bounded length.
func quote(text string) string {
	const most = 80
	if len(text) > most {
		cut := most
		for cut > 0 && !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut] + "…"
	}
	return strconv.Quote(text)
}

// didYouMean is a hint at the nearest of the known words, or "".
func didYouMean(word string, known []string) string {
	best, distance := "", 1+min(2, (len(word)+1)/3)
	for _, k := range known {
		if d := editDistance(strings.ToLower(word), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// editDistance counts insertions, deletions and replacements of bytes, and
// swaps of neighbours. Words whose lengths differ too much are not compared.
func editDistance(a, b string) int {
	if d := len(a) - len(b); d > 2 || d < -2 {
		return 3
	}
	var before []int
	last, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j]+cost, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}
