package sendfile

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// ErrStore is in the errors of Relay that are the store's fault.
var ErrStore = errors.New("the store broke off")

// whose says which header a field of a relayed answer is from.
type whose uint8

const (
	stores      whose = iota // the store's, or none
	storesFirst              // the store's, else the child's
	childsFirst              // the child's, else the store's
)

// storeFields is all that is taken from a store's header; every other field of the answer is the child's.
var storeFields = []struct {
	name  string
	whose whose
	text  string
}{
	{"Content-Range", stores, "of the body"},
	{"Accept-Ranges", stores, "it is the store that serves them"},
	{"Etag", stores, "it is the store that compares it"},
	{"Last-Modified", stores, "the same"},
	{"Content-Encoding", storesFirst, "of the body"},
	{"Content-Type", childsFirst, "or by Reply.Type"},
	{"Content-Disposition", childsFirst, "the application knows the name"},
	{"Content-Language", childsFirst, ""},
	{"Cache-Control", childsFirst, "whether others may have it is for the application to say"},
	{"Expires", childsFirst, "the same"},
	{"Vary", childsFirst, "the same"},
}

// relayBytes is the buffer of the way through user space.
const relayBytes = 64 << 10

var relayBuffers = sync.Pool{New: func() any { return new([relayBytes]byte) }}

// Relay answers r with what a store said, with the status and the headers of the child, which are in w.Header() already:
// what is of the store is in the table above. It does not close g.
//
// An error means that the client did not get all that the header promised: it wraps ErrStore if that is the store's fault.
func (p *Reply) Relay(w http.ResponseWriter, r *http.Request, g *Fetched) error {
	p.Answer, p.Sent = 0, 0
	status := p.status()
	if status == http.StatusOK {
		status = g.resp.StatusCode
	}
	h := w.Header()
	p.merge(h, g)
	refused := g.resp.StatusCode >= 400
	switch {
	case refused:
		// A page of the store's would be taken for the file.
		for name := range h {
			if strings.HasPrefix(name, "Content-") && name != "Content-Range" {
				delete(h, name)
			}
		}
		h["Content-Length"] = []string{"0"}
	case bodyless(status):
	case g.size >= 0:
		h["Content-Length"] = []string{strconv.FormatInt(g.size, 10)}
	}
	w.WriteHeader(status)
	p.Answer = status
	if r.Method == http.MethodHead || bodyless(status) || refused {
		return nil
	}
	rest, err := p.relay(w, r, g)
	if rest != nil {
		return p.splice(w, r, g, rest)
	}
	return err
}

// merge puts the store's fields into the child's header.
func (p *Reply) merge(h http.Header, g *Fetched) {
	Strip(h)
	for _, name := range [...]string{"Content-Length", "Transfer-Encoding", "Trailer"} {
		delete(h, name)
	}
	for _, f := range storeFields {
		store, own := g.resp.Header[f.name], f.whose != childsFirst
		if f.name == "Content-Type" {
			child := first(h[f.name])
			own = p.Type == TypeFile || p.Type == TypeDefault && isHTML(child) ||
				g.resp.StatusCode == http.StatusPartialContent && isMultipart(first(store))
		}
		switch {
		case len(store) > 0 && (own || first(h[f.name]) == ""):
			h[f.name] = store
		case f.whose == stores:
			delete(h, f.name)
		}
	}
	if first(h["Content-Type"]) == "" {
		h["Content-Type"] = []string{octetStream}
	}
	p.Steer.Recode(h)
}

// isMultipart reports whether a body is several ranges, of which only its own type says how they are told apart.
func isMultipart(contentType string) bool {
	const ranges = "multipart/byteranges"
	return len(contentType) >= len(ranges) && strings.EqualFold(contentType[:len(ranges)], ranges)
}

// relay copies the body as it comes, up to where the rest can be moved.
func (p *Reply) relay(w http.ResponseWriter, r *http.Request, g *Fetched) (*Spliced, error) {
	buf := relayBuffers.Get().(*[relayBytes]byte)
	defer relayBuffers.Put(buf)
	flusher := http.NewResponseController(w)
	defer g.store.SetReadDeadline(time.Time{}) // it may be kept for others
	for {
		n, err := g.next(buf[:])
		if n > 0 {
			if g.size >= 0 && p.Sent+int64(n) > g.size {
				return nil, g.broke(r, fmt.Errorf("more than %d bytes", g.size))
			}
			k, werr := w.Write(buf[:n])
			p.Sent += int64(k)
			if werr == nil && p.Sent != g.size {
				if werr = flusher.Flush(); errors.Is(werr, http.ErrNotSupported) {
					werr = nil
				}
			}
			if werr != nil {
				return nil, fmt.Errorf("send %s: %w", g.URL, werr)
			}
		}
		if err == nil && g.size >= 0 {
			if s := g.spliced(buf[:], g.size-p.Sent); s != nil {
				return s, nil
			}
		}
		switch {
		case err == io.EOF && g.size >= 0 && p.Sent < g.size:
			return nil, g.broke(r, io.ErrUnexpectedEOF)
		case err == io.EOF:
			return nil, nil
		case err != nil:
			return nil, g.broke(r, err)
		}
	}
}

// splice has the rest of the body move without a way through this process, as far as the writer can.
func (p *Reply) splice(w http.ResponseWriter, r *http.Request, g *Fetched, s *Spliced) error {
	defer s.Close()
	n, err := io.Copy(w, s)
	p.Sent += n
	switch {
	case s.err != nil:
		return g.broke(r, s.err)
	case err != nil:
		return fmt.Errorf("send %s: %w", g.URL, err)
	}
	return nil
}

// broke is the error of an answer that the store has not kept up, unless it is the client that has left.
func (g *Fetched) broke(r *http.Request, err error) error {
	if r.Context().Err() != nil {
		return fmt.Errorf("send %s: the client has left: %w", g.URL, err)
	}
	return fmt.Errorf("%w: %s: %w", ErrStore, g.URL, err)
}

// next reads from the body, within the time that there is for it.
func (g *Fetched) next(p []byte) (int, error) {
	if g.read > 0 {
		g.store.SetReadDeadline(time.Now().Add(g.read))
	}
	return g.resp.Body.Read(p)
}

// storeConn is a connection to a store. It knows where the last Read went.
type storeConn struct {
	net.Conn
	last *byte
}

func (c *storeConn) Read(p []byte) (int, error) {
	if len(p) > 0 {
		c.last = &p[0]
	}
	return c.Conn.Read(p)
}
