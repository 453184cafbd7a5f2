package http1

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/front/peer"
	"sluice/internal/scoreboard"
)

// Parked is an idle connection on its way from one Server to another, which may
// be another process's. Nothing of it has been read that was not answered; what
// the client sends meanwhile waits in the socket, for whoever has it.
type Parked struct {
	// FD is the descriptor, in the process that reads this.
	FD int `json:"-"`
	// Client is the other end of the socket; invalid where that is no TCP address,
	// or a PROXY header has said who the client is: then the two below do.
	Client      netip.AddrPort `json:"client"`
	Source      string         `json:"source,omitempty"`
	Destination string         `json:"destination,omitempty"`
	// Proxied: a PROXY header is still to come.
	Proxied bool          `json:"proxied,omitempty"`
	TCP     bool          `json:"tcp,omitempty"`
	Served  int           `json:"served,omitempty"` // requests
	Left    time.Duration `json:"left,omitempty"`   // until it is closed for its silence; 0: no limit
	// Seat is the number of its seat, which the process at the place From has.
	Seat int `json:"seat"`
	From int `json:"from"`
}

// Give passes connections on, and reports how many of them have been taken, from
// the first on. The descriptors stay the caller's. It may wait for a moment.
type Give func([]Parked) (taken int)

// giveAtOnce connections are passed on in one call of Give.
const giveAtOnce = 64

// lookEvery is how often a server that retires looks for connections that have
// become idle without being noticed.
const lookEvery = time.Second

// Retire begins the end of a server whose place another one takes, which no client
// notices. Connections that idle are given away, now, and others when they have
// idled for a second; which cannot be given away stays until one more answer,
// which says that the connection closes behind it, or until its time is over.
// Whoever gives connections must have stopped. It may be called again, with
// another give; nil: there is nobody to give them to.
func (s *Server) Retire(give Give) {
	s.retiring.Store(true)
	if give == nil {
		s.give.Store(nil)
		return
	}
	s.give.Store(&give)
	s.giveAway()
}

// Finish waits until the last connection of a server that retires has ended. When
// ctx ends first, the rest is closed.
func (s *Server) Finish(ctx context.Context) error {
	defer s.crew.end()
	ended := s.end()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for ended != nil {
		select {
		case <-ended:
			ended = nil
		case <-ctx.Done():
			return s.cutAll(ctx)
		case <-look.C:
			s.giveAway()
		}
	}
	return nil
}

// giveAway passes on the connections that are parked.
func (s *Server) giveAway() {
	if s.give.Load() == nil {
		return
	}
	var some []*conn
	var out []Parked
	for _, c := range s.all() {
		if p, ok := c.unpark(); ok {
			some, out = append(some, c), append(out, p)
		}
		if len(some) == giveAtOnce {
			s.pass(some, out)
			some, out = some[:0], out[:0]
		}
	}
	s.pass(some, out)
}

// pass passes connections on that are out of the set, and takes back those that
// nobody takes. They are on the list until somebody has them.
func (s *Server) pass(some []*conn, out []Parked) {
	if len(some) == 0 {
		return
	}
	taken := 0
	if give := s.give.Load(); give != nil {
		taken = (*give)(out)
	}
	for i, c := range some {
		if i < taken {
			unix.Close(out[i].FD)
		} else {
			s.Adopt(out[i])
		}
		if from := c.state.Swap(stateClosed); from != stateClosed {
			s.opt.Place.Leave(scoreboard.ConnState(from))
		}
		s.delist(c)
	}
}

// unpark takes a connection out of the set that is parked, and out of this server
// but for the list. false: it is not parked, or has something to do here.
func (c *conn) unpark() (p Parked, ok bool) {
	switch st := c.state.Load(); {
	case st != uint32(scoreboard.Idle) && st != uint32(scoreboard.Reading):
		return p, false
	case !c.pc.Unpark():
		return p, false
	}
	if c.state.Load() == uint32(scoreboard.Lingering) { // by now
		c.drained()
		return p, false
	}
	if p, ok = c.takeOut(); !ok {
		c.woken()
	}
	return p, ok
}

