package conformance

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/leak"
)

// bound is how long anything may take before it counts as lost. Nothing here
// needs more than a fraction of it on an idle machine.
const bound = 30 * time.Second

// options are those of a server under test.
type options struct {
	handler       http.Handler
	headerBytes   int           // of a request; 0: 64 KiB
	headerTimeout time.Duration // 0: bound
	idle          time.Duration // between two requests; 0: bound, negative: no second one
	sendTimeout   time.Duration // without progress of an answer; 0: bound
	connections   int           // at once; 0: 10,000
	// answerHalfClosed: a client that has closed its side has not left for good.
	answerHalfClosed bool
	slog             *slog.Logger // of our server; nil: the journal
}

func (o options) filled() options {
	fill := func(d *time.Duration) {
		if *d == 0 {
			*d = bound
		}
	}
	fill(&o.headerTimeout)
	fill(&o.idle)
	fill(&o.sendTimeout)
	if o.headerBytes == 0 {
		o.headerBytes = 64 << 10
	}
	if o.connections == 0 {
		o.connections = 10000
	}
	return o
}

// server is one that runs.
type server struct {
	addr     string
	log      *journal
	shutdown func(context.Context) error
}

// mode is a kind of server.
type mode struct {
	name  string
	start func(t testing.TB, o options) *server
}

var modes = []mode{{"net-http", startLibrary}}

// library reports whether this is the oracle.
func (m mode) library() bool { return m.name == "net-http" }

// each runs a test over every kind of server.
func each(t *testing.T, f func(t *testing.T, m mode)) {
	t.Parallel()
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			f(t, m)
		})
	}
}

// serve starts a server for one handler and default options.
func (m mode) serve(t testing.TB, h http.HandlerFunc) *server {
	return m.start(t, options{handler: h})
}

// probed answers probes itself: they are how a client finds out whether its
// connection is still good for a request.
func probed(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/probe" {
			io.WriteString(w, "probe")
			return
		}
		h.ServeHTTP(w, r)
	})
}

func startLibrary(t testing.TB, o options) *server {
	t.Helper()
	o = o.filled()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	j := &journal{}
	s := &http.Server{
		Handler:           probed(o.handler),
		ReadHeaderTimeout: o.headerTimeout,
		IdleTimeout:       max(0, o.idle),
		WriteTimeout:      o.sendTimeout,
		// The server adds 4096 bytes of its own.
		MaxHeaderBytes: max(1, o.headerBytes-4096),
		ErrorLog:       log.New(j, "", 0),
	}
	s.SetKeepAlivesEnabled(o.idle > 0)
	done := make(chan struct{})
	go func() { s.Serve(l); close(done) }()
	t.Cleanup(func() { s.Close(); <-done })
	return &server{addr: l.Addr().String(), log: j, shutdown: s.Shutdown}
}

// journal keeps what a server logs.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for limit := time.Now().Add(bound); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("in %v: not %s", bound, what)
		}
	}
}

// take receives from a channel within the bound.
func take[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(bound):
		t.Fatalf("in %v: no %s", bound, what)
	}
	return v
}

// TestMain checks that the tests leave nothing behind.
func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }
