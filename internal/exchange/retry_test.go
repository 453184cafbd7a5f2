package exchange

import (
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/fcgi"
	"sluice/spawner"
)

// first does one thing at the first try and says "again" at the next.
func first(do func(*call)) func(*call) {
	return func(c *call) {
		if c.try == 0 {
			do(c)
			return
		}
		c.say(ok + "again " + c.params["REQUEST_METHOD"])
	}
}

func TestRepeats(t *testing.T) {
	die := first((*call).die)
	late := first(func(c *call) { c.out(ok, "x"); c.die() })
	overloaded := first(func(c *call) { c.end(0, 2) })
	cases := []struct {
		name, method string
		child        func(*call)
		status       int
		tries        int
	}{
		{"died", "GET", die, 200, 2},
		{"died", "HEAD", die, 200, 2},
		{"died", "OPTIONS", die, 200, 2},
		{"died", "POST", die, 502, 1},
		{"died", "PUT", die, 502, 1},
		{"died", "DELETE", die, 502, 1},
		{"died after a byte", "GET", late, 502, 1},
		{"refused", "GET", overloaded, 200, 2},
		{"refused", "POST", overloaded, 200, 2},
		{"twice", "GET", (*call).die, 502, 2},
		{"unknown role", "GET", first(func(c *call) { c.end(0, 3) }), 500, 1},
	}
	r := newRig(t, rigOptions{})
	for _, c := range cases {
		t.Run(c.name+" "+c.method, func(t *testing.T) {
			r.t = t
			r.script(c.child)
			res := r.do(c.method, "/x", nil)
			if s := r.slots(); res.status != c.status || len(s) != c.tries || len(s) == 2 && s[0] == s[1] {
				t.Errorf("status %d after tries on %v; want %d", res.status, s, c.status)
			}
			r.free(time.Second)
		})
	}
}

// The body of a request that is repeated is sent again from its beginning.
func TestRepeatsBody(t *testing.T) {
	r := newRig(t, rigOptions{})
	body := string(pattern(200_000))
	var got []byte
	r.script(first(func(c *call) { c.end(0, 2) }))
	r.farm.do = func(c *call) {
		b, _ := c.stdin()
		if c.try == 0 {
			c.end(0, 2)
			return
		}
		got = b
		c.say(ok)
	}
	res := r.do("POST", "/x", strings.NewReader(body))
	if res.status != 200 || string(got) != body {
		t.Errorf("%d, %d bytes", res.status, len(got))
	}
}

// A connection that is refused is tried elsewhere, whatever the method.
func TestRefusedConnect(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.script(func(c *call) { c.say(ok + "x") })
	r.listeners[0].Close()
	for _, m := range []string{"GET", "POST"} {
		if res := r.do(m, "/x", nil); res.status != 200 {
			t.Errorf("%s: %d, %v", m, res.status, res.end.err)
		}
	}
	r.listeners[1].Close()
	if res := r.do("GET", "/x", nil); res.status != 502 || res.end.err.Kind != NotReached {
		t.Errorf("%d, %v", res.status, res.end.err)
	}
	r.free(time.Second)
}

// A child that is not there any more when the request is repeated does not
// change what went wrong: 502, not 503.
func TestOnlyChildDies(t *testing.T) {
	r := newRig(t, rigOptions{children: 1})
	r.script(func(c *call) {
		c.die()
		r.apply(spawner.Event{Slot: 0, State: spawner.BackingOff})
	})
	res := r.do("GET", "/x", nil)
	if res.status != 502 || res.end.err.Kind != Died {
		t.Errorf("%d, %v, %v", res.status, res.end.err, r.slots())
	}
	res = r.do("GET", "/x", nil)
	if res.status != 503 || res.end.err.Kind != NoChild || late(res.took, 0) || res.header.Get("Retry-After") == "" {
		t.Errorf("%d, %v after %v", res.status, res.end.err, res.took)
	}
}

// The successor of a child counts as another one.
func TestSuccessorAnswers(t *testing.T) {
	r := newRig(t, rigOptions{children: 1})
	if res := r.get(first((*call).die)); res.status != 200 || res.body != "again GET" {
		t.Errorf("%d %q", res.status, res.body)
	}
}

// A kept connection whose child has died costs no request, and one that may not
// be repeated never uses it.
func TestKeptConnections(t *testing.T) {
	r := newRig(t, rigOptions{children: 1, keepAlive: true})
	var conns []*call
	r.script(func(c *call) { conns = append(conns, c); c.say(ok + "x") })
	ask := func(method string, same bool) {
		t.Helper()
		if res := r.do(method, "/x", nil); res.status != 200 {
			t.Fatalf("%s: %d, %v", method, res.status, res.end.err)
		}
		n := len(conns)
		if n > 1 && (conns[n-1].Conn == conns[n-2].Conn) != same {
			t.Errorf("%s: the same connection: %v, want %v", method, !same, same)
		}
	}
	ask("GET", false)
	ask("GET", true)
	ask("POST", false)
	ask("GET", true)
	conns[len(conns)-1].Close()
	time.Sleep(10 * time.Millisecond)
	ask("GET", false)
	if n := len(r.slots()); n != len(conns) || n != 5 {
		t.Errorf("%d calls", n)
	}
}

