package exchange

import (
	"context"
	"net"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/spawner"
)

// noted is a ledger that remembers what it was asked and told.
type noted struct {
	spawner.Ledger
	mu       sync.Mutex
	wants    []spawner.Want
	outcomes map[int][]spawner.Outcome // by slot
}

func (n *noted) Claim(ctx context.Context, w spawner.Want) (spawner.Claim, error) {
	n.mu.Lock()
	n.wants = append(n.wants, w)
	n.mu.Unlock()
	return n.Ledger.Claim(ctx, w)
}

func (n *noted) Release(c spawner.Claim, o spawner.Outcome) {
	n.mu.Lock()
	n.outcomes[c.Slot] = append(n.outcomes[c.Slot], o)
	n.mu.Unlock()
	n.Ledger.Release(c, o)
}

// told is what the ledger was told of a slot, without what tells it nothing.
func (n *noted) told(slot int) (all []spawner.Outcome) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, o := range n.outcomes[slot] {
		if o != spawner.Unsent {
			all = append(all, o)
		}
	}
	return all
}

func (n *noted) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.outcomes = map[int][]spawner.Outcome{}
}

// upstreams is a rig before n programs elsewhere.
type upstreams struct {
	*rig
	*noted
	paths []string
}

func newUpstreams(t *testing.T, n int, lo spawner.LedgerOptions, patience time.Duration) *upstreams {
	r := newRig(t, rigOptions{children: n, change: func(a *App) { a.Patience = patience }})
	if lo.Slots == nil {
		lo.Slots = make([]spawner.SlotOptions, n)
	}
	if lo.Balance == spawner.BalanceRecent {
		lo.Balance = spawner.BalanceLeastConn
	}
	lo.Queue = 8
	u := &upstreams{rig: r, noted: &noted{Ledger: spawner.NewLedger(lo), outcomes: map[int][]spawner.Outcome{}}}
	r.ledger = u.noted
	o := spawner.PoolOptions{App: "app", Ledger: u.noted, ConnectTimeout: time.Second}
	for i := range n {
		u.paths = append(u.paths, r.listeners[i].Addr().String())
		o.Targets = append(o.Targets, spawner.Target{Network: "unix", Address: u.paths[i]})
		u.noted.Set(i, spawner.Ready, 0)
	}
	r.app.Backend.(*FastCGI).Pool = spawner.NewPool(o)
	r.script(func(c *call) { c.say(ok + "x") })
	return u
}

// Every address is tried, and none twice by one request, until one takes the
// connection; whatever the method.
func TestEveryAddressOnce(t *testing.T) {
	for _, down := range []int{0, 1, 3, 4} {
		u := newUpstreams(t, 5, spawner.LedgerOptions{}, 0)
		for i := range down {
			u.listeners[i].Close()
		}
		for i := range 10 {
			u.forget()
			res := u.do([]string{"GET", "POST"}[i%2], "/x", nil)
			if res.status != 200 {
				t.Fatalf("%d of 5 are down: %d, %v", down, res.status, res.end.err)
			}
			for slot := range 5 {
				told := u.told(slot)
				if slot < down && len(told) > 1 || slot < down && len(told) == 1 && told[0] != spawner.Failed {
					t.Errorf("%d of 5 are down: %d was told %v", down, slot, told)
				}
			}
			u.free(time.Second)
		}
	}
}

func TestEveryAddressDown(t *testing.T) {
	u := newUpstreams(t, 4, spawner.LedgerOptions{}, 0)
	for _, l := range u.listeners {
		l.Close()
	}
	res := u.do("POST", "/x", nil)
	if res.status != 502 || res.end.err.Kind != NotReached || res.end.err.PID != 0 || !slices.Contains(u.paths, res.end.err.Address) {
		t.Errorf("%d, %+v", res.status, res.end.err)
	}
	for slot := range 4 {
		if told := u.told(slot); !slices.Equal(told, []spawner.Outcome{spawner.Failed}) {
			t.Errorf("%d was told %v", slot, told)
		}
	}
	u.free(time.Second)
}

