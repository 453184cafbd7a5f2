package main

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestRecoveries(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	text := `time=2026-11-25T10:00:00.000Z level=DEBUG msg="child is ready" app=bench pid=1
time=2026-11-25T10:00:01.000Z level=WARN msg="child ended" app=bench pid=1 ending="killed by signal 9 (killed)"
time=2026-11-25T10:00:01.010Z level=DEBUG msg="child has been retired" app=bench pid=2
time=2026-11-25T10:00:01.020Z level=DEBUG msg="child is ready" app=bench pid=3
time=2026-11-25T10:00:01.050Z level=DEBUG msg="child is ready" app=bench pid=4
sluice: ready
`
	if err := os.WriteFile(log, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := recoveries(log)
	if err != nil || len(got) != 2 || got[0] != 20*time.Millisecond || got[1] != 10*time.Millisecond {
		t.Errorf("recoveries %v, %v", got, err)
	}
}

// faulty answers right, wrong, with 503, and not at all, in turn.
func faulty(t *testing.T) string {
	var n atomic.Int64
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) % 4 {
		case 0:
			w.Write([]byte(smallAnswer))
		case 1:
			w.Write([]byte("wrong"))
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			panic(http.ErrAbortHandler)
		}
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String()
}

// The loads count every kind of failure, and each request once.
func TestFaultLoads(t *testing.T) {
	for _, l := range faultLoads {
		got := l.run(t.Context(), faulty(t), time.Second)
		if got.requests < 20 || len(got.times) != got.requests {
			t.Errorf("%s: %d requests, %d times", l.name, got.requests, len(got.times))
		}
		for _, why := range []string{"wrong answer", "503", "no answer"} {
			if n := got.failed[why]; n < got.requests/4-1 || n > got.requests/4+1 {
				t.Errorf("%s: %d of %d are %q: %v", l.name, n, got.requests, why, got.failed)
			}
		}
		if got.failures() < got.requests*3/4-3 {
			t.Errorf("%s: %d failures of %d", l.name, got.failures(), got.requests)
		}
	}
}

func TestPacedEndsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begin := time.Now()
	if paced(ctx, faulty(t), 50, time.Minute); time.Since(begin) > 10*time.Second {
		t.Error("went on")
	}
}

func TestFaultReport(t *testing.T) {
	bad := tally{requests: 10, times: []time.Duration{time.Millisecond}}
	bad.fail("503", 2)
	rep := &faultReport{rows: []faultRow{
		{fault: fault{name: "kill", title: "killed", strike: (*faultRun).restart}, load: "50/s", strikes: 7, tally: bad},
		{fault: fault{name: "stop", title: "stopped", excuse: "so it is"}, load: "50/s", tally: bad},
	}, late: []time.Duration{time.Millisecond}, before: held{descriptors: 5}, kills: 3}
	text := rep.markdown()
	for _, want := range []string{"| killed | 50/s | 7 | 2 (2 × 503) | 10 | 1.0 ms |", "| stopped | 50/s | – |", "1.0 ms behind it", "| before | 0 | 0 | 5 |", "3 children killed"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if got := rep.unexcused(); len(got) != 1 || !strings.HasPrefix(got[0], "kill, 50/s: 2 of 10") {
		t.Errorf("unexcused %q", got)
	}
}
