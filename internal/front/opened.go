package front

import (
	"net/http"
	"path/filepath"
)

// openHere opens a regular file on whose way no link lies: one call says all that
// a look-up, a search for links and the opening would. False: it is none, or
// something else is to be done first.
func (s *Site) openHere(r *Route, root, name string, q query) (Target, bool) {
	if !q.open || r != nil && r.guarded() {
		return Target{}, false
	}
	full := root + name
	f, err := s.Files.OpenLinkless(full)
	switch {
	case err != nil:
		return Target{Root: root, File: name, busy: err}, true
	case f == nil:
		return Target{}, false
	}
	if !s.sources.none() && s.sources.name(r, root, filepath.Clean(full)) {
		f.Close()
		return refuse(http.StatusForbidden, "the source of a script is not sent"), true
	}
	return Target{Root: root, File: name, opened: f}, true
}

// close closes a file that has been opened for nothing.
func (t *Target) close() {
	if t.opened != nil {
		t.opened.Close()
	}
}
