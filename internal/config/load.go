package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
)

// origin remembers where the values of a Config were written, for CheckFiles
// and With.
type origin struct {
	src   *source // the main file
	tree  *node   // the files, merged
	draft *draft
	marks map[any]mark
	files contents // what was read
}

// Load reads a file and what it includes. The error is nil or Errors with every
// mistake in all of them; a file that cannot be parsed hides only its own.
//
// include is read in the main file only. Its patterns are relative to that file;
// tables of the included files are joined with those of the main one, arrays of
// tables ([[listener]], [[app]], [[site]]) are appended in the order of patterns
// and names, and any other key may be set in one file only.
func Load(path string) (*Config, error) {
	data, err := readMain(path)
	if err != nil {
		return nil, Errors{{File: path, Message: cause(err)}}
	}
	return Parse(path, data)
}

// readMain takes what a shell may hand over, such as a pipe, but no folder.
func readMain(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, errors.New("larger than 16MiB")
	}
	return os.ReadFile(path)
}

// Parse is Load for a text that is already in memory. The name stands in
// messages and, made absolute, in File; its folder is where relative paths and
// include start. With the name "" there is no file: errors are printed
// without their position, and relative paths start in the working directory.
func Parse(name string, data []byte) (*Config, error) {
	return parse(name, data, realDisk(), false)
}

func parse(name string, data []byte, d disk, everything bool) (*Config, error) {
	absolute, err := filepath.Abs(name)
	if err != nil {
		return nil, Errors{{File: name, Message: cause(err)}}
	}
	dir := absolute
	if name != "" {
		dir = filepath.Dir(absolute)
	}
	var found problems
	src := newSource(name, dir, 0, data)
	root := parseTree(src, data, &found)
	files := contents{contentOf(absolute, data, nil)}
	include(files.recording(d), root, absolute, &found)
	if name == "" {
		absolute = ""
	}
	c, err := build(absolute, src, root, found, everything)
	if err == nil {
		c.origin.files = files
	}
	return c, err
}

// build turns a tree into a Config. It may be called again with another tree of
// the same file.
func build(file string, src *source, root *node, found problems, everything bool) (*Config, error) {
	r := &reader{found: found, marks: map[any]mark{}, everything: everything}
	d := &draft{Config: &Config{File: file}}
	fileRows.reset(d, everything)
	fileRows.read(r, "", d, root)
	o := &origin{src: src, tree: root, draft: d, marks: r.marks}
	d.origin = o
	c := &checker{origin: o, found: &r.found}
	c.resolve()
	if len(found) == 0 { // else what a broken file holds would be missing in the others
		c.check()
	}
	if err := r.found.err(); err != nil {
		return nil, err
	}
	return d.Config, nil
}

// Equal reports whether two configurations have the same values, wherever these
// were written.
func (c *Config) Equal(other *Config) bool {
	if c == nil || other == nil {
		return c == other
	}
	a, b := *c, *other
	a.origin, b.origin = nil, nil
	return reflect.DeepEqual(a, b)
}
