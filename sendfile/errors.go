package sendfile

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"golang.org/x/sys/unix"
)

// Error is a refusal. Its text is for the log: it names paths, which a client must not learn.
type Error struct {
	Op     string // "take", "open" or "serve"
	Path   string // the path in question, dot segments removed; for Op "take" the header's value
	Status int    // what the client gets
	Root   string // the root that was tried, or all of them, comma separated, if none matched; may be empty
	Rule   string // the rule that refused it
	Err    error  // the cause; may be nil
}

// ErrNotRegular is the cause when a path names a device, a socket or a FIFO. For a directory, and for the root itself,
// the cause is EISDIR.
var ErrNotRegular = errors.New("not a regular file")

// Error says path, root, rule and cause. Paths are quoted, so a name with a line feed stays in its line of the log.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q: %s", e.Op, e.Path, e.Rule)
	if e.Root != "" {
		fmt.Fprintf(&b, " (root %s)", e.Root)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// verdict is what a failed openat2 means for the client.
type verdict struct {
	errno  unix.Errno
	status int
	rule   string
}

// verdicts has a row for every errno that says something about the path or the load; the others are 500.
var verdicts = []verdict{
	{unix.ENOENT, http.StatusNotFound, "no such file"},
	{unix.ENOTDIR, http.StatusNotFound, "a component is not a directory"},
	{unix.ENAMETOOLONG, http.StatusNotFound, "name too long"},
	{unix.EXDEV, http.StatusForbidden, "a symbolic link leads out of the root"},
	{unix.ELOOP, http.StatusForbidden, "symbolic links are refused here, or are a loop"},
	{unix.EACCES, http.StatusForbidden, "not readable"},
	{unix.EPERM, http.StatusForbidden, "not permitted (a seccomp filter may forbid openat2)"},
	{unix.ENXIO, http.StatusForbidden, "a socket or device"},
	{unix.ENODEV, http.StatusForbidden, "a device without a driver"},
	{unix.EISDIR, http.StatusForbidden, "a directory"},
	{unix.EAGAIN, http.StatusServiceUnavailable, "held by a lease, or renamed all the time"},
	{unix.EMFILE, http.StatusServiceUnavailable, "too many open files in this process"},
	{unix.ENFILE, http.StatusServiceUnavailable, "too many open files in the system"},
	{unix.ENOMEM, http.StatusServiceUnavailable, "out of memory"},
	{unix.ENOSYS, http.StatusInternalServerError, "openat2 is missing: Linux 5.6 or newer is required"},
}

// openError explains the errno of an open below root, or ErrBusy.
func openError(root, path string, err error) *Error {
	if err == ErrBusy {
		return &Error{Op: "open", Path: path, Status: http.StatusServiceUnavailable, Root: root, Rule: "its name is not in memory", Err: err}
	}
	for _, v := range verdicts {
		if errors.Is(err, v.errno) {
			return &Error{Op: "open", Path: path, Status: v.status, Root: root, Rule: v.rule, Err: err}
		}
	}
	return &Error{
		Op: "open", Path: path, Status: http.StatusInternalServerError, Root: root, Rule: "cannot be opened", Err: err,
	}
}