// An address that is tried in vain and one that is busy: 503, since it is there.
func TestDownAndBusy(t *testing.T) {
	u := newUpstreams(t, 2, spawner.LedgerOptions{}, 0)
	u.listeners[0].Close()
	hold, held := make(chan struct{}), make(chan struct{})
	u.script(func(c *call) { close(held); <-hold; c.say(ok + "x") })
	done := make(chan int, 1)
	go func() {
		resp, err := u.client.Get(u.server.URL + "/x")
		if err != nil {
			done <- 0
			return
		}
		resp.Body.Close()
		done <- resp.StatusCode
	}()
	<-held
	if res := u.do("GET", "/x", nil); res.status != 503 || res.header.Get("Retry-After") == "" {
		t.Errorf("%d, %+v", res.status, res.end.err)
	}
	// With patience, the request gets the one that is up when that is free.
	u.app.Patience = 10 * time.Second
	time.AfterFunc(100*time.Millisecond, func() {
		u.script(func(c *call) { c.say(ok + "x") })
		close(hold)
	})
	if res := u.do("GET", "/x", nil); res.status != 200 {
		t.Errorf("%d, %+v", res.status, res.end.err)
	}
	if status := <-done; status != 200 {
		t.Errorf("the first: %d", status)
	}
}

// A program that is restarted is waited for, whatever the method: nobody
// listens, or its socket is not there.
func TestPatience(t *testing.T) {
	for _, how := range []string{"refuses", "absent"} {
		for _, n := range []int{1, 3} {
			u := newUpstreams(t, n, spawner.LedgerOptions{}, 5*time.Second)
			for _, l := range u.listeners {
				l.(*net.UnixListener).SetUnlinkOnClose(how == "absent")
				l.Close()
			}
			back := time.AfterFunc(300*time.Millisecond, func() {
				if how == "refuses" {
					os.Remove(u.paths[n-1])
				}
				u.listen("unix", u.paths[n-1], 9)
			})
			res := u.do("POST", "/x", nil)
			if res.status != 200 || res.end.took < 250*time.Millisecond || !slices.Equal(u.slots(), []int{9}) {
				t.Errorf("%s, %d addresses: %d after %v on %v, %v", how, n, res.status, res.end.took, u.slots(), res.end.err)
			}
			back.Stop()
			if n := strings.Count(u.log.String(), "it waits"); n != 1 {
				t.Errorf("said %d times that a request waits:\n%s", n, &u.log)
			}
			u.free(time.Second)
		}
	}
}

// Patience has an end, and so has that of a client.
func TestPatienceEnds(t *testing.T) {
	u := newUpstreams(t, 2, spawner.LedgerOptions{}, 300*time.Millisecond)
	for _, l := range u.listeners {
		l.Close()
	}
	res := u.do("GET", "/x", nil)
	if res.status != 502 || res.end.err.Kind != NotReached || res.end.took < 290*time.Millisecond {
		t.Errorf("%d after %v, %v", res.status, res.end.took, res.end.err)
	}
	// 10, 20, 40 and 80 ms: so many rounds at least, and not many more.
	if n := len(u.told(0)); n < 3 || n > 8 {
		t.Errorf("%d connects to one address", n)
	}
	u.app.Patience = time.Minute
	c := u.raw("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	time.Sleep(50 * time.Millisecond)
	c.Close()
	if e := u.last(); e.err == nil || e.err.Kind != ClientGone || e.took > 5*time.Second {
		t.Errorf("%+v", e)
	}
	u.app.RequestTimeout = 100 * time.Millisecond
	if res := u.do("GET", "/x", nil); res.status != 504 || res.end.err.Kind != RequestTimeout {
		t.Errorf("%d, %v", res.status, res.end.err)
	}
	u.free(time.Second)
}

// A request that died is repeated at the same address, where there is no other,
// after a moment: the rest of a program that is being stopped would take it along.
func TestRepeatAtOneAddress(t *testing.T) {
	u := newUpstreams(t, 1, spawner.LedgerOptions{}, time.Second)
	var at []time.Time
	u.script(func(c *call) {
		if at = append(at, time.Now()); c.try == 0 {
			c.die()
			return
		}
		c.say(ok + "x")
	})
	if res := u.do("GET", "/x", nil); res.status != 200 || len(at) != 2 || at[1].Sub(at[0]) < lastBreath {
		t.Errorf("%d, %v, at %v", res.status, res.end.err, at)
	}
	// With another one there is nothing to wait for.
	u = newUpstreams(t, 2, spawner.LedgerOptions{}, time.Second)
	u.script(first((*call).die))
	if res := u.do("GET", "/x", nil); res.status != 200 || res.end.took >= lastBreath && !late(res.end.took, 0) {
		t.Errorf("%d, %v after %v", res.status, res.end.err, res.end.took)
	}
	if s := u.slots(); len(s) != 2 || s[0] == s[1] {
		t.Errorf("slots %v", s)
	}
}

// A program that closes each connection at once: a POST is done once or not at
// all, and on another only if the first was sent nothing of it.
func TestUnsentPost(t *testing.T) {
	u := newUpstreams(t, 2, spawner.LedgerOptions{}, 0)
	u.listeners[0].Close()
	l, err := net.Listen("unix", u.paths[0])
	must(t, err)
	defer l.Close()
	var accepted atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			c.Close()
		}
	}()
	u.script(func(c *call) { c.stdin(); c.say(ok + "x") })
	status := map[int]int{}
	for range 100 {
		status[u.do("POST", "/x", strings.NewReader("body")).status]++
	}
	if done := len(u.slots()); done != status[200] || status[200]+status[502] != 100 || accepted.Load() == 0 {
		t.Errorf("statuses %v, %d done, %d connections closed", status, done, accepted.Load())
	}
	u.free(time.Second)
}

