package front

import (
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// sources are the scripts of a site, whose text is never sent as a file,
// whatever its URL, its route or the links that lead to it.
type sources struct {
	endings  []string // of script routes, lower case
	programs []string // of script = …
	folders  []string // of dir = …, and of prefixes whose app runs what lies there
}

// sourcesOf collects them from the routes.
func sourcesOf(s *Site) sources {
	var src sources
	for _, r := range s.Routes {
		switch {
		case r.App == nil:
		case r.Ending != "":
			src.endings = append(src.endings, strings.ToLower(r.Ending))
		case r.Script != "":
			src.programs = append(src.programs, names(r.Script)...)
		case r.Dir != "":
			src.folders = append(src.folders, names(r.Dir)...)
		case (r.App.Scripts || r.App.Filter) && s.Root != "":
			src.folders = append(src.folders, names(s.Root+r.Prefix)...)
		}
	}
	return src
}

// names are a path, and what it is when links are followed.
func names(p string) []string {
	all := []string{filepath.Clean(p)}
	if real, err := filepath.EvalSymlinks(p); err == nil && real != all[0] {
		all = append(all, real)
	}
	return all
}

// none reports whether the site has no scripts.
func (src *sources) none() bool { return len(src.endings)+len(src.programs)+len(src.folders) == 0 }

// has reports whether a file below root, which a static route or none (nil) has
// led to, is the source of a script.
func (src *sources) has(r *Route, root, file string) bool {
	if src.none() {
		return false
	}
	file = filepath.Clean(file)
	if src.name(r, root, file) {
		return true
	}
	if linkless(file) {
		return false
	}
	real, err := filepath.EvalSymlinks(file)
	return err == nil && real != file && src.name(r, root, real)
}

// linkless reports whether no symbolic link lies on the way to the file. It
// asks the kernel once, where EvalSymlinks asks for every folder.
func linkless(file string) bool {
	fd, err := unix.Openat2(unix.AT_FDCWD, file, &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS})
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

func (src *sources) name(r *Route, root, file string) bool {
	base := path.Base(file)
	for _, e := range src.endings {
		if looksLike(base, e) {
			return true
		}
	}
	for _, p := range src.programs {
		if file == p {
			return true
		}
	}
	for _, f := range src.folders {
		if within(file, f) && !carvedOut(r, root, f) {
			return true
		}
	}
	return false
}

// carvedOut reports whether the operator has named the files of the route one by
// one, by their ending, or as a folder inside the folder of scripts.
func carvedOut(r *Route, root, folder string) bool {
	switch {
	case r == nil:
		return false
	case r.Exact || r.Ending != "":
		return true
	case r.Alias == "":
		root += r.Prefix
	}
	root = filepath.Clean(root)
	return root != folder && within(root, folder)
}

// within reports whether the clean path is the folder or lies in it.
func within(p, folder string) bool {
	rest, ok := strings.CutPrefix(p, folder)
	return ok && (rest == "" || rest[0] == '/' || folder == "/")
}
