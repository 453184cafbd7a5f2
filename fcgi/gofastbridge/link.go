package gofastbridge

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/yookoala/gofast"
)

// ClientFactory returns a gofast.ClientFactory: gofast's own client on
// connections of t, for gofast.NewHandler and for sessions that want a
// gofast.Client. The clients are a *Link each.
func ClientFactory(t *Transport) gofast.ClientFactory {
	return func() (gofast.Client, error) { return &Link{t: t}, nil }
}

// Link is gofast's own client on a Conn. It gets the connection when a request
// is there to be sent, ends it with the request's context, and closes the
// connection alone: gofast's Close crashes the process during an upload.
type Link struct {
	t *Transport
	w http.ResponseWriter // nil: not known

	mu     sync.Mutex
	conn   *Conn
	closed bool
}

var _ gofast.Client = (*Link)(nil)

// Do sends the request with gofast's client.
func (l *Link) Do(req *gofast.Request) (*gofast.ResponsePipe, error) {
	ctx := context.Background()
	if req.Raw != nil {
		ctx = req.Raw.Context()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, ErrClosed
	}
	if l.conn != nil {
		if _, ended := l.conn.Ended(); !ended {
			return nil, ErrBusy
		}
		l.conn.Close()
	}
	in := newInput(req, l.w)
	conn, err := l.t.conn(ctx, repeatable(req))
	if err != nil {
		return nil, err
	}
	// gofast.NewHandler does not know KeepConn.
	conn.keep = req.KeepConn || l.w == nil && l.t.KeepConn
	if in != nil {
		req.Stdin = in
	}
	l.conn = conn
	inner, err := gofast.SimpleClientFactory(func() (net.Conn, error) { return conn, nil })()
	if err != nil {
		conn.Close()
		return nil, err
	}
	conn.bind(ctx, in)
	return inner.Do(req)
}

// Err says what went wrong with the request, as Conn.Err.
func (l *Link) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn == nil {
		return nil
	}
	return l.conn.Err()
}

// Close gives the connection back, or ends the request that is on it. It may be
// called at any time and any number of times.
func (l *Link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.conn == nil {
		return nil
	}
	return l.conn.Close()
}

// Sessions answers requests with gofast's own client and an existing session,
// on connections of t. What gofast does not see does not become a complete
// answer here: an application that dies, or refuses the request, is a 502 or
// 503, or a broken connection if a part of the answer has been sent.
func Sessions(t *Transport, session gofast.SessionHandler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		l := &Link{t: t, w: w}
		defer l.Close()
		req := gofast.NewRequest(r.WithContext(ctx))
		req.KeepConn = t.KeepConn
		resp, err := session(l, req)
		g := &guard{w: w, cancel: cancel}
		switch {
		case err == nil && resp == nil:
			err = errNoAnswer
		case err == nil:
			err = l.write(resp, g)
		}
		if err != nil {
			t.failed(w, asError(err), g.started, g.started)
		}
	})
}

// write writes the answer, and judges it.
func (l *Link) write(resp *gofast.ResponsePipe, g *guard) error {
	if l.t.Errors == nil {
		return g.end(resp.WriteTo(g, io.Discard), l.Err())
	}
	lines := l.t.Errors.For(0)
	defer lines.Flush()
	return g.end(resp.WriteTo(g, lines), l.Err())
}
