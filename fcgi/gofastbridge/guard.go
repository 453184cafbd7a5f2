package gofastbridge

import (
	"context"
	"errors"
	"net/http"
)

// guard stands between gofast's ResponsePipe and the client. It holds the header
// back until there is a body or the end, since what gofast says may turn out to
// be wrong, and lets no status through that net/http panics at: in a goroutine
// of gofast's nobody would recover.
type guard struct {
	w      http.ResponseWriter
	cancel context.CancelFunc // nil: none. Ends the request: a failed Write alone leaves gofast hanging.

	header  http.Header
	code    int
	started bool
}

func (g *guard) Header() http.Header {
	if g.header == nil {
		g.header = http.Header{}
	}
	return g.header
}

func (g *guard) WriteHeader(code int) {
	if g.code == 0 {
		g.code = code
	}
}

func (g *guard) Write(p []byte) (int, error) {
	g.start()
	n, err := g.w.Write(p)
	if errors.Is(err, http.ErrBodyNotAllowed) {
		return len(p), nil
	}
	if err != nil && g.cancel != nil {
		g.cancel()
	}
	return n, err
}

// hopByHop are the fields of one connection (RFC 9110 section 7.6.1).
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

func (g *guard) start() {
	if g.started {
		return
	}
	g.started = true
	for _, k := range hopByHop {
		delete(g.header, k)
	}
	out := g.w.Header()
	for k, v := range g.header {
		out[k] = v
	}
	if _, ok := out["Content-Type"]; !ok {
		out["Content-Type"] = nil
	}
	switch {
	case g.code == 0:
		g.code = http.StatusOK
	case g.code < 200 || g.code > 599:
		g.code = http.StatusBadGateway
	}
	g.w.WriteHeader(g.code)
}

// end completes the answer, unless it is not one: written is what the pipe's
// WriteTo returned, and cause what is known of the request.
func (g *guard) end(written, cause error) error {
	if cause != nil {
		return cause
	}
	if written != nil {
		return &Error{Status: http.StatusBadGateway, Started: g.started, Err: written}
	}
	g.start()
	return nil
}
