package exchange

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/spawner"
)

// One of two addresses is dead: no request fails, and within fail_timeout no
// more than max_fails of them find out; then one.
func TestMaxFails(t *testing.T) {
	const timeout = 500 * time.Millisecond
	u := newUpstreams(t, 2, spawner.LedgerOptions{MaxFails: 3, FailTimeout: timeout}, 0)
	u.listeners[0].Close()
	begin := time.Now()
	rounds := 0
	for ; time.Since(begin) < 4*timeout; rounds++ {
		if res := u.do([]string{"GET", "POST"}[rounds%2], "/x", nil); res.status != 200 {
			t.Fatalf("request %d: %d, %v", rounds, res.status, res.end.err)
		}
	}
	// Three find out, then one after each of the times that it is out.
	most := 3 + int(time.Since(begin)/timeout)
	if n := len(u.told(0)); n < 4 || n > most {
		t.Errorf("%d of %d requests were tried at the dead address, want 4 to %d", n, rounds, most)
	}
}

// At the same time, too.
func TestMaxFailsAtOnce(t *testing.T) {
	u := newUpstreams(t, 2, spawner.LedgerOptions{MaxFails: 3, FailTimeout: time.Minute,
		Slots: []spawner.SlotOptions{{Connections: 16}, {Connections: 16}}}, 5*time.Second)
	u.listeners[1].Close()
	var mu sync.Mutex
	failed := 0
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 25 {
				resp, err := u.client.Get(u.server.URL + "/x")
				if err == nil {
					resp.Body.Close()
				}
				if err != nil || resp.StatusCode != 200 {
					mu.Lock()
					failed++
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	if failed > 0 {
		t.Errorf("%d of 200 requests failed", failed)
	}
	// Those that were on their way when the third failed may be as many again.
	if n := len(u.told(1)); n < 3 || n > 3+8 {
		t.Errorf("%d requests were tried at the dead address", n)
	}
}

// A dead address that comes back gets requests again, and a single one is never
// out.
func TestMaxFailsComesBack(t *testing.T) {
	u := newUpstreams(t, 2, spawner.LedgerOptions{MaxFails: 1, FailTimeout: 200 * time.Millisecond}, 0)
	u.listeners[0].Close()
	for range 4 {
		u.do("GET", "/x", nil)
	}
	_, err := u.listen("unix", u.paths[0], 0)
	must(t, err)
	eventually(t, 5*time.Second, "a request at the address that is back", func() bool {
		u.script(func(c *call) { c.say(ok + "x") })
		if res := u.do("GET", "/x", nil); res.status != 200 {
			t.Fatalf("%d, %v", res.status, res.end.err)
		}
		return slices.Contains(u.slots(), 0)
	})
	one := newUpstreams(t, 1, spawner.LedgerOptions{MaxFails: 1, FailTimeout: time.Minute}, 0)
	one.listeners[0].Close()
	for range 5 {
		if res := one.do("GET", "/x", nil); res.status != 502 {
			t.Errorf("%d, %v", res.status, res.end.err)
		}
	}
	_, err = one.listen("unix", one.paths[0], 0)
	must(t, err)
	if res := one.do("GET", "/x", nil); res.status != 200 {
		t.Errorf("%d, %v", res.status, res.end.err)
	}
}

// A page stays with its address, whatever the query; what belonged to one that
// is down goes elsewhere, and nothing else does.
func TestHash(t *testing.T) {
	u := newUpstreams(t, 4, spawner.LedgerOptions{Balance: spawner.BalanceHash, MaxFails: 1, FailTimeout: time.Minute}, 0)
	u.app.Backend.(*FastCGI).ByURL = true
	where := func(i int, query string) int {
		u.script(func(c *call) { c.say(ok + "x") })
		if res := u.do("GET", fmt.Sprintf("/page/%d?%s", i, query), nil); res.status != 200 {
			t.Fatalf("%d, %v", res.status, res.end.err)
		}
		return u.slots()[0]
	}
	home, count := make([]int, 64), map[int]int{}
	for i := range home {
		home[i] = where(i, "")
		count[home[i]]++
		if again := where(i, "q=1"); again != home[i] {
			t.Errorf("page %d: at %d, then at %d", i, home[i], again)
		}
	}
	for slot := range 4 {
		if count[slot] < 4 {
			t.Errorf("pages by slot: %v", count)
		}
	}
	u.listeners[2].Close()
	for i := range home {
		got := where(i, "")
		if home[i] != 2 && got != home[i] || got == 2 {
			t.Errorf("page %d: from %d to %d", i, home[i], got)
		}
	}
}

// Each way spreads requests by the weights.
func TestBalances(t *testing.T) {
	for _, b := range []spawner.Balance{spawner.BalanceLeastConn, spawner.BalanceRoundRobin, spawner.BalanceRandomTwo} {
		u := newUpstreams(t, 2, spawner.LedgerOptions{Balance: b, Slots: []spawner.SlotOptions{{Weight: 1}, {Weight: 3}}}, 0)
		for range 200 {
			if res := u.do("GET", "/x", nil); res.status != 200 {
				t.Fatalf("%d, %v", res.status, res.end.err)
			}
		}
		count := map[int]int{}
		for _, slot := range u.slots() {
			count[slot]++
		}
		if low, high := 40, 60; b != spawner.BalanceRandomTwo && (count[0] < low || count[0] > high) || count[0] < 10 || count[1] < 100 {
			t.Errorf("balance %d: requests by slot %v", b, count)
		}
	}
}
