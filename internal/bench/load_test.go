package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const wrkClean = `Running 1s test @ http://127.0.0.1:8080/
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   180.50us   99.00us   2.60ms   88.01%
    Req/Sec    21.10k     1.20k   23.00k    70.00%
  Latency Distribution
     50%  170.00us
     75%  210.00us
     90%  280.00us
     99%    1.44ms
  21050 requests in 1.10s, 3.50MB read
Requests/sec:  19136.36
Transfer/sec:      3.18MB
`

const wrkFaulty = `Running 3s test @ http://127.0.0.1:8080/
  Latency Distribution
     50%    1.20s
     99%    1.90s
  12 requests in 3.00s, 1.00KB read
  Socket errors: connect 1, read 2, write 0, timeout 3
  Non-2xx or 3xx responses: 5
Requests/sec:      4.00
`

func TestParseWrk(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       load
		err        string
	}{
		{"clean", wrkClean, load{requests: 21050, elapsed: 1100 * time.Millisecond, mean: 180500, p50: 170 * time.Microsecond, p99: 1440 * time.Microsecond}, ""},
		{"faulty", wrkFaulty, load{requests: 12, elapsed: 3 * time.Second, p50: 1200 * time.Millisecond, p99: 1900 * time.Millisecond, errors: 11,
			fault: "Socket errors: connect 1, read 2, write 0, timeout 3 Non-2xx or 3xx responses: 5"}, ""},
		{"silent server", "  0 requests in 2.00s, 0.00B read\n", load{elapsed: 2 * time.Second, errors: 1, fault: "no answer at all"}, ""},
		{"refused", "unable to connect to 127.0.0.1:1 Connection refused\n", load{}, "no total in its output"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseWrk(c.text)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v; want %+v", got, err, c.want)
			}
		})
	}
}

func TestNoteStarved(t *testing.T) {
	for _, c := range []struct {
		name     string
		requests int64
		mean     time.Duration
		errors   int64
	}{
		{"all active", 64_000, time.Millisecond, 0},
		{"wrk busy", 64_000, 500 * time.Microsecond, 0},
		{"four of 64 served", 40_000, 100 * time.Microsecond, 1},
		{"nothing", 0, 0, 1},
	} {
		l := load{requests: c.requests, elapsed: time.Second, mean: c.mean}
		if l.noteStarved(64); l.errors != c.errors {
			t.Errorf("%s: %d errors, want %d (%s)", c.name, l.errors, c.errors, l.fault)
		}
	}
}

func TestDownloads(t *testing.T) {
	const size = 300_000
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/whole":
			w.Header().Set("Content-Length", fmt.Sprint(size))
			io.CopyN(w, zeros{}, size)
		case "/short":
			w.Header().Set("Content-Length", fmt.Sprint(size))
			io.CopyN(w, zeros{}, size/2)
		case "/missing":
			http.NotFound(w, r)
		}
	}))
	defer srv.Close()
	srv.Config.ErrorLog = nil
	address := strings.TrimPrefix(srv.URL, "http://")
	for _, c := range []struct {
		path   string
		errors int64
	}{{"/whole", 0}, {"/short", 2}, {"/missing", 2}} {
		l := runDownloads(context.Background(), address, c.path, size, 2, 50*time.Millisecond)
		if l.errors != c.errors || (c.errors == 0) != (l.requests >= 2) || l.bytes != l.requests*size {
			t.Errorf("%s: %+v, want %d errors", c.path, l, c.errors)
		}
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestDiscardWantsTheSize(t *testing.T) {
	r := bufio.NewReader(strings.NewReader("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"))
	if err := discard(r, make([]byte, 10), 4); err == nil {
		t.Error("no error for another length")
	}
}

func TestSameBytes(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"", "", true}, {"abc", "abc", true}, {"abc", "abd", false}, {"abc", "ab", false}, {"", "a", false}} {
		got, err := sameBytes(strings.NewReader(c.a), strings.NewReader(c.b))
		if got != c.want || err != nil {
			t.Errorf("%q, %q: %v, %v", c.a, c.b, got, err)
		}
	}
}
