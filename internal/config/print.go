package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// Print writes the configuration in effect, every default filled in, as TOML
// that Load takes again and makes an equal Config of, but for File and Include:
// included files are part of what is printed. Keys of features that are not
// built are left out and listed in a comment. The error is the writer's, or
// tells of a path that TOML cannot hold because it is not UTF-8.
func (c *Config) Print(w io.Writer) error {
	return c.print(w, false)
}

func (c *Config) print(w io.Writer, everything bool) error {
	p := &printer{everything: everything}
	if c.File != "" {
		fmt.Fprintf(&p.out, "# %q with every default.\n", c.File)
	}
	if closed := closedKeys(); len(closed) > 0 && !everything {
		p.comment("Not supported yet, and so left out: " + strings.Join(closed, ", ") + ".")
	}
	for _, pattern := range c.Include {
		fmt.Fprintf(&p.out, "# included: %q\n", pattern)
	}
	fileRows.print(p, c.asDraft(), "")
	if p.err != nil {
		return p.err
	}
	_, err := p.out.WriteTo(w)
	return err
}

// closedKeys are the keys of which no value is supported.
func closedKeys() []string {
	var all []keyPath
	fileRows.paths("", &all)
	var closed []string
	for _, k := range all {
		if !k.open {
			closed = append(closed, k.name)
		}
	}
	return closed
}

// asDraft splits the listeners into the two forms of the file: those that are
// plain and come first stand in listen.
func (c *Config) asDraft() *draft {
	d := &draft{Config: c}
	for _, l := range c.Listeners {
		e := endpoint{l.Network, l.Address}
		if len(d.long) == 0 && reflect.DeepEqual(plainListener(e), l) {
			d.listen = append(d.listen, e)
			continue
		}
		d.long = append(d.long, &longListener{Listener: l, where: e})
	}
	return d
}

// printer collects the text, and the first error.
type printer struct {
	out        bytes.Buffer
	everything bool // also what is not supported yet
	err        error
}

// print writes the plain keys of a table, then the tables in it: TOML counts
// what follows a header to that header.
func (s schema[T]) print(p *printer, t *T, header string) {
	for _, row := range s {
		if row.toml == nil || row.when != nil && !row.when(t) {
			continue
		}
		if v := row.toml(p, t); v != "" {
			fmt.Fprintf(&p.out, "%s = %s\n", row.name, v)
		}
	}
	for _, row := range s {
		if row.block != nil {
			row.block(p, t, header)
		}
	}
}

// table writes a header and what stands under it; a header over nothing is
// left out unless it is an element of an array.
func (p *printer) table(header string, body func()) {
	before := p.out.Len()
	fmt.Fprintf(&p.out, "\n%s\n", header)
	with := p.out.Len()
	body()
	if p.out.Len() == with && !strings.HasPrefix(header, "[[") {
		p.out.Truncate(before)
	}
}

func (p *printer) comment(text string) {
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+len(word) > 100 {
			p.out.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	p.out.WriteString(line + "\n")
}

// quote is a basic string of TOML.
func (p *printer) quote(text string) string {
	if !utf8.ValidString(text) && p.err == nil {
		p.err = errors.New("print configuration: not UTF-8: " + quote(text))
	}
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
