package gofastbridge_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bridge "sluice/fcgi/gofastbridge"
)

// app is a scripted FastCGI application on a unix socket.
type app struct {
	net.Listener
	addr     string
	conns    atomic.Int32 // accepted
	aborts   atomic.Int32 // ABORT_REQUEST seen
	requests atomic.Int32
}

// call is one request, as the script sees it.
type call struct {
	app    *app
	conn   net.Conn
	id     []byte
	role   byte
	keep   bool
	params map[string]string
	raw    []byte
	// readInput says that the script reads STDIN itself; serve has then read
	// the parameters only.
	stdin   strings.Builder
	whole   bool // STDIN came to its end
	aborted bool
}

// serve runs script for each request. A script that wants STDIN calls input.
func serve(t testing.TB, script func(c *call)) *app {
	t.Helper()
	a := &app{addr: filepath.Join(t.TempDir(), "s")}
	l, err := net.Listen("unix", a.addr)
	if err != nil {
		t.Fatal(err)
	}
	a.Listener = l
	var all sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			a.conns.Add(1)
			mu.Lock()
			open[nc] = true
			mu.Unlock()
			all.Go(func() {
				defer nc.Close()
				for a.one(nc, script) {
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for nc := range open {
			nc.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return a
}

func (a *app) one(nc net.Conn, script func(c *call)) bool {
	c := &call{app: a, conn: nc, params: map[string]string{}}
	for {
		kind, content, ok := c.record()
		if !ok {
			return false
		}
		switch kind {
		case 1:
			c.role, c.keep = content[1], content[2]&1 != 0
		case 4:
			if len(content) > 0 {
				c.raw = append(c.raw, content...)
				continue
			}
			c.parse()
			a.requests.Add(1)
			script(c)
			return c.keep
		}
	}
}

func (c *call) record() (kind byte, content []byte, ok bool) {
	var h [8]byte
	if _, err := io.ReadFull(c.conn, h[:]); err != nil {
		return 0, nil, false
	}
	n := int(binary.BigEndian.Uint16(h[4:]))
	b := make([]byte, n+int(h[6]))
	if _, err := io.ReadFull(c.conn, b); err != nil {
		return 0, nil, false
	}
	c.id = []byte{h[2], h[3]}
	return h[1], b[:n], true
}

func (c *call) parse() {
	b := c.raw
	length := func() int {
		if b[0] < 128 {
			n := int(b[0])
			b = b[1:]
			return n
		}
		n := int(binary.BigEndian.Uint32(b) &^ (1 << 31))
		b = b[4:]
		return n
	}
	for len(b) > 0 {
		n, v := length(), 0
		v = length()
		c.params[string(b[:n])] = string(b[n : n+v])
		b = b[n+v:]
	}
}

// input reads STDIN to its end, an abort, or the end of the connection.
func (c *call) input() string {
	for {
		kind, content, ok := c.record()
		switch {
		case !ok:
			return c.stdin.String()
		case kind == 2:
			c.aborted = true
			c.app.aborts.Add(1)
			return c.stdin.String()
		case kind == 5 && len(content) == 0:
			c.whole = true
			return c.stdin.String()
		case kind == 5:
			c.stdin.Write(content)
		}
	}
}

func (c *call) send(kind byte, content []byte) {
	h := []byte{1, kind, c.id[0], c.id[1], 0, 0, 0, 0}
	binary.BigEndian.PutUint16(h[4:], uint16(len(content)))
	c.conn.Write(append(h, content...))
}

func (c *call) out(s string) {
	for len(s) > 0 {
		n := min(len(s), 60000)
		c.send(6, []byte(s[:n]))
		s = s[n:]
	}
}

// end sends END_REQUEST with a protocol status.
func (c *call) end(status byte) { c.send(3, []byte{0, 0, 0, 0, status, 0, 0, 0}) }

// answer is what most scripts do: read all, say this, end.
func answer(s string) func(c *call) {
	return func(c *call) {
		c.input()
		c.out(s)
		c.end(0)
	}
}

// transport is a Transport for an app whose connections are counted.
func (a *app) transport() *bridge.Transport {
	return &bridge.Transport{
		Dial:          bridge.DialTo("unix", a.addr),
		HeaderTimeout: 10 * time.Second,
		ReadTimeout:   10 * time.Second,
		WriteTimeout:  10 * time.Second,
	}
}

// pool is a Dial that keeps one connection, as strict as any pool: a connection
// is in use by one request at a time.
type pool struct {
	addr string

	mu    sync.Mutex
	idle  []net.Conn
	dials int
	out   int
	bad   []error // what Done was told
}

func newPool(t testing.TB, addr string) *pool {
	p := &pool{addr: addr}
	t.Cleanup(func() {
		for _, nc := range p.idle {
			nc.Close()
		}
	})
	return p
}

func (p *pool) dial(ctx context.Context, repeatable bool) (net.Conn, bridge.Done, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var nc net.Conn
	if n := len(p.idle); n > 0 && repeatable {
		nc, p.idle = p.idle[n-1], p.idle[:n-1]
	} else {
		var err error
		if nc, err = net.Dial("unix", p.addr); err != nil {
			return nil, nil, err
		}
		p.dials++
	}
	p.out++
	var once atomic.Bool
	return nc, func(keep net.Conn, err error) {
		if once.Swap(true) {
			panic("done twice")
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		p.out--
		p.bad = append(p.bad, err)
		if keep != nil {
			p.idle = append(p.idle, keep)
		}
	}, nil
}

// quiet waits until every connection has been given back.
func (p *pool) quiet(t testing.TB) {
	t.Helper()
	eventually(t, "every connection is given back", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return p.out == 0
	})
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for limit := time.Now().Add(5 * time.Second); !f(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("not within 5 s: %s", what)
		}
	}
}

// listen serves h over TCP.
func listen(t testing.TB, h http.Handler) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = quietLog
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// reply is an answer as a client sees it.
type reply struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

func get(t testing.TB, url string) reply {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return do(t, req)
}

func do(t testing.TB, req *http.Request) reply {
	t.Helper()
	tr := &http.Transport{DisableKeepAlives: true, DisableCompression: true}
	resp, err := tr.RoundTrip(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(b), err}
}
