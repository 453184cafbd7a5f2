package sendfile

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// File is an open regular file: one version of it. A file that replaces it under its name is another File. Size and time
// are those of the moment of opening. It is safe for concurrent use, but for Close.
type File struct {
	fd      int
	name    string
	size    int64
	modTime time.Time
	inode   uint64
	dev     uint64

	once sync.Once
	f    *os.File // see file; nil: nobody has asked
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
	return &File{
		fd:      fd,
		name:    name,
		size:    st.Size,
		modTime: time.Unix(st.Mtim.Unix()),
		inode:   st.Ino,
		dev:     st.Dev,
	}, nil
}

// Name returns the path by which it was opened. It is for the log.
func (f *File) Name() string { return f.name }

// Size returns the size in bytes.
func (f *File) Size() int64 { return f.size }

// ModTime returns the time of the last modification, to the nanosecond.
func (f *File) ModTime() time.Time { return f.modTime }

// ETag returns a strong entity tag (RFC 9110 section 8.8.3) made of inode, size and modification time in nanoseconds. It
// is the same in every process, and tells nobody the inode. A change in place within one tick of the file system's clock
// that keeps the size also keeps the tag; replace files by renaming.
func (f *File) ETag() string { return f.fields().etag }

// Type returns the media type for the name's extension: from types, else from the built-in table, else
// application/octet-stream. Extensions are compared as written and then in lower case.
func (f *File) Type(types map[string]string) string { return typeOf(f.name, types) }

// Content returns a reader of the whole file with an offset of its own, at 0. Any number of them may be in use at a
// time. It must not be used after Close.
func (f *File) Content() *Content { return &Content{f: f, size: f.size} }

// file is the file as the os package has it. To make that costs two system calls, which an answer from a buffer can
// do without.
func (f *File) file() *os.File {
	f.once.Do(func() { f.f = os.NewFile(uintptr(f.fd), f.name) })
	return f.f
}

// Close closes the file. It is for the owner to call, after the last answer from it is over.
func (f *File) Close() error {
	bare := false
	f.once.Do(func() { bare = true })
	if bare {
		return unix.Close(f.fd)
	}
	return f.f.Close() // of nil, closed before: os.ErrInvalid
}
