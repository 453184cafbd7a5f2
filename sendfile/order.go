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

// Options configure a Sender. The zero value acts on nothing: every header is only stripped.
type Options struct {
	// Headers are the names that act, in any case; others of the family are only stripped, as are names whose meaning
	// this package does not carry out. nil: all that it does carry out. Empty: none.
	Headers []string

	// Roots are absolute directories; a file is sent only from below one of them. None: every header is only stripped.
	// A root need not exist before a file is opened, and also matches by the path that its own links lead to.
	Roots []string

	Decode   bool              // percent-decode the value; "+" stays "+"
	Symlinks Symlinks          // what happens at a symbolic link below a root
	Type     TypePolicy        // whose Content-Type a file gets
	Types    map[string]string // ".ext" to media type; beats the built-in table
}

// A Sender carries out what send-file headers ask for. It is immutable and safe for concurrent use.
type Sender struct {
	acts     []string // names of rows
	roots    []string // cleaned, longest first
	decode   bool
	symlinks Symlinks
	policy   TypePolicy
	types    map[string]string
}

// New checks the options and opens nothing. It fails for a header that is not of the family, a root that is not
// absolute or contains a NUL, a mode out of range, and a key of Types that does not begin with a dot.
func New(o Options) (*Sender, error) {
	s := &Sender{decode: o.Decode, symlinks: o.Symlinks, policy: o.Type, types: maps.Clone(o.Types)}
	for i := range family {
		r := &family[i]
		listed := slices.ContainsFunc(o.Headers, func(n string) bool { return strings.EqualFold(n, r.name) })
		if r.acts && (o.Headers == nil || listed) {
			s.acts = append(s.acts, r.name)
		}
	}
	for _, n := range o.Headers {
		if !slices.ContainsFunc(family, func(r row) bool { return !r.prefix && r.matches(n) }) {
			return nil, fmt.Errorf("new sender: header %q is not of the send-file family", n)
		}
	}
	for _, r := range o.Roots {
		if !path.IsAbs(r) || strings.IndexByte(r, 0) >= 0 {
			return nil, fmt.Errorf("new sender: root %q is not an absolute path", r)
		}
		s.roots = append(s.roots, path.Clean(r))
	}
	slices.SortStableFunc(s.roots, func(a, b string) int { return len(b) - len(a) })
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

// Order is what a send-file header asks for.
type Order struct {
	Header string // the name of the header as in this package's documentation, whatever the child's spelling
	Path   string // absolute, dot segments and doubled slashes removed; a final slash stays, and never names a file
}

// Take removes the whole family from h and returns what the acting header of it asks for. ok is false if there is none,
// and the child's body is to be sent.
//
// The error is an *Error with Status 502 (the child is at fault) if there are two acting headers, of one name or of two,
// or if the value is empty, not absolute, badly percent-encoded, or contains a NUL.
func (s *Sender) Take(h http.Header) (o Order, ok bool, err error) {
	var found []string // names, one for each value
	var value string
	for key, values := range h {
		if !Known(key) {
			continue
		}
		delete(h, key)
		name, acts := s.acting(key)
		if !acts {
			continue
		}
		for _, v := range values {
			found, value = append(found, name), v
		}
	}
	if len(found) == 0 || len(s.roots) == 0 {
		return Order{}, false, nil
	}
	if len(found) > 1 {
		slices.Sort(found)
		rule := "more than one send-file header: " + strings.Join(found, ", ")
		return Order{}, false, &Error{Op: "take", Path: value, Status: http.StatusBadGateway, Rule: rule}
	}
	p, err := target(value, s.decode)
	if err != nil {
		return Order{}, false, &Error{
			Op: "take", Path: value, Status: http.StatusBadGateway, Rule: "bad value of " + found[0], Err: err,
		}
	}
	return Order{Header: found[0], Path: p}, true, nil
}

// acting returns the documented name of the header key if it acts.
func (s *Sender) acting(key string) (name string, ok bool) {
	for _, n := range s.acts {
		if strings.EqualFold(n, key) {
			return n, true
		}
	}
	return "", false
}

var (
	errEmpty    = errors.New("empty")
	errRelative = errors.New("not an absolute path")
	errNUL      = errors.New("contains a NUL")
)

// target turns the value of a header into a clean absolute path.
func target(value string, decode bool) (string, error) {
	p := strings.Trim(value, " \t") // RFC 9110 section 5.5: not part of the value
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
