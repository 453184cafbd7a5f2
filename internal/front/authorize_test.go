package front

import (
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"testing"
	"time"

	"sluice/internal/exchange"
)

// refuses is a backend that takes its time and has no child.
type refuses struct {
	takes time.Duration
	asked int
}

func (b *refuses) Begin(context.Context, *exchange.Request, *exchange.Body, exchange.Tried) (exchange.Attempt, error) {
	b.asked++
	time.Sleep(b.takes)
	return nil, &exchange.Error{Kind: exchange.NoChild}
}

// Which requests an authorizer is asked about; while it works, it is the app
// that a slow request waits for.
func TestAuthorizerIsAsked(t *testing.T) {
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	b := &refuses{}
	auth := &App{App: &exchange.App{Name: "auth", Backend: b, Log: log}}
	dir := tree(t, "open", "shut/a", "shut/sub/", "in/a")
	s := &Site{Root: dir, Fallback: "/hidden", Routes: []*Route{
		{Prefix: "/shut/", Static: true, Authorizer: auth},
		{Prefix: "/in/", Static: true, Internal: true, Authorizer: auth},
		{Prefix: "/hidden", App: fcgiApp("app"), Internal: true, Authorizer: auth},
	}}
	slow := make(chan Slow, 10)
	h := &Handler{Sites: NewSites([]*Site{s}), Log: log,
		Tracking: &Tracking{Slow: 50 * time.Millisecond, Report: func(s Slow) { slow <- s }}}
	for target, want := range map[string]struct{ asked, status int }{
		"/open":         {0, 200},
		"/shut/a":       {1, 503},
		"/shut/missing": {1, 503},
		"/shut/sub":     {1, 503},
		"/shut":         {1, 503},
		"/in/a":         {0, 404},
		"/hidden":       {0, 404},
		"/missing":      {1, 503}, // the fallback is the site's own way in
	} {
		b.asked = 0
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", target, nil))
		if b.asked != want.asked || w.Code != want.status {
			t.Errorf("%s: asked %d times, %d; want %d, %d", target, b.asked, w.Code, want.asked, want.status)
		}
	}
	b.takes = 200 * time.Millisecond
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/shut/a", nil))
	for range 2 {
		select {
		case s := <-slow:
			if s.App != "auth" {
				t.Errorf("slow: %+v", s)
			}
		case <-time.After(5 * time.Second):
			t.Fatal("not reported")
		}
	}
}
