package front

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"sluice/cgi"
	"sluice/internal/exchange"
	"sluice/internal/front/http1"
	"sluice/internal/front/http1/http1test"
	"sluice/internal/scoreboard"
	"sluice/spawner"
)

// tracked is a Server of scripts, one at once, with a scoreboard.
type tracked struct {
	t     *testing.T
	dir   string
	addr  string
	owner *scoreboard.Owner
	place *scoreboard.Place

	mu   sync.Mutex
	slow []Slow
}

func newTracked(t *testing.T, slow time.Duration, times bool) *tracked {
	t.Helper()
	k := &tracked{t: t, dir: t.TempDir()}
	l := scoreboard.Layout{Places: 1, Times: times, Apps: []scoreboard.AppLayout{{Name: "scripts", Kind: "cgi", Requests: 2}}}
	mem := make([]byte, l.Bytes())
	var err error
	if k.owner, err = scoreboard.Create(mem, l, scoreboard.Head{}); err != nil {
		t.Fatal(err)
	}
	k.owner.Worker(1, 1, 1, scoreboard.Running)
	b, err := scoreboard.Open(mem)
	if err != nil {
		t.Fatal(err)
	}
	place, err := b.Place(1)
	if err != nil {
		t.Fatal(err)
	}
	k.place = place
	log := slog.New(slog.DiscardHandler)
	ledger := spawner.NewLedger(spawner.LedgerOptions{Queue: 8, Slots: []spawner.SlotOptions{{Connections: 1}}})
	ledger.Set(0, spawner.Ready, 0)
	loose := spawner.NewLedger(spawner.LedgerOptions{Slots: []spawner.SlotOptions{{Connections: 1}}})
	loose.Set(0, spawner.Ready, 0)
	starter := &spawner.Scripts{}
	x := &exchange.App{Name: "scripts", Log: log, HeaderBytes: 4096, HeaderTimeout: time.Second, ReadTimeout: time.Second,
		Body:     exchange.BodyLimits{Bytes: 1 << 20, Memory: 4096, Dir: k.dir, Timeout: 5 * time.Second},
		Response: exchange.SpoolLimits{Memory: 1 << 20, File: 1 << 30, Dir: k.dir},
		Backend: &exchange.Scripts{Starter: starter, Ledger: ledger, Log: log, Loose: loose,
			Options: cgi.Options{StopSignal: syscall.SIGTERM, StopGrace: time.Second, Background: time.Second,
				Stderr: (&cgi.ErrorLog{App: "scripts", Log: log}).For}}}
	app := &App{App: x, Scripts: true, Records: place.Records("scripts")}
	h := &Handler{Log: log, Sites: NewSites([]*Site{{Root: k.dir, FollowSymlinks: true,
		Routes: []*Route{{Prefix: "/", Ending: ".cgi", App: app}}}}),
		Tracking: &Tracking{Place: place, Times: times, Slow: slow, Report: func(s Slow) {
			k.mu.Lock()
			defer k.mu.Unlock()
			k.slow = append(k.slow, s)
		}}}
	_, addrs, _ := http1test.Serve(t, http1.Options{Handler: h, KeepaliveIdle: time.Minute, SendTimeout: 5 * time.Second, Place: place}, 1)
	k.addr = addrs[0]
	t.Cleanup(func() { starter.Stop(0) })
	return k
}

func (k *tracked) script(name, text string) {
	k.t.Helper()
	if err := os.WriteFile(filepath.Join(k.dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		k.t.Fatal(err)
	}
}

// now is how many connections are in which state, and the phases of the
// requests with a child.
func (k *tracked) now() string {
	s, err := k.owner.Snapshot()
	if err != nil {
		k.t.Fatal(err)
	}
	c := s.Workers[0].Connections
	text := ""
	for _, n := range []struct {
		name string
		n    int
	}{{"reading", c.Reading}, {"waiting", c.Waiting}, {"working", c.Working}, {"sending", c.Sending}, {"idle", c.Idle}, {"lingering", c.Lingering}} {
		if n.n != 0 {
			text += fmt.Sprintf("%d %s ", n.n, n.name)
		}
	}
	for _, r := range s.Apps[0].Requests {
		if r.PID == 0 || r.Method == "" || r.URL == "" || r.Client == "" {
			k.t.Errorf("a record without its request: %+v", r)
		}
		text += "+" + r.Phase.String()
	}
	return strings.TrimSpace(text)
}

// becomes waits for a state of everything.
func (k *tracked) becomes(want string) {
	k.t.Helper()
	got := ""
	for limit := time.Now().Add(10 * time.Second); time.Now().Before(limit); time.Sleep(2 * time.Millisecond) {
		if got = k.now(); got == want {
			return
		}
	}
	k.t.Fatalf("%q does not become %q", got, want)
}

func (k *tracked) send(text string) net.Conn {
	k.t.Helper()
	c, err := net.Dial("tcp", k.addr)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		k.t.Fatal(err)
	}
	return c
}

