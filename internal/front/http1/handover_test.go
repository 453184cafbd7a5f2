package http1_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/front/http1"
	"sluice/internal/front/http1/http1test"
	"sluice/internal/front/peer"
)

// named answers with the name of the server, and who the client is.
func named(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %v", name, r.RemoteAddr, r.Context().Value(http.LocalAddrContextKey))
	})
}

// client is a connection on which requests are made.
type client struct {
	net.Conn
	r *bufio.Reader
}

func connect(t *testing.T, addr string) *client {
	c := dial(t, addr)
	return &client{c, bufio.NewReader(c)}
}

// get makes a request; close says that the connection ends behind the answer.
func (c *client) get() (body string, close bool, err error) {
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return "", false, err
	}
	return c.answer()
}

func (c *client) answer() (body string, close bool, err error) {
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return "", false, err
	}
	b, err := io.ReadAll(res.Body)
	return string(b), res.Close, err
}

// giving passes connections on to a server, by way of what another process would
// read.
func giving(t *testing.T, to *http1.Server) http1.Give {
	return func(all []http1.Parked) int {
		for _, p := range all {
			b, err := json.Marshal(p)
			if err != nil {
				t.Error(err)
			}
			var q http1.Parked
			if err := json.Unmarshal(b, &q); err != nil {
				t.Error(err)
			}
			if q.FD, err = unix.FcntlInt(uintptr(p.FD), unix.F_DUPFD_CLOEXEC, 0); err != nil {
				t.Error(err)
			}
			to.Adopt(q)
		}
		return len(all)
	}
}

func awaitEnd(t *testing.T, s *http1.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if err := s.Finish(ctx); err != nil {
		t.Error(err)
	}
}

// parkedAfter is a while after which an idle connection has no goroutine.
const parkedAfter = 1500 * time.Millisecond

func TestRetire(t *testing.T) {
	old, addrs, stop := serving(t, http1.Options{KeepaliveIdle: time.Minute, Handler: named("old")}, 1)
	fresh, _, _ := serving(t, http1.Options{KeepaliveIdle: time.Minute, Handler: named("new")}, 1)
	parked, silent, busy := connect(t, addrs[0]), connect(t, addrs[0]), connect(t, addrs[0])
	if body, _, err := parked.get(); err != nil || !strings.HasPrefix(body, "old ") {
		t.Fatal(body, err)
	}
	time.Sleep(parkedAfter)
	if body, _, err := busy.get(); err != nil || !strings.HasPrefix(body, "old ") {
		t.Fatal(body, err)
	}
	stop()
	old.Retire(giving(t, fresh))
	want := fmt.Sprintf("new %s %s", parked.LocalAddr(), parked.RemoteAddr())
	for range 2 {
		if body, closes, err := parked.get(); err != nil || body != want || closes {
			t.Errorf("parked: %q, closes %v, %v; want %q", body, closes, err, want)
		}
	}
	if body, _, err := silent.get(); err != nil || !strings.HasPrefix(body, "new ") {
		t.Errorf("before its first request: %q, %v", body, err)
	}
	// One that has just had an answer is answered once more, or given away later.
	body, closes, err := busy.get()
	if err != nil || strings.HasPrefix(body, "old ") != closes {
		t.Errorf("busy: %q, closes %v, %v", body, closes, err)
	}
	awaitEnd(t, old)
}

// A connection that is quiet soon after is given away then, also where its answer
// had begun before.
func TestRetireLater(t *testing.T) {
	begun, finish := make(chan struct{}), make(chan struct{})
	old, addrs, stop := serving(t, http1.Options{KeepaliveIdle: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "old")
		w.(http.Flusher).Flush()
		close(begun)
		<-finish
	})}, 1)
	fresh, _, _ := serving(t, http1.Options{KeepaliveIdle: time.Minute, Handler: named("new")}, 1)
	c := connect(t, addrs[0])
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-begun
	stop()
	old.Retire(giving(t, fresh))
	close(finish)
	if body, closes, err := c.answer(); err != nil || body != "old" || closes {
		t.Fatalf("%q, closes %v, %v", body, closes, err)
	}
	awaitEnd(t, old)
	if body, _, err := c.get(); err != nil || !strings.HasPrefix(body, "new ") {
		t.Errorf("%q, %v", body, err)
	}
}

