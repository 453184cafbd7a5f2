package status

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice/internal/leak"
	"sluice/internal/scoreboard"
	"sluice/spawner"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

// now is when the tests look.
var now = time.Unix(1700000000, 0)

func ago(d time.Duration) time.Time { return now.Add(-d) }

func snapshot() *scoreboard.Snapshot {
	return &scoreboard.Snapshot{Version: "1.2", PID: 100, Generation: 3, Started: ago(time.Hour), Seen: ago(time.Second),
		Workers: []scoreboard.Worker{{Place: 1, PID: 101, Generation: 3, State: "running", Requests: 1234, Goroutines: 7,
			Connections: scoreboard.Connections{Reading: 1, Waiting: 2, Working: 3, Sending: 4, Idle: 5, Lingering: 6},
			Accepting:   scoreboard.Accepting{Accepts: 8, Wakeups: 9, Empty: 1, LockWait: 0.5}}},
		Apps: []scoreboard.App{
			{Name: "php", Kind: "fastcgi", Queue: scoreboard.Queued{Waiting: 1, Served: 2, Refused: 3},
				Slots: []scoreboard.Slot{{State: uint8(spawner.Ready), PID: 201, Began: ago(time.Minute), Requests: 9, Memory: 4096},
					{State: uint8(spawner.BackingOff)}},
				Requests: []scoreboard.Current{
					{Place: 1, Slot: 0, PID: 201, Phase: scoreboard.Body, Method: "GET", URL: "/later", Client: "127.0.0.1:2", Began: ago(time.Second), Since: ago(0)},
					{Place: 1, Slot: 0, PID: 201, Phase: scoreboard.Header, Method: "GET", URL: "/a.php", Client: "127.0.0.1:1", Began: ago(2 * time.Second), Since: ago(1500 * time.Millisecond)},
				}},
			{Name: "far", Kind: "fastcgi", Slots: []scoreboard.Slot{{State: uint8(spawner.Ready), Address: "tcp:127.0.0.1:9"}, {Address: "unix:/x"}}},
			{Name: "scripts", Kind: "cgi", Requests: []scoreboard.Current{
				{Slot: 0, PID: 302, Phase: scoreboard.Drain, Method: "GET", URL: "/b.cgi", Client: "127.0.0.1:4", Began: ago(time.Second), Leased: ago(time.Second)},
				{Slot: 0, PID: 301, Phase: scoreboard.Header, Method: "POST", URL: "/a.cgi", Client: "127.0.0.1:3", Began: ago(90 * time.Second), Leased: ago(80 * time.Second)},
			}},
		}}
}

