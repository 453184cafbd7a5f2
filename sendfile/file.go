package sendfile

import (
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// File is an open regular file: one version of it. A file that replaces it under its name is another File. Size and time
// are those of the moment of opening. It is safe for concurrent use, but for Close.
type File struct {
	fd   int
	name string
	is   identity
	made atomic.Pointer[fields] // nil: nobody has asked
	refs atomic.Int32           // owners: the last one to close it closes the descriptor
}

// identity is what tells one version of a file from another, and from other files.
type identity struct {
	device   uint64
	inode    uint64
	size     int64
	modified int64 // nanoseconds since 1970
	changed  int64 // the same, of the inode: also when its permissions were
}

func identityOf(st *unix.Stat_t) identity {
	return identity{device: uint64(st.Dev), inode: st.Ino, size: st.Size, modified: st.Mtim.Nano(), changed: st.Ctim.Nano()}
}

// newFile takes the descriptor over, and closes it if it is not of a regular file: the error then is EISDIR,
// ErrNotRegular, or that of fstat.
func newFile(fd int, name string) (*File, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	if err == nil {
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
		case unix.S_IFDIR:
			err = unix.EISDIR
		default:
			err = ErrNotRegular
		}
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	f := &File{fd: fd, name: name, is: identityOf(&st)}
	f.refs.Store(1)
	return f, nil
}

// Name returns the path by which it was opened. It is for the log.
func (f *File) Name() string { return f.name }

// Size returns the size in bytes.
func (f *File) Size() int64 { return f.is.size }

// ModTime returns the time of the last modification, to the nanosecond.
func (f *File) ModTime() time.Time { return time.Unix(0, f.is.modified) }

// ETag returns a strong entity tag (RFC 9110 section 8.8.3) made of inode, size and modification time in nanoseconds. It
// is the same in every process, and tells nobody the inode. A change in place within one tick of the file system's clock
// that keeps the size also keeps the tag; replace files by renaming.
func (f *File) ETag() string { return f.fields().etag }

// Type returns the media type for the name's extension: from types, else from the built-in table, else
// application/octet-stream. Extensions are compared as written and then in lower case.
func (f *File) Type(types map[string]string) string { return typeOf(f.name, types) }

// Content returns a reader of the whole file with an offset of its own, at 0. Any number of them may be in use at a
// time. It must not be used after Close.
func (f *File) Content() *Content { return &Content{f: f, size: f.is.size} }

// unchanged reports whether the file is the version that was opened, under as many names.
func (f *File) unchanged() bool {
	var st unix.Stat_t
	return unix.Fstat(f.fd, &st) == nil && identityOf(&st) == f.is
}

// retain makes one more owner.
func (f *File) retain() *File {
	f.refs.Add(1)
	return f
}

// Close is for each owner to call once, after the last answer from it is over. The descriptor is closed with the last.
func (f *File) Close() error {
	switch left := f.refs.Add(-1); {
	case left == 0:
		return unix.Close(f.fd)
	case left < 0:
		return os.ErrClosed
	}
	return nil
}
