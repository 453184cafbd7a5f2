package scoreboard

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"sluice/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

var someLayout = Layout{Places: 2, Times: true, Apps: []AppLayout{
	{Name: "php", Kind: "fastcgi", Slots: 2, Requests: 3},
	{Name: "far", Kind: "fastcgi", Slots: 1, Addresses: []string{"tcp 127.0.0.1:9000"}, Requests: 2},
	{Name: "scripts", Kind: "cgi", Requests: 2},
}}

func create(t *testing.T, l Layout) ([]byte, *Owner, *Board) {
	t.Helper()
	mem := make([]byte, l.Bytes())
	o, err := Create(mem, l, Head{Version: "1.2", PID: 100, Generation: 1})
	if err != nil {
		t.Fatal(err)
	}
	b, err := Open(mem)
	if err != nil {
		t.Fatal(err)
	}
	return mem, o, b
}

func place(t *testing.T, b *Board, n int) *Place {
	t.Helper()
	p, err := b.Place(n)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What is written is read, by the master and by who has the memory alone.
func TestSnapshot(t *testing.T) {
	_, o, b := create(t, someLayout)
	began := time.Unix(1700000000, 0)
	leased := began.Add(time.Second)
	since := began.Add(5 * time.Second)
	o.Worker(2, 102, 1, Starting)
	o.State(2, Running)
	o.Child("php", 1, Slot{State: 2, Finishing: true, PID: 201, Began: began, Requests: 7, Memory: 4096, Restarts: 3})
	o.Child("far", 0, Slot{State: 2, Finishing: true})
	o.Refresh("php", 0, Slot{PID: 5}, Slot{PID: 6}) // of what is so no longer
	o.Refresh("far", 0, Slot{State: 2, Finishing: true, Address: "tcp 127.0.0.1:9000"}, Slot{State: 3})
	o.Queue("php", Queued{Waiting: 4, Served: 5, Refused: 6})
	for _, no := range []struct {
		app  string
		slot int
	}{{"php", 2}, {"php", -1}, {"nobody", 0}} {
		o.Child(no.app, no.slot, Slot{PID: 666}) // is nowhere
	}
	p := place(t, b, 2)
	p.Request()
	for s := range ConnStates {
		for range s + 1 {
			p.Enter(s)
		}
	}
	p.Move(Lingering, Reading)
	p.Goroutines(9)
	p.Wakeup(3, 1500*time.Millisecond)
	p.Wakeup(0, 0)
	p.Wakeup(1, 500*time.Millisecond)
	r := p.Records("php").Begin(Request{Slot: 1, PID: 201, Method: "GET", URL: "/" + strings.Repeat("x", 200), Client: "127.0.0.1:5",
		Phase: Connect, Began: began, Since: leased})
	r.Phase(Header, since)
	gone := p.Records("scripts").Begin(Request{PID: 301, Method: "POST", URL: "/a", Client: "[::1]:5", Phase: Header})
	gone.End()

	want := &Snapshot{Version: "1.2", PID: 100, Generation: 1,
		Workers: []Worker{{Place: 2, PID: 102, Generation: 1, State: "running", Requests: 1, Goroutines: 9,
			Connections: Connections{Reading: 2, Waiting: 2, Working: 3, Sending: 4, Idle: 5, Lingering: 5},
			Accepting:   Accepting{Accepts: 4, Wakeups: 3, Empty: 1, LockWait: 2}}},
		Apps: []App{
			{Name: "php", Kind: "fastcgi", Queue: Queued{4, 5, 6},
				Slots: []Slot{{}, {State: 2, Finishing: true, PID: 201, Began: began, Requests: 7, Memory: 4096, Restarts: 3}},
				Requests: []Current{{Place: 2, Slot: 1, PID: 201, Phase: Header, Method: "GET", URL: "/" + strings.Repeat("x", 127),
					Client: "127.0.0.1:5", Began: began, Leased: leased, Since: since}}},
			{Name: "far", Kind: "fastcgi", Slots: []Slot{{State: 3, Address: "tcp 127.0.0.1:9000"}}, Requests: []Current{}},
			{Name: "scripts", Kind: "cgi", Slots: []Slot{}, Requests: []Current{}},
		}}
	compare := func(who string, s *Snapshot, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", who, err)
		}
		if s.Started.IsZero() || s.Seen.Before(s.Started) || !s.Ended.IsZero() {
			t.Errorf("%s: started %v, seen %v, ended %v", who, s.Started, s.Seen, s.Ended)
		}
		s.Started, s.Seen = time.Time{}, time.Time{}
		if diff := cmp.Diff(want, s); diff != "" {
			t.Errorf("%s:\n%s", who, diff)
		}
	}
	s, err := o.Snapshot()
	compare("the master", s, err)
	s, err = b.Snapshot()
	compare("anybody", s, err)
	o.End()
	if s, _ := b.Snapshot(); s.Ended.IsZero() {
		t.Error("it has not ended")
	}
}