// A full backlog is not waited for, and is no failure.
func TestPatienceIsNotForTheBusy(t *testing.T) {
	u := newUpstreams(t, 1, spawner.LedgerOptions{}, 5*time.Second)
	full := fullBacklog(t)
	u.app.Backend.(*FastCGI).Pool = spawner.NewPool(spawner.PoolOptions{Ledger: u.noted,
		Targets: []spawner.Target{{Network: "unix", Address: full}}})
	res := u.do("GET", "/x", nil)
	if res.status != 503 || res.end.err.Kind != QueueFull || res.end.took > 2*time.Second || res.header.Get("Retry-After") == "" {
		t.Errorf("%d after %v, %v", res.status, res.end.took, res.end.err)
	}
	if told := u.outcomes[0]; !slices.Equal(told, []spawner.Outcome{spawner.Unsent}) {
		t.Errorf("the ledger was told %v", told)
	}
}

// What the ledger is told of a program elsewhere.
func TestOutcomes(t *testing.T) {
	cases := []struct {
		name  string
		child func(*call)
		want  []spawner.Outcome
	}{
		{"answers", func(c *call) { c.say(ok + "x") }, []spawner.Outcome{spawner.Answered}},
		{"answers badly", func(c *call) { c.say("nonsense\n\n") }, []spawner.Outcome{spawner.Cut}},
		{"dies", func(c *call) { c.out(ok); c.die() }, []spawner.Outcome{spawner.Failed}},
		{"dies at once, twice", (*call).die, []spawner.Outcome{spawner.Failed, spawner.Failed}},
		{"is silent", func(c *call) { c.departure(5 * time.Second) }, []spawner.Outcome{spawner.Failed}},
		{"stalls", func(c *call) { c.out(ok, "x"); c.departure(5 * time.Second) }, []spawner.Outcome{spawner.Failed}},
		{"is overloaded", func(c *call) { c.end(0, 2) }, []spawner.Outcome{spawner.Unsent, spawner.Unsent}},
		{"knows not the role", func(c *call) { c.end(0, 3) }, []spawner.Outcome{spawner.Failed}},
	}
	u := newUpstreams(t, 1, spawner.LedgerOptions{}, 0)
	u.app.HeaderTimeout, u.app.ReadTimeout = 100*time.Millisecond, 100*time.Millisecond
	for _, c := range cases {
		u.forget()
		u.script(c.child)
		u.do("GET", "/x", nil)
		u.free(time.Second)
		if got := u.outcomes[0]; !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	// A client that leaves says nothing about the program's health.
	u.forget()
	u.app.HeaderTimeout = 5 * time.Second
	u.script(func(c *call) { c.departure(5 * time.Second) })
	c := u.raw("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	eventually(t, 5*time.Second, "the call", func() bool { return len(u.slots()) == 1 })
	c.Close()
	u.last()
	u.free(time.Second)
	if got := u.outcomes[0]; !slices.Equal(got, []spawner.Outcome{spawner.Unsent}) {
		t.Errorf("a client that left: %v", got)
	}
}

// Requests for one host and path have one key, whatever else they are.
func TestKey(t *testing.T) {
	key := func(method, url string) uint64 {
		return (&Request{HTTP: httptest.NewRequest(method, url, nil)}).key()
	}
	same := key("GET", "http://example.org/a/b")
	for _, url := range []string{"http://example.org/a/b?q", "http://EXAMPLE.org/a/b?r=1", "http://example.org/a/%62"} {
		if key("POST", url) != same {
			t.Errorf("%s has another key", url)
		}
	}
	for _, url := range []string{"http://example.net/a/b", "http://example.org/a/c", "http://example.org/a/b/"} {
		if key("GET", url) == same {
			t.Errorf("%s has the same key", url)
		}
	}
	if got, want := same, fnv1a("example.org/a/b"); got != want {
		t.Errorf("%x, FNV-1a is %x", got, want)
	}
}

// fnv1a is the definition.
func fnv1a(s string) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range []byte(s) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

func TestHashWantsKeys(t *testing.T) {
	u := newUpstreams(t, 3, spawner.LedgerOptions{}, 0)
	u.do("GET", "/a", nil)
	if w := u.wants[0]; w.Key != 0 || w.Avoid != -1 {
		t.Errorf("without balance by key: %+v", w)
	}
	u.app.Backend.(*FastCGI).ByURL = true
	u.wants = nil
	for _, path := range []string{"/a?1", "/a?2", "/b"} {
		u.do("GET", path, nil)
	}
	if w := u.wants; w[0].Key == 0 || w[0] != w[1] || w[2].Key == w[0].Key {
		t.Errorf("%+v", w)
	}
	// A request that has been refused asks for another slot by another key.
	u.wants = nil
	for _, l := range u.listeners {
		l.Close()
	}
	u.do("GET", "/a", nil)
	first, last := u.wants[0], u.wants[len(u.wants)-1]
	if last.Avoid < 0 || first.Avoid != -1 {
		t.Errorf("%+v", u.wants)
	}
}

// What a program elsewhere prints is logged with its address, as nobody knows
// its pid; so are its faults.
func TestAddressInTheLog(t *testing.T) {
	u := newUpstreams(t, 1, spawner.LedgerOptions{}, 0)
	u.script(func(c *call) { c.send(recStderr, []byte("my trouble\n")); c.out(ok + "x"); c.end(7) })
	u.do("GET", "/x", nil)
	u.listeners[0].Close()
	res := u.do("GET", "/x", nil)
	if res.end.err == nil || res.end.err.Address != u.paths[0] {
		t.Errorf("%+v", res.end.err)
	}
	for _, line := range strings.Split(strings.TrimSpace(u.log.String()), "\n") {
		if strings.Contains(line, "pid=") || !strings.Contains(line, "address="+u.paths[0]) {
			t.Errorf("the log says %s", line)
		}
	}
	for _, what := range []string{"my trouble", "exit status 7", "took no connection"} {
		if !strings.Contains(u.log.String(), what) {
			t.Errorf("not in the log: %s\n%s", what, &u.log)
		}
	}
}

// Weights count where all are free, and busy addresses are passed over.
func TestWeights(t *testing.T) {
	u := newUpstreams(t, 3, spawner.LedgerOptions{Slots: []spawner.SlotOptions{{Weight: 1}, {Weight: 2}, {Weight: 3}}}, 0)
	u.script(func(c *call) { c.say(ok + "x") })
	for range 60 {
		if res := u.do("GET", "/x", nil); res.status != 200 {
			t.Fatalf("%d, %v", res.status, res.end.err)
		}
	}
	count := map[int]int{}
	for _, slot := range u.slots() {
		count[slot]++
	}
	if count[0] != 10 || count[1] != 20 || count[2] != 30 {
		t.Errorf("requests by slot: %v", count)
	}
}
