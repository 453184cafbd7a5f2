package gofastbridge_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/yookoala/gofast"

	"sluice/cgi"
	"sluice/fcgi"
	bridge "sluice/fcgi/gofastbridge"
	"sluice/internal/exchange"
	"sluice/spawner"
)

// set is a middleware that sets a parameter.
func set(name, value string) gofast.Middleware {
	return func(inner gofast.SessionHandler) gofast.SessionHandler {
		return func(c gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
			req.Params[name] = value
			return inner(c, req)
		}
	}
}

func del(name string) gofast.Middleware {
	return func(inner gofast.SessionHandler) gofast.SessionHandler {
		return func(c gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
			delete(req.Params, name)
			return inner(c, req)
		}
	}
}

// TestRepair runs a chain with Repair at its end, on a map that begins empty,
// as a user of gofast has it.
func TestRepair(t *testing.T) {
	php := []gofast.Middleware{gofast.NewPHPFS("/www")}
	tests := []struct {
		name   string
		url    string
		header http.Header
		tls    bool
		set    func(*http.Request)
		tr     bridge.Transport
		chain  []gofast.Middleware
		want   map[string]string // "unset" for a variable that must not be there
		refuse int
	}{
		{name: "scheme", want: map[string]string{"REQUEST_SCHEME": "http", "HTTPS": "unset"}},
		{name: "scheme over TLS", tls: true, want: map[string]string{"REQUEST_SCHEME": "https", "HTTPS": "on"}},
		{name: "port is the connection's", set: func(r *http.Request) { r.Host = "a.example:99" },
			want: map[string]string{"SERVER_NAME": "a.example", "SERVER_PORT": "8080", "SERVER_ADDR": "192.0.2.1"}},
		{name: "name without a Host", set: func(r *http.Request) { r.Host = "" }, want: map[string]string{"SERVER_NAME": "192.0.2.1"}},
		{name: "IPv6 name", set: func(r *http.Request) { r.Host = "[2001:db8::1]:80" }, want: map[string]string{"SERVER_NAME": "[2001:db8::1]"}},
		{name: "httpoxy", header: http.Header{"Proxy": {"http://evil/"}}, want: map[string]string{"HTTP_PROXY": "unset"}},
		{name: "httpoxy by a middleware", chain: append(php, set("HTTP_PROXY", "x")), want: map[string]string{"HTTP_PROXY": "unset"}},
		{name: "alias alone", header: http.Header{"X_Forwarded_For": {"evil"}}, want: map[string]string{"HTTP_X_FORWARDED_FOR": "unset"}},
		{name: "alias beside the field", header: http.Header{"X_Forwarded_For": {"evil"}, "X-Forwarded-For": {"good"}},
			want: map[string]string{"HTTP_X_FORWARDED_FOR": "good"}},
		{name: "alias with a dot", header: http.Header{"X.Forwarded.For": {"evil"}}, want: map[string]string{"HTTP_X.FORWARDED.FOR": "unset"}},
		{name: "steering", header: http.Header{"X-Sendfile-Type": {"X-Accel-Redirect"}, "X-Accel-Mapping": {"/=/"}},
			want: map[string]string{"HTTP_X_SENDFILE_TYPE": "unset", "HTTP_X_ACCEL_MAPPING": "unset"}},
		{name: "authorization", header: http.Header{"Authorization": {"Basic x"}}, want: map[string]string{"HTTP_AUTHORIZATION": "unset"}},
		{name: "authorization allowed", header: http.Header{"Authorization": {"Basic x"}}, tr: bridge.Transport{PassAuthorization: true},
			want: map[string]string{"HTTP_AUTHORIZATION": "Basic x"}},
		{name: "cookies", header: http.Header{"Cookie": {"a=1", "b=2"}}, want: map[string]string{"HTTP_COOKIE": "a=1; b=2"}},
		{name: "repeated field", header: http.Header{"Accept": {"a", "b"}}, want: map[string]string{"HTTP_ACCEPT": "a, b"}},
		{name: "field deleted by a middleware", header: http.Header{"Accept": {"a"}}, chain: append(php, del("HTTP_ACCEPT")),
			want: map[string]string{"HTTP_ACCEPT": "unset"}},
		{name: "field changed by a middleware", header: http.Header{"Accept": {"a"}}, chain: append(php, set("HTTP_ACCEPT", "b")),
			want: map[string]string{"HTTP_ACCEPT": "b"}},
		{name: "no MapHeader, no fields", header: http.Header{"Accept": {"a"}}, chain: []gofast.Middleware{gofast.BasicParamsMap},
			want: map[string]string{"HTTP_ACCEPT": "unset"}},
		{name: "redirect status", chain: []gofast.Middleware{}, want: map[string]string{"REDIRECT_STATUS": "200"}},
		{name: "software", want: map[string]string{"SERVER_SOFTWARE": "sluice"}},
		{name: "operator's word counts", tr: bridge.Transport{Env: map[string]string{"SERVER_PORT": "80", "REMOTE_USER": "me"}},
			chain: append(php, set("REMOTE_USER", "you")), want: map[string]string{"SERVER_PORT": "80", "REMOTE_USER": "me"}},
		{name: "middleware's word counts", chain: append(php, set("SERVER_PORT", "443"), set("REQUEST_SCHEME", "https"), set("X", "y")),
			want: map[string]string{"SERVER_PORT": "443", "REQUEST_SCHEME": "https", "X": "y"}},
		{name: "unix client", set: func(r *http.Request) { r.RemoteAddr = "@" }, want: map[string]string{"REMOTE_ADDR": "unix:", "REMOTE_PORT": "unset"}},
		{name: "script", url: "/a.php/info", want: map[string]string{"SCRIPT_FILENAME": "/www/a.php", "SCRIPT_NAME": "/a.php", "PATH_INFO": "/info", "PATH_TRANSLATED": "/www/info"}},
		{name: "no path info", url: "/a.php", want: map[string]string{"PATH_INFO": "unset", "PATH_TRANSLATED": "unset"}},
		{name: "no body", want: map[string]string{"CONTENT_LENGTH": "unset", "CONTENT_TYPE": "unset"}},
		{name: "length by a middleware", chain: append(php, set("CONTENT_LENGTH", "99")), want: map[string]string{"CONTENT_LENGTH": "unset"}},
		{name: "above the root", url: "/../www-secret/x.php", refuse: 400},
		{name: "above the root, later", url: "/a/../../www-secret/x.php", refuse: 400},
		{name: "within a segment", url: "/foo.phpbar", refuse: 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			if tt.url != "" {
				r.URL.Path = tt.url
			}
			if tt.header != nil {
				r.Header = tt.header
			}
			if tt.tls {
				r.TLS = &tls.ConnectionState{}
			}
			if tt.set != nil {
				tt.set(r)
			}
			if tt.chain == nil {
				tt.chain = php
			}
			local := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 8080}
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
			var got map[string]string
			_, err := gofast.Chain(append(tt.chain, tt.tr.Repair)...)(gofast.BasicSession)(gofast.ClientFunc(
				func(req *gofast.Request) (*gofast.ResponsePipe, error) {
					got = req.Params
					return nil, nil
				}), gofast.NewRequest(r))
			var e *bridge.Error
			if tt.refuse != 0 {
				if !errors.As(err, &e) || e.Status != tt.refuse {
					t.Errorf("error %v, want status %d", err, tt.refuse)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range tt.want {
				have, ok := got[name]
				if !ok {
					have = "unset"
				}
				if have != want {
					t.Errorf("%s = %q, want %q", name, have, want)
				}
			}
		})
	}
}

