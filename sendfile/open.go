package sendfile

import (
	"errors"
	"fmt"
	"net/http"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// openTries bounds the repetition of an openat2 that was interrupted, or that met a rename while it went up through a
// "..": the kernel then cannot tell whether the walk stayed below the root and says EAGAIN.
const openTries = 128

// openFlags never blocks (a FIFO), never gets a controlling terminal, and is never inherited.
const openFlags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_LARGEFILE

// resolveFlags is what each mode forbids the kernel's walk. Follow needs no RESOLVE_BENEATH: the path as written has no
// "..", so that only a link can lead out.
var resolveFlags = [...]uint64{
	Beneath: unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_BENEATH,
	Deny:    unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS,
	Follow:  unix.RESOLVE_NO_MAGICLINKS,
}

// How the kernel walks for each mode, to a folder, and where no link may lie on the way. They are never changed: to have
// one made for each call is an allocation.
var (
	openHow  = [...]*unix.OpenHow{Beneath: howFor(Beneath), Deny: howFor(Deny), Follow: howFor(Follow)}
	howRoot  = &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC}
	howPlain = &unix.OpenHow{Flags: openFlags, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS}
)

func howFor(s Symlinks) *unix.OpenHow {
	return &unix.OpenHow{Flags: openFlags, Resolve: resolveFlags[s]}
}

// openat2 is replaced by tests that need a kernel which fails.
var openat2 = unix.Openat2

// Open opens the file of an order. The root is the longest one that the path begins with, on a segment boundary; only
// if there is none, the roots are compared by the paths that their own links lead to.
//
// The error is an *Error. Status 403: outside every root (whether or not it exists), the root itself, a directory, a
// device, a socket, a FIFO, not readable, or a symbolic link that the mode refuses. Status 404: missing, a dangling
// link, a component that is no directory, a name too long. 503 and 500: the system is at fault.
//
// A device is refused after it was opened, since only an open descriptor cannot change; keep devices out of the roots.
//
// Status 502: the header is X-Reproxy-File, and the file has not the size that X-Reproxy-Expected-Size says. Perlbal
// answers 404, which caches may keep, while a file that is not whole yet is there in a moment.
func (s *Sender) Open(o Order) (*File, error) {
	f, err := s.open(o, s.files)
	if err != nil || o.Header != reproxyFile || o.Size < 0 || o.Size == f.Size() {
		return f, err
	}
	f.Close()
	if f, err = s.open(o, s.reads.unkept()); err != nil || o.Size == f.Size() { // what was kept may be older than the order
		return f, err
	}
	f.Close()
	return nil, &Error{Op: "open", Path: f.Name(), Status: http.StatusBadGateway,
		Rule: fmt.Sprintf("the file has %d bytes, %s says %d", f.Size(), expectedSize, o.Size)}
}

// open opens the file of an order, with what the cache has.
func (s *Sender) open(o Order, files *Cache) (*File, error) {
	p := clean(o.Path)
	root, rel, ok := rootOf(s.roots, p)
	if !ok {
		return nil, outside(p, s.roots)
	}
	return files.openBelow(root, rel, s.symlinks)
}

// outside refuses a path below none of the roots.
func outside(p string, roots []string) *Error {
	return &Error{Op: "open", Path: p, Status: http.StatusForbidden, Root: strings.Join(roots, ", "), Rule: "outside every root"}
}

// rootOf finds the root of a clean path, and the path relative to it.
func rootOf(roots []string, p string) (root, rel string, ok bool) {
	for _, r := range roots {
		if rel, ok := below(r, p); ok {
			return r, rel, true
		}
	}
	longest := -1
	for _, r := range roots {
		real, err := filepath.EvalSymlinks(r)
		if err != nil {
			continue // a root that does not exist contains nothing
		}
		if rest, in := below(real, p); in && len(real) > longest {
			longest, root, rel, ok = len(real), r, rest, true
		}
	}
	return root, rel, ok
}