// The worker is killed at any moment: what it had can be read until the master
// clears it, and its successor has all records.
func TestKilledWorker(t *testing.T) {
	_, o, b := create(t, someLayout)
	o.Worker(1, 101, 1, Running)
	p := place(t, b, 1)
	p.Enter(Working)
	p.Wakeup(2, time.Second)
	p.Records("scripts").Begin(Request{PID: 301, Method: "GET", Phase: Header})
	p.Records("scripts").Begin(Request{PID: 302, Method: "GET", Phase: Header})
	b.recordOf(0, 2, 1)[rSeq].Add(1) // as if it were being written
	s, _ := b.Snapshot()
	if got := s.Apps[2].Requests; len(got) != 1 || got[0].PID != 301 {
		t.Errorf("after the kill: %+v", got)
	}
	o.ClearPlace(1)
	s, _ = b.Snapshot()
	if len(s.Apps[2].Requests) != 0 || s.Workers[0].State != "gone" || s.Workers[0].Connections != (Connections{}) {
		t.Errorf("cleared: %+v", s)
	}
	o.Worker(1, 111, 1, Running)
	if s, _ = o.Snapshot(); s.Workers[0].Accepting != (Accepting{}) {
		t.Errorf("the successor begins with %+v", s.Workers[0].Accepting)
	}
	p = place(t, b, 1)
	for i := range 3 {
		r := p.Records("scripts").Begin(Request{PID: 400 + i, Method: "GET", Phase: Header})
		if full := i == 2; full != (r == Record{}) {
			t.Errorf("record %d of 2: %+v", i+1, r)
		}
	}
	if s, _ = b.Snapshot(); len(s.Apps[2].Requests) != 2 {
		t.Errorf("of the successor: %+v", s.Apps[2].Requests)
	}
}

// A record is read whole or not at all.
func TestTornReads(t *testing.T) {
	_, _, b := create(t, someLayout)
	records := place(t, b, 1).Records("scripts")
	quit := make(chan struct{})
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-quit:
					return
				default:
				}
				n := 1 + (2*i+w)%9
				text := strings.Repeat(string(rune('0'+n)), 8*n) // several words
				r := records.Begin(Request{Slot: n, PID: n, Method: text, URL: text, Client: text, Phase: Header})
				for range 100 { // or hardly any would be seen
					r.Phase(Body, time.Time{})
				}
				r.End()
			}
		})
	}
	seen := 0
	for begin := time.Now(); seen < 1000 || time.Since(begin) < 300*time.Millisecond; {
		if time.Since(begin) > 20*time.Second {
			t.Fatalf("only %d records were seen", seen)
		}
		s, err := b.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range s.Apps[2].Requests {
			text := strings.Repeat(string(rune('0'+r.PID)), 8*r.PID)
			if r.Slot != r.PID || r.URL != text || r.Client != text[:min(64, len(text))] || r.Method != text[:min(16, len(text))] {
				t.Fatalf("torn: %+v", r)
			}
			seen++
		}
	}
	close(quit)
	wg.Wait()
}

