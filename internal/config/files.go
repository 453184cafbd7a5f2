package config

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// CheckFiles verifies what a configuration names outside of itself: programs
// that can be executed, folders and files that exist, users and groups. It looks
// with the rights of the calling process, and changes nothing outside. The error
// is nil or Errors with every mistake. It reads the secrets of signed links, since
// workers may have no right to, and shed_file, which is sent from memory; so a
// configuration that has not been checked cannot be served if it has any.
func (c *Config) CheckFiles() error {
	if c.origin == nil {
		return errors.New("check files: the configuration was not loaded")
	}
	var found problems
	f := &fileChecker{checker{origin: c.origin, found: &found}}
	f.top(c.origin.draft)
	c.Send.Shed = c.origin.draft.Send.Shed
	for _, a := range c.Apps {
		f.app(a)
	}
	apps := map[string]*App{}
	for _, a := range c.Apps {
		apps[a.Name] = a
	}
	for _, s := range c.Sites {
		f.site(s, apps)
	}
	return found.err()
}

type fileChecker struct{ checker }

// wantFile is what a path has to be.
type wantFile struct {
	what string
	ok   func(fs.FileInfo) bool
}

var (
	aFolder = wantFile{"a folder", fs.FileInfo.IsDir}
	aFile   = wantFile{"a file", func(i fs.FileInfo) bool { return i.Mode().IsRegular() }}
	either  = wantFile{"a folder or a file", func(i fs.FileInfo) bool { return i.IsDir() || i.Mode().IsRegular() }}
)

// lacks says what is wrong with a path, or "".
func (w wantFile) lacks(path string) string {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return quote(path) + ": " + cause(err)
	case !w.ok(info):
		return quote(path) + ": want " + w.what
	}
	return ""
}

// path reports a field whose path is not what it should be; "" is none.
func (f *fileChecker) path(field, owner any, key, path string, want wantFile) {
	if path == "" {
		return
	}
	if why := want.lacks(path); why != "" {
		f.bad(field, owner, key, "%s", why)
	}
}

// parent reports a field whose file could not be made.
func (f *fileChecker) parent(field, owner any, key, path string) {
	if filepath.IsAbs(path) {
		f.path(field, owner, key, filepath.Dir(path), aFolder)
	}
}

// paths does it for each element of a list.
func (f *fileChecker) paths(field any, list []string, want wantFile) {
	for i, p := range list {
		if why := want.lacks(p); why != "" {
			m := f.marks[field]
			f.found.add(m.value.items[i].at, "%s: %s", m.path, why)
		}
	}
}

func (f *fileChecker) top(d *draft) {
	if info, err := os.Stat(d.Runtime); err == nil {
		f.path(&d.Runtime, nil, "runtime", d.Runtime, aFolder)
		if mode := info.Mode(); mode.IsDir() && mode.Perm()&0o022 != 0 {
			f.bad(&d.Runtime, nil, "runtime", "%s: others can write (mode %04o), so they could take its sockets away", quote(d.Runtime), mode.Perm())
		}
	} else {
		f.parent(&d.Runtime, nil, "runtime", d.Runtime)
	}
	if filepath.Dir(d.Control) != d.Runtime {
		f.parent(&d.Control, nil, "control", d.Control)
	}
	f.path(&d.SpoolDir, nil, "spool_dir", d.SpoolDir, aFolder)
	if f.wrote(&d.Accept.LockDir) {
		f.path(&d.Accept.LockDir, nil, "accept.lock_dir", d.Accept.LockDir, aFolder)
	}
	f.parent(&d.Log.Error, nil, "log.error", d.Log.Error)
	f.parent(&d.Log.Access, nil, "log.access", d.Log.Access)
	f.parent(&d.Status.Scoreboard, nil, "status.scoreboard", d.Status.Scoreboard)
	if path, ok := strings.CutPrefix(d.Status.Listen, "unix:"); ok {
		f.parent(&d.Status.Listen, nil, "status.listen", path)
	}
	f.shed(&d.Send)
	f.identity(&d.User, &d.Group)
	for i, e := range d.listen {
		if m, ok := f.marks[&d.listen]; ok && e.network == "unix" {
			if why := aFolder.lacks(filepath.Dir(e.address)); why != "" {
				f.found.add(m.value.items[i].at, "%s: %s", m.path, why)
			}
		}
	}
	for _, l := range d.long {
		if isUnix(l) {
			f.parent(&l.where, l, "address", l.where.address)
		}
		f.accounts(&l.User, &l.Group)
	}
}

// maxShed is the longest shed_file: it is sent when there is no time for more.
const maxShed = 256 << 10

// shed reads shed_file, which is sent from memory: the disk is what is lacking.
func (f *fileChecker) shed(s *Send) {
	f.path(&s.ShedFile, nil, "send.shed_file", s.ShedFile, aFile)
	if s.Shed = nil; s.ShedFile == "" || aFile.lacks(s.ShedFile) != "" {
		return
	}
	body, err := os.ReadFile(s.ShedFile)
	switch {
	case err != nil:
		f.bad(&s.ShedFile, nil, "send.shed_file", "%s: %s", quote(s.ShedFile), cause(err))
	case len(body) == 0:
		f.bad(&s.ShedFile, nil, "send.shed_file", "%s: is empty", quote(s.ShedFile))
	case len(body) > maxShed:
		f.bad(&s.ShedFile, nil, "send.shed_file", "%s: %d bytes, at most %d", quote(s.ShedFile), len(body), maxShed)
	default:
		s.Shed = body
	}
}

func (f *fileChecker) app(a *App) {
	f.program(a)
	f.path(&a.Dir, a, "dir", a.Dir, aFolder)
	if a.Kind == KindCGI {
		f.closed(a, &a.Dir, a, "dir", a.Dir)
	}
	f.identity(&a.User, &a.Group)
	f.paths(&a.SendFile.Roots, a.SendFile.Roots, aFolder)
	f.paths(&a.SendFile.DeleteRoots, a.SendFile.DeleteRoots, aFolder)
}

// site leaves out what lies in the file system of an application elsewhere.
func (f *fileChecker) site(s *Site, apps map[string]*App) {
	local := true
	for _, r := range s.Routes {
		f.secret(r)
		a := apps[r.App]
		if a != nil && a.ScriptRoot != "" {
			local = false
			continue
		}
		if a != nil && a.Kind == KindCGI {
			f.scripts(s, r, a)
		}
		f.path(&r.Dir, r, "dir", r.Dir, aFolder)
		f.path(&r.Script, r, "script", r.Script, aFile)
		f.path(&r.Alias, r, "alias", r.Alias, either)
	}
	if local {
		f.path(&s.Root, s, "root", s.Root, aFolder)
	}
}
