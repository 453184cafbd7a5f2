package front

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
)

// response is the ResponseWriter of the front: it counts for the access log, and
// knows how to end a connection so that the client can tell.
type response struct {
	http.ResponseWriter
	conn    *conn // nil where the connection is not ours, as in tests
	proto10 bool
	head    bool // a body is not sent
	last    bool // of its connection
	https   bool // the client speaks TLS to a proxy
	app     string
	track   *tracker // nil: nobody follows the request

	status  int
	bytes   int64
	open    bool // the body ends with the connection
	aborted bool
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status = status
		w.open = w.proto10 && w.Header().Get("Content-Length") == ""
		if w.last {
			w.Header().Set("Connection", "close")
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	if !w.head {
		w.bytes += int64(n)
	}
	return n, err
}

// ReadFrom lets a file pass to the connection in one piece.
func (w *response) ReadFrom(src io.Reader) (n int64, err error) {
	if rf, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		n, err = rf.ReadFrom(src)
	} else {
		n, err = io.Copy(struct{ io.Writer }{w.ResponseWriter}, src)
	}
	w.bytes += n
	return n, err
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Hijack gives the connection to a script that speaks to the client itself.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if own, ok := c.(*conn); ok && err == nil {
		return &counted{own, w}, rw, nil
	}
	return c, rw, err
}

// counted is a connection whose answer is counted for the access log.
type counted struct {
	*conn
	w *response
}

func (c *counted) Write(p []byte) (int, error) {
	if c.w.status == 0 {
		c.w.status = statusOf(p)
	}
	n, err := c.conn.Write(p)
	c.w.bytes += int64(n)
	return n, err
}

// statusOf reads the status off the beginning of an answer; 200 where that
// cannot be read, as an answer without a status line is one of HTTP/0.9.
func statusOf(p []byte) int {
	f := bytes.SplitN(p[:min(len(p), 32)], []byte(" "), 3)
	if len(f) > 1 && bytes.HasPrefix(p, []byte("HTTP/")) && len(f[1]) >= 3 {
		if n, err := strconv.Atoi(string(f[1][:3])); err == nil {
			return n
		}
	}
	return http.StatusOK
}

// JoinsHeader implements sendfile.HeaderJoiner: the header goes to the kernel,
// which holds it back for the file that follows at once.
func (w *response) JoinsHeader() bool {
	if w.conn == nil {
		return false
	}
	w.conn.hold(true)
	defer w.conn.hold(false)
	http.NewResponseController(w.ResponseWriter).Flush()
	return true
}

// canReset reports whether the connection can end in a way that is not the
// orderly one: a unix socket cannot.
func (w *response) canReset() bool { return w.conn == nil || w.conn.tcp }

// abort ends the connection, and does not return. Where the end of the
// connection is the end of the body, it is reset.
func (w *response) abort() {
	if w.open && w.conn != nil {
		w.conn.reset()
	}
	panic(http.ErrAbortHandler)
}
