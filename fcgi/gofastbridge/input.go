package gofastbridge

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"sync"
	"time"

	"github.com/yookoala/gofast"
)

// input is the body of a request on its way to the application. It remembers
// how it ended, and a Read that waits for a slow client can be interrupted.
type input struct {
	src io.ReadCloser
	own bool                     // src is the request's own body
	ctl *http.ResponseController // nil: there is no connection to interrupt

	mu      sync.Mutex
	ended   bool
	stopped bool
	err     error
}

// newInput returns the input of a request; nil for none. The server must not
// read the rest of the body itself when the header of the answer is written:
// we still do.
func newInput(req *gofast.Request, w http.ResponseWriter) *input {
	if req.Stdin == nil || req.Stdin == http.NoBody {
		return nil
	}
	in := &input{src: req.Stdin, own: ownBody(req)}
	if w != nil {
		in.ctl = http.NewResponseController(w)
		in.ctl.EnableFullDuplex()
	}
	return in
}

// ownBody reports whether the input is the body of the HTTP request, as it was
// before any middleware.
func ownBody(req *gofast.Request) bool {
	if req.Raw == nil || !reflect.ValueOf(req.Stdin).Comparable() {
		return false
	}
	return req.Stdin == req.Raw.Body
}

func (in *input) Read(p []byte) (int, error) {
	n, err := strict{in.src}.Read(p)
	if err != nil {
		in.mu.Lock()
		in.ended = true
		if err != io.EOF {
			in.err = err
		}
		in.mu.Unlock()
	}
	return n, err
}

// strict is a stream whose unexpected end cannot be taken for an end: it is
// what io.ReadFull says of any end, too.
type strict struct{ src io.Reader }

var errBrokenOff = errors.New("the stream broke off")

func (s strict) Read(p []byte) (int, error) {
	n, err := s.src.Read(p)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errBrokenOff
	}
	return n, err
}

// Close is gofast's, at the end of its upload. The request's own body is for
// the server to close.
func (in *input) Close() error {
	if in.own {
		return nil
	}
	return in.src.Close()
}

// complete reports whether the body has been read to its end.
func (in *input) complete() bool {
	if in == nil {
		return true
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.ended && in.err == nil
}

// failed is why the body could not be read; nil if it could.
func (in *input) failed() error {
	if in == nil {
		return nil
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.err
}

// interrupt ends a Read that waits, if the body has not ended by itself.
func (in *input) interrupt() {
	if in == nil {
		return
	}
	in.mu.Lock()
	idle := in.ended || in.stopped
	in.stopped = true
	in.mu.Unlock()
	if idle {
		return
	}
	if in.ctl == nil || in.ctl.SetReadDeadline(time.Unix(1, 0)) != nil || !in.own {
		in.src.Close()
	}
}

// bodyMemory is how much of a body of unknown length stays in memory.
const bodyMemory = 64 << 10

// measure says how long the input is and whether there is one. Where nobody
// knows, since it is chunked or a middleware replaced it, it is read first: an
// application that is not told the length takes the body for empty.
func (t *Transport) measure(req *gofast.Request) (n int64, has bool, err error) {
	if req.Stdin == nil || req.Stdin == http.NoBody {
		return 0, req.Raw.Header["Content-Length"] != nil, nil
	}
	if ownBody(req) && req.Raw.ContentLength >= 0 {
		n = req.Raw.ContentLength
		return n, n > 0 || req.Raw.Header["Content-Length"] != nil, nil
	}
	limit := t.BodyBytes
	if limit <= 0 {
		limit = 1 << 30
	}
	s, n, err := spool(req.Stdin, limit, t.BodyDir)
	if err != nil {
		return 0, false, inputError(err)
	}
	if !ownBody(req) {
		req.Stdin.Close()
	}
	req.Stdin = s
	return n, true, nil
}

// spool reads src to its end.
func spool(src io.Reader, limit int64, dir string) (io.ReadCloser, int64, error) {
	src = io.LimitReader(src, limit+1)
	head, err := io.ReadAll(io.LimitReader(src, bodyMemory))
	if err != nil {
		return nil, 0, err
	}
	if n := int64(len(head)); n < bodyMemory {
		return io.NopCloser(bytes.NewReader(head)), n, tooLong(n, limit)
	}
	f, err := os.CreateTemp(dir, "sluice-*")
	if err != nil {
		return nil, 0, &Error{Status: http.StatusInternalServerError, Err: err}
	}
	os.Remove(f.Name())
	n, err := io.Copy(f, io.MultiReader(bytes.NewReader(head), src))
	if err == nil {
		err = tooLong(n, limit)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		var path *os.PathError
		if errors.As(err, &path) {
			err = &Error{Status: http.StatusInternalServerError, Err: err}
		}
		return nil, 0, err
	}
	return f, n, nil
}

func tooLong(n, limit int64) error {
	if n <= limit {
		return nil
	}
	return &Error{Status: http.StatusRequestEntityTooLarge, Err: fmt.Errorf("request body longer than %d bytes", limit)}
}