// TestHandlerBeginsWithOurs: a chain changes sluice's variables, and needs to
// know nothing of them.
func TestHandlerBeginsWithOurs(t *testing.T) {
	a := serve(t, func(c *call) {
		c.input()
		c.out("Content-Type: a/b\r\n\r\n" + c.params["SCRIPT_FILENAME"] + " " + c.params["QUERY_STRING"] + " " + c.params["PATH_INFO"] + " " + c.params["HTTP_X_A"])
		c.end(0)
	})
	s := listen(t, bridge.Handler(a.transport(), set("SCRIPT_FILENAME", "/app/x.php")))
	req, _ := http.NewRequest("GET", s.URL+"/a/b?c=d", nil)
	req.Header.Set("X-A", "e")
	if got := do(t, req); got.body != "/app/x.php c=d /a/b e" {
		t.Errorf("got %q", got.body)
	}
}

// TestParams: the hook for a server with its own engine.
func TestParams(t *testing.T) {
	r := httptest.NewRequest("GET", "/app/x?y", nil)
	r.Header.Set("Proxy", "evil")
	r.Header.Set("Accept", "a")
	meta := &cgi.Meta{Request: r, ScriptName: "/app", ScriptFilename: "/srv/app", PathInfo: "/x", DocumentRoot: "/srv", Software: "s"}
	collect := func(f func(*cgi.Meta, func(string, string)) error) (map[string]string, error) {
		m := map[string]string{}
		err := f(meta, func(name, value string) {
			if _, ok := m[name]; ok {
				t.Errorf("%s is set twice", name)
			}
			m[name] = value
		})
		return m, err
	}
	own, err := collect(bridge.Params())
	if err != nil || own["SCRIPT_FILENAME"] != "/srv/app" {
		t.Fatal(own, err)
	}
	t.Run("gofast's own mapping changes nothing", func(t *testing.T) {
		got, err := collect(bridge.Params(gofast.BasicParamsMap, gofast.MapHeader))
		if diff := cmp.Diff(own, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
	})
	t.Run("a middleware's changes", func(t *testing.T) {
		got, err := collect(bridge.Params(set("APP_ENV", "test"), del("HTTP_ACCEPT")))
		if err != nil || got["APP_ENV"] != "test" || got["HTTP_ACCEPT"] != "" || len(got) != len(own) {
			t.Error(got, err)
		}
	})
	stop := func(inner gofast.SessionHandler) gofast.SessionHandler {
		return func(gofast.Client, *gofast.Request) (*gofast.ResponsePipe, error) { return nil, nil }
	}
	refuse := func(inner gofast.SessionHandler) gofast.SessionHandler {
		return func(gofast.Client, *gofast.Request) (*gofast.ResponsePipe, error) { return nil, io.ErrNoProgress }
	}
	around := func(inner gofast.SessionHandler) gofast.SessionHandler { return gofast.BasicSession }
	for name, m := range map[string]gofast.Middleware{"stops": stop, "refuses": refuse, "goes around": around} {
		t.Run("a middleware that "+name, func(t *testing.T) {
			if got, err := collect(bridge.Params(m)); err == nil || len(got) > 0 {
				t.Errorf("%d variables, error %v", len(got), err)
			}
		})
	}
}

// TestParamsInTheExchange: a route of sluice with a chain, end to end.
func TestParamsInTheExchange(t *testing.T) {
	a := serve(t, func(c *call) {
		c.input()
		c.out("Content-Type: a/b\r\n\r\n" + c.params["APP_ENV"] + " " + c.params["SCRIPT_NAME"] + " " + c.params["CONTENT_LENGTH"])
		c.end(0)
	})
	pool := onePool(a)
	t.Cleanup(pool.Close)
	log := slog.New(slog.DiscardHandler)
	x := &exchange.App{
		Backend:       &exchange.FastCGI{Pool: pool, Role: fcgi.Responder, Stderr: &cgi.ErrorLog{Log: log}},
		Log:           log,
		HeaderBytes:   64 << 10,
		HeaderTimeout: time.Minute,
		ReadTimeout:   time.Minute,
		Body:          exchange.BodyLimits{Bytes: 1 << 20, Memory: 1 << 20},
	}
	serve := func(chain ...gofast.Middleware) (string, error) {
		r := httptest.NewRequest("POST", "/app", strings.NewReader("hello"))
		rec := httptest.NewRecorder()
		_, err := x.Serve(rec, &exchange.Request{HTTP: r, Meta: &cgi.Meta{Request: r, ScriptName: "/app"}, Params: bridge.Params(chain...)})
		return rec.Body.String(), err
	}
	if got, err := serve(set("APP_ENV", "test")); got != "test /app 5" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := serve(); got != " /app 5" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	before := a.requests.Load()
	_, err := serve(func(gofast.SessionHandler) gofast.SessionHandler {
		return func(gofast.Client, *gofast.Request) (*gofast.ResponsePipe, error) { return nil, io.ErrNoProgress }
	})
	var e *exchange.Error
	if !errors.As(err, &e) || e.Kind != exchange.BadParams || a.requests.Load() != before {
		t.Errorf("error %v, and the child was asked %d times", err, a.requests.Load()-before)
	}
}

// onePool is a spawner.Pool with one child, which is a.
func onePool(a *app) *spawner.Pool {
	ledger := spawner.NewLedger(spawner.LedgerOptions{Slots: []spawner.SlotOptions{{Connections: 1}}, Queue: 100})
	ledger.Set(0, spawner.Ready, 0)
	return spawner.NewPool(spawner.PoolOptions{
		Ledger:    ledger,
		Targets:   []spawner.Target{{Network: "unix", Address: a.addr}},
		KeepAlive: true,
	})
}
