package http1

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/front/peer"
	"sluice/internal/poll"
	"sluice/internal/scoreboard"
)

// Options are what a Server is made with.
type Options struct {
	Handler http.Handler
	Log     *slog.Logger
	Set     *poll.Set
	Place   *scoreboard.Place // nil: none

	Connections       int           // at once; 0: no limit; see Room
	HeaderBytes       int           // of a request; 0: 64 KiB
	HeaderTimeout     time.Duration // to the end of a request's header; 0: none
	KeepaliveIdle     time.Duration // between two requests; 0: a connection is for one
	KeepaliveRequests int           // of a connection; 0: no limit
	SendTimeout       time.Duration // without progress towards the client; 0: none
	// AnswerHalfClosed: a client that has closed its side still gets its answer.
	// Otherwise it counts as gone.
	AnswerHalfClosed bool
	// Refuse: further connections than Connections are answered with 503. Otherwise
	// they wait to be accepted, by Room.
	Refuse bool
	Seats  *peer.Seats // bound the connections of one client; nil: no bound
	Linger Linger
	// Freed, if set, is called when there is room for a connection after there
	// was none.
	Freed func()
}

// Server serves the connections that it is given.
type Server struct {
	opt      Options
	stopping atomic.Bool
	retiring atomic.Bool          // an answer is a connection's last
	give     atomic.Pointer[Give] // nil: idle connections stay

	dismissing sync.Mutex // held while an idle connection is dismissed

	mu     sync.Mutex
	conns  *conn // all that are open, a list
	oldest *conn // its end
	open   int
	// clearing: somebody makes room.
	clearing bool

	ended  chan struct{} // closed when the last has gone after Shutdown; made by it
	linger lingering
	crew   crew

	admission admission
}

// Listener is what the connections of one listener have in common.
type Listener struct {
	// Addr is the local address of all its connections; nil: each is asked.
	Addr net.Addr
	// TCP says that a connection can be reset.
	TCP bool
	// ProxyFrom are the peers that have to send a PROXY header before anything else.
	ProxyFrom *peer.Networks
}

// New returns a Server.
func New(o Options) *Server {
	if o.HeaderBytes == 0 {
		o.HeaderBytes = 64 << 10
	}
	s := &Server{opt: o}
	s.linger.kernel = make(chan struct{}, kernelCloses)
	s.admission.init(o.Log)
	return s
}

