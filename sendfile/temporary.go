package sendfile

import (
	"errors"
	"fmt"
	"path"

	"golang.org/x/sys/unix"
)

// TemporaryFile is an open file that its application wants unlinked when a client has the whole of it. It is never one that
// others share.
type TemporaryFile struct {
	*File
	root, rel string
	links     Symlinks
}

// ErrReplaced is the cause when the name of a temporary file is another file's by now, or a symbolic link.
var ErrReplaced = errors.New("the name is another file's")

// ErrChanged is the cause when a temporary file was written to behind its opening: no client has the whole of it.
var ErrChanged = errors.New("the file has changed since it was opened")

// OpenTemporary opens the file of an order whose meaning is Temporary, by the rules and with the errors of Open, but
// below Options.DeleteRoots instead of Options.Roots.
func (s *Sender) OpenTemporary(o Order) (*TemporaryFile, error) {
	p := clean(o.Path)
	root, rel, ok := rootOf(s.deleteRoots, p)
	if !ok {
		return nil, outside(p, s.deleteRoots)
	}
	f, err := s.reads.unkept().openBelow(root, rel, s.symlinks) // nobody else's: it may be gone in a moment
	if outOfDescriptors(err) {
		s.files.Release()
		f, err = s.reads.unkept().openBelow(root, rel, s.symlinks)
	}
	if err != nil {
		return nil, err
	}
	return &TemporaryFile{File: f, root: root, rel: rel, links: s.symlinks}, nil
}

// howFolder is how the kernel walks to the folder of a name for each mode.
var howFolder = [...]*unix.OpenHow{Beneath: folderHow(Beneath), Deny: folderHow(Deny), Follow: folderHow(Follow)}

func folderHow(s Symlinks) *unix.OpenHow {
	return &unix.OpenHow{Flags: howRoot.Flags, Resolve: resolveFlags[s]}
}

// Remove unlinks the name, if it is still that of the file, and the file still what was opened; if it has gone already
// that is no error. The walk to its
// folder is by the rules of Open, so no exchange of a folder for a link leads it astray. Between the comparison and the
// unlink there is nothing but the two system calls: Linux has no call that does both.
//
// The error wraps ErrReplaced or ErrChanged, or is the system call's. The file stays then.
func (t *TemporaryFile) Remove() error {
	if err := t.remove(); err != nil && err != unix.ENOENT {
		return fmt.Errorf("remove %q: %w", t.name, err)
	}
	return nil
}

func (t *TemporaryFile) remove() error {
	root, err := openRetry(openat2, unix.AT_FDCWD, t.root, howRoot)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	folder, name := path.Split(t.rel)
	dir, err := openRetry(openat2, root, "./"+folder, howFolder[t.links])
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	var own, named unix.Stat_t
	if err := unix.Fstat(t.fd, &own); err != nil {
		return err
	}
	if err := unix.Fstatat(dir, name, &named, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if named.Dev != own.Dev || named.Ino != own.Ino {
		return ErrReplaced
	}
	if now := identityOf(&own); now.size != t.is.size || now.modified != t.is.modified {
		return ErrChanged
	}
	return unix.Unlinkat(dir, name, 0)
}
