package http1

import (
	"errors"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/front/peer"
	"sluice/internal/front/wire"
	"sluice/internal/poll"
	"sluice/internal/scoreboard"
)

// conn is a client's connection. One goroutine serves it, and none does while it
// is parked or lingers.
type conn struct {
	s      *Server
	l      *Listener
	pc     *poll.Conn
	client netip.AddrPort // the other end of the socket; invalid: pc knows
	remote string         // RemoteAddr, while it is needed

	state atomic.Uint32 // a scoreboard.ConnState, or stateClosed
	// idle: between two requests, or before the first, and nothing of the next one
	// has been read.
	idle atomic.Bool
	// current is the context of the request that a handler works on.
	current atomic.Pointer[requestContext]

	next, prev *conn // on the server's list
	listed     bool

	why     refusal   // it is refused; welcome: it is served
	proxied bool      // a PROXY header is still to come
	seat    peer.Seat // of its client

	limit  time.Time // by which what is being read must be here; zero: none
	served int       // requests
	reset  bool      // its close is to be a reset
	work   *workspace
	drain  draining // how it lingers
}

// stateClosed is the state of a connection that is not on the scoreboard.
const stateClosed = uint32(scoreboard.ConnStates)

// parkAfter is how long an idle connection keeps its goroutine and its buffers.
const parkAfter = time.Second

// workspace is what a connection needs while it is not idle.
type workspace struct {
	in   []byte // in[r:w] has been read from the client
	r, w int
	head *wire.Head
	res  response
}

// readBytes is the size of a read buffer. A longer head gets a larger one.
const readBytes = 8 << 10

var workspaces = sync.Pool{New: func() any {
	w := &workspace{in: make([]byte, readBytes), head: new(wire.Head)}
	w.res.init()
	return w
}}

// move says what the connection does now.
func (c *conn) move(to scoreboard.ConnState) {
	for {
		from := c.state.Load()
		if from == uint32(to) || from == stateClosed {
			return
		}
		if c.state.CompareAndSwap(from, uint32(to)) {
			c.s.opt.Place.Move(scoreboard.ConnState(from), to)
			return
		}
	}
}

// hungup is told by the set that the client has closed its side.
func (c *conn) hungup(broken bool) {
	if !broken && c.s.opt.AnswerHalfClosed {
		return
	}
	if ctx := c.current.Load(); ctx != nil {
		ctx.cancel()
	}
}

// woken ends the parking: there is something to read, the client has gone, or
// its time is over. It is the set's goroutine.
func (c *conn) woken() {
	quiet := func() bool { return !c.pc.Readable() && c.pc.Queued() == 0 }
	for quiet() && !c.pc.Expired() { // the deadline was the one before the parking
		if c.pc.Park(c.woken) {
			return
		}
	}
	if quiet() && (c.why == welcome || c.s.stopping.Load()) {
		c.close()
		return
	}
	c.s.serve(c)
}

// serve serves the connection until it is parked or gone.
func (c *conn) serve() {
	c.work = workspaces.Get().(*workspace)
	if c.proxied && !c.readProxyHeader() {
		return
	}
	if c.why != welcome {
		c.refuseNow()
		return
	}
	for c.request() {
	}
}

// release gives the workspace back.
func (c *conn) release() {
	w := c.work
	c.work = nil
	w.r, w.w = 0, 0
	if len(w.in) > readBytes {
		w.in = make([]byte, readBytes)
	}
	workspaces.Put(w)
}

// abandon leaves the workspace to the request: somebody may still have it.
func (c *conn) abandon() { c.work = nil }

// request reads one request and has it answered. false: this goroutine has
// nothing to do with the connection any more.
func (c *conn) request() bool {
	switch err := c.readHead(); {
	case err == nil:
	case err == errParked:
		return false
	default:
		var bad *wire.Error
		if errors.As(err, &bad) {
			c.refuse(bad)
			return false
		}
		c.release()
		c.close()
		return false
	}
	c.served++
	c.s.opt.Place.Request()
	return c.answer()
}

// What ends the reading of a head beside a *wire.Error and the errors of reads.
var (
	errParked = errors.New("parked")
	errOver   = errors.New("the connection's time is over")
)

// readHead reads up to the end of a request's head.
func (c *conn) readHead() error {
	c.work.head.Reset()
	for {
		w := c.work // another one, where parking was given up at the last moment
		if w.w > w.r {
			n, err := wire.ParseHead(w.in[w.r:w.w], w.head, c.s.opt.HeaderBytes)
			if err != nil {
				return err
			}
			if n > 0 {
				w.r += n
				c.busy()
				c.limit = time.Time{}
				return nil
			}
		}
		if err := c.readMore(); err != nil {
			return err
		}
	}
}

