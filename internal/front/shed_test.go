package front

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/exchange"
	"sluice/sendfile"
)

// Refusals are paced: the first leaves at once, none waits for more than a second, and
// all that come in a second take a second.
func TestShedPace(t *testing.T) {
	s := &Shed{}
	now := time.Now()
	for i := range 3000 {
		want := min(time.Duration(i)*shedPace, shedLimit)
		if got := s.due(now); got != want {
			t.Fatalf("refusal %d waits %v, want %v", i, got, want)
		}
	}
	if got := s.due(now.Add(2 * shedLimit)); got != 0 {
		t.Errorf("later one waits %v", got)
	}
}

func TestShedHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Shed{}
		begin := time.Now()
		for range 2 {
			s.hold(t.Context())
		}
		if d := time.Since(begin); d != shedPace {
			t.Errorf("two took %v", d)
		}
		for s.due(time.Now()) < shedLimit {
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		defer cancel()
		begin = time.Now()
		if s.hold(ctx); time.Since(begin) != 5*time.Millisecond {
			t.Errorf("a client that left was held for %v", time.Since(begin))
		}
	})
}

// What a client gets that is refused: nothing of the file's header, and the shed file's
// body if there is one.
func TestShedAnswer(t *testing.T) {
	for _, body := range []string{"", "busy"} {
		h := &Handler{Sites: NewSites(nil), Log: slog.New(slog.DiscardHandler), Shed: &Shed{Type: "image/png", Body: []byte(body)}}
		rec := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "/a", nil)
		w := respond(rec, r)
		w.Header().Set("Etag", `"x"`)
		h.failed(w, r, exchange.SendError(&sendfile.Error{Op: "read", Status: 503, Err: sendfile.ErrBusy}))
		kind, want := "image/png", body
		if body == "" {
			kind, want = "text/plain; charset=utf-8", "503 Service Unavailable\n"
		}
		if rec.Code != http.StatusServiceUnavailable || rec.Body.String() != want || rec.Header().Get("Content-Type") != kind ||
			rec.Header().Get("Retry-After") != "1" || rec.Header().Get("Etag") != "" {
			t.Errorf("%d %v %q", rec.Code, rec.Header(), rec.Body)
		}
	}
}
