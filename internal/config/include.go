package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxFile is the largest file that is read: beyond it, -c names the wrong file.
const maxFile = 16 << 20

// disk is where files come from; fuzzing has an empty one.
type disk struct {
	read func(path string) ([]byte, error)
	glob func(pattern string) ([]string, error)
}

func realDisk() disk {
	return disk{read: readIncluded, glob: filepath.Glob}
}

// readIncluded refuses what a pattern may match by accident and a read would
// wait for, such as a FIFO.
func readIncluded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	if info.Size() > maxFile {
		return nil, errors.New("larger than 16MiB")
	}
	return os.ReadFile(path)
}

// cause is an error of the file system without operation and path, which the
// message has already.
func cause(err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "no such file"
	case errors.Is(err, syscall.EISDIR):
		return "is a directory"
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return err.Error()
}

// include reads the files that the main file's include names and merges them
// into its tree in the order of the patterns and, for each, of the names.
// Included files include nothing themselves, so there are no loops.
func include(d disk, root *node, mainPath string, found *problems) {
	e := root.find("include")
	if e == nil || e.value.shape != anArray {
		return
	}
	seen := map[string]bool{}
	for _, item := range e.value.items {
		if item.shape != aString || item.text == "" {
			continue
		}
		for _, path := range d.matches(item, found) {
			if path == mainPath {
				found.add(item.at, "include: %q names this file itself", item.text)
				continue
			}
			if seen[path] {
				continue
			}
			seen[path] = true
			data, err := d.read(path)
			if err != nil {
				found.add(item.at, "include: %s: %s", path, cause(err))
				continue
			}
			mergeFile(root, displayName(item, path), path, len(seen), data, found)
		}
	}
}

func mergeFile(root *node, name, path string, order int, data []byte, found *problems) {
	src := newSource(name, filepath.Dir(path), order, data)
	tree := parseTree(src, data, found)
	if e := tree.find("include"); e != nil {
		found.add(e.at, "include: only the main file may include others")
		delete(tree.index, "include")
	}
	merge(root, tree, "", found)
}

// matches are the absolute paths that one pattern names. A pattern without
// metacharacters must name something, as in nginx.
func (d disk) matches(item *node, found *problems) []string {
	pattern := absolutePattern(item.at.src.dir, item.text)
	paths, err := d.glob(pattern)
	if err != nil {
		return nil // a malformed pattern is reported by its row
	}
	if len(paths) == 0 && !strings.ContainsAny(item.text, `*?[`) {
		found.add(item.at, "include: %q: no such file", item.text)
	}
	return paths
}

// absolutePattern keeps metacharacters of the folder's own name literal.
func absolutePattern(dir, pattern string) string {
	if filepath.IsAbs(pattern) {
		return pattern
	}
	literal := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
	return filepath.Join(literal, pattern)
}

// displayName names an included file as the main file was named: relative to
// the working directory if that one was.
func displayName(item *node, path string) string {
	main := item.at.src
	if filepath.IsAbs(main.name) {
		return path
	}
	rel, err := filepath.Rel(main.dir, path)
	if err != nil {
		return path
	}
	return filepath.Join(filepath.Dir(main.name), rel)
}

// merge adds the tables of an included file: tables are joined, arrays of
// tables appended, anything else may be set in one file only.
func merge(into, from *node, scope scope, found *problems) {
	for _, e := range from.entries {
		if from.find(e.name) == nil {
			continue
		}
		old := into.find(e.name)
		switch {
		case old == nil:
			into.put(e)
		case old.value.shape == aTable && e.value.shape == aTable:
			merge(old.value, e.value, scope.table(e.name), found)
		case old.value.hasTables() && e.value.hasTables():
			old.value.items = append(old.value.items, e.value.items...)
		default:
			found.add(e.at, "%s: set twice, first at %s", scope.key(e.name), old.at)
		}
	}
}

func (n *node) hasTables() bool {
	return n.shape == anArray && len(n.items) > 0 && n.items[0].shape == aTable
}
