package sendfile

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
)

// Parts are open slices of files: one body for X-Sendfile2.
type Parts struct {
	files []*File // each once, in the order of their first slice
	list  []part
	size  int64
}

// part is n bytes of a file, from first on.
type part struct {
	f        *File
	first, n int64
}

// OpenSlices opens every file of an order whose meaning is Slices, each once, by the rules and with the errors of Open:
// all of them, or none. A slice that begins or ends beyond the end of its file is an *Error with Status 502, since the
// child has described a body that does not exist; lighttpd says 502 to the first, and breaks the answer off in its
// middle for the second.
func (s *Sender) OpenSlices(o Order) (*Parts, error) {
	b, err := s.openSlices(o, s.files)
	if errors.Is(err, errBeyond) && s.files != nil {
		return s.openSlices(o, s.reads.unkept()) // what was kept may be older than the order
	}
	return b, err
}

func (s *Sender) openSlices(o Order, files *Cache) (*Parts, error) {
	b := &Parts{}
	open := map[string]*File{}
	for _, sl := range o.Slices {
		f := open[sl.Path]
		if f == nil {
			var err error
			if f, err = s.open(Order{Path: sl.Path}, files); err != nil {
				b.Close()
				return nil, err
			}
			open[sl.Path] = f
			b.files = append(b.files, f)
		}
		if err := b.add(f, sl); err != nil {
			b.Close()
			return nil, err
		}
	}
	return b, nil
}

// errBeyond is a slice of what is not there.
var errBeyond = errors.New("beyond the end of the file")

func (b *Parts) add(f *File, sl Slice) error {
	end := sl.End
	if end < 0 {
		end = f.Size()
	}
	if sl.First > end || end > f.Size() {
		return &Error{Op: "open", Path: sl.Path, Status: http.StatusBadGateway, Err: errBeyond,
			Rule: fmt.Sprintf("bytes %d up to %d are asked for, the file has %d", sl.First, end, f.Size())}
	}
	n := end - sl.First
	if n > math.MaxInt64-b.size {
		return &Error{Op: "open", Path: sl.Path, Status: http.StatusBadGateway, Rule: "the slices together are too long"}
	}
	b.list = append(b.list, part{f: f, first: sl.First, n: n})
	b.size += n
	return nil
}

// Size returns the length of the body in bytes.
func (b *Parts) Size() int64 { return b.size }

// Close closes the files. It is for the owner to call, after the answer is over.
func (b *Parts) Close() {
	for _, f := range b.files {
		f.Close()
	}
	b.files = nil
}

// ServeParts answers r with the slices, each by sendfile where Serve would send so. The child's status and header are
// kept, Content-Range among them, since applications answer ranges themselves so; Content-Length is the sum. Content-Type
// is as for Serve, by the name of the first file. Nothing is added beside that: what the slices make is not one file's
// ETag or Last-Modified, and neither conditions nor ranges of the request are looked at.
//
// An error is as of Send.
func (p *Reply) ServeParts(w http.ResponseWriter, r *http.Request, b *Parts) error {
	p.Answer, p.Sent, p.Whole = 0, 0, false
	status := p.status()
	if err := p.sendable(b.name()); err != nil {
		return err
	}
	h := w.Header()
	p.strip(h)
	out := &writer{ResponseWriter: w, head: r.Method == http.MethodHead, size: b.size}
	if bodyless(status) {
		sendNothing(out, status)
	} else {
		p.setType(h, b.files[0])
		p.Steer.Recode(h)
		h.Set("Content-Length", strconv.FormatInt(b.size, 10))
		out.content = b.first(p, r)
		out.WriteHeader(status)
	}
	var err error
	if !out.head && !bodyless(status) {
		err = b.sendTo(out, p, r)
	}
	p.Answer, p.Sent = out.status, out.sent
	err = out.result(err, b.name())
	p.Whole = err == nil && !out.head && !bodyless(status)
	return err
}

// name is for the log.
func (b *Parts) name() string {
	if len(b.files) == 0 {
		return "nothing"
	}
	return b.files[0].Name()
}

// first is the first slice that has a byte, at its beginning; nil: none has.
func (b *Parts) first(p *Reply, r *http.Request) *Content {
	for _, sl := range b.list {
		if sl.n > 0 {
			c := p.content(r, sl.f)
			c.off = sl.first
			return c
		}
	}
	return nil
}

// sendTo sends one slice behind the other. The error is that of a file; one of the client is the writer's.
func (b *Parts) sendTo(out *writer, p *Reply, r *http.Request) error {
	for _, sl := range b.list {
		if sl.n == 0 {
			continue
		}
		c := p.content(r, sl.f)
		if _, err := c.Seek(sl.first, io.SeekStart); err != nil {
			return err
		}
		n, err := io.CopyN(out, c, sl.n)
		c.stop()
		if c.Err() != nil {
			return c.Err()
		}
		if err != nil || n < sl.n || out.err != nil {
			return nil
		}
	}
	return nil
}
