package exchange

import (
	"hash/fnv"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"sluice/cgi"
	"sluice/sendfile"
)

// Request is one request for an App.
type Request struct {
	HTTP    *http.Request
	Meta    *cgi.Meta
	Command cgi.Command // the script, for an app of scripts; its Env is made from Meta
	// Params maps the meta-variables: set gets those that the child is given.
	// After an error no child is asked. nil: Meta's own.
	Params func(meta *cgi.Meta, set func(name, value string)) error
	Stream bool // pass every read on at once
	NPH    bool // the script speaks to the client itself (RFC 3875 section 5)
	// Whole wants the answer complete before any of it is sent, since the
	// client could not tell a short one.
	Whole bool
	// Steer is what children that redirected the request here have said; the child's
	// own beats it. nil: none has.
	Steer *sendfile.Steer
	// Observer is told of the phases; nil: nobody is.
	Observer Observer
	// Data is the file that a filter is given; Serve closes it.
	Data *sendfile.File
	// Now is the time, where the caller has just looked; else it is asked for.
	Now time.Time
	// Confirm wants the client to have a file that a child named before Serve ends,
	// where its connection can tell.
	Confirm bool
	// Sent is for the caller to read behind Serve, also when that fails.
	Sent Sent

	mapped [][2]string // what Params made
	asks   bool        // of an authorizer: see Authorize
	clock  clock
}

// begin is the start of Serve and Authorize.
func (r *Request) begin() {
	r.clock.at = r.Now
	if r.Observer == nil {
		r.Observer = unobserved{}
	}
}

// mapParams asks Params, once for all attempts.
func (r *Request) mapParams() error {
	if r.Params == nil {
		return nil
	}
	err := r.Params(r.Meta, func(name, value string) { r.mapped = append(r.mapped, [2]string{name, value}) })
	if err != nil {
		return &Error{Kind: BadParams, Err: err}
	}
	return nil
}

// each calls set for every variable that the child is given.
func (r *Request) each(set func(name, value string)) {
	if r.asks {
		set = withoutBody(set)
	}
	if r.Params == nil {
		r.Meta.Each(set)
	}
	for _, v := range r.mapped {
		set(v[0], v[1])
	}
}

// withData are the variables of a filter's request (FastCGI 1.0 section 6.4).
func (r *Request) withData(set func(name, value string)) {
	r.each(set)
	set("FCGI_DATA_LAST_MOD", strconv.FormatInt(r.Data.ModTime().Unix(), 10))
	set("FCGI_DATA_LENGTH", strconv.FormatInt(r.Data.Size(), 10))
}

// inputKind is what it means that what a child is sent could not be read.
func (r *Request) inputKind() Kind {
	if r.Data != nil {
		return FileBroken
	}
	return SpoolFailed
}

// key is the same for all requests for one host and path, whatever the query:
// so the same page meets the same caches (FNV-1a, 64 bits).
func (r *Request) key() uint64 {
	h := fnv.New64a()
	io.WriteString(h, strings.ToLower(r.HTTP.Host))
	io.WriteString(h, r.HTTP.URL.Path)
	return h.Sum64()
}

// repeatable reports whether the request may be sent twice: it changes nothing
// (RFC 9110 section 9.2.1), or is only a question to an authorizer.
func (r *Request) repeatable() bool {
	if r.asks {
		return true
	}
	switch r.HTTP.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}