// below returns the part of the clean path p below dir; "" if it is dir itself.
func below(dir, p string) (rel string, ok bool) {
	if dir == "/" {
		return strings.CutPrefix(p, "/")
	}
	rest, ok := strings.CutPrefix(p, dir)
	if !ok || rest != "" && rest[0] != '/' {
		return "", false
	}
	return strings.TrimPrefix(rest, "/"), true
}

// OpenBeneath opens a file below one directory, by the rules and with the errors of Sender.Open. name is relative to
// root; a leading slash does not change that. A name that climbs above root by ".." is refused with 403, one with a NUL
// is 404.
func OpenBeneath(root, name string, s Symlinks) (*File, error) {
	return (*Cache)(nil).OpenBeneath(root, name, s)
}

// OpenBeneath is the package's OpenBeneath, of a file that may be open already.
func (c *Cache) OpenBeneath(root, name string, s Symlinks) (*File, error) {
	rel := clean(strings.TrimLeft(name, "/"))
	if rel == "." || rel == "./" {
		rel = ""
	}
	if rel == ".." || strings.HasPrefix(rel, "../") {
		full := strings.TrimSuffix(root, "/") + "/" + rel
		return nil, &Error{Op: "open", Path: full, Status: http.StatusForbidden, Root: root, Rule: "outside the root"}
	}
	return c.openBelow(root, rel, s)
}

// openBelow opens rel, which is clean and relative, below root: it may be open already.
func (c *Cache) openBelow(root, rel string, s Symlinks) (*File, error) {
	full := root
	if rel != "" {
		full = strings.TrimSuffix(root, "/") + "/" + rel
	}
	return c.open(key{full, len(root), s})
}

// openBelow opens a file below root, the path of which that of the file begins with. Both are clean.
func openBelow(r *Reads, root, full string, s Symlinks) (*File, error) {
	rel := strings.TrimPrefix(full[len(root):], "/")
	switch {
	case rel == "":
		return nil, &Error{
			Op: "open", Path: full, Status: http.StatusForbidden, Root: root, Rule: "the root itself", Err: unix.EISDIR,
		}
	case strings.IndexByte(rel, 0) >= 0:
		return nil, &Error{
			Op: "open", Path: full, Status: http.StatusNotFound, Root: root, Rule: "no such file", Err: errNUL,
		}
	case path.IsAbs(rel) || s < Beneath || s > Follow:
		return nil, openError(root, full, unix.EINVAL)
	}
	if f, err := openLinkless(r, full); err == nil {
		return f, nil
	} else if err == ErrBusy {
		return nil, openError(root, full, err)
	}
	dir, err := r.open(unix.AT_FDCWD, root, howRoot)
	if err != nil {
		return nil, openError(root, full, err)
	}
	defer unix.Close(dir)
	fd, err := r.open(dir, rel, openHow[s])
	if err != nil {
		return nil, openError(root, full, err)
	}
	f, err := newFile(fd, full)
	switch {
	case errors.Is(err, ErrNotRegular):
		rule := "a device, a socket or a FIFO"
		return nil, &Error{Op: "open", Path: full, Status: http.StatusForbidden, Root: root, Rule: rule, Err: err}
	case err != nil:
		return nil, openError(root, full, err)
	}
	return f, nil
}

// OpenLinkless opens a regular file on whose way no symbolic link lies, which no mode refuses. nil is any other, and
// whatever went wrong: OpenBeneath tells. The only error is ErrBusy. The path is clean and has no "..".
func (c *Cache) OpenLinkless(path string) (*File, error) {
	f, err := c.open(key{path, -1, Deny})
	switch {
	case err == ErrBusy:
		return nil, err
	case err != nil:
		return nil, nil
	}
	return f, nil
}

func openLinkless(r *Reads, path string) (*File, error) {
	fd, err := r.open(unix.AT_FDCWD, path, howPlain)
	if err != nil {
		return nil, err
	}
	return newFile(fd, path)
}

func openRetry(openat2 func(int, string, *unix.OpenHow) (int, error), dir int, name string, how *unix.OpenHow) (fd int, err error) {
	for range openTries {
		fd, err = openat2(dir, name, how)
		if err != unix.EAGAIN && err != unix.EINTR {
			break
		}
	}
	return fd, err
}