// Where nobody takes a connection it stays, and is answered once more.
func TestRetireAlone(t *testing.T) {
	for name, give := range map[string]http1.Give{"nobody is there": nil, "nobody takes any": func([]http1.Parked) int { return 0 }} {
		t.Run(name, func(t *testing.T) {
			old, addrs, stop := serving(t, http1.Options{KeepaliveIdle: time.Minute, Handler: named("old")}, 1)
			c, first := connect(t, addrs[0]), connect(t, addrs[0])
			if _, _, err := c.get(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(parkedAfter)
			stop()
			old.Retire(give)
			time.Sleep(parkedAfter)
			for _, c := range []*client{c, first} {
				if body, closes, err := c.get(); err != nil || !strings.HasPrefix(body, "old ") || !closes {
					t.Errorf("%q, closes %v, %v", body, closes, err)
				}
				c.Close()
			}
			awaitEnd(t, old)
		})
	}
}

// The time of an idle connection goes on, and so does the count of its requests.
func TestRetireLimits(t *testing.T) {
	old, addrs, stop := serving(t, http1.Options{KeepaliveIdle: 3 * time.Second, Handler: named("old")}, 1)
	fresh, _, _ := serving(t, http1.Options{KeepaliveIdle: time.Minute, KeepaliveRequests: 2, Handler: named("new")}, 1)
	c, idle := connect(t, addrs[0]), connect(t, addrs[0])
	for _, c := range []*client{c, idle} {
		if _, _, err := c.get(); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(parkedAfter)
	stop()
	old.Retire(giving(t, fresh))
	if body, closes, err := c.get(); err != nil || !strings.HasPrefix(body, "new ") || !closes {
		t.Errorf("%q, closes %v, %v", body, closes, err)
	}
	idle.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := idle.r.ReadByte(); err != io.EOF {
		t.Errorf("the idle one: %v", err)
	}
}

// What a PROXY header has said goes along, one that is still to come is waited
// for, and a seat is never two.
func TestRetireProxied(t *testing.T) {
	o := peer.SeatsOptions{Most: 1, Connections: 10, Places: 2}
	mem := make([]byte, o.Size())
	peer.CreateSeats(o, mem)
	proxies, err := peer.ParseNetworks([]string{"127.0.0.0/8"})
	if err != nil {
		t.Fatal(err)
	}
	kind := &http1.Listener{TCP: true, ProxyFrom: proxies}
	old, addrs, stop := http1test.ServeOn(t, http1.Options{KeepaliveIdle: time.Minute, Handler: named("old"), Seats: peer.OpenSeats(o, mem, 1)}, 1, kind)
	fresh, _, _ := serving(t, http1.Options{KeepaliveIdle: time.Minute, Handler: named("new"), Seats: peer.OpenSeats(o, mem, 2)}, 1)
	c, waits := connect(t, addrs[0]), connect(t, addrs[0])
	io.WriteString(c, "PROXY TCP4 10.1.2.3 10.9.9.9 5555 80\r\n")
	if body, _, err := c.get(); err != nil || body != "old 10.1.2.3:5555 10.9.9.9:80" {
		t.Fatal(body, err)
	}
	time.Sleep(parkedAfter)
	stop()
	old.Retire(giving(t, fresh))
	if body, _, err := c.get(); err != nil || body != "new 10.1.2.3:5555 10.9.9.9:80" {
		t.Errorf("%q, %v", body, err)
	}
	// The client has its one connection: the other is of somebody else.
	io.WriteString(waits, "PROXY TCP4 10.1.2.3 10.9.9.9 5556 80\r\n")
	if body, closes, err := waits.get(); err == nil && (!closes || strings.HasPrefix(body, "new ")) {
		t.Errorf("%q, closes %v", body, closes)
	}
	awaitEnd(t, old)
}

// Clients that ask all the time, with and without pauses, get every answer while
// one server after the other takes the place of the last.
func TestRetireUnderLoad(t *testing.T) {
	const rounds, clients = 6, 12
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	o := http1.Options{KeepaliveIdle: time.Minute, Handler: handler}
	current, addrs, stop := serving(t, o, 1)
	var mu sync.Mutex
	addr := addrs[0]
	ended := make(chan struct{})
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			var c *client
			for n := 0; ; n++ {
				select {
				case <-ended:
					return
				default:
				}
				if c == nil {
					mu.Lock()
					nc, err := net.Dial("tcp", addr)
					mu.Unlock()
					if err != nil {
						t.Error(err)
						return
					}
					defer nc.Close()
					c = &client{nc, bufio.NewReader(nc)}
				}
				_, closes, err := c.get()
				if err != nil {
					t.Errorf("client %d, request %d: %v", i, n, err)
					return
				}
				if closes {
					c = nil
				}
				if i%3 == 0 {
					time.Sleep(parkedAfter)
				}
			}
		})
	}
	for range rounds {
		time.Sleep(700 * time.Millisecond)
		next, more, nextStop := serving(t, o, 1)
		mu.Lock()
		addr = more[0]
		mu.Unlock()
		time.Sleep(20 * time.Millisecond) // who had asked for the address has been accepted
		stop()
		current.Retire(giving(t, next))
		old := current
		all.Go(func() { awaitEnd(t, old) })
		current, stop = next, nextStop
	}
	close(ended)
	all.Wait()
}
