package status

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sluice/internal/scoreboard"
)

// Web is what [status] listen serves: a page for people at /, /status.json,
// /metrics for Prometheus, and for whoever decides about the server's life and
// about its traffic /healthz and /readyz. It only tells; nobody can change
// anything here.
type Web struct {
	// Get is the present state. With an error the Status is what is known, or nil.
	Get func() (*Status, error)
	// Alive reports whether the server does its work, before the context ends.
	Alive func(context.Context) bool
	// Ready reports whether the server should be given requests.
	Ready func() bool
}

// aliveTimeout is how long a server may take to say that it lives.
const aliveTimeout = 5 * time.Second

// Handler serves it all. Get is called for each request, and for nothing else.
func (w Web) Handler() http.Handler {
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collector{w})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", w.page)
	mux.HandleFunc("GET /status.json", w.json)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", w.health)
	mux.HandleFunc("GET /readyz", w.readiness)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h := rw.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		mux.ServeHTTP(rw, r)
	})
}

func (w Web) health(rw http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), aliveTimeout)
	defer cancel()
	answer(rw, w.Alive(ctx), "ok", "not alive")
}

func (w Web) readiness(rw http.ResponseWriter, _ *http.Request) {
	answer(rw, w.Ready(), "ready", "not ready")
}

func answer(rw http.ResponseWriter, good bool, yes, no string) {
	rw.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if !good {
		rw.WriteHeader(http.StatusServiceUnavailable)
		yes = no
	}
	rw.Write([]byte(yes + "\n"))
}

// get is the state, or the end of the request.
func (w Web) get(rw http.ResponseWriter) *Status {
	st, err := w.Get()
	if st == nil {
		http.Error(rw, "the state of the server is not known: "+err.Error(), http.StatusInternalServerError)
	}
	return st
}

func (w Web) json(rw http.ResponseWriter, _ *http.Request) {
	st := w.get(rw)
	if st == nil {
		return
	}
	rw.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(rw)
	e.SetIndent("", "  ")
	e.Encode(st)
}

//go:embed page.html
var pageText string

// page is parsed when somebody looks: workers and shims are this program, too.
var page = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"span": span, "bytes": size, "total": total, "states": byState, "more": func(n int) int { return n - 1 },
	}).Parse(pageText))
})

// page is rendered before anything of it is sent: half a page would look like a
// server without apps.
func (w Web) page(rw http.ResponseWriter, _ *http.Request) {
	st := w.get(rw)
	if st == nil {
		return
	}
	var b bytes.Buffer
	err := page().Execute(&b, struct {
		*Status
		Ready bool
		At    time.Time
	}{st, w.Ready(), time.Now()})
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	b.WriteTo(rw)
}

// total is how many requests the workers have answered, and how many connections
// they have.
func total(all []Worker) (t struct{ Requests, Connections uint64 }) {
	for _, w := range all {
		t.Requests += w.Requests
		for _, s := range byState(w.Connections) {
			t.Connections += uint64(s.Count)
		}
	}
	return t
}

// counted is how many connections are in a state.
type counted struct {
	State string
	Count int
}

// byState are the connections in the order of the tables.
func byState(c scoreboard.Connections) []counted {
	return []counted{{"reading", c.Reading}, {"waiting", c.Waiting}, {"working", c.Working}, {"sending", c.Sending}, {"idle", c.Idle},
		{"lingering", c.Lingering}}
}
