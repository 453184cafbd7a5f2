package sendfile

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Options configure a Sender. The zero value acts on X-Accel-Redirect and its companions alone: every other header is only
// stripped.
type Options struct {
	// Headers are the names that act, in any case; others of the family are only stripped, as are names whose meaning
	// this package does not carry out. nil: all that it does carry out. Empty: none. X-Accel-Buffering and the others that
	// steer belong to the one beside which they are used, and act always.
	Headers []string

	// Roots are absolute directories; a file is sent only from below one of them. None: the headers that name files are
	// only stripped. A root need not exist before a file is opened, and also matches by the path that its own links lead to.
	Roots []string

	// DeleteRoots are the same for X-Sendfile-Temporary.
	DeleteRoots []string

	// Reproxy are beginnings of the URLs that X-Reproxy-URL may name: a URL matches the scheme, the host with its port
	// and, on a segment boundary, the path. None: the header is only stripped.
	Reproxy []string

	// Precompressed sends file.zst, file.br or file.gz in the place of file to those who prefer that: see OpenFor.
	Precompressed bool

	Decode   bool              // percent-decode the value
	Symlinks Symlinks          // what happens at a symbolic link below a root
	Type     TypePolicy        // whose Content-Type a file gets
	Types    map[string]string // ".ext" to media type; beats the built-in table
	Files    *Cache            // keeps files open; may be shared with others; nil: none are kept
	Reads    *Reads            // bounds the reads that wait for a disk; may be shared with others; nil: no bounds
}

// A Sender carries out what send-file headers ask for. It is immutable and safe for concurrent use.
type Sender struct {
	acts        []*row
	roots       []string // cleaned, longest first
	deleteRoots []string
	reproxy     []string // as they were given
	prefixes    []prefix // the same, in parts
	neighbours  bool
	decode      bool
	symlinks    Symlinks
	policy      TypePolicy
	types       map[string]string
	files       *Cache
	reads       *Reads
}

// New checks the options and opens nothing. It fails for a header that is not of the family, a root that is not
// absolute or contains a NUL, a mode out of range, and a key of Types that does not begin with a dot.
func New(o Options) (*Sender, error) {
	s := &Sender{reproxy: slices.Clone(o.Reproxy), prefixes: prefixesOf(o.Reproxy), neighbours: o.Precompressed, decode: o.Decode, symlinks: o.Symlinks, policy: o.Type,
		types: maps.Clone(o.Types), files: o.Files, reads: o.Reads}
	var err error
	if s.roots, err = cleanRoots(o.Roots); err != nil {
		return nil, err
	}
	if s.deleteRoots, err = cleanRoots(o.DeleteRoots); err != nil {
		return nil, err
	}
	for _, n := range o.Headers {
		if !slices.ContainsFunc(family, func(r row) bool { return !r.prefix && r.matches(n) }) {
			return nil, fmt.Errorf("new sender: header %q is not of the send-file family", n)
		}
	}
	for i := range family {
		if r := &family[i]; s.mayAct(r, o.Headers) {
			s.acts = append(s.acts, r)
		}
	}
	if o.Symlinks < Beneath || o.Symlinks > Follow {
		return nil, fmt.Errorf("new sender: symlinks %v", o.Symlinks)
	}
	if o.Type < TypeKeep || o.Type > TypeDefault {
		return nil, fmt.Errorf("new sender: type %v", o.Type)
	}
	for ext := range o.Types {
		if len(ext) < 2 || ext[0] != '.' {
			return nil, fmt.Errorf("new sender: types: %q does not begin with a dot", ext)
		}
	}
	return s, nil
}

// mayAct reports whether the row's header acts: it is listed, and the application has what it needs.
func (s *Sender) mayAct(r *row, listed []string) bool {
	if r.means >= steers {
		return false
	}
	if listed != nil && !slices.ContainsFunc(listed, func(n string) bool { return strings.EqualFold(n, r.name) }) {
		return false
	}
	switch r.needs {
	case roots:
		return len(s.roots) > 0
	case deleteRoots:
		return len(s.deleteRoots) > 0
	case prefixes:
		return len(s.reproxy) > 0
	}
	return true
}

// cleanRoots checks and sorts roots.
func cleanRoots(list []string) (clean []string, err error) {
	for _, r := range list {
		if !path.IsAbs(r) || strings.IndexByte(r, 0) >= 0 {
			return nil, fmt.Errorf("new sender: root %q is not an absolute path", r)
		}
		clean = append(clean, path.Clean(r))
	}
	slices.SortStableFunc(clean, func(a, b string) int { return len(b) - len(a) })
	return clean, nil
}