func get(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n" }

// Each connection is in one state at a time, the right one, and nothing is left
// over however it ends.
func TestConnectionStates(t *testing.T) {
	k := newTracked(t, 0, true)
	const ok = `printf 'Content-Type: text/plain\nContent-Length: 2\n\nok'`
	k.script("quick.cgi", ok)
	k.script("wait.cgi", `while [ ! -e go ]; do sleep 0.01; done; `+ok)
	k.script("never.cgi", `sleep 100`)
	k.script("half.cgi", `printf 'Content-Type: text/plain\n\nhalf'; sleep 100`)
	k.script("on.cgi", ok+`; exec >&-; sleep 0.5`)
	k.script("die.cgi", `printf 'Content-Type: text/plain\nContent-Length: 100000\n\n%5000s' x; sleep 0.1; printf '%5000s' x; exit 1`)
	k.script("nph-raw.cgi", `printf 'HTTP/1.1 200 OK\r\n\r\nraw'; sleep 100`)
	if err := os.WriteFile(filepath.Join(k.dir, "big"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(filepath.Join(k.dir, "big"), 64<<20); err != nil {
		t.Fatal(err)
	}
	go_ := filepath.Join(k.dir, "go")

	c := k.send("")
	k.becomes("1 reading")
	io.WriteString(c, get("/quick.cgi"))
	k.becomes("1 idle")
	io.WriteString(c, "GET /qu")
	k.becomes("1 reading")
	io.WriteString(c, "ick.cgi HTTP/1.1\r\nHost: x\r\n\r\n")
	k.becomes("1 idle")
	io.WriteString(c, get("/nothing"))
	k.becomes("1 idle")
	c.Close()
	k.becomes("")

	// An upload, a child that computes, and one who waits for it.
	c = k.send("POST /wait.cgi HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf ")
	k.becomes("1 reading")
	io.WriteString(c, "whole")
	k.becomes("1 working +header")
	second := k.send(get("/wait.cgi"))
	k.becomes("1 waiting 1 working +header")
	third := k.send(get("/wait.cgi"))
	k.becomes("2 waiting 1 working +header")
	third.Close()
	k.becomes("1 waiting 1 working +header")
	if err := os.WriteFile(go_, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	k.becomes("2 idle")
	c.Close()
	second.Close()
	k.becomes("")

	// A slow download; who goes away in the middle.
	c = k.send(get("/big"))
	k.becomes("1 sending")
	c.Close()
	k.becomes("")
	for _, path := range []string{"/never.cgi", "/half.cgi", "/nph-raw.cgi"} {
		c = k.send(get(path))
		phase := map[string]string{"/never.cgi": "+header", "/half.cgi": "+body", "/nph-raw.cgi": "+body"}[path]
		k.becomes("1 working " + phase)
		c.Close()
		k.becomes("")
	}
	// The script works on behind its answer; a time is over; an answer that breaks off.
	c = k.send(get("/on.cgi"))
	k.becomes("1 idle +drain")
	k.becomes("1 idle")
	io.WriteString(c, get("/never.cgi"))
	k.becomes("1 working +header")
	k.becomes("1 idle")
	io.WriteString(c, get("/die.cgi"))
	k.becomes("")
	s, err := k.owner.Snapshot()
	if err != nil || s.Workers[0].Requests != 13 {
		t.Errorf("%d requests were counted, 13 were made: %v", s.Workers[0].Requests, err)
	}
}

// Many at once that end in every way leave nothing behind.
func TestStatesBalance(t *testing.T) {
	k := newTracked(t, time.Millisecond, true)
	k.script("a.cgi", `printf 'Content-Type: text/plain\n\nok'`)
	k.script("nph-a.cgi", `printf 'HTTP/1.1 200 OK\r\n\r\nraw'`)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				c, err := net.Dial("tcp", k.addr)
				if err != nil {
					t.Error(err)
					return
				}
				c.SetDeadline(time.Now().Add(10 * time.Second))
				io.WriteString(c, get([]string{"/a.cgi", "/nph-a.cgi", "/none"}[(i+j)%3]))
				if (i+j)%4 != 0 {
					c.Read(make([]byte, 1))
				}
				c.Close()
			}
		})
	}
	wg.Wait()
	k.becomes("")
	var late, ended int
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, s := range k.slow {
		if s.Ended {
			ended++
		} else {
			late++
		}
	}
	if late == 0 || late != ended {
		t.Errorf("%d slow requests, %d of them ended", late, ended)
	}
}

