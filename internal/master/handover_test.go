package master

import (
	"log/slog"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/front/http1"
	"sluice/internal/poll"
)

// inboxRig is a worker's inbox, and the end by which others send to it.
type inboxRig struct {
	*inbox
	to     *net.UnixConn
	orders chan uint64
	ended  chan error
}

func newInboxRig(t *testing.T) *inboxRig {
	t.Helper()
	set, err := poll.New()
	must(t, err)
	front := http1.New(http1.Options{Log: slog.New(slog.DiscardHandler), Set: set, KeepaliveIdle: time.Minute})
	r := &inboxRig{orders: make(chan uint64, 8), ended: make(chan error, 1)}
	var theirs *os.File
	r.to, theirs, err = packetPair(fileInbox)
	must(t, err)
	r.inbox, err = newInbox(theirs, "secret", front, func(n uint64) { r.orders <- n })
	must(t, err)
	go func() { r.ended <- r.serve() }()
	t.Cleanup(func() {
		r.to.Close()
		r.conn.Close()
		set.Close()
	})
	return r
}

// connection is a socket of a client's, and the client.
func connection(t *testing.T) (fd int, client *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	client = os.NewFile(uintptr(fds[1]), "client")
	t.Cleanup(func() { client.Close() })
	return fds[0], client
}

// Only the master names heirs, and what nobody sends is the end of it, without a
// descriptor left open.
func TestInboxNonsense(t *testing.T) {
	parked := http1.Parked{Served: 1, Left: time.Minute, Seat: -1}
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	fd := int(null.Fd())
	for name, send := range map[string]func(*net.UnixConn) error{
		"no JSON":                func(c *net.UnixConn) error { _, err := c.Write([]byte("x")); return err },
		"heirs of a worker":      func(c *net.UnixConn) error { return sendPacket(c, packet{Heirs: 1}, fd) },
		"no heirs of a worker":   func(c *net.UnixConn) error { return sendPacket(c, packet{Secret: "guess"}) },
		"fewer than none":        func(c *net.UnixConn) error { return sendPacket(c, packet{Secret: "secret", Heirs: -1}) },
		"more than there are":    func(c *net.UnixConn) error { return sendPacket(c, packet{Secret: "secret", Heirs: 2}, fd) },
		"connection without one": func(c *net.UnixConn) error { return sendPacket(c, packet{Connections: []http1.Parked{parked}}) },
		"descriptor too many": func(c *net.UnixConn) error {
			return sendPacket(c, packet{Connections: []http1.Parked{parked}}, fd, fd)
		},
		"both": func(c *net.UnixConn) error {
			return sendPacket(c, packet{Secret: "secret", Heirs: 1, Connections: []http1.Parked{parked}}, fd, fd)
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newInboxRig(t)
			before := openFiles(t)
			must(t, send(r.to))
			select {
			case <-r.ended:
			case <-time.After(10 * time.Second):
				t.Fatal("it is taken")
			}
			if after := openFiles(t); after > before {
				t.Errorf("%d files are open, %d before", after, before)
			}
			if len(r.orders) > 0 || len(r.heirs) > 0 {
				t.Error("it has been obeyed")
			}
		})
	}
}

// Connections go from one worker to the next, and where that one has gone they
// stay.
func TestInboxHandsOn(t *testing.T) {
	old, heir := newInboxRig(t), newInboxRig(t)
	fd, err := duplicate(heir.to)
	must(t, err)
	must(t, sendPacket(old.to, packet{Secret: "secret", Heirs: 1, Order: 7}, fd))
	unix.Close(fd)
	if n := <-old.orders; n != 7 {
		t.Errorf("order %d is confirmed", n)
	}
	old.retire()
	conn, client := connection(t)
	old.front.Adopt(http1.Parked{FD: conn, Client: netip.AddrPort{}, Served: 1, Left: time.Minute, Seat: -1})
	old.front.Retire(old.giver())
	if n := heir.open(t); n != 1 {
		t.Errorf("the heir has %d connections", n)
	}
	heir.to.Close()
	heir.conn.Close()
	conn, _ = connection(t)
	old.front.Adopt(http1.Parked{FD: conn, Served: 1, Left: time.Minute, Seat: -1})
	old.front.Retire(old.giver())
	if n := old.open(t); n != 1 {
		t.Errorf("%d connections stay", n)
	}
	client.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := client.Read(make([]byte, 1)); err == nil {
		t.Error("a byte from nowhere")
	}
}

// open waits for a connection.
func (r *inboxRig) open(t *testing.T) int {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); r.front.Open() == 0 && time.Now().Before(limit); {
		time.Sleep(time.Millisecond)
	}
	return r.front.Open()
}
