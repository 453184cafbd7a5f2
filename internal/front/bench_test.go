package front

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/cgi"
	"sluice/fcgi"
	"sluice/internal/exchange"
	"sluice/internal/scoreboard"
	"sluice/spawner"
)

// The way of a request through the Handler, without a client: what it costs
// above the connections.

// smallAnswer is a FastCGI answer in one piece: STDOUT, and END_REQUEST.
var smallAnswer = func() []byte {
	text := "Status: 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nX-Powered-By: test\r\n\r\n" + strings.Repeat("hello ", 20) + "\n"
	b := append([]byte{1, 6, 0, 1, 0, byte(len(text)), 0, 0}, text...)
	return append(b, 1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
}()

// endOfRequest is the end of the input of a request.
var endOfRequest = []byte{1, 5, 0, 1, 0, 0, 0, 0}

// canned is a connection to a child that has answered before it was asked.
type canned struct {
	rest        []byte
	interrupted bool
}

func (c *canned) Write(p []byte) (int, error) {
	if !bytes.HasSuffix(p, endOfRequest) {
		return 0, errors.New("the request did not come in one write")
	}
	c.rest = smallAnswer
	return len(p), nil
}

func (c *canned) Read(p []byte) (int, error) {
	if c.interrupted || len(c.rest) == 0 {
		return 0, os.ErrDeadlineExceeded
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

func (c *canned) SetReadDeadline(t time.Time) error {
	c.interrupted = t.Unix() == 1
	return nil
}

func (c *canned) SetDeadline(t time.Time) error    { return c.SetReadDeadline(t) }
func (c *canned) SetWriteDeadline(time.Time) error { return nil }
func (c *canned) Hungup() bool                     { return false }
func (c *canned) Close() error                     { return nil }
func (c *canned) LocalAddr() net.Addr              { return nil }
func (c *canned) RemoteAddr() net.Addr             { return nil }

// answerAll serves connections one after the other, and allocates nothing while
// it does.
func answerAll(l net.Listener) {
	buf := make([]byte, 64<<10)
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		for n := 0; ; {
			k, err := c.Read(buf[n:])
			if n += k; bytes.HasSuffix(buf[:n], endOfRequest) {
				c.Write(smallAnswer)
				n = 0
			}
			if err != nil {
				break
			}
		}
		c.Close()
	}
}

// sink is a ResponseWriter that costs nothing.
type sink struct {
	h      http.Header
	status int
	writes int
	bytes  int
}

func (s *sink) Header() http.Header              { return s.h }
func (s *sink) WriteHeader(status int)           { s.status = status }
func (s *sink) Flush()                           {}
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }
func (s *sink) Write(p []byte) (int, error) {
	s.writes++
	s.bytes += len(p)
	return len(p), nil
}

func (s *sink) ReadFrom(src io.Reader) (int64, error) {
	n, err := io.Copy(struct{ io.Writer }{s}, src)
	return n, err
}

// clientContext is the context of a connection's requests: it ends with the
// connection.
type clientContext struct {
	context.Context
	done chan struct{}
}

func (c *clientContext) Done() <-chan struct{} { return c.done }

func (c *clientContext) Err() error {
	select {
	case <-c.done:
		return context.Canceled
	default:
		return nil
	}
}

func (c *clientContext) AfterFunc(func()) func() bool { return never }

func never() bool { return true }

func browserRequest(t testing.TB, target string) *http.Request {
	t.Helper()
	text := "GET " + target + " HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n" +
		"Accept: text/html\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\n\r\n"
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	r.RemoteAddr = "127.0.0.1:4711"
	local := context.WithValue(context.Background(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080})
	return r.WithContext(&clientContext{Context: local, done: make(chan struct{})})
}

// small is a Handler before one child, as a worker has it: with a scoreboard,
// times, and a slow log.
func small(t testing.TB, targets []spawner.Target, change func(*spawner.PoolOptions)) *Handler {
	t.Helper()
	layout := scoreboard.Layout{Places: 1, Times: true, Apps: []scoreboard.AppLayout{{Name: "app", Kind: "fastcgi", Requests: 8}}}
	mem := make([]byte, layout.Bytes())
	if _, err := scoreboard.Create(mem, layout, scoreboard.Head{}); err != nil {
		t.Fatal(err)
	}
	board, err := scoreboard.Open(mem)
	if err != nil {
		t.Fatal(err)
	}
	place, err := board.Place(1)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	ledger := spawner.NewLedger(spawner.LedgerOptions{Queue: 64, QueueTimeout: 10 * time.Second, Slots: make([]spawner.SlotOptions, len(targets))})
	for i := range targets {
		ledger.Set(i, spawner.Ready, 1000+i)
	}
	o := spawner.PoolOptions{App: "app", KeepAlive: true, Ledger: ledger, Targets: targets}
	if change != nil {
		change(&o)
	}
	pool := spawner.NewPool(o)
	t.Cleanup(pool.Close)
	x := &exchange.App{Name: "app", Log: log, HeaderBytes: 64 << 10, HeaderTimeout: time.Minute, ReadTimeout: time.Minute,
		Backend: &exchange.FastCGI{Pool: pool, Role: fcgi.Responder, WriteTimeout: time.Minute, Stderr: &cgi.ErrorLog{App: "app", Log: log}}}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "index.php"), "<?php")
	write(t, filepath.Join(dir, "small.html"), strings.Repeat("0123456789abcde\n", 4500/16))
	write(t, filepath.Join(dir, "large.bin"), strings.Repeat("0123456789abcde\n", 1<<16))
	app := &App{App: x, Records: place.Records("app")}
	return &Handler{Software: "sluice/test", Log: log,
		Sites: NewSites([]*Site{{Root: dir, FollowSymlinks: true, HideDotfiles: true, Index: []string{"index.html"},
			Routes: []*Route{{Prefix: "/app", App: app}, {Prefix: "/", Ending: ".php", App: app}}}}),
		Tracking: &Tracking{Place: place, Times: true, Slow: 5 * time.Second, Report: func(Slow) {}}}
}