func TestStatus(t *testing.T) {
	src := Sources{
		Counts: func(app string) (spawner.Counts, bool) {
			return spawner.Counts{Waiting: 5, Served: 6, Refused: 7, Children: []spawner.ChildCounts{
				{State: spawner.Starting, Requests: 70, Finishing: true}, {}, {PID: 666}}}, app == "php"
		},
		Children: func(app string) ([]ChildInfo, bool) {
			return []ChildInfo{{Slot: 1, State: spawner.Stopping, PID: 202, Began: ago(2 * time.Minute), Requests: 8, Restarts: 2},
				{Slot: 2, PID: 666}, {Slot: -1, PID: 666}}, app == "php"
		},
		Memory: func(pid int) int64 { return int64(pid) * 1000 },
	}
	got := src.assemble(snapshot(), now)
	want := &Status{Version: "1.2", PID: 100, Generation: 3, Started: ago(time.Hour), Uptime: 3600,
		Workers: []Worker{{PID: 101, Generation: 3, State: "running", Requests: 1234, Goroutines: 7, Memory: 101000,
			Connections: scoreboard.Connections{Reading: 1, Waiting: 2, Working: 3, Sending: 4, Idle: 5, Lingering: 6},
			Accepting:   scoreboard.Accepting{Accepts: 8, Wakeups: 9, Empty: 1, LockWait: 0.5}}},
		Apps: []App{
			{Name: "php", Kind: "fastcgi", Queue: scoreboard.Queued{Waiting: 5, Served: 6, Refused: 7}, Children: []Child{
				{PID: 201, State: "finishing", Claims: 2, Requests: 70, AgeSeconds: 60, MemoryBytes: 4096,
					Request: &Request{Method: "GET", URL: "/a.php", Client: "127.0.0.1:1", Phase: "header", Seconds: 2, PhaseSeconds: 1.5}},
				{PID: 202, State: "stopping", Requests: 8, Restarts: 2, AgeSeconds: 120, MemoryBytes: 202000},
			}},
			{Name: "far", Kind: "fastcgi", Children: []Child{{Address: "tcp:127.0.0.1:9", State: "up"}, {Address: "unix:/x", State: "down"}}},
			{Name: "scripts", Kind: "cgi", Children: []Child{
				{PID: 301, State: "running", Claims: 1, Requests: 1, AgeSeconds: 80, MemoryBytes: 301000,
					Request: &Request{Method: "POST", URL: "/a.cgi", Client: "127.0.0.1:3", Phase: "header", Seconds: 90}},
				{PID: 302, State: "running", Claims: 1, Requests: 1, AgeSeconds: 1, MemoryBytes: 302000,
					Request: &Request{Method: "GET", URL: "/b.cgi", Client: "127.0.0.1:4", Phase: "drain", Seconds: 1}},
			}},
		}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	var out strings.Builder
	if err := got.Print(&out); err != nil {
		t.Fatal(err)
	}
	const text = `sluice 1.2  pid 100  generation 3  up 1h00m

  worker  state    requests  reading  waiting  working  sending  idle  lingering
     101  running      1234        1        2        3        4     5          6

php (fastcgi)  queue: 5 waiting, 6 served, 7 refused
  pid  state      requests    age     memory  phase   took  client       request
  201  finishing        70  1m00s    4.0 KiB  header  2.0s  127.0.0.1:1  GET /a.php  and 1 more
  202  stopping          8  2m00s  197.3 KiB  -          -  -            -

far (fastcgi)  queue: 0 waiting, 0 served, 0 refused
  address          state  requests  claims  phase  took  client  request
  tcp:127.0.0.1:9  up            0       0  -         -  -       -
  unix:/x          down          0       0  -         -  -       -

scripts (cgi)  queue: 0 waiting, 0 served, 0 refused
  pid  state    requests    age     memory  phase    took  client       request
  301  running         1  1m20s  293.9 KiB  header  1m30s  127.0.0.1:3  POST /a.cgi
  302  running         1   1.0s  294.9 KiB  drain    1.0s  127.0.0.1:4  GET /b.cgi
`
	if diff := cmp.Diff(text, out.String()); diff != "" {
		t.Error(diff)
	}
}

// An address is down while requests pass it over.
func TestAddressesThatAreOut(t *testing.T) {
	src := Sources{Counts: func(app string) (spawner.Counts, bool) {
		return spawner.Counts{Children: []spawner.ChildCounts{{State: spawner.Ready, Down: true}, {State: spawner.Ready}}}, app == "far"
	}}
	far := src.assemble(snapshot(), now).Apps[1]
	want := []Child{{Address: "tcp:127.0.0.1:9", State: "down"}, {Address: "unix:/x", State: "up"}}
	if diff := cmp.Diff(want, far.Children); diff != "" {
		t.Error(diff)
	}
}

// The names that programs read.
func TestJSON(t *testing.T) {
	b, err := json.Marshal(Sources{}.assemble(snapshot(), now))
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]any
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	has := func(what string, v any, names ...string) map[string]any {
		m, _ := v.(map[string]any)
		for _, n := range names {
			if _, ok := m[n]; !ok {
				t.Errorf("%s has no %q: %v", what, n, m)
			}
		}
		return m
	}
	has("status", all, "version", "pid", "generation", "workers", "apps")
	w := has("worker", all["workers"].([]any)[0], "pid", "generation", "state", "requests", "connections", "accepts", "wakeups", "empty_wakeups", "lock_wait_seconds")
	has("connections", w["connections"], "reading", "waiting", "working", "sending", "idle", "lingering")
	for _, a := range all["apps"].([]any) {
		a := has("app", a, "name", "kind", "queue", "children")
		has("queue", a["queue"], "waiting", "served", "refused")
		for _, c := range a["children"].([]any) {
			c := has("child", c, "pid", "state", "requests", "age_seconds", "memory_bytes", "request")
			if c["request"] != nil {
				has("request", c["request"], "method", "url", "client", "phase", "seconds")
			}
		}
	}
	if b, _ := json.Marshal(Sources{}.assemble(&scoreboard.Snapshot{}, now)); !strings.Contains(string(b), `"workers":[],"apps":[]`) {
		t.Errorf("of nothing: %s", b)
	}
}

