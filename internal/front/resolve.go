package front

import (
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sluice/sendfile"
)

// Target is what a URL reaches.
type Target struct {
	Site  *Site
	Route *Route // nil: no route matched; the site's files
	Path  string // that of the URL as routes see it; "" with a Status that is no route's

	// Status is an answer without more ado: 400, 403, 404, or 301 to Location.
	Status   int
	Reason   string // for the log and explain: why
	Location string

	// File is a static file, or the one that a filter is given: its name below
	// Root.
	Root, File string
	opened     *sendfile.File // nil: it is still to be opened
	busy       error          // why it cannot be at the moment

	// The script of an app.
	App            *App
	ScriptName     string
	ScriptFilename string
	Folder         string // where ScriptFilename was looked for, with its slash; "" where the route names the script, or it is not ours to start
	PathInfo       string
	DocumentRoot   string
}

func refuse(status int, reason string) Target { return Target{Status: status, Reason: reason} }

// query is how a path is looked up.
type query struct {
	inside bool // for a local redirect, to which internal routes are open
	open   bool // a static file may be opened where it is found
}

// Resolve finds what the path of a URL reaches on a site. inside is for a local
// redirect, to which internal routes are open.
func (s *Site) Resolve(u *url.URL, inside bool) Target { return s.find(u, query{inside: inside}) }

func (s *Site) find(u *url.URL, q query) Target {
	path := u.Path
	if path == "" && u.Scheme != "" { // the target of CONNECT has neither
		path = "/" // http://host, or http://host?query (RFC 9110 section 4.2.3)
	}
	p, ok := cleaned(path)
	if !ok {
		return Target{Site: s, Status: http.StatusBadRequest, Reason: "the path goes above the root, or is none"}
	}
	// Without a RawPath the path is what the usual encoding makes of it, in which
	// no slash is encoded.
	if u.RawPath != "" {
		if raw := u.EscapedPath(); hasEncodedSlash(raw) {
			var t Target
			if p, t = s.encodedSlashes(p, raw); t.Status != 0 {
				t.Site = s
				return t
			}
		}
	}
	t := s.resolve(p, q, len(s.Index)+2)
	t.Site, t.Path = s, p
	return t
}

// encodedSlashes applies the policy of the route that the path would reach.
func (s *Site) encodedSlashes(p, raw string) (string, Target) {
	policy := RefuseSlashes
	for _, r := range s.Routes {
		if _, ok := r.under(p); ok && (r.Ending == "" || strings.Contains(p, r.Ending)) {
			policy = r.Slashes
			break
		}
	}
	switch policy {
	case DecodeSlashes:
		return p, Target{}
	case KeepSlashes:
		kept, err := keepSlashes(raw, url.PathUnescape)
		if c, ok := cleaned(kept); err == nil && ok {
			return c, Target{}
		}
	}
	return "", refuse(http.StatusNotFound, "encoded slash in the path")
}

// under reports whether the path lies under the route's prefix, on a segment
// boundary, and what comes behind it: "" or with its slash.
func (r *Route) under(p string) (rest string, ok bool) {
	if r.Exact {
		return "", p == r.Prefix
	}
	base := strings.TrimSuffix(r.Prefix, "/")
	rest, ok = strings.CutPrefix(p, base)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	// "/dir/" does not match "/dir": that is redirected.
	if rest == "" && strings.HasSuffix(r.Prefix, "/") && r.Prefix != "/" {
		return "", false
	}
	return rest, true
}

// resolve tries the routes in order, then the files of the site. depth bounds
// the steps from a folder to its index and to the fallback.
func (s *Site) resolve(p string, q query, depth int) Target {
	for _, r := range s.Routes {
		rest, ok := r.under(p)
		closed := r.Internal && !q.inside
		if !ok {
			if r.wantsSlash(p) {
				return r.redirect(p, closed)
			}
			continue
		}
		if closed && r.Ending == "" {
			return r.refuse(http.StatusNotFound, "the route is internal")
		}
		t, ok := s.route(r, p, rest, q, depth)
		switch {
		case ok && closed:
			t.close()
			return r.refuse(http.StatusNotFound, "the route is internal")
		case ok:
			t.Route = r
			return t
		}
	}
	return s.files(nil, p, s.Root, p, q, depth)
}