// A slow request is reported once while it runs and once at its end, with the
// time in each phase; a quick one is not.
func TestSlow(t *testing.T) {
	const slow = 150 * time.Millisecond
	k := newTracked(t, slow, true)
	k.script("a.cgi", `sleep 0.4; printf 'Content-Type: text/plain\n\nok'`)
	k.script("quick.cgi", `printf 'Content-Type: text/plain\n\nok'`)
	c := k.send(get("/quick.cgi"))
	k.becomes("1 idle")
	io.WriteString(c, get("/a.cgi?b=c"))
	k.becomes("1 working +header")
	k.becomes("1 idle")
	c.Close()
	k.becomes("")
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.slow) != 2 {
		t.Fatalf("%d reports: %+v", len(k.slow), k.slow)
	}
	first, last := k.slow[0], k.slow[1]
	for _, s := range k.slow {
		if s.Method != "GET" || s.Request != "/a.cgi?b=c" || s.App != "scripts" || s.PID == 0 || !strings.HasPrefix(s.Client, "127.0.0.1:") {
			t.Errorf("who it is: %+v", s)
		}
	}
	if first.Ended || !first.Held || first.Phase != scoreboard.Header || first.Took < slow || first.Spent[scoreboard.Header] < slow/2 {
		t.Errorf("while it runs: %+v", first)
	}
	if !last.Ended || last.Held || last.Phase != scoreboard.Send || last.Status != 200 || last.Bytes != 2 || last.Took < 400*time.Millisecond ||
		last.Spent[scoreboard.Header] < 300*time.Millisecond {
		t.Errorf("at its end: %+v", last)
	}
	var sum time.Duration
	for _, d := range last.Spent {
		sum += d
	}
	if sum != last.Took {
		t.Errorf("the phases took %v of %v", sum, last.Took)
	}
}

// A client that takes its file slowly is what the request waits for.
func TestSlowDownload(t *testing.T) {
	k := newTracked(t, 100*time.Millisecond, true)
	big := filepath.Join(k.dir, "big")
	if err := os.WriteFile(big, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(big, 64<<20); err != nil {
		t.Fatal(err)
	}
	k.script("a.cgi", `printf 'Content-Type: text/plain\n\n'; exec dd if=big bs=1M status=none`)
	for _, path := range []string{"/big", "/a.cgi"} {
		c := k.send(get(path))
		if !waitFor(10*time.Second, func() bool { k.mu.Lock(); defer k.mu.Unlock(); return len(k.slow) == 1 }) {
			t.Fatalf("%s: not reported", path)
		}
		k.mu.Lock()
		s := k.slow[0]
		k.slow = nil
		k.mu.Unlock()
		if path == "/big" && (s.App != "" || s.PID != 0 || s.Phase != scoreboard.Send || s.Phase.WaitsFor() != "client") {
			t.Errorf("%s: %+v", path, s)
		}
		k.becomes("1 sending") // the script has been read to its end
		c.Close()
		k.becomes("")
		if !waitFor(10*time.Second, func() bool { k.mu.Lock(); defer k.mu.Unlock(); return len(k.slow) == 1 }) {
			t.Fatalf("%s: its end is not reported", path)
		}
		k.mu.Lock()
		if s = k.slow[0]; !s.Ended || !s.Aborted || s.Spent[scoreboard.Send] == 0 {
			t.Errorf("%s: at its end: %+v", path, s)
		}
		k.slow = nil
		k.mu.Unlock()
	}
}

// Without times there is a slow log, which says what took long but not how long
// each phase did; and without either nothing is measured.
func TestNoTimes(t *testing.T) {
	k := newTracked(t, 100*time.Millisecond, false)
	k.script("a.cgi", `sleep 0.3; printf 'Content-Type: text/plain\n\nok'`)
	c := k.send(get("/a.cgi"))
	k.becomes("1 working +header")
	s, _ := k.owner.Snapshot()
	if r := s.Apps[0].Requests[0]; !r.Began.IsZero() || !r.Since.IsZero() {
		t.Errorf("times in the scoreboard: %+v", r)
	}
	k.becomes("1 idle")
	c.Close()
	k.becomes("")
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.slow) != 2 || k.slow[0].Phase != scoreboard.Header || k.slow[0].Took < 100*time.Millisecond || k.slow[1].Took < 300*time.Millisecond ||
		slices.Max(k.slow[1].Spent[:]) != 0 {
		t.Errorf("got %+v", k.slow)
	}
}

