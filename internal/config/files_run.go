package config

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// program looks whether the command of an app can be executed. exec.LookPath's
// dot rule applies, the working directory is no part of PATH.
func (f *fileChecker) program(a *App) {
	if len(a.Command) == 0 {
		return
	}
	program := a.Command[0]
	path, err := exec.LookPath(program)
	why := "not found in PATH"
	switch {
	case err == nil:
		if why = noInterpreter(path); why == "" {
			f.untouched(a, path)
			return
		}
	case strings.Contains(program, "/") && errors.Is(err, fs.ErrNotExist):
		why = "no such file"
	case errors.Is(err, fs.ErrPermission):
		why = "not executable"
	case strings.Contains(program, "/"):
		why = strings.TrimPrefix(err.Error(), "exec: "+strconv.Quote(program)+": ")
	}
	m := f.marks[&a.Command]
	f.found.add(m.value.items[0].at, "%s: %s: %s", m.path, quote(program), why)
	(*f.found)[len(*f.found)-1].exec = true
}

// noInterpreter says why execve(2) would refuse an executable text, or "". What
// is binary, or cannot be read, is left to the attempt.
func noInterpreter(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	head := make([]byte, 256) // BINPRM_BUF_SIZE: no more of the first line counts
	n, err := io.ReadFull(file, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return ""
	}
	line, _, _ := bytes.Cut(head[:n], []byte("\n"))
	rest, script := bytes.CutPrefix(line, []byte("#!"))
	words := bytes.Fields(rest)
	switch {
	case !script && bytes.IndexByte(head[:n], 0) >= 0:
		return ""
	case !script || len(words) == 0:
		return "no interpreter: neither a program nor a script that begins with #!"
	}
	if _, err := os.Stat(string(words[0])); errors.Is(err, fs.ErrNotExist) {
		return "its interpreter " + quote(string(words[0])) + " does not exist"
	}
	return ""
}

// scripts looks at what a CGI route runs. A site's root is looked at only where
// the app has a user of its own: old applications write into theirs, and who can
// is trusted with the site, but not with another user.
func (f *fileChecker) scripts(s *Site, r *Route, a *App) {
	switch {
	case r.Script != "" && r.Match.Ending == "":
		f.closed(a, &r.Script, r, "script", r.Script)
		f.closed(a, &r.Script, r, "script", filepath.Dir(r.Script))
	case r.Dir != "":
		f.closed(a, &r.Dir, r, "dir", r.Dir)
	case a.User != f.draft.User || a.Group != f.draft.Group:
		f.closed(a, &s.Root, s, "root", s.Root)
	}
}

// closed refuses what everybody can write where that would be a way to become
// somebody else. The sticky bit does not help: a new file is as good.
func (f *fileChecker) closed(a *App, field, owner any, key, path string) {
	if path == "" || os.Geteuid() != 0 && a.User == "" {
		return
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o002 != 0 {
		f.bad(field, owner, key, "%s: others can write (mode %04o), so they could have anything run", quote(path), info.Mode().Perm())
	}
}

// untouched refuses a command that everybody can replace where that would be a
// way to become somebody else. In a folder with the sticky bit only its owner can.
func (f *fileChecker) untouched(a *App, path string) {
	if os.Geteuid() != 0 && a.User == "" {
		return
	}
	folder := filepath.Dir(path)
	for _, p := range []string{path, folder} {
		info, err := os.Stat(p)
		if err != nil || info.Mode().Perm()&0o002 == 0 || p == folder && info.Mode()&fs.ModeSticky != 0 {
			continue
		}
		m := f.marks[&a.Command]
		f.found.add(m.value.items[0].at, "%s: %s: others can write (mode %04o), so they could have anything run", m.path, quote(p), info.Mode().Perm())
	}
}

// accounts looks at the owner and group of a file, where they were written. A
// number needs no entry in the user database.
func (f *fileChecker) accounts(userName, groupName *string) {
	if m, ok := f.marks[userName]; ok && !isNumber(*userName) {
		if _, err := user.Lookup(*userName); err != nil {
			f.found.add(m.value.at, "%s: no user %s", m.path, quote(*userName))
		}
	}
	f.group(groupName)
}

// group returns the number of a group that was written; "" is none.
func (f *fileChecker) group(name *string) string {
	m, ok := f.marks[name]
	if !ok {
		return ""
	}
	if g, err := user.LookupGroup(*name); err == nil {
		return g.Gid
	}
	if !isNumber(*name) {
		f.found.add(m.value.at, "%s: no group %s", m.path, quote(*name))
		return ""
	}
	return *name
}

// identity looks at who programs run as, where that was written.
func (f *fileChecker) identity(userName, groupName *string) {
	gid := f.group(groupName)
	m, ok := f.marks[userName]
	if ok && !m.failed {
		f.user(m, *userName, gid)
	}
	if m, ok := f.marks[groupName]; ok && gid != "" {
		f.asRoot(m, gid, os.Getgid())
	}
}

func (f *fileChecker) user(m mark, name, gid string) {
	u, err := user.Lookup(name)
	if err != nil {
		u, err = user.LookupId(name)
	}
	switch {
	case err == nil:
		f.asRoot(m, u.Uid, os.Getuid())
		if gid == "" {
			f.asRoot(m, u.Gid, os.Getgid())
		}
	case !isNumber(name):
		f.found.add(m.value.at, "%s: no user %s", m.path, quote(name))
	case gid == "":
		f.found.add(m.value.at, "%s: no user %s: its group is not known, write group as well", m.path, quote(name))
	default:
		f.asRoot(m, name, os.Getuid())
	}
}

// asRoot reports an identity that only root can take on.
func (f *fileChecker) asRoot(m mark, id string, own int) {
	if os.Geteuid() != 0 && id != strconv.Itoa(own) {
		f.found.add(m.value.at, "%s: only root can run programs as another user or group", m.path)
	}
}

func isNumber(name string) bool {
	_, err := strconv.ParseUint(name, 10, 32)
	return err == nil
}