// What a crash left behind is as old as the last word of anybody.
func TestLast(t *testing.T) {
	s := Last(snapshot())
	if s.Uptime != 3600 || s.Apps[0].Children[0].Request.Seconds != 2 || s.Apps[0].Children[0].AgeSeconds != 60 {
		t.Errorf("got %+v", s)
	}
}

func TestGetErrors(t *testing.T) {
	gone := errors.New("the memory has gone")
	for _, b := range []*scoreboard.Snapshot{nil, snapshot()} {
		st, err := Sources{Board: func() (*scoreboard.Snapshot, error) { return b, gone }}.Get()
		if err != gone || (st == nil) != (b == nil) {
			t.Errorf("of %v: %v, %v", b, st, err)
		}
	}
}

func TestWords(t *testing.T) {
	for seconds, want := range map[float64]string{0: "0.0s", 1.26: "1.3s", 10: "10s", 59.9: "59s", 60: "1m00s", 3599: "59m59s",
		3600: "1h00m", 47*3600 + 60: "47h01m", 48 * 3600: "2d00h", 1000 * 86400: "1000d00h"} {
		if got := span(seconds); got != want {
			t.Errorf("%v s: %s, want %s", seconds, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB", 5 << 29: "2.5 GiB", 1<<63 - 1: "8.0 EiB"} {
		if got := size(n); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
}

func TestLocate(t *testing.T) {
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	in := func(state string) Where {
		for limit := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
			w, err := Locate(pid)
			if err != nil {
				t.Fatal(err)
			}
			if w.State == state && (state != "sleeping" || w.Wchan == "" || strings.Contains(w.Wchan, "nanosleep")) {
				return w
			}
			if time.Now().After(limit) {
				t.Fatalf("it is not %s: %+v", state, w)
			}
		}
	}
	if w := in("sleeping"); w.Parent != os.Getpid() {
		t.Errorf("asleep: %+v", w)
	}
	if Resident(pid) < 100_000 {
		t.Errorf("it has %d bytes", Resident(pid))
	}
	cmd.Process.Signal(syscall.SIGSTOP)
	in("stopped")
	for _, no := range []int{0, -1, 1 << 30} {
		if w, err := Locate(no); err == nil || Resident(no) != 0 {
			t.Errorf("process %d: %+v, %d bytes", no, w, Resident(no))
		}
	}
}

func TestFunctions(t *testing.T) {
	const stack = "[<0>] hrtimer_nanosleep+0x74/0xf0\n[<0>] common_nsleep+0x30/0x60\n\nnonsense\n[<ffff>] last"
	if got := functions(stack); got != "hrtimer_nanosleep < common_nsleep < last" {
		t.Errorf("got %q", got)
	}
	if got := functions(strings.Repeat("[<0>] f+0x1/0x2\n", 50)); strings.Count(got, "f") != stackDepth {
		t.Errorf("of 50: %q", got)
	}
}

// An address that is out since it failed too often is down.
func TestAddressDown(t *testing.T) {
	src := Sources{Counts: func(app string) (spawner.Counts, bool) {
		return spawner.Counts{Children: []spawner.ChildCounts{{State: spawner.Ready, Down: true}, {State: spawner.Ready}}}, app == "far"
	}}
	far := src.assemble(snapshot(), now).Apps[1]
	if got := []string{far.Children[0].State, far.Children[1].State}; got[0] != "down" || got[1] != "up" {
		t.Errorf("the addresses are %q, want down and up", got)
	}
}
