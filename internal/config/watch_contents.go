package config

import (
	"bytes"
	"crypto/sha256"
	"path/filepath"
	"slices"
)

// contents are the files of a configuration, in the order in which they are
// read.
type contents []fileContent

// fileContent is what a file held.
type fileContent struct {
	path   string
	sum    [sha256.Size]byte
	fault  string // why it could not be read
	blank  bool   // there is nothing but white space
	broken bool   // it cannot be parsed
}

func contentOf(path string, data []byte, err error) fileContent {
	if err != nil {
		return fileContent{path: path, fault: cause(err)}
	}
	return fileContent{path: path, sum: sha256.Sum256(data), blank: len(bytes.TrimSpace(data)) == 0}
}

// recording makes d note what it reads.
func (c *contents) recording(d disk) disk {
	read := d.read
	d.read = func(path string) ([]byte, error) {
		data, err := read(path)
		*c = append(*c, contentOf(path, data, err))
		return data, err
	}
	return d
}

func (c contents) equal(other contents) bool {
	return slices.EqualFunc(c, other, func(a, b fileContent) bool {
		return a.path == b.path && a.sum == b.sum && a.fault == b.fault
	})
}

// doubtful reports whether this may be the middle of a change: something cannot
// be parsed, or is empty or gone and was not before.
func (c contents) doubtful(before contents) bool {
	now := map[string]fileContent{}
	for _, f := range c {
		now[f.path] = f
		if f.broken {
			return true
		}
	}
	for _, was := range before {
		is, there := now[was.path]
		if was.fault == "" && (!there || is.fault != "" || is.blank && !was.blank) {
			return true
		}
	}
	return false
}

// readContents reads a main file and what its include names. Where the main file
// says nothing of it, being broken, that is what the patterns name; those that
// are in effect are returned. A main file that is no regular file is not read:
// it may be a pipe.
func readContents(file string, patterns []string) (contents, []string) {
	var all contents
	d := all.recording(realDisk())
	data, err := d.read(file)
	if err == nil {
		if listed, ok := all[0].includes(data, file); ok {
			patterns = listed
		}
	}
	seen := map[string]bool{file: true}
	for _, p := range patterns {
		paths, err := d.glob(p)
		if err != nil {
			continue
		}
		for _, path := range paths {
			if seen[path] {
				continue
			}
			seen[path] = true
			if data, err := d.read(path); err == nil {
				all[len(all)-1].includes(data, path)
			}
		}
	}
	return all, patterns
}

// includes are the patterns of a file, absolute. A broken file is marked so, and
// says nothing.
func (f *fileContent) includes(data []byte, path string) (patterns []string, ok bool) {
	var found problems
	src := newSource(path, filepath.Dir(path), 0, data)
	root := parseTree(src, data, &found)
	if f.broken = len(found) > 0; f.broken {
		return nil, false
	}
	e := root.find("include")
	if e == nil {
		return nil, true
	}
	for _, item := range e.value.items {
		if item.shape == aString && item.text != "" {
			patterns = append(patterns, absolutePattern(src.dir, item.text))
		}
	}
	return patterns, true
}
