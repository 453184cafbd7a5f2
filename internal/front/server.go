package front

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"sluice/internal/scoreboard"
)

// Options are the limits of the connections.
type Options struct {
	Handler       http.Handler
	Log           *slog.Logger
	Connections   int           // at once; at the limit no more are accepted
	HeaderBytes   int           // of a request
	HeaderTimeout time.Duration // to the end of a request's header
	KeepaliveIdle time.Duration // between two requests; 0: a connection is for one
	SendTimeout   time.Duration // without progress towards the client
	Place         *scoreboard.Place
}

// Server accepts connections on any number of listeners.
type Server struct {
	opt   Options
	http  *http.Server
	slots chan struct{} // a token per connection that may be open
	quit  chan struct{}
	once  sync.Once
	busy  sync.WaitGroup // a count per request in progress
}

// New returns a Server.
func New(o Options) *Server {
	s := &Server{opt: o, slots: make(chan struct{}, o.Connections), quit: make(chan struct{})}
	s.http = &http.Server{
		Handler:           s.counted(o.Handler),
		ReadHeaderTimeout: o.HeaderTimeout,
		IdleTimeout:       o.KeepaliveIdle,
		// net/http adds 4096 bytes of its own.
		MaxHeaderBytes: max(1, o.HeaderBytes-4096),
		ErrorLog:       log.New(complaints{o.Log}, "", 0),
		ConnContext:    withConn,
		ConnState:      connState,
	}
	// To net/http an IdleTimeout of 0 is no limit.
	s.http.SetKeepAlivesEnabled(o.KeepaliveIdle > 0)
	return s
}

// connState notes what net/http alone knows; the rest is the requests' to say.
func connState(c net.Conn, s http.ConnState) {
	own, ok := c.(*conn)
	switch {
	case !ok:
	case s == http.StateIdle:
		own.move(scoreboard.Idle)
	case s == http.StateActive:
		own.move(scoreboard.Reading)
	}
}

// complaints are net/http's own log lines: nearly all of them are about what a
// client sent.
type complaints struct{ log *slog.Logger }

func (c complaints) Write(p []byte) (int, error) {
	c.log.Info("http", "said", string(p[:max(0, len(p)-1)]))
	return len(p), nil
}

// Serve accepts on the listener until Shutdown, and then returns nil.
func (s *Server) Serve(l net.Listener) error {
	err := s.http.Serve(&listener{Listener: l, s: s})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", l.Addr(), err)
}

// counted counts the requests in progress: net/http does not wait for those
// whose connection a handler has taken over.
func (s *Server) counted(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.busy.Add(1)
		s.opt.Place.Request()
		defer s.busy.Done()
		h.ServeHTTP(w, r)
	})
}

// Shutdown stops accepting, lets the requests in progress finish, and closes
// idle connections. When ctx ends first, the rest is closed.
func (s *Server) Shutdown(ctx context.Context) error {
	s.once.Do(func() { close(s.quit) })
	err := s.http.Shutdown(ctx)
	if err != nil {
		s.http.Close()
		return err
	}
	taken := make(chan struct{})
	go func() { s.busy.Wait(); close(taken) }()
	select {
	case <-taken:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// listener wraps the connections, and does not accept more of them than may be
// open.
type listener struct {
	net.Listener
	s *Server
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	// At the limit the connection waits here, and the others in the backlog. A
	// listener must not hold a place before it has somebody for it: with several
	// listeners the idle ones would keep those out that have.
	select {
	case l.s.slots <- struct{}{}:
	case <-l.s.quit:
		c.Close()
		return nil, net.ErrClosed
	}
	release := func() { <-l.s.slots }
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		c.Close()
		release()
		return nil, err
	}
	_, tcp := c.(*net.TCPConn)
	l.s.opt.Place.Enter(scoreboard.Reading)
	return &conn{Conn: c, raw: raw, tcp: tcp, timeout: l.s.opt.SendTimeout, strict: newStrict(), onClose: release,
		place: l.s.opt.Place}, nil
}
