package sendfile

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// HeaderJoiner is implemented by a ResponseWriter that keeps the header back until its ReadFrom gets the body, and sends
// both together (MSG_MORE). Serve looks for it through Unwrap, as http.ResponseController does.
//
// Other writers are flushed after WriteHeader, since net/http's would otherwise copy the first 512 bytes of the body
// itself before it hands the rest to the connection.
type HeaderJoiner interface {
	JoinsHeader() bool
}

// writer is the ResponseWriter that http.ServeContent gets: it corrects the header at the last moment, counts, keeps the
// errors that ServeContent drops, and lets the body pass to the inner ReadFrom in one piece.
type writer struct {
	http.ResponseWriter
	content      *Content // the body, or its first part; nil: there is none
	head         bool     // the request is a HEAD
	size         int64    // of the file
	acceptRanges string   // the child's

	status  int
	want    int64 // bytes of a body that was promised
	sent    int64
	err     error
	refused bool // and nothing was sent
}

// WriteHeader sends nothing if the beginning of the body is not in memory and may not wait for the disk.
func (w *writer) WriteHeader(status int) {
	h := w.Header()
	if w.acceptRanges != "" {
		h.Set("Accept-Ranges", w.acceptRanges)
	}
	// ServeContent omits the length if there is a Content-Encoding, as somebody might be encoding what it writes. Here
	// the file has that encoding already.
	if status == http.StatusOK && h.Get("Content-Length") == "" {
		h.Set("Content-Length", strconv.FormatInt(w.size, 10))
	}
	if !w.head {
		w.want, _ = strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	}
	if w.err = w.content.admit(w.want); w.err != nil {
		w.refused = true
		return
	}
	w.status = status
	w.ResponseWriter.WriteHeader(status)
	if w.want > 0 && !joinsHeader(w.ResponseWriter) {
		err := http.NewResponseController(w.ResponseWriter).Flush()
		if !errors.Is(err, http.ErrNotSupported) {
			w.fail(err)
		}
	}
}

func (w *writer) Write(b []byte) (int, error) {
	if w.refused {
		return 0, w.err
	}
	n, err := w.ResponseWriter.Write(b)
	w.count(int64(n), err)
	return n, err
}

func (w *writer) ReadFrom(src io.Reader) (n int64, err error) {
	if w.refused {
		return 0, w.err
	}
	if rf, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		n, err = rf.ReadFrom(src)
	} else {
		n, err = io.Copy(w.ResponseWriter, src)
	}
	w.count(n, err)
	return n, err
}

// result is the error of the whole answer with the file of this name: the file's, else the writer's, else that of a body
// which is too short.
func (w *writer) result(content error, name string) error {
	switch {
	case w.refused && errors.Is(w.err, ErrBusy):
		return busyError(name)
	case content != nil:
		return fmt.Errorf("send: %w", content)
	case w.err != nil:
		return fmt.Errorf("send %s: %w", name, w.err)
	case w.sent < w.want:
		return fmt.Errorf("send %s: %w: %d of %d bytes", name, io.ErrShortWrite, w.sent, w.want)
	}
	return nil
}

func (w *writer) count(n int64, err error) {
	if !w.head { // net/http accepts the body of a 416 to HEAD, and drops it
		w.sent += n
	}
	w.fail(err)
}

func (w *writer) fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

func joinsHeader(w http.ResponseWriter) bool {
	for {
		if j, ok := w.(HeaderJoiner); ok {
			return j.JoinsHeader()
		}
		u, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = u.Unwrap()
	}
}
