package gofastbridge_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/yookoala/gofast"

	"sluice/cgi"
	sluice "sluice/fcgi"
	"sluice/fcgi/gofastbridge"
	"sluice/spawner"
)

// application serves a FastCGI application that says what it was asked.
func application() (addr string, stop func()) {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	addr = filepath.Join(dir, "app.sock")
	l, err := net.Listen("unix", addr)
	if err != nil {
		panic(err)
	}
	go fcgi.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		env := fcgi.ProcessEnv(r)
		fmt.Fprintf(w, "%s %s for %s\n", r.Method, r.URL.Path, env["APP_TENANT"])
	}))
	return addr, func() {
		l.Close()
		os.RemoveAll(dir)
	}
}

// tenant is a middleware as users of gofast write them.
func tenant(inner gofast.SessionHandler) gofast.SessionHandler {
	return func(client gofast.Client, req *gofast.Request) (*gofast.ResponsePipe, error) {
		req.Params["APP_TENANT"] = req.Raw.Host
		return inner(client, req)
	}
}

func show(h http.Handler) {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest("GET", "/hello", nil))
	fmt.Print(rec.Code, " ", rec.Body)
}

// A session of one's own, with sluice's engine as its client.
func ExampleNewClient() {
	addr, stop := application()
	defer stop()
	t := &gofastbridge.Transport{Dial: gofastbridge.DialTo("unix", addr)}
	session := gofast.Chain(
		gofast.BasicParamsMap, gofast.MapHeader, tenant,
		t.Repair, // the last
	)(gofast.BasicSession)

	show(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := gofastbridge.NewClient(w, t)
		defer c.Close()
		c.Finish(session(c, gofast.NewRequest(r)))
	}))
	// Output: 200 GET /hello for example.com
}

// A route whose parameters a chain of middlewares maps.
func ExampleHandler() {
	addr, stop := application()
	defer stop()
	t := &gofastbridge.Transport{Dial: gofastbridge.DialTo("unix", addr)}
	show(gofastbridge.Handler(t, tenant))
	// Output: 200 GET /hello for example.com
}

// The mapping alone, for a server that has an engine of its own.
func ExampleParams() {
	mapping := gofastbridge.Params(tenant)
	r := httptest.NewRequest("GET", "/hello", nil)
	err := mapping(&cgi.Meta{Request: r, ScriptName: "/hello"}, func(name, value string) {
		if name == "APP_TENANT" || name == "SCRIPT_NAME" {
			fmt.Println(name, value)
		}
	})
	fmt.Println(err)
	// Unordered output:
	// SCRIPT_NAME /hello
	// APP_TENANT example.com
	// <nil>
}

// gofast's own handler and client, on connections that notice what gofast does
// not.
func ExampleConnFactory() {
	addr, stop := application()
	defer stop()
	t := &gofastbridge.Transport{Dial: gofastbridge.DialTo("unix", addr)}
	var last *gofastbridge.Conn
	dial := gofastbridge.ConnFactory(t)
	factory := gofast.SimpleClientFactory(func() (net.Conn, error) {
		nc, err := dial()
		last, _ = nc.(*gofastbridge.Conn)
		return nc, err
	})
	session := gofast.Chain(gofast.BasicParamsMap, gofast.MapHeader, tenant)(gofast.BasicSession)
	show(gofast.NewHandler(session, factory))
	fmt.Println(last.Err())
	// Output:
	// 200 GET /hello for example.com
	// <nil>
}

// An existing session with gofast's own client, whose failures become statuses
// and broken connections.
func ExampleSessions() {
	addr, stop := application()
	defer stop()
	t := &gofastbridge.Transport{Dial: gofastbridge.DialTo("unix", addr)}
	session := gofast.Chain(gofast.BasicParamsMap, gofast.MapHeader, tenant, t.Repair)(gofast.BasicSession)
	show(gofastbridge.Sessions(t, session))
	// Output: 200 GET /hello for example.com
}

// PoolDial lets a spawner.Pool stand behind a Transport: each request leases a
// child, and kept connections are used again.
func PoolDial(p *spawner.Pool) gofastbridge.Dial {
	return func(ctx context.Context, repeatable bool) (net.Conn, gofastbridge.Done, error) {
		lease, err := p.Lease(ctx, spawner.Anyone)
		if err != nil {
			return nil, nil, &gofastbridge.Error{Status: http.StatusServiceUnavailable, Err: err}
		}
		nc, err := lease.Conn(ctx, repeatable)
		if err != nil {
			lease.Release(spawner.Failed, nil)
			return nil, nil, err
		}
		return nc, func(keep net.Conn, err error) {
			outcome := spawner.Cut // the child may compute on
			var refused *sluice.StatusError
			switch {
			case err == nil:
				outcome = spawner.Answered
			case errors.Is(err, cgi.ErrDied), errors.As(err, &refused):
				outcome = spawner.Failed
			}
			lease.Release(outcome, keep)
		}, nil
	}
}

// The children of a spawner.Pool behind each of the ways.
func ExampleDial_spawnerPool() {
	addr, stop := application()
	defer stop()
	ledger := spawner.NewLedger(spawner.LedgerOptions{Queue: 10, Slots: []spawner.SlotOptions{{Connections: 1}}})
	ledger.Set(0, spawner.Ready, 0)
	pool := spawner.NewPool(spawner.PoolOptions{
		Ledger:    ledger,
		Targets:   []spawner.Target{{Network: "unix", Address: addr}},
		KeepAlive: true,
	})
	defer pool.Close()

	t := &gofastbridge.Transport{Dial: PoolDial(pool), KeepConn: true}
	show(gofastbridge.Handler(t, tenant))
	show(gofastbridge.Sessions(t, gofast.Chain(gofast.BasicParamsMap, gofast.MapHeader, tenant)(gofast.BasicSession)))
	fmt.Println(pool.Counts().Served, "requests")
	// Output:
	// 200 GET /hello for example.com
	// 200 GET /hello for example.com
	// 2 requests
}
