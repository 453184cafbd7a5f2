package http1_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/front/accept"
	"sluice/internal/front/http1"
	"sluice/internal/front/peer"
	"sluice/internal/poll"
	"sluice/internal/scoreboard"
	"sluice/lockmodes"
)

// At its limits, with an acceptor of its own, and whatever clients and handlers do:
// nothing stays counted, neither room nor seat nor state, and accepting goes on.
func TestNothingStaysCounted(t *testing.T) {
	for _, mode := range []lockmodes.Mode{lockmodes.None, lockmodes.Exclusive} {
		for _, m := range []http1.LingerMode{http1.LingerTimed, http1.LingerAlways, http1.LingerKernel} {
			for _, refuse := range []bool{false, true} {
				t.Run(fmt.Sprintf("%v, %v, refuse %v", mode, m, refuse), func(t *testing.T) {
					t.Parallel()
					newCrowd(t, mode, m, refuse).test()
				})
			}
		}
	}
}

// crowd is a server that has less room than its clients want.
type crowd struct {
	t       *testing.T
	s       *http1.Server
	a       *accept.Acceptor
	address string
	refuse  bool
	seats   *peer.Seats
	now     func() scoreboard.Connections
}

const (
	crowdRoom    = 6
	crowdSeats   = 3 // of each client
	crowdClients = 3
)

func newCrowd(t *testing.T, mode lockmodes.Mode, m http1.LingerMode, refuse bool) *crowd {
	t.Helper()
	c := &crowd{t: t, refuse: refuse}
	o := peer.SeatsOptions{Most: crowdSeats, Connections: crowdRoom, Places: 1}
	mem := make([]byte, o.Size())
	peer.CreateSeats(o, mem)
	c.seats = peer.OpenSeats(o, mem, 1)
	set, err := poll.New()
	if err != nil {
		t.Fatal(err)
	}
	place, now := board(t)
	c.now = now
	c.s = http1.New(http1.Options{Log: slog.New(slog.DiscardHandler), Set: set, Place: place, Handler: http.HandlerFunc(anyhow),
		Connections: crowdRoom, Refuse: refuse, Seats: c.seats, Freed: func() { c.a.Resume() },
		HeaderTimeout: 200 * time.Millisecond, KeepaliveIdle: 100 * time.Millisecond, SendTimeout: 200 * time.Millisecond,
		Linger: http1.Linger{Mode: m, Idle: 50 * time.Millisecond, Total: time.Second, Max: 2}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c.address = l.Addr().String()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := peer.ParseNetworks([]string{"127.0.0.1/32"})
	if err != nil {
		t.Fatal(err)
	}
	kind := &http1.Listener{TCP: true, ProxyFrom: proxy}
	c.a, err = accept.New(accept.Options{Mode: mode, Listeners: []int{int(f.Fd())}, Set: set, Room: c.s.Room, Place: place, Log: slog.New(slog.DiscardHandler),
		Take: func(_, fd int, from netip.AddrPort) { c.s.Take(kind, fd, from) }})
	if err == nil {
		err = c.a.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.a.Stop()
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := c.s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		set.Close()
		f.Close()
	})
	return c
}

// anyhow is a handler that ends in one of many ways.
func anyhow(w http.ResponseWriter, r *http.Request) {
	switch rand.IntN(6) {
	case 0:
		panic(http.ErrAbortHandler)
	case 1:
		if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
			io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\ntaken over")
			c.Close()
		}
	case 2:
		w.Write(make([]byte, 300<<10))
	case 3:
		w.Header().Set("Connection", "close")
	case 4:
		select {
		case <-r.Context().Done():
		case <-time.After(20 * time.Millisecond):
		}
	default:
		io.Copy(io.Discard, r.Body)
	}
}

// visit is a connection of a client that does one of many things.
func (c *crowd) visit(client int) {
	conn, err := net.Dial("tcp", c.address)
	if err != nil {
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(300 * time.Millisecond))
	proxy := fmt.Sprintf("PROXY TCP4 10.0.0.%d 127.0.0.1 1 80\r\n", client)
	const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	switch rand.IntN(9) {
	case 0: // just looks
	case 1:
		io.WriteString(conn, proxy[:5])
	case 2:
		io.WriteString(conn, proxy+get[:8])
		time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
	case 3:
		io.WriteString(conn, proxy+"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"+strings.Repeat("x", rand.IntN(100000)))
		io.CopyN(io.Discard, conn, 10)
	case 4:
		io.WriteString(conn, proxy+get+get)
		conn.(*net.TCPConn).SetLinger(0)
	case 5:
		io.WriteString(conn, "nonsense\r\n\r\n")
		io.Copy(io.Discard, conn)
	case 6:
		io.WriteString(conn, proxy+get)
		conn.(*net.TCPConn).CloseWrite()
		io.Copy(io.Discard, conn)
	default:
		io.WriteString(conn, proxy+get)
		io.CopyN(io.Discard, conn, 20)
	}
}

func (c *crowd) test() {
	t, end := c.t, time.Now().Add(time.Second)
	var all sync.WaitGroup
	for n := range 4 * crowdClients {
		all.Go(func() {
			for time.Now().Before(end) {
				c.visit(n % crowdClients)
			}
		})
	}
	all.Wait()
	for limit := time.Now().Add(20 * time.Second); total(c.now()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("there still are %+v", c.now())
		}
	}
	// The last one leaves the scoreboard before it leaves its room.
	for limit := time.Now().Add(20 * time.Second); !c.refuse && c.s.Room() != crowdRoom; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("room for %d, want %d", c.s.Room(), crowdRoom)
		}
	}
	for client := range crowdClients {
		for range crowdSeats {
			seat, ok := c.seats.Take(netip.AddrFrom4([4]byte{10, 0, 0, byte(client)}))
			if !ok {
				t.Error("a seat is still taken")
			}
			defer seat.Leave()
		}
	}
	c.comesIn()
}

// comesIn expects that one more is served: a proxy's own connection, which has no
// seat. What becomes of its request is left to chance.
func (c *crowd) comesIn() {
	for limit := time.Now().Add(20 * time.Second); time.Now().Before(limit); {
		conn := dial(c.t, c.address)
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(conn, "PROXY UNKNOWN\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
		answer := make([]byte, len("HTTP/1.1 200"))
		_, err := io.ReadFull(conn, answer)
		conn.Close()
		if err == nil && strings.HasSuffix(string(answer), "200") {
			return
		}
		if os.IsTimeout(err) {
			break
		}
	}
	c.t.Error("nobody is let in any more")
}