func waitFor(d time.Duration, cond func() bool) bool {
	for limit := time.Now().Add(d); time.Now().Before(limit); time.Sleep(2 * time.Millisecond) {
		if cond() {
			return true
		}
	}
	return false
}

// To follow a request costs no allocation: what it takes is used again.
func TestTrackingCost(t *testing.T) {
	k := newTracked(t, time.Minute, true)
	place, track := k.place, &Tracking{Place: k.place, Times: true, Slow: time.Minute}
	app := &App{App: &exchange.App{Name: "scripts"}, Records: place.Records("scripts")}
	r, w := &http.Request{Method: "GET", RequestURI: "/x", RemoteAddr: "127.0.0.1:1"}, &response{}
	n := testing.AllocsPerRun(1000, func() {
		f := track.begin(r, nil)
		f.forApp(app)
		now := time.Now()
		f.Phase(scoreboard.Queue, now)
		rec := f.Leased(0, 1, now)
		f.Phase(scoreboard.Header, now)
		f.Phase(scoreboard.Body, now)
		f.LetGo(now)
		f.Released(rec)
		f.end(w)
	})
	// The race detector has a pool forget some of what it is given.
	if n > 1 {
		t.Errorf("%v allocations a request", n)
	}
	k.becomes("")
}

// What is said of a slow request is bounded, whatever the client sent: the
// master takes in no longer message.
func TestSlowIsBounded(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	r.Method, r.RequestURI = strings.Repeat("&", 60<<10), "/?"+strings.Repeat("<", 1<<20)
	k := (&Tracking{}).begin(r, nil)
	s := k.report()
	if len(s.Method) != maxSlowMethod || len(s.Request) != maxRequestLine || !strings.HasPrefix(s.Request, "/?<") {
		t.Errorf("a method of %d bytes, a target of %d", len(s.Method), len(s.Request))
	}
}

// The timer of a tracker is that of one request after the other: each is reported
// when its own time is over, and those that end before are not.
func TestSlowOnOneTimer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []Slow
		tracking := &Tracking{Slow: 5 * time.Second, Report: func(s Slow) { got = append(got, s) }}
		follow := func(target string, took time.Duration) {
			k := tracking.begin(httptest.NewRequest("GET", target, nil), nil)
			time.Sleep(took)
			k.end(&response{status: 200})
		}
		for range 20 {
			follow("/quick", 3*time.Second)
		}
		synctest.Wait()
		if len(got) != 0 {
			t.Fatalf("requests that were in time are reported: %+v", got)
		}
		follow("/slow", 6*time.Second)
		follow("/quick", 4*time.Second)
		follow("/slower", 30*time.Second)
		synctest.Wait()
		want := []struct {
			request string
			took    time.Duration
			ended   bool
		}{{"/slow", 5 * time.Second, false}, {"/slow", 6 * time.Second, true}, {"/slower", 5 * time.Second, false}, {"/slower", 30 * time.Second, true}}
		if len(got) != len(want) {
			t.Fatalf("%d reports: %+v", len(got), got)
		}
		for i, w := range want {
			if g := got[i]; g.Request != w.request || g.Took != w.took || g.Ended != w.ended {
				t.Errorf("report %d: %+v, want %+v", i, g, w)
			}
		}
		time.Sleep(time.Minute) // no timer is left that somebody waits for
	})
}
