package config

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Error is one mistake of a configuration.
type Error struct {
	File    string // as the user named it; "" for a command-line flag
	Line    int    // from 1; 0 when the mistake has no place in the file
	Column  int    // from 1, in bytes
	Message string // lower case, begins with the key or the flag
	Exec    bool   // a command that cannot be executed
}

// Error is FILE:LINE:COLUMN: MESSAGE, without the parts that are not known.
func (e *Error) Error() string {
	switch {
	case e.File == "":
		return e.Message
	case e.Line == 0:
		return e.File + ": " + e.Message
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
}

// Errors is every mistake of a configuration in the order of the files and of
// the positions in them. It is what Load, Parse, With and CheckFiles return.
type Errors []*Error

// Error has one line for each mistake.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, one := range e {
		lines[i] = one.Error()
	}
	return strings.Join(lines, "\n")
}

// OnlyExec reports whether commands that cannot be executed are all that is
// wrong: the configuration itself is good.
func (e Errors) OnlyExec() bool {
	return !slices.ContainsFunc(e, func(one *Error) bool { return !one.Exec })
}

// Unwrap lets errors.As find the first *Error.
func (e Errors) Unwrap() []error {
	list := make([]error, len(e))
	for i, one := range e {
		list[i] = one
	}
	return list
}

// source is one file that was read.
type source struct {
	name  string // as in messages
	dir   string // absolute; relative paths of the file start here
	order int    // place in the sorted errors: the main file is 0
	lines []int  // offset of the beginning of each line
}

func newSource(name, dir string, order int, data []byte) *source {
	s := &source{name: name, dir: dir, order: order, lines: []int{0}}
	for i, b := range data {
		if b == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// pos is the place of a key or a value: in a file, or on the command line.
type pos struct {
	src    *source
	offset int
	flag   string // such as "--accept"; then src is nil
}

func (p pos) lineColumn() (line, column int) {
	line = sort.SearchInts(p.src.lines, p.offset+1)
	return line, p.offset - p.src.lines[line-1] + 1
}

// String is how a message refers to another place.
func (p pos) String() string {
	if p.src == nil {
		return p.flag
	}
	line, column := p.lineColumn()
	return fmt.Sprintf("%s:%d:%d", p.src.name, line, column)
}

// problems collects mistakes in any order.
type problems []problem

type problem struct {
	at      pos
	message string
	exec    bool
}

func (p *problems) add(at pos, format string, args ...any) {
	*p = append(*p, problem{at: at, message: fmt.Sprintf(format, args...)})
}

// err is nil or the sorted Errors. Two mistakes at one place with one text are
// one: a value that several checks look at.
func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	slices.SortStableFunc(p, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.order(), b.order()), cmp.Compare(a.at.offset, b.at.offset))
	})
	p = slices.CompactFunc(p, func(a, b problem) bool { return a == b })
	list := make(Errors, len(p))
	for i, one := range p {
		list[i] = &Error{Message: one.message, Exec: one.exec}
		if one.at.src != nil {
			list[i].File = one.at.src.name
			list[i].Line, list[i].Column = one.at.lineColumn()
		}
	}
	return list
}

// order sorts flags before the files.
func (p problem) order() int {
	if p.at.src == nil {
		return -1
	}
	return p.at.src.order
}
