package gofastbridge_test

import (
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/yookoala/gofast"

	"sluice/cgi"
	"sluice/fcgi"
	bridge "sluice/fcgi/gofastbridge"
)

// TestConnFactory: gofast's handler and client, on our connections.
func TestConnFactory(t *testing.T) {
	tests := []struct {
		name   string
		script func(c *call)
		status int // what gofast makes of it
		err    func(error) bool
	}{
		{"answer", answer("Content-Type: a/b\r\n\r\nbody"), 200, func(err error) bool { return err == nil }},
		{"death", func(c *call) { c.input(); c.out("Content-Type: a/b\r\n\r\nbody"); c.conn.Close() }, 200,
			func(err error) bool { return errors.Is(err, cgi.ErrDied) && errors.Is(err, io.ErrUnexpectedEOF) }},
		{"overloaded", func(c *call) { c.input(); c.end(2) }, 500,
			func(err error) bool { var s *fcgi.StatusError; return errors.As(err, &s) && s.Refused() }},
		{"line without colon", answer("Content-Type: a/b\r\nnonsense\r\n\r\nbody"), 500, func(err error) bool { return err != nil }},
		{"long line", answer("A: " + strings.Repeat("x", 1200) + "\r\n\r\nbody"), 500, func(err error) bool { return err != nil }},
		{"status 099", answer("Status: 099\r\nContent-Type: a/b\r\n\r\nbody"), 500, func(err error) bool { return err != nil }},
		{"record of another request", func(c *call) {
			c.input()
			c.id = []byte{0, 77}
			c.out("Content-Type: a/b\r\n\r\nbody")
			c.end(0)
		}, 500, func(err error) bool { return errors.Is(err, cgi.ErrDied) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := serve(t, tt.script)
			p := newPool(t, a.addr)
			tr := a.transport()
			tr.Dial, tr.KeepConn = p.dial, true
			var conn *bridge.Conn
			factory := bridge.ConnFactory(tr)
			h := gofast.NewHandler(gofast.Chain(basic...)(gofast.BasicSession), gofast.SimpleClientFactory(func() (net.Conn, error) {
				nc, err := factory()
				conn, _ = nc.(*bridge.Conn)
				return nc, err
			}))
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
			p.quiet(t)
			if rec.Code != tt.status || !tt.err(conn.Err()) {
				t.Errorf("status %d, Err %v", rec.Code, conn.Err())
			}
			if ok := conn.Err() == nil; (len(p.idle) == 1) != ok || (p.bad[0] == nil) != ok {
				t.Errorf("%d kept, done with %v", len(p.idle), p.bad)
			}
			conn.Close() // once more does no harm
		})
	}
}

// TestClientFactory: the same with a client that knows the request.
func TestClientFactory(t *testing.T) {
	a := serve(t, answer("Content-Type: a/b\r\n\r\nbody"))
	p := newPool(t, a.addr)
	tr := a.transport()
	tr.Dial, tr.KeepConn = p.dial, true
	h := gofast.NewHandler(gofast.Chain(basic...)(gofast.BasicSession), bridge.ClientFactory(tr))
	for range 5 {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
		p.quiet(t)
		if rec.Code != 200 || rec.Body.String() != "body" {
			t.Errorf("%d %q", rec.Code, rec.Body)
		}
	}
	if p.dials != 1 {
		t.Errorf("%d connections for 5 requests, one after the other", p.dials)
	}
}

// TestConnRefusesTwo: gofast would read the answers of two requests in turn.
func TestConnRefusesTwo(t *testing.T) {
	a := serve(t, func(c *call) { c.input(); c.input() })
	nc, err := bridge.ConnFactory(a.transport())()
	if err != nil {
		t.Fatal(err)
	}
	client, _ := gofast.SimpleClientFactory(func() (net.Conn, error) { return nc, nil })()
	for range 2 {
		pipe, err := client.Do(gofast.NewRequest(httptest.NewRequest("GET", "/", nil)))
		if err != nil {
			t.Fatal(err)
		}
		defer pipe.WriteTo(httptest.NewRecorder(), io.Discard)
		eventually(t, "the request is there", func() bool { return a.requests.Load() > 0 })
	}
	eventually(t, "an error", func() bool { return nc.(*bridge.Conn).Err() != nil })
	nc.Close()
}

// TestConnUnused: a connection that no request was sent on.
func TestConnUnused(t *testing.T) {
	a := serve(t, answer(""))
	p := newPool(t, a.addr)
	tr := a.transport()
	tr.Dial = p.dial
	nc, err := bridge.ConnFactory(tr)()
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	nc.Close()
	p.quiet(t)
	if p.bad[0] != nil {
		t.Errorf("done with %v", p.bad[0])
	}
}
