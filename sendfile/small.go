package sendfile

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// smallFile is the size up to which a file goes through a buffer: it leaves in one write with its header, and that copy
// costs less than a second system call.
const smallFile = 32 << 10

var smallBuffers = sync.Pool{New: func() any { return new([smallFile]byte) }}

// conditions are the fields that make an answer depend on more than the file.
var conditions = [...]string{"If-None-Match", "If-Modified-Since", "Range", "If-Range", "If-Match", "If-Unmodified-Since"}

// unconditional reports whether a request has none of them.
func unconditional(r *http.Request) bool {
	for _, name := range conditions {
		if _, ok := r.Header[name]; ok {
			return false
		}
	}
	return true
}

// sendSmall answers an unconditional request as http.ServeContent would, from a buffer. Where the file cannot be read
// to the size that it had nothing has been done, and it is for the long way to say so; nor has it with an error of reads.
func (p *Reply) sendSmall(w http.ResponseWriter, r *http.Request, f *File) (done bool, err error) {
	head := r.Method == http.MethodHead
	var body []byte
	if !head && f.Size() > 0 {
		buf := smallBuffers.Get().(*[smallFile]byte)
		defer smallBuffers.Put(buf)
		body = buf[:f.Size()]
		if done, err := p.readSmall(r.Context(), f, body); !done || err != nil {
			return done, err
		}
	}
	h := w.Header()
	if first(h["Content-Type"]) == "" {
		p.set(h, "Content-Type", octetStream)
	}
	if first(h["Accept-Ranges"]) == "" {
		p.set(h, "Accept-Ranges", "bytes")
	}
	if last := first(h["Last-Modified"]); last != "" && last != p.modified {
		if t, err := http.ParseTime(last); err == nil && t.Unix() != 0 {
			p.set(h, "Last-Modified", t.UTC().Format(http.TimeFormat))
		}
	}
	p.set(h, "Content-Length", f.fields().length)
	w.WriteHeader(http.StatusOK)
	p.Answer = http.StatusOK
	if len(body) > 0 {
		n, err := w.Write(body)
		p.Sent = int64(n)
		if err == nil && n < len(body) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return true, fmt.Errorf("send %s: %w", f.Name(), err)
		}
	}
	return true, nil
}

// readSmall reads the whole file into b, which has its size; false: it is shorter by now, or cannot be read.
func (p *Reply) readSmall(ctx context.Context, f *File, b []byte) (bool, error) {
	n, err := p.Reads.fill(ctx, beginning, f, b, 0)
	switch {
	case err == ErrBusy:
		return true, busyError(f.Name())
	case err != nil && ctx.Err() != nil:
		return true, fmt.Errorf("send %s: %w", f.Name(), err)
	}
	return err == nil && n == len(b), nil
}
