package tune

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// serve answers a load with a handler, and returns what the clients saw.
func serve(t *testing.T, load Load, h http.HandlerFunc) Result {
	t.Helper()
	s := httptest.NewServer(h)
	defer s.Close()
	return generate(Order{Address: s.Listener.Addr().String(), Path: "/x", Load: load, Duration: 100 * time.Millisecond})
}

func TestGenerate(t *testing.T) {
	var conns, requests atomic.Int64
	seen := map[string]bool{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		io.WriteString(w, "hello")
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	defer s.Close()
	for _, load := range []Load{Connect, Keepalive} {
		conns.Store(0)
		requests.Store(0)
		r := generate(Order{Address: s.Listener.Addr().String(), Path: "/x", Load: load, Duration: 100 * time.Millisecond})
		if r.failed() != 0 || r.Answers == 0 || r.Answers != requests.Load() {
			t.Errorf("%v: %+v, and the server had %d requests", load, r, requests.Load())
		}
		want := int64(loadKinds[load].clients)
		if load == Connect {
			want = requests.Load()
		}
		if n := conns.Load(); n != want {
			t.Errorf("%v: %d connections for %d requests, want %d", load, n, requests.Load(), want)
		}
		if r.P50 <= 0 || r.Mean <= 0 || r.P99 < r.P50 || r.Max < r.P99 || r.Elapsed < 100*time.Millisecond {
			t.Errorf("%v: times %+v", load, r)
		}
		seen[load.String()] = true
	}
	if len(seen) != 2 {
		t.Errorf("names %v", seen)
	}
}

// resetting closes the connection of a request with a reset, having written something.
func resetting(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(conn, text)
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}

// cut closes it in order.
func cut(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		io.WriteString(conn, text)
		conn.Close()
	}
}

// What becomes of a request that is not well answered is counted, once.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name string
		load Load
		h    func(n *atomic.Int64) http.HandlerFunc
		want Failure
	}{
		{"reset", Connect, counted(resetting("")), reset},
		{"reset", Keepalive, counted(resetting("")), reset},
		{"reset within the answer", Connect, counted(resetting("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")), reset},
		{"cut", Connect, counted(cut("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")), short},
		{"cut within the head", Keepalive, counted(cut("HTTP/1.1 200 OK\r\nContent-")), short},
		{"no length", Connect, counted(cut("HTTP/1.1 200 OK\r\n\r\nabc")), short},
		{"nonsense", Connect, counted(cut("hello hello hello\r\n\r\n")), short},
		{"wrong status", Connect, counted(func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }), unexpected},
		{"no error", Early, counted(func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) }), unexpected},
	} {
		var n atomic.Int64
		r := serve(t, c.load, c.h(&n))
		var want [failures]int64
		want[c.want] = n.Load()
		if r.Answers != 0 || n.Load() == 0 || r.Failed != want {
			t.Errorf("%s, %v: %d answers, failed %v after %d requests", c.name, c.load, r.Answers, r.Failed, n.Load())
		}
	}
}

func counted(h http.HandlerFunc) func(*atomic.Int64) http.HandlerFunc {
	return func(n *atomic.Int64) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			n.Add(1)
			h(w, r)
		}
	}
}

// An upload that is answered early is whole where the server reads on, and reset
// where it closes at once.
func TestEarly(t *testing.T) {
	polite := serve(t, Early, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
		io.Copy(io.Discard, r.Body)
	})
	if polite.Answers == 0 || polite.failed() != 0 {
		t.Errorf("a server that reads on: %+v", polite)
	}
	rude := serve(t, Early, resetting("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n"))
	if rude.Answers != 0 || rude.Failed[reset] == 0 || rude.failed() != rude.Failed[reset] {
		t.Errorf("a server that closes at once: %+v", rude)
	}
}

// Nobody listens, or nobody answers: the load ends all the same.
func TestNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := Order{Address: l.Addr().String(), Path: "/", Load: Connect, Duration: 50 * time.Millisecond}
	r := generate(o)
	if r.Answers != 0 || r.Failed[timeout] != int64(loadKinds[Connect].clients) {
		t.Errorf("nobody answers: %+v", r)
	}
	l.Close()
	r = generate(o)
	if r.Answers != 0 || r.Failed[refused] == 0 || r.failed() != r.Failed[refused] {
		t.Errorf("nobody listens: %+v", r)
	}
}

func TestGenerateOrders(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "x") }))
	defer s.Close()
	text, err := json.Marshal(Order{Address: s.Listener.Addr().String(), Path: "/", Load: Connect, Duration: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Generate(bytes.NewReader(text), &out); err != nil {
		t.Fatal(err)
	}
	var r Result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.Answers == 0 {
		t.Errorf("%s: %+v, %v", out.String(), r, err)
	}
	for _, bad := range []string{"", "{", "{}", `{"Load":9,"Duration":1}`, `{"Load":1,"Duration":-1}`} {
		if err := Generate(strings.NewReader(bad), io.Discard); err == nil {
			t.Errorf("order %q is carried out", bad)
		}
	}
}