// readMore reads what comes next of a head, within the time that there is for
// it, or waits for its beginning and parks the connection meanwhile.
func (c *conn) readMore() error {
	w := c.work
	if w.r == w.w {
		w.r, w.w = 0, 0
		if err := c.awaitRequest(); err != nil {
			return err
		}
		if c.served > 0 && !c.pc.Readable() && c.s.crew.many() {
			return c.quiet()
		}
	} else if c.idle.Load() || c.limit.IsZero() {
		c.begun()
	}
	if w.w == len(w.in) {
		w.grow()
	}
	n, err := c.pc.Read(w.in[w.w:])
	w.w += n
	switch {
	case n > 0:
		return nil
	case !errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case w.r == w.w:
		if c.limit.IsZero() {
			c.limit = time.Now().Add(max(0, c.s.opt.KeepaliveIdle-parkAfter))
		}
		return c.quiet()
	}
	return &wire.Error{Status: http.StatusRequestTimeout, Reason: "the header is not complete in time"}
}

// begun: some of a head is here, and the rest has to follow in time.
func (c *conn) begun() {
	c.busy()
	c.move(scoreboard.Reading)
	// The limit of the first one has counted since the connection was made.
	if c.served > 0 {
		c.limit = time.Time{}
		if c.s.opt.HeaderTimeout > 0 {
			c.limit = time.Now().Add(c.s.opt.HeaderTimeout)
		}
	}
	c.pc.SetReadDeadline(c.limit)
}

// awaitRequest prepares the wait for the first byte of a request.
func (c *conn) awaitRequest() error {
	switch {
	case c.served == 0: // the limit is that of the header
	case c.limit.IsZero():
		c.move(scoreboard.Idle)
		c.pc.SetReadTimeout(min(parkAfter, c.s.opt.KeepaliveIdle)) // the limit is set when that is over
	}
	c.idle.Store(true)
	if c.s.stopping.Load() && c.pc.Queued() == 0 {
		if c.served > 0 {
			return errOver
		}
		c.pc.SetReadDeadline(time.Now().Add(firstGrace))
	}
	return nil
}

// quiet is what is done when nothing came for a while: the connection is
// parked, until the limit, or closed.
func (c *conn) quiet() error {
	now := time.Now()
	if c.limit.IsZero() {
		c.limit = now.Add(c.s.opt.KeepaliveIdle)
	}
	// First the deadline, then the look at stopping: a dismissal that comes
	// between them sets another one.
	c.pc.SetReadDeadline(c.limit)
	// Whoever has the last place does not idle in it: makeRoom has looked before.
	if c.s.stopping.Load() || !now.Before(c.limit) || c.served > 0 && c.s.Room() <= 0 {
		if c.pc.Queued() > 0 { // that came just now
			c.pc.SetReadDeadline(time.Time{})
			return nil
		}
		return errOver
	}
	c.release()
	c.remote = ""
	if c.handOver() {
		return errParked
	}
	if !c.pc.Park(c.woken) {
		c.work = workspaces.Get().(*workspace)
		c.work.head.Reset()
		return nil
	}
	return errParked
}

// giveWay closes a parked connection, unless its next request is here. It was idle
// when it was chosen, and may have had its last answer since.
func (c *conn) giveWay() {
	switch {
	case !c.pc.Unpark():
	case c.state.Load() == uint32(scoreboard.Lingering):
		c.drained()
	case c.pc.Queued() > 0:
		c.s.serve(c)
	default:
		c.close()
	}
}

// grow makes room for more of a head.
func (w *workspace) grow() {
	if w.r > 0 {
		w.w = copy(w.in, w.in[w.r:w.w])
		w.r = 0
		return
	}
	w.in = append(w.in, make([]byte, len(w.in))...)
}

// firstGrace is how long a stop waits for the first byte of a connection that has
// just been made: its request is on its way.
const firstGrace = time.Second

// dismiss ends an idle connection because the server stops, and soon one on which
// nothing has come yet.
func (c *conn) dismiss() {
	c.s.dismissing.Lock()
	defer c.s.dismissing.Unlock()
	switch {
	case !c.idle.Load():
	case c.state.Load() == uint32(scoreboard.Reading): // the first request's
		c.pc.SetReadDeadline(time.Now().Add(firstGrace))
	default:
		c.pc.SetReadDeadline(time.Unix(1, 0)) // wakes it, parked or not
	}
}

// busy ends the idling. A dismissal that has just found the connection idle is
// over then, and its deadline does not hit the request.
func (c *conn) busy() {
	c.idle.Store(false)
	if c.s.stopping.Load() {
		c.s.dismissing.Lock()
		c.s.dismissing.Unlock()
	}
}

// cut ends the connection whatever it does.
func (c *conn) cut() {
	if ctx := c.current.Load(); ctx != nil {
		ctx.cancel()
	}
	c.close()
}

// close closes the connection at once.
func (c *conn) close() {
	if from := c.state.Swap(stateClosed); from != stateClosed {
		c.s.opt.Place.Leave(scoreboard.ConnState(from))
		c.seat.Leave()
	}
	c.pc.Close()
	c.s.delist(c)
}

// remoteAddr is http.Request's RemoteAddr.
func (c *conn) remoteAddr() string {
	if c.remote == "" {
		if c.client.IsValid() {
			c.remote = c.client.String()
		} else {
			c.remote = c.pc.RemoteAddr().String()
		}
	}
	return c.remote
}
