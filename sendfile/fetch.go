package sendfile

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"strings"
	"time"
)

// FetchOptions bound what a Fetcher waits for; 0 is no bound.
type FetchOptions struct {
	Connect time.Duration // to one URL, the look-up of its name included
	Header  time.Duration // from the request to the end of the answer's header
	Read    time.Duration // between two reads of the body
}

// A Fetcher fetches what X-Reproxy-URL names. It follows no redirects, knows no proxies of the environment, and keeps
// some idle connections. It is safe for concurrent use.
type Fetcher struct {
	transport *http.Transport
	read      time.Duration
}

// Bounds of a Fetcher.
const (
	storeHeaderBytes = 64 << 10
	storeIdle        = 16 // connections kept to one host
	storeIdleTime    = 30 * time.Second
)

// NewFetcher returns a Fetcher.
func NewFetcher(o FetchOptions) *Fetcher {
	dialer := &net.Dialer{Timeout: o.Connect}
	return &Fetcher{read: o.Read, transport: &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &storeConn{Conn: c}, nil
		},
		DisableCompression:     true, // what the store sends is what the client gets
		ResponseHeaderTimeout:  o.Header,
		TLSHandshakeTimeout:    o.Header,
		MaxResponseHeaderBytes: storeHeaderBytes,
		MaxIdleConnsPerHost:    storeIdle,
		IdleConnTimeout:        storeIdleTime,
	}}
}

// Close closes idle connections. Fetches in progress go on.
func (f *Fetcher) Close() { f.transport.CloseIdleConnections() }

// Fetched is the answer of a store, of which the body is still to come. The caller closes it.
type Fetched struct {
	URL   string
	size  int64 // of the body; -1: not known
	read  time.Duration
	resp  *http.Response
	store net.Conn // its deadline is the body's
}

// Size is how long the body is; -1: the store does not say.
func (g *Fetched) Size() int64 { return g.size }

// Bodiless reports whether the answer is of a kind that has no body.
func (g *Fetched) Bodiless() bool {
	return g.resp.Request.Method == http.MethodHead || g.resp.StatusCode != http.StatusOK && g.resp.StatusCode != http.StatusPartialContent
}

// Close gives the answer up: what is left of it is not read.
func (g *Fetched) Close() error { return g.resp.Body.Close() }

// passed are the fields of a client's request that the store gets.
var passed = []struct{ name, text string }{
	{"Range", "the store sends the part"},
	{"If-Range", "if that is of the same version"},
	{"If-None-Match", "and nothing that the client has"},
	{"If-Modified-Since", "the same"},
	{"If-Match", "412 otherwise"},
	{"If-Unmodified-Since", "the same"},
}

// Fetch asks for the URLs of an order, one after the other, until one answers with 200, or with what the client's own
// conditions lead to: 206, 304, 412, 416. status is the child's: with another than 200 the whole is wanted. The store gets
// GET, or HEAD if that is what the client sent, and nothing of the client's header but Range and conditions.
//
// An answer of another size than the order's Size is none; where the store does not say a size, that is what the client is
// told, and the body has to have it.
//
// The error is the context's if the client has left, else an *Error with Status 503 that says for each URL what it was.
func (f *Fetcher) Fetch(r *http.Request, o Order, status int) (*Fetched, error) {
	var failures []error
	for _, u := range o.URLs {
		g, err := f.fetch(r, u, o.Size, status)
		if err == nil {
			return g, nil
		}
		if ctx := r.Context(); ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		failures = append(failures, fmt.Errorf("%s: %w", u, err))
	}
	return nil, &Error{Op: "fetch", Path: strings.Join(o.URLs, " "), Status: http.StatusServiceUnavailable,
		Rule: "no URL gave an answer", Err: errors.Join(failures...)}
}

func (f *Fetcher) fetch(r *http.Request, url string, size int64, status int) (*Fetched, error) {
	g := &Fetched{URL: url, size: -1, read: f.read}
	ctx := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { g.store = i.Conn }, // of the last attempt
	})
	method := http.MethodGet
	if r.Method == http.MethodHead {
		method = r.Method
	}
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header["User-Agent"] = []string{""} // none
	req.Header.Set("Accept-Encoding", "identity")
	if status == http.StatusOK && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		for _, p := range passed {
			if v, ok := r.Header[p.name]; ok {
				req.Header[p.name] = v
			}
		}
	}
	if g.resp, err = f.transport.RoundTrip(req); err != nil {
		return nil, err
	}
	if err := g.judge(req.Header, size); err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

// outcomes are the statuses of a store that are answers, each with the fields that ask for it; none: always.
var outcomes = []struct {
	status int
	asked  []string
}{
	{http.StatusOK, nil},
	{http.StatusPartialContent, []string{"Range"}},
	{http.StatusNotModified, []string{"If-None-Match", "If-Modified-Since"}},
	{http.StatusPreconditionFailed, []string{"If-Match", "If-Unmodified-Since", "If-None-Match"}},
	{http.StatusRequestedRangeNotSatisfiable, []string{"Range"}},
}

// judge says what is wrong with the answer to a request with that header; nil: it may go to the client.
func (g *Fetched) judge(asked http.Header, size int64) error {
	if !expected(g.resp.StatusCode, asked) {
		return fmt.Errorf("status %s", g.resp.Status)
	}
	whole := int64(-1)
	switch g.resp.StatusCode {
	case http.StatusOK:
		whole = g.resp.ContentLength
		g.size = whole
		if whole < 0 {
			g.size = size
		}
	case http.StatusPartialContent:
		g.size = g.resp.ContentLength
		whole = completeLength(g.resp.Header)
	case http.StatusRequestedRangeNotSatisfiable:
		whole = completeLength(g.resp.Header)
	}
	if size >= 0 && whole >= 0 && whole != size {
		return fmt.Errorf("%d bytes, expected %d", whole, size)
	}
	return nil
}

func expected(status int, asked http.Header) bool {
	for _, o := range outcomes {
		if o.status != status {
			continue
		}
		for _, name := range o.asked {
			if _, ok := asked[name]; ok {
				return true
			}
		}
		return len(o.asked) == 0
	}
	return false
}

// completeLength reads the length of the whole from Content-Range (RFC 9110 section 14.4); -1: it does not say.
func completeLength(h http.Header) int64 {
	v := h.Get("Content-Range")
	n, err := strconv.ParseInt(v[strings.LastIndexByte(v, '/')+1:], 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}
