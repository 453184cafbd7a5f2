package front

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"

	"sluice/cgi"
	"sluice/internal/exchange"
	"sluice/internal/front/http1"
)

// response is the ResponseWriter of the front: it counts for the access log, and
// knows how to end a connection so that the client can tell.
type response struct {
	http.ResponseWriter
	conn    http1.Connection // nil where the connection is not ours, as in tests
	proto10 bool
	head    bool // a body is not sent
	https   bool // the client speaks TLS to a proxy
	app     string
	track   *tracker // nil: nobody follows the request

	status  int
	bytes   int64
	open    bool // the body ends with the connection
	aborted bool
	file    string          // "complete" or "aborted", where an application named the file that was sent
	own     bool            // the request is sluice's own
	accel   *exchange.Accel // nil: no child has said X-Accel-Redirect
	sender  *App            // that said it last
	taken   bool            // a script has the connection, and with it the response

	// What the child is asked: used again with the response.
	ask  exchange.Request
	meta cgi.Meta
}

var responses = sync.Pool{New: func() any { return &response{} }}

// respond is the response to a request.
func respond(w http.ResponseWriter, r *http.Request) *response {
	rw := responses.Get().(*response)
	rw.ResponseWriter = w
	rw.conn, _ = w.(http1.Connection)
	rw.proto10, rw.head = !r.ProtoAtLeast(1, 1), r.Method == http.MethodHead
	return rw
}

// free gives the response back for another request. A child that still ends this
// one has only its tracker.
func (w *response) free() {
	if !w.taken {
		*w = response{}
		responses.Put(w)
	}
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status = status
		w.open = w.proto10 && w.Header().Get("Content-Length") == ""
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
	w.taken = true
	c, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return &counted{c, w}, rw, nil
}

// counted is a connection whose answer is counted for the access log.
type counted struct {
	net.Conn
	w *response
}

func (c *counted) Write(p []byte) (int, error) {
	if c.w.status == 0 {
		c.w.status = statusOf(p)
	}
	n, err := c.Conn.Write(p)
	c.w.bytes += int64(n)
	return n, err
}

// SetLinger is for NPH scripts, which have the connection to themselves.
func (c *counted) SetLinger(sec int) error {
	if l, ok := c.Conn.(interface{ SetLinger(int) error }); ok {
		return l.SetLinger(sec)
	}
	return errors.ErrUnsupported
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

// canReset reports whether the connection can end in a way that is not the
// orderly one: a unix socket cannot.
func (w *response) canReset() bool { return w.conn == nil || w.conn.CanReset() }

// abort ends the connection, and does not return. Where the end of the
// connection is the end of the body, it is reset.
func (w *response) abort() {
	if w.open && w.conn != nil {
		w.conn.Reset()
	}
	panic(http.ErrAbortHandler)
}