// Order is what a send-file header asks for.
type Order struct {
	Header string // the name of the header as in this package's documentation, whatever the child's spelling
	Means  Means

	// Path is for SendFile and Temporary: absolute, dot segments and doubled slashes removed; a final slash stays, and
	// never names a file.
	Path string

	URI    string   // for Redirect: path and query, as the child wrote them
	Slices []Slice  // for Slices: at least one
	URLs   []string // for Reproxy: at least one; each may be fetched
	Size   int64    // for Reproxy and X-Reproxy-File: what the body must have; -1: the child did not say
}

// Slice is a part of a file for X-Sendfile2.
type Slice struct {
	Path       string // as Order.Path
	First, End int64  // bytes from First on, up to but without End; End -1: to the file's end
}

// Take removes the whole family from h and returns what the acting header of it asks for, and how the answer is to be
// sent, whichever it is. ok is false if there is none, and the child's body is to be sent.
//
// The error is an *Error with Status 502 (the child is at fault) if there are two acting headers, of one name or of two,
// or if the value is not what the header takes: for those that name files empty, not absolute, badly percent-encoded, or
// with a NUL. It has Status 503 if none of the URLs of X-Reproxy-URL may be fetched.
func (s *Sender) Take(h http.Header) (o Order, steer Steer, ok bool, err error) {
	var found []*row // one for each value
	var value string
	steer = steerless
	size := int64(-1)
	for key, values := range h {
		r := rowOf(key)
		if r == nil {
			continue
		}
		delete(h, key)
		switch {
		case r.means == steers && r.name == expectedSize:
			size = parseSize(values)
		case r.means == steers:
			steer.take(r.name, values)
		case slices.Contains(s.acts, r):
			for _, v := range values {
				found, value = append(found, r), v
			}
		}
	}
	if len(found) == 0 {
		return Order{}, steer, false, nil
	}
	if len(found) > 1 {
		return Order{}, steer, false, &Error{Op: "take", Path: value, Status: http.StatusBadGateway, Rule: twoHeaders(found)}
	}
	o = Order{Header: found[0].name, Means: found[0].means, Size: size}
	if o.Means != Reproxy && o.Header != reproxyFile {
		o.Size = -1
	}
	if err := s.parse(&o, strings.Trim(value, " \t")); err != nil { // RFC 9110 section 5.5: blanks are not part of the value
		status := http.StatusBadGateway
		if errors.Is(err, errNoURL) {
			status = http.StatusServiceUnavailable
		}
		return Order{}, steer, false, &Error{Op: "take", Path: value, Status: status, Rule: "bad value of " + o.Header, Err: err}
	}
	return o, steer, true, nil
}

// expectedSize is the companion of X-Reproxy-URL and X-Reproxy-File.
const (
	expectedSize = "X-Reproxy-Expected-Size"
	reproxyFile  = "X-Reproxy-File"
)

// twoHeaders says which there are.
func twoHeaders(found []*row) string {
	var names []string
	for _, r := range found {
		names = append(names, r.name)
	}
	slices.Sort(names)
	return "more than one send-file header: " + strings.Join(names, ", ")
}

// parse reads the value of a header into what it means.
func (s *Sender) parse(o *Order, value string) (err error) {
	switch o.Means {
	case Redirect:
		o.URI = value
	case Slices:
		o.Slices, err = s.slices(value)
	case Reproxy:
		o.URLs, err = s.urls(value)
	default:
		o.Path, err = target(value, s.decode)
	}
	return err
}

var (
	errEmpty    = errors.New("empty")
	errRelative = errors.New("not an absolute path")
	errNUL      = errors.New("contains a NUL")
)

// target turns the value of a header into a clean absolute path.
func target(value string, decode bool) (string, error) {
	p := value
	if p == "" {
		return "", errEmpty
	}
	if decode {
		var err error
		if p, err = url.PathUnescape(p); err != nil {
			return "", err
		}
	}
	if strings.IndexByte(p, 0) >= 0 {
		return "", errNUL
	}
	if p[0] != '/' {
		return "", errRelative
	}
	return clean(p), nil
}

// clean is path.Clean, but keeps what makes the kernel demand a directory: a final slash, or a final dot segment.
func clean(p string) string {
	c := path.Clean(p)
	dir := strings.HasSuffix(p, "/") || strings.HasSuffix(p, "/.") || strings.HasSuffix(p, "/..")
	if dir && c != "/" {
		c += "/"
	}
	return c
}