// handOver passes the connection on, which its goroutine would park; false: it has
// to be parked here.
func (c *conn) handOver() bool {
	if c.s.give.Load() == nil {
		return false
	}
	p, ok := c.takeOut()
	if ok {
		c.s.pass([]*conn{c}, []Parked{p})
	}
	return ok
}

// takeOut takes the connection, with which nobody else is concerned, out of the
// set. false: it is not for another server, and is as it was.
func (c *conn) takeOut() (p Parked, ok bool) {
	if c.why != welcome || c.pc.Readable() || c.pc.Queued() > 0 || c.state.Load() == stateClosed {
		return p, false
	}
	if !c.limit.IsZero() {
		if p.Left = time.Until(c.limit); p.Left <= 0 {
			return p, false
		}
	}
	p.Client, p.Proxied, p.TCP, p.Served = c.client, c.proxied, c.l.TCP, c.served
	if !c.client.IsValid() {
		if source := c.pc.RemoteAddr(); source != noAddress {
			p.Source, p.Destination = addressText(source), addressText(c.pc.LocalAddr())
		}
	}
	p.Seat, p.From = c.s.opt.Seats.Number(c.seat), c.s.opt.Seats.Place()
	var err error
	p.FD, err = c.pc.Detach()
	return p, err == nil
}

// Adopt takes over a connection that another server has given away.
func (s *Server) Adopt(p Parked) {
	client, source := p.Client.Addr().Unmap(), addressOf(p.Source)
	if source != nil {
		client = peer.Addr(source)
	}
	pc, err := s.opt.Set.Conn(p.FD, nil)
	if err != nil {
		s.opt.Log.Error("connection is not taken over", "err", err)
		if !p.Proxied {
			s.opt.Seats.Adopt(client, p.Seat, p.From).Leave()
		}
		return
	}
	pc.SetSendTimeout(s.opt.SendTimeout)
	c := &conn{s: s, l: adopted[p.TCP], pc: pc, client: p.Client, proxied: p.Proxied, served: p.Served}
	switch {
	case source != nil:
		pc.SetRemoteAddr(source)
		pc.SetLocalAddr(addressOf(p.Destination))
	case !p.Client.IsValid():
		pc.SetRemoteAddr(noAddress)
	}
	state := scoreboard.Reading
	if p.Served > 0 {
		state = scoreboard.Idle
		if most := s.opt.KeepaliveIdle; most > 0 {
			p.Left = min(p.Left, most)
		}
	}
	c.state.Store(uint32(state))
	s.opt.Place.Enter(state)
	if p.Left > 0 {
		c.limit = time.Now().Add(p.Left)
		pc.SetReadDeadline(c.limit)
	}
	if !p.Proxied {
		c.seat = s.opt.Seats.Adopt(client, p.Seat, p.From)
	}
	s.mu.Lock()
	stays := s.list(c)
	s.mu.Unlock()
	if !stays {
		c.close()
		return
	}
	pc.OnHangup(c.hungup)
	c.idle.Store(true)
	if !pc.Park(c.woken) {
		s.serve(c)
	}
}

// adopted are what connections have in common that were accepted elsewhere.
var adopted = map[bool]*Listener{true: {TCP: true}, false: {}}

// addressText is an address that a PROXY header has said, for another process.
func addressText(a net.Addr) string { return a.Network() + ":" + a.String() }

// addressOf is its counterpart; nil: there is none.
func addressOf(text string) net.Addr {
	network, at, ok := strings.Cut(text, ":")
	if !ok {
		return nil
	}
	if network != "tcp" {
		return &net.UnixAddr{Name: at, Net: network}
	}
	t, err := netip.ParseAddrPort(at)
	if err != nil {
		return nil
	}
	return net.TCPAddrFromAddrPort(t)
}