// Room is how many more connections may be given.
func (s *Server) Room() int {
	if s.opt.Connections == 0 || s.opt.Refuse {
		return 1 << 20
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.room()
}

// Open is how many connections there are.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// room is for how many more connections there is room.
func (s *Server) room() int { return s.opt.Connections - (s.open - s.admission.n) }

// Take takes over a connected stream socket that does not block. It may be
// called in the set's goroutine. client is its other end; the zero AddrPort where
// that is no TCP address.
func (s *Server) Take(l *Listener, fd int, client netip.AddrPort) {
	pc, err := s.opt.Set.Conn(fd, nil)
	if err != nil {
		s.opt.Log.Error("connection is not taken", "err", err)
		return
	}
	pc.SetSendTimeout(s.opt.SendTimeout)
	if l.Addr != nil {
		pc.SetLocalAddr(l.Addr)
	}
	if !client.IsValid() {
		pc.SetRemoteAddr(noAddress)
	}
	c := &conn{s: s, l: l, pc: pc, client: client}
	c.state.Store(uint32(scoreboard.Reading))
	s.opt.Place.Enter(scoreboard.Reading)
	if s.opt.HeaderTimeout > 0 {
		c.limit = time.Now().Add(s.opt.HeaderTimeout)
		pc.SetReadDeadline(c.limit)
	}
	if !s.enlist(c) || !c.admit() {
		c.close()
		return
	}
	pc.OnHangup(c.hungup)
	c.idle.Store(true)
	if !pc.Park(c.woken) {
		s.serve(c)
	}
}

// noAddress is that of the peer of a unix socket.
var noAddress = &net.UnixAddr{Net: "unix"}

// enlist puts a connection on the list; false: the server stops, or does not even
// refuse any more.
func (s *Server) enlist(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	fits := true
	if s.opt.Refuse && s.opt.Connections > 0 && s.room() <= 0 {
		fits = s.admission.n < refusedMost
		s.admission.n++
		c.why = atLimit
	}
	return s.list(c) && fits
}

// list puts a connection on the list, with the lock held; false: the server stops.
func (s *Server) list(c *conn) bool {
	s.open++
	c.listed = true
	c.next = s.conns
	if c.next != nil {
		c.next.prev = c
	} else {
		s.oldest = c
	}
	s.conns = c
	if s.opt.Connections > 0 && !s.opt.Refuse && s.room() <= 0 && !s.clearing {
		s.clearing = true
		go s.makeRoom()
	}
	return !s.stopping.Load()
}

// How many connections are looked at for room, and how many make it, at once.
const (
	roomLooks  = 256
	roomWanted = 16
)

// makeRoom closes idle connections when the last place has been taken: who waits
// to be let in has something to ask. Those go that have been here for longest and
// are parked, and have had an answer.
func (s *Server) makeRoom() {
	var idle []*conn
	s.mu.Lock()
	c := s.oldest
	for range roomLooks {
		if c == nil || len(idle) == roomWanted {
			break
		}
		if scoreboard.ConnState(c.state.Load()) == scoreboard.Idle {
			idle = append(idle, c)
		}
		c = c.prev
	}
	s.mu.Unlock()
	for _, c := range idle {
		c.giveWay()
	}
	s.mu.Lock()
	s.clearing = false
	s.mu.Unlock()
}

// surplus makes a connection one of those that are refused; false: there are too
// many of them.
func (s *Server) surplus(c *conn, why refusal) bool {
	s.mu.Lock()
	if s.admission.n >= refusedMost {
		s.mu.Unlock()
		return false
	}
	full := s.room() == 0
	s.admission.n++
	c.why = why
	s.mu.Unlock()
	if full && s.opt.Freed != nil {
		s.opt.Freed()
	}
	return true
}

// delist takes a connection off the list.
func (s *Server) delist(c *conn) {
	s.mu.Lock()
	if !c.listed {
		s.mu.Unlock()
		return
	}
	c.listed = false
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		s.conns = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		s.oldest = c.prev
	}
	c.next, c.prev = nil, nil
	full := c.why == welcome && s.room() == 0
	if c.why != welcome {
		s.admission.n--
	}
	s.open--
	if s.open == 0 && s.ended != nil {
		close(s.ended)
		s.ended = nil
	}
	s.mu.Unlock()
	if full && s.opt.Freed != nil {
		s.opt.Freed()
	}
}

// Shutdown closes idle connections, those without a first request a second later,
// and lets the requests in progress finish and lingering connections end in their
// time. Whoever gives connections must have stopped. When ctx ends first, the
// rest is closed. It may be called again while it waits, with a context that ends
// earlier.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.crew.end()
	s.stopping.Store(true)
	ended := s.end()
	if ended == nil {
		return nil
	}
	for _, c := range s.all() {
		c.dismiss()
	}
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	return s.cutAll(ctx)
}

// end is closed when the last connection has ended; nil: there is none.
func (s *Server) end() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil && s.open > 0 {
		s.ended = make(chan struct{})
	}
	return s.ended
}

// cutAll closes what is open, since the time is over.
func (s *Server) cutAll(ctx context.Context) error {
	rest := s.all()
	for _, c := range rest {
		c.cut()
	}
	return fmt.Errorf("%d connections were open: %w", len(rest), context.Cause(ctx))
}

// all are the connections that are open now.
func (s *Server) all() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*conn, 0, s.open)
	for c := s.conns; c != nil; c = c.next {
		all = append(all, c)
	}
	return all
}
