package exchange

import (
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"sluice/sendfile"
)

// accelerated lets an app say X-Accel-Redirect, and X-Reproxy-URL for a store.
func accelerated(t *testing.T, a *App, store string) {
	t.Helper()
	var err error
	a.Sender, err = sendfile.New(sendfile.Options{Reproxy: []string{store + "/"}, Type: sendfile.TypeDefault})
	must(t, err)
	a.Fetcher = sendfile.NewFetcher(sendfile.FetchOptions{Header: 5 * time.Second, Read: 5 * time.Second})
	t.Cleanup(a.Fetcher.Close)
}

// X-Accel-Redirect sends nothing, lets the child go, and hands on what is kept.
func TestAccel(t *testing.T) {
	t.Parallel()
	r := newRig(t, rigOptions{children: 1, change: func(a *App) { accelerated(t, a, "http://x") }})
	answered := make(chan struct{})
	r.script(func(c *call) {
		c.out("Status: 404\nContent-Type: a/b\nX-Own: 1\nETag: x\nX-Accel-Limit-Rate: 5\nX-Accel-Redirect: /a%20b?c=d\n\nbody")
		<-answered // nobody waits for the child
		c.end()
	})
	res := r.do("GET", "/x", nil)
	close(answered)
	r.free(5 * time.Second)
	got := res.end.ans.Accel
	if res.end.err != nil || got == nil {
		t.Fatalf("%+v", res.end)
	}
	if got.URL.Path != "/a b" || got.URL.RawQuery != "c=d" || got.Steer.Rate != 5 || got.Type != sendfile.TypeDefault ||
		!reflect.DeepEqual(got.Header, http.Header{"Content-Type": {"a/b"}}) {
		t.Errorf("%+v", got)
	}
	if res.header.Get("Etag") != "" || res.body != "" {
		t.Errorf("something was sent: %+v", res)
	}
	res = r.get(func(c *call) { c.say("X-Accel-Redirect: /a/../b\n\nbody") })
	if res.status != 404 || res.end.err == nil || res.end.err.Kind != FileMissing {
		t.Errorf("%+v", res)
	}
	r.free(5 * time.Second)
}

// rated notes the rate that it is given.
type rated struct {
	http.ResponseWriter
	rate int64
}

func (r *rated) SetRate(n int64) { r.rate = n }

// What the child says beats what one before it said, and both the configuration.
func TestSteered(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		child, before, app, want int64 // -1: nothing said
	}{
		{-1, -1, 0, 7}, // as it was
		{-1, -1, 5, 5},
		{-1, 3, 5, 3},
		{2, 3, 5, 2},
		{0, 3, 5, 0},
		{-1, 0, 5, 0},
	} {
		w := &rated{rate: 7}
		x := &run{App: &App{LimitRate: c.app}, req: &Request{Steer: &sendfile.Steer{Rate: c.before}}, w: w}
		if c.before < 0 {
			x.req.Steer = nil
		}
		if x.steered(sendfile.Steer{Rate: c.child}); w.rate != c.want {
			t.Errorf("%+v: %d", c, w.rate)
		}
	}
}

// X-Reproxy-URL: the child is free before the store has answered, and has not been
// asked again when no store does.
func TestReproxy(t *testing.T) {
	t.Parallel()
	free := make(chan struct{})
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/none" {
			w.WriteHeader(404)
			return
		}
		<-free
		w.Write([]byte("of the store"))
	}))
	t.Cleanup(store.Close)
	r := newRig(t, rigOptions{children: 1, change: func(a *App) { accelerated(t, a, store.URL) }})
	r.script(func(c *call) { c.say("Content-Type: a/b\nX-Reproxy-URL: " + store.URL + "/x\n\nof the child") })
	go func() {
		defer close(free)
		eventually(t, 5*time.Second, "the release of the child", func() bool {
			return len(r.slots()) == 1 && r.ledger.Counts().Children[0].Claims == 0
		})
	}()
	if res := r.do("GET", "/x", nil); res.status != 200 || res.body != "of the store" || res.header.Get("Content-Type") != "a/b" || res.end.err != nil {
		t.Errorf("%+v", res)
	}
	for _, url := range []string{store.URL + "/none", "http://elsewhere/"} {
		res := r.get(func(c *call) { c.say("X-Reproxy-URL: " + url + "\n\nof the child") })
		if res.status != 503 || res.body != "" || res.end.err == nil || res.end.err.Kind != NoStore || len(r.slots()) != 1 {
			t.Errorf("%s: %+v", url, res)
		}
	}
	r.free(5 * time.Second)
}
