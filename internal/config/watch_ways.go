package config

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// ways are the folders on the ways to some files, by their path without symbolic
// links, and what is of interest in each.
type ways map[string]*wayPoint

// wayPoint is a folder.
type wayPoint struct {
	names    map[string]bool
	patterns []string
	dev, ino uint64
}

// waysTo finds every folder in which a change of a name can change what the file
// or the patterns name: with every symbolic link that is followed, and down to
// the first folder that is not there yet.
func waysTo(file string, patterns []string) ways {
	w := ways{}
	w.step("/", split(file, false), mostLinks)
	for _, p := range patterns {
		w.step("/", split(p, true), mostLinks)
	}
	for dir, p := range w {
		var st syscall.Stat_t
		if syscall.Lstat(dir, &st) == nil {
			p.dev, p.ino = uint64(st.Dev), st.Ino
		}
	}
	return w
}

// Bounds of a way. What is beyond them is not watched; the kernel follows as many
// links.
const (
	mostLinks   = 40
	mostFolders = 1000
)

// segment is a name, or a pattern of names.
type segment struct {
	text    string
	pattern bool
}

func split(path string, pattern bool) []segment {
	var all []segment
	for s := range strings.SplitSeq(path, "/") {
		if s != "" && s != "." {
			all = append(all, segment{s, pattern && strings.ContainsAny(s, `*?[\`)})
		}
	}
	return all
}

// step goes on from a folder.
func (w ways) step(dir string, rest []segment, links int) {
	if len(rest) == 0 || len(w) >= mostFolders {
		return
	}
	s := rest[0]
	if s.text == ".." {
		w.step(filepath.Dir(dir), rest[1:], links)
		return
	}
	p := w[dir]
	if p == nil {
		p = &wayPoint{names: map[string]bool{}}
		w[dir] = p
	}
	if !s.pattern {
		p.names[s.text] = true
		w.enter(dir, s.text, rest[1:], links)
		return
	}
	if !slices.Contains(p.patterns, s.text) {
		p.patterns = append(p.patterns, s.text)
	}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if ok, _ := filepath.Match(s.text, e.Name()); ok {
			w.enter(dir, e.Name(), rest[1:], links)
		}
	}
}

// enter goes on behind a name in a folder, if there is something behind it.
func (w ways) enter(dir, name string, rest []segment, links int) {
	path := filepath.Join(dir, name)
	info, err := os.Lstat(path)
	switch {
	case err != nil:
	case info.IsDir():
		w.step(path, rest, links)
	case info.Mode()&os.ModeSymlink != 0 && links > 0:
		target, err := os.Readlink(path)
		if err != nil {
			return
		}
		if filepath.IsAbs(target) {
			dir = "/"
		}
		w.step(dir, append(split(target, false), rest...), links-1)
	}
}

// wants reports whether a name in a folder is of interest.
func (w ways) wants(dir, name string) bool {
	p := w[dir]
	return p != nil && (p.names[name] || slices.ContainsFunc(p.patterns, func(pattern string) bool {
		ok, _ := filepath.Match(pattern, name)
		return ok
	}))
}

func (w ways) equal(other ways) bool {
	return maps.EqualFunc(w, other, func(a, b *wayPoint) bool {
		return a.dev == b.dev && a.ino == b.ino && maps.Equal(a.names, b.names) && slices.Equal(a.patterns, b.patterns)
	})
}

// silent are the file systems on which others write of whom this kernel does not
// know (statfs(2)).
var silent = map[int64]string{
	0x6969: "NFS", 0xff534d42: "CIFS", 0xfe534d42: "SMB2", 0x65735546: "FUSE", 0x01021997: "9P",
	0x00c36400: "Ceph", 0x5346414f: "AFS", 0x01161970: "GFS2",
}

// unheard says why changes may go unnoticed, or "".
func (w ways) unheard() string {
	for _, dir := range slices.Sorted(maps.Keys(w)) {
		var st syscall.Statfs_t
		if syscall.Statfs(dir, &st) != nil {
			continue
		}
		if name, ok := silent[int64(st.Type)]; ok {
			return fmt.Sprintf("%s is on %s", dir, name)
		}
	}
	if len(w) >= mostFolders {
		return fmt.Sprintf("include leads through more than %d folders", mostFolders)
	}
	return ""
}