func (r *Route) refuse(status int, reason string) Target {
	t := refuse(status, reason)
	t.Route = r
	return t
}

// redirect is the answer to the route's folder without its slash: where that is
// public, the way to it.
func (r *Route) redirect(p string, closed bool) Target {
	switch {
	case closed:
		return r.refuse(http.StatusNotFound, "the route is internal")
	case r.Deny:
		return r.refuse(http.StatusForbidden, "the route denies")
	}
	return Target{Route: r, Status: http.StatusMovedPermanently, Location: p + "/", Reason: "a folder without its slash"}
}

// wantsSlash reports whether the path is the route's prefix without its slash.
func (r *Route) wantsSlash(p string) bool {
	return !r.Exact && r.Ending == "" && r.Prefix == p+"/"
}

func (s *Site) route(r *Route, p, rest string, q query, depth int) (Target, bool) {
	switch {
	case r.Deny && r.Ending == "":
		return refuse(http.StatusForbidden, "the route denies"), true
	case r.Deny:
		// In every spelling, as for the ending of a script.
		low, end := strings.ToLower(p), strings.ToLower(r.Ending)
		if looksLike(low, end) || strings.Contains(low, end+"/") {
			return refuse(http.StatusForbidden, "the route denies"), true
		}
		return Target{}, false
	case r.Ending != "":
		return s.byEnding(r, p, rest, q)
	case r.App == nil:
		return s.static(r, p, rest, q), true
	case r.Script != "":
		return s.script(r, filepath.Dir(r.Script), strings.TrimSuffix(p[:len(p)-len(rest)], "/"), r.Script, rest), true
	case r.Dir != "":
		return s.walk(r, r.Dir, strings.TrimSuffix(r.Prefix, "/"), rest), true
	case r.App.Scripts, r.App.Filter:
		return s.walk(r, s.Root, "", p), true
	}
	return s.virtual(r, rest), true
}

// byEnding splits the path at the first existing regular file with the route's
// ending. A route with a script runs that one instead of the file.
func (s *Site) byEnding(r *Route, p, rest string, q query) (Target, bool) {
	base := p[:len(p)-len(rest)]
	dir := s.Root + base
	if r.Dir != "" {
		dir = r.Dir
	}
	if r.App == nil {
		if !strings.HasSuffix(p, r.Ending) {
			return Target{}, false
		}
		return s.file(r, dir, rest, q), true
	}
	for head, info := range heads(rest) {
		if strings.HasSuffix(head, r.Ending) && len(path.Base(head)) > len(r.Ending) {
			if r.App.ScriptRoot != "" && !r.App.Filter || s.regular(dir, head) {
				return s.script(r, dir, base+head, dir+head, info), true
			}
		}
	}
	return Target{}, false
}

// regular reports whether the name below dir is a regular file that may be
// used.
func (s *Site) regular(dir, name string) bool {
	kind, err := s.stat(dir, name)
	return err == nil && kind == unix.S_IFREG
}

// stat looks up what kind of file a name is, as in st_mode; where the site does
// not follow symbolic links, none below dir counts.
func (s *Site) stat(dir, name string) (kind uint32, err error) {
	full := dir + name
	if !s.FollowSymlinks && !linkless(full) {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return 0, err
		}
		got, err := filepath.EvalSymlinks(full)
		if err != nil {
			return 0, err
		}
		if got != filepath.Clean(real+name) {
			return 0, os.ErrNotExist
		}
	}
	var st unix.Stat_t
	for {
		if err := unix.Stat(full, &st); err != unix.EINTR {
			return st.Mode & unix.S_IFMT, err
		}
	}
}

// walk follows the rest of the path below dir to the first regular file.
func (s *Site) walk(r *Route, dir, base, rest string) Target {
	for head, info := range heads(rest) {
		if head == "/" {
			continue
		}
		kind, err := s.stat(dir, head)
		switch {
		case err != nil:
			return refuse(http.StatusNotFound, "no file "+dir+head)
		case kind == unix.S_IFREG:
			return s.script(r, dir, base+head, dir+head, info)
		case kind != unix.S_IFDIR:
			return refuse(http.StatusForbidden, dir+head+" is not a regular file")
		}
	}
	return refuse(http.StatusForbidden, "a folder of scripts")
}