// cannedChild has a child of one connection, which is not one of the kernel's.
func cannedChild(o *spawner.PoolOptions) {
	o.Dial = func(string, string, time.Duration) (net.Conn, error) { return &canned{}, nil }
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// serveOnce answers a request into w, whose header is emptied first.
func serveOnce(t testing.TB, h *Handler, w *sink, r *http.Request) {
	clear(w.h)
	w.status = 0
	h.ServeHTTP(w, r)
	if w.status != http.StatusOK {
		t.Fatalf("status %d", w.status)
	}
}

func benchmark(b *testing.B, h *Handler, target string) {
	r := browserRequest(b, target)
	w := &sink{h: http.Header{}}
	serveOnce(b, h, w, r)
	b.ReportAllocs()
	for b.Loop() {
		serveOnce(b, h, w, r)
	}
}

var oneChild = []spawner.Target{{Network: "unix", Address: "nowhere"}}

func BenchmarkPrefix(b *testing.B) {
	benchmark(b, small(b, oneChild, cannedChild), "/app/some/page?a=b")
}
func BenchmarkEnding(b *testing.B) {
	benchmark(b, small(b, oneChild, cannedChild), "/index.php/info?a=b")
}
func BenchmarkSmallFile(b *testing.B) { benchmark(b, small(b, oneChild, cannedChild), "/small.html") }

func socketChildren(t testing.TB, n int) (targets []spawner.Target) {
	t.Helper()
	dir := t.TempDir()
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	for i := range n {
		l, err := net.Listen("unix", spawner.SocketPath(dir, "app", i))
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() { answerAll(l) })
		t.Cleanup(func() { l.Close() })
		targets = append(targets, spawner.Target{Network: "unix", Address: l.Addr().String()})
	}
	return targets
}

func BenchmarkSocket(b *testing.B) {
	benchmark(b, small(b, socketChildren(b, 1), nil), "/app/some/page?a=b")
}

// BenchmarkQueue is many clients before few children: most requests wait.
func BenchmarkQueue(b *testing.B) {
	h := small(b, socketChildren(b, 4), nil)
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		r := browserRequest(b, "/app/some/page?a=b")
		w := &sink{h: http.Header{}}
		for pb.Next() {
			serveOnce(b, h, w, r)
		}
	})
}

// TestAllocations holds what a small request costs: 5, 7, 10 and 13. The race
// detector has pools forget some of what they are given.
func TestAllocations(t *testing.T) {
	h := small(t, oneChild, cannedChild)
	for _, c := range []struct {
		target string
		budget float64
	}{
		{"/app", 11}, {"/app/some/page?a=b", 13}, {"/index.php/info?a=b", 16}, {"/small.html", 16},
	} {
		r := browserRequest(t, c.target)
		w := &sink{h: http.Header{}}
		serveOnce(t, h, w, r)
		w.writes = 0
		n := testing.AllocsPerRun(500, func() { serveOnce(t, h, w, r) })
		if n > c.budget {
			t.Errorf("%s: %v allocations, budget %v", c.target, n, c.budget)
		}
		if w.writes != 501 { // AllocsPerRun begins with a run that does not count
			t.Errorf("%s: %d writes for 501 answers", c.target, w.writes)
		}
	}
}