// Requests that wait in a crashed child's backlog leave it at once, also those
// that may not be repeated: no child took them.
func TestBacklogOfCrashed(t *testing.T) {
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			r := newRig(t, rigOptions{children: 1})
			l, err := net.Listen("unix", t.TempDir()+"/s") // accepts nothing
			must(t, err)
			defer l.Close()
			ledger := spawner.NewLedger(spawner.LedgerOptions{Queue: 4, Slots: make([]spawner.SlotOptions, 2)})
			good := r.pool
			targets := []spawner.Target{{Network: "unix", Address: l.Addr().String()}, {Network: "unix", Address: r.listeners[0].Addr().String()}}
			pool := spawner.NewPool(spawner.PoolOptions{App: "app", Ledger: ledger, Targets: targets, Report: r.report})
			r.ledger, r.pool = ledger, pool
			defer func() { r.pool = good }()
			r.app.Backend.(*FastCGI).Pool = pool
			r.apply(spawner.Event{Slot: 0, State: spawner.Ready, PID: 1})
			r.script(func(c *call) { c.say(ok + "x") })
			begin := make(chan time.Time, 2)
			time.AfterFunc(50*time.Millisecond, func() {
				begin <- time.Now()
				r.apply(spawner.Event{Slot: 1, State: spawner.Ready, PID: 2})
				r.apply(spawner.Event{Slot: 0, State: spawner.BackingOff})
			})
			res := r.do(method, "/x", nil)
			if res.status != 200 || late(time.Since(<-begin), 0) {
				t.Errorf("%d, %v", res.status, res.end.err)
			}
			r.apply(spawner.Event{Slot: 1, State: spawner.Absent})
			r.apply(spawner.Event{Slot: 0, State: spawner.Ready, PID: 3})
			time.AfterFunc(50*time.Millisecond, func() {
				begin <- time.Now()
				r.apply(spawner.Event{Slot: 0, State: spawner.BackingOff})
			})
			res = r.do(method, "/x", nil)
			if res.status != 503 || res.end.err.Kind != NoChild || late(time.Since(<-begin), 0) {
				t.Errorf("%d, %v", res.status, res.end.err)
			}
			r.free(time.Second)
		})
	}
}

// A full backlog is busy, not broken.
func TestFullBacklog(t *testing.T) {
	full := fullBacklog(t)
	r := newRig(t, rigOptions{})
	r.ledger = spawner.NewLedger(spawner.LedgerOptions{Balance: spawner.BalanceLeastConn, Slots: make([]spawner.SlotOptions, 2)})
	r.ledger.Set(0, spawner.Ready, 0)
	r.app.Backend = &FastCGI{Role: fcgi.Responder, Stderr: r.app.Backend.(*FastCGI).Stderr,
		Pool: spawner.NewPool(spawner.PoolOptions{Ledger: r.ledger, Targets: []spawner.Target{
			{Network: "unix", Address: full}, {Network: "unix", Address: r.listeners[1].Addr().String()}}})}
	res := r.do("POST", "/x", nil)
	if res.status != 503 || res.end.err.Kind != QueueFull || res.header.Get("Retry-After") == "" {
		t.Errorf("%d, %v", res.status, res.end.err)
	}
	r.ledger.Set(1, spawner.Ready, 0)
	r.script(func(c *call) { c.say(ok + "x") })
	if res := r.do("POST", "/x", nil); res.status != 200 || !slices.Equal(r.slots(), []int{1}) {
		t.Errorf("%d, %v", res.status, res.end.err)
	}
}

// fullBacklog is the path of a socket that takes no connection any more.
func fullBacklog(t *testing.T) string {
	dir := t.TempDir()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { syscall.Close(fd) })
	must(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: dir + "/s"}))
	must(t, syscall.Listen(fd, 0))
	for {
		c, err := net.Dial("unix", dir+"/s")
		if err != nil {
			return dir + "/s"
		}
		t.Cleanup(func() { c.Close() })
	}
}

// Programs elsewhere, over TCP: as many at once as allowed, the rest wait.
func TestTCPUpstream(t *testing.T) {
	r := newRig(t, rigOptions{children: 1})
	a, err := r.listen("tcp", "127.0.0.1:0", 7)
	must(t, err)
	r.ledger = spawner.NewLedger(spawner.LedgerOptions{Queue: 1, QueueTimeout: 100 * time.Millisecond, Balance: spawner.BalanceLeastConn,
		Slots: []spawner.SlotOptions{{Connections: 2}}})
	r.ledger.Set(0, spawner.Ready, 0)
	r.app.Backend.(*FastCGI).Pool = spawner.NewPool(spawner.PoolOptions{Ledger: r.ledger,
		Targets: []spawner.Target{{Network: "tcp", Address: a.String()}}})
	if res := r.get(func(c *call) { c.say(ok + "x") }); res.status != 200 || r.slots()[0] != 7 {
		t.Errorf("%d, %v", res.status, res.end.err)
	}
	hold := make(chan struct{})
	r.script(func(c *call) { <-hold; c.say(ok + "x") })
	results := make(chan int, 4)
	for range 4 {
		go func() {
			resp, err := r.client.Get(r.server.URL + "/x")
			if err != nil {
				results <- 0
				return
			}
			resp.Body.Close()
			results <- resp.StatusCode
		}()
	}
	var got []int
	for range 2 { // one finds the queue full, one waits too long
		got = append(got, <-results)
	}
	close(hold)
	got = append(got, <-results, <-results)
	if !slices.Equal(got, []int{503, 503, 200, 200}) {
		t.Errorf("statuses %v", got)
	}
	r.free(time.Second)
}