// script is a script below dir, or for a filter the file that it is given.
func (s *Site) script(r *Route, dir, name, file, info string) Target {
	if s.HideDotfiles && Hidden(name) {
		return refuse(http.StatusNotFound, "a name that begins with a dot")
	}
	t := Target{App: r.App, ScriptName: name, ScriptFilename: file, PathInfo: info, DocumentRoot: s.Root}
	if r.App.Scripts && (r.Script == "" || r.Ending != "") {
		t.Folder = dir + "/"
	}
	if r.App.Filter {
		t.Root, t.File = dir, strings.TrimPrefix(file, dir)
	}
	if sr := r.App.ScriptRoot; sr != "" {
		t.DocumentRoot = sr
		if rel, ok := strings.CutPrefix(file, s.Root+"/"); ok {
			t.ScriptFilename = strings.TrimSuffix(sr, "/") + "/" + rel
		}
	}
	return t
}

// virtual gives a whole prefix to an application that finds its own way.
func (s *Site) virtual(r *Route, rest string) Target {
	return s.script(r, s.Root, r.name, r.file, rest)
}

// static is a route that serves files.
func (s *Site) static(r *Route, p, rest string, q query) Target {
	q.inside = false
	if r.Alias == "" {
		return s.files(r, p, s.Root, p, q, 0)
	}
	if r.Exact {
		return s.file(r, filepath.Dir(r.Alias), "/"+filepath.Base(r.Alias), q)
	}
	if rest == "" {
		rest = "/"
	}
	return s.files(r, p, strings.TrimSuffix(r.Alias, "/"), rest, q, -1)
}

// files looks a path up among files: name below root. depth says what an index
// may be: above 0, whatever its path reaches; otherwise a file.
func (s *Site) files(r *Route, p, root, name string, q query, depth int) Target {
	if s.HideDotfiles && Hidden(name) {
		return refuse(http.StatusNotFound, "a name that begins with a dot")
	}
	if root == "" {
		return refuse(http.StatusNotFound, "the site has no root and no route matched")
	}
	if !strings.HasSuffix(name, "/") {
		if t, ok := s.openHere(r, root, name, q); ok {
			return t
		}
	}
	may := q.open
	q.open = q.open && strings.HasSuffix(name, "/") // else it has been tried
	kind, err := s.stat(root, name)
	switch {
	case err == nil && kind == unix.S_IFDIR:
		if !strings.HasSuffix(p, "/") {
			return Target{Status: http.StatusMovedPermanently, Location: p + "/", Reason: "a folder without its slash"}
		}
		if t, ok := s.index(r, p, root, name, q, depth); ok {
			return t
		}
		if depth <= 0 || s.Fallback == "" {
			return refuse(http.StatusForbidden, "a folder without an index")
		}
	case err == nil && strings.HasSuffix(name, "/"):
		// A file is no folder.
	case err == nil:
		return s.file(r, root, name, q)
	case os.IsPermission(err):
		return refuse(http.StatusForbidden, "no permission for "+root+name)
	}
	if depth > 0 && s.Fallback != "" && p != s.Fallback {
		return s.resolve(s.Fallback, query{inside: true, open: may}, 0)
	}
	return refuse(http.StatusNotFound, "no file "+root+name)
}

// index looks for the index of a folder.
func (s *Site) index(r *Route, p, root, name string, q query, depth int) (Target, bool) {
	for _, i := range s.Index {
		if !s.regular(root, name+i) {
			continue
		}
		if depth > 0 {
			return s.resolve(p+i, q, 0), true
		}
		return s.file(r, root, name+i, q), true
	}
	return Target{}, false
}

// file is a static file, unless it is a script: whatever the spelling, the
// source of one is never sent.
func (s *Site) file(r *Route, root, name string, q query) Target {
	if s.HideDotfiles && Hidden(name) {
		return refuse(http.StatusNotFound, "a name that begins with a dot")
	}
	if t, ok := s.openHere(r, root, name, q); ok {
		return t
	}
	if s.sources.has(r, root, root+name) {
		return refuse(http.StatusForbidden, "the source of a script is not sent")
	}
	return Target{Root: root, File: name}
}