// Connections are counted by many at once, and add up.
func TestCountersBalance(t *testing.T) {
	_, o, b := create(t, someLayout)
	o.Worker(1, 101, 1, Running)
	p := place(t, b, 1)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			at := Reading
			p.Enter(at)
			for range 1000 {
				next := ConnState(rand.IntN(int(ConnStates)))
				p.Move(at, next)
				at = next
			}
			p.Leave(at)
		})
	}
	wg.Wait()
	if s, _ := o.Snapshot(); s.Workers[0].Connections != (Connections{}) {
		t.Errorf("left over: %+v", s.Workers[0].Connections)
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, change := range map[string]func(w words) int{
		"nothing":         func(w words) int { return 0 },
		"a word":          func(w words) int { return 1 },
		"other magic":     func(w words) int { w[hMagic].Store(1); return len(w) },
		"other version":   func(w words) int { w[hLayout].Store(2); return len(w) },
		"cut":             func(w words) int { return len(w) - 1 },
		"head alone":      func(w words) int { return headWords },
		"other length":    func(w words) int { w[hWords].Add(1); return len(w) },
		"no place":        func(w words) int { w[hPlaces].Store(0); return len(w) },
		"places":          func(w words) int { w[hPlaces].Store(65); return len(w) },
		"negative places": func(w words) int { w[hPlaces].Store(1<<64 - 1); return len(w) },
		"apps":            func(w words) int { w[hApps].Store(1 << 12); return len(w) },
		"many apps":       func(w words) int { w[hApps].Store(1 << 63); return len(w) },
		"slots":           func(w words) int { w[headWords+aSlots].Store(1 << 20); return len(w) },
		"many slots":      func(w words) int { w[headWords+aSlots].Store(1 << 60); return len(w) },
		"records":         func(w words) int { w[headWords+aRecords].Store(1 << 20); return len(w) },
		"too many":        func(w words) int { w[headWords+aRecords].Store(1<<64 - 1); return len(w) },
	} {
		mem, _, _ := create(t, someLayout)
		w, _ := wordsOf(mem)
		n := change(w)
		if _, err := Open(mem[:8*n]); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
	if _, err := Open(make([]byte, 4096)[1:]); err == nil {
		t.Error("not aligned: opened")
	}
	mem, _, b := create(t, someLayout)
	for _, n := range []int{-1, 0, 3} {
		if _, err := b.Place(n); err == nil {
			t.Errorf("place %d of 2", n)
		}
	}
	if _, err := Create(mem[:len(mem)-8], someLayout, Head{}); err == nil {
		t.Error("created in too little memory")
	}
	for _, l := range []Layout{{}, {Places: 65}, {Places: 1, Apps: []AppLayout{{Slots: 1, Addresses: []string{}}}},
		{Places: 64, Apps: []AppLayout{{Requests: 1 << 20}, {Requests: 1 << 20}}}} {
		if _, err := Create(make([]byte, 64), l, Head{}); err == nil {
			t.Errorf("created: %+v", l)
		}
	}
}

// Whatever stands in the memory, reading it does no harm, and what the master
// wrote it still knows.
func TestScribbledMemory(t *testing.T) {
	mem, o, b := create(t, someLayout)
	w, _ := wordsOf(mem)
	o.Worker(1, 101, 1, Running)
	o.Child("php", 0, Slot{State: 2, PID: 201})
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	for round := range 200 {
		for i := range w {
			v := rnd.Uint64()
			switch round % 4 {
			case 1:
				v = 1<<64 - 1
			case 2:
				v >>= rnd.IntN(64)
			case 3:
				v &= 0xff00_0000_0000_0003
			}
			w[i].Store(v)
		}
		s, err := o.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		if s.PID != 100 || s.Version != "1.2" || len(s.Workers) != 1 || s.Workers[0].PID != 101 || s.Workers[0].State != "running" ||
			len(s.Apps) != 3 || s.Apps[0].Name != "php" || s.Apps[0].Slots[0] != (Slot{State: 2, PID: 201}) {
			t.Fatalf("seed %d: the master believes the memory: %+v", seed, s)
		}
		for who, s := range map[string]*Snapshot{"master": s, "other": must(b.Snapshot())} {
			if _, err := json.Marshal(s); err != nil {
				t.Fatalf("seed %d: %s: %v", seed, who, err)
			}
			for _, a := range s.Apps {
				for _, r := range a.Requests {
					if r.PID < 0 || r.Slot < 0 || strings.ContainsAny(r.Method+r.URL+r.Client, "\x1b\n\r\x00") {
						t.Fatalf("seed %d: %s: %+v", seed, who, r)
					}
				}
			}
		}
		Open(mem)
		o.ClearPlace(2)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Somebody cuts the file: that is an error, and not the end of the process.
func TestMemoryGone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "board")
	f := must(os.Create(path))
	defer f.Close()
	f.Truncate(int64(someLayout.Bytes()))
	mem := must(unix.Mmap(int(f.Fd()), 0, someLayout.Bytes(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED))
	defer unix.Munmap(mem)
	o, err := Create(mem, someLayout, Head{Version: "1.2", PID: 100, Generation: 1})
	if err != nil {
		t.Fatal(err)
	}
	o.Worker(1, 101, 1, Running)
	// Without the process, the file tells.
	b, err := Open(must(os.ReadFile(path)))
	if err != nil {
		t.Fatal(err)
	}
	if s := must(b.Snapshot()); s.PID != 100 || len(s.Workers) != 1 {
		t.Errorf("in the file stands %+v", s)
	}
	f.Truncate(0)
	o.Worker(2, 102, 1, Running)
	o.ClearPlace(1)
	s, err := o.Snapshot()
	if err == nil || !strings.Contains(err.Error(), "the memory has gone") {
		t.Errorf("the memory has gone: %v", err)
	}
	if len(s.Workers) != 2 || s.Workers[0].State != "gone" || s.Workers[1].PID != 102 || len(s.Apps) != 3 {
		t.Errorf("what the master knows itself: %+v", s)
	}
	if _, err := Open(mem); err == nil {
		t.Error("opened what has gone")
	}
}

// A request costs no allocation, and without times none are kept.
func TestCost(t *testing.T) {
	l := someLayout
	l.Times = false
	_, _, b := create(t, l)
	p := place(t, b, 1)
	records := p.Records("php")
	q := Request{Slot: 1, PID: 2, Method: "GET", URL: "/index.php?a=b", Client: "127.0.0.1:1234", Phase: Connect}
	if n := testing.AllocsPerRun(100, func() {
		p.Request()
		r := records.Begin(q)
		r.Phase(Header, time.Time{})
		r.Phase(Send, time.Time{})
		r.End()
		p.Move(Reading, Idle)
	}); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
	q.Began, q.Since = time.Now(), time.Now()
	records.Begin(q)
	if r := must(b.Snapshot()).Apps[0].Requests[0]; !r.Began.IsZero() || !r.Leased.IsZero() || !r.Since.IsZero() || r.Phase != Connect {
		t.Errorf("without times: %+v", r)
	}
}

// Who has no scoreboard writes to none.
func TestNowhere(t *testing.T) {
	var p *Place
	p.Request()
	p.Enter(Reading)
	p.Move(Reading, Idle)
	p.Leave(Idle)
	r := p.Records("x").Begin(Request{})
	r.Phase(Header, time.Now())
	r.End()
	if r != (Record{}) || p.Times() {
		t.Errorf("got %+v", r)
	}
}

func TestNames(t *testing.T) {
	for p := range Phases {
		if p.String() == "" || p.WaitsFor() == "" {
			t.Errorf("phase %d has no name", p)
		}
	}
	if s := Phase(200).String() + Phase(200).WaitsFor() + WorkerState(9).String(); s != "phase 200nobodystate 9" {
		t.Errorf("unknown ones: %s", s)
	}
}

func BenchmarkRequest(b *testing.B) {
	mem := make([]byte, someLayout.Bytes())
	if _, err := Create(mem, someLayout, Head{}); err != nil {
		b.Fatal(err)
	}
	r := must(must(Open(mem)).Place(1)).Records("php")
	now := time.Now()
	q := Request{Slot: 1, PID: 2, Method: "GET", URL: "/index.php?a=b", Client: "127.0.0.1:1234", Phase: Connect, Began: now, Since: now}
	for b.Loop() {
		c := r.Begin(q)
		c.Phase(Header, now)
		c.Phase(Body, now)
		c.Phase(Drain, now)
		c.End()
	}
}
