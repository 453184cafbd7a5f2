package status

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// web is what is served of the snapshot; its fields say how the server is.
type web struct {
	ready, hangs bool
	err          error
	none         bool
}

func (w *web) handler() http.Handler { return w.web().Handler() }

func (w *web) web() Web {
	return Web{
		Get: func() (*Status, error) {
			if w.none {
				return nil, w.err
			}
			st := Sources{Memory: func(pid int) int64 { return int64(pid) << 20 }}.assemble(snapshot(), now)
			st.Memory, st.Goroutines = 7<<20, 12
			return st, w.err
		},
		Alive: func(ctx context.Context) bool {
			if w.hangs {
				<-ctx.Done()
			}
			return !w.hangs
		},
		Ready: func() bool { return w.ready },
	}
}

func ask(t *testing.T, h http.Handler, method, path string) (*http.Response, string) {
	t.Helper()
	r := httptest.NewRecorder()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	h.ServeHTTP(r, httptest.NewRequestWithContext(ctx, method, path, nil))
	res := r.Result()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func TestWebAnswers(t *testing.T) {
	well, ill := &web{ready: true}, &web{hangs: true}
	blind := &web{ready: true, none: true, err: errors.New("nobody knows")}
	half := &web{ready: true, err: errors.New("half of it")}
	tests := []struct {
		name, method, path string
		web                *web
		status             int
		kind, has          string
	}{
		{"health", "GET", "/healthz", well, 200, "text/plain", "ok\n"},
		{"health of a loop that hangs", "GET", "/healthz", ill, 503, "text/plain", "not alive\n"},
		{"ready", "GET", "/readyz", well, 200, "text/plain", "ready\n"},
		{"not ready", "GET", "/readyz", ill, 503, "text/plain", "not ready\n"},
		{"ready without a scoreboard", "GET", "/readyz", blind, 200, "text/plain", "ready\n"},
		{"HEAD", "HEAD", "/readyz", ill, 503, "text/plain", ""},
		{"page", "GET", "/", well, 200, "text/html", "POST /a.cgi"},
		{"page before it is ready", "GET", "/", ill, 200, "text/html", "not ready"},
		{"page of half a state", "GET", "/", half, 200, "text/html", "POST /a.cgi"},
		{"page of nothing", "GET", "/", blind, 500, "text/plain", "nobody knows"},
		{"JSON", "GET", "/status.json", well, 200, "application/json", `"queue"`},
		{"JSON of nothing", "GET", "/status.json", blind, 500, "text/plain", "nobody knows"},
		{"metrics", "GET", "/metrics", well, 200, "text/plain", `sluice_app_queue_waiting{app="php"} 1`},
		{"metrics of nothing", "GET", "/metrics", blind, 500, "text/plain", "nobody knows"},
		{"no such thing", "GET", "/x", well, 404, "text/plain", ""},
		{"nothing can be changed", "POST", "/", well, 405, "text/plain", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body := ask(t, tt.web.handler(), tt.method, tt.path)
			kind, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
			if res.StatusCode != tt.status || kind != tt.kind || !strings.Contains(body, tt.has) {
				t.Errorf("%d %s, want %d %s with %q\n%s", res.StatusCode, kind, tt.status, tt.kind, tt.has, body)
			}
			if res.Header.Get("Cache-Control") != "no-store" {
				t.Error("it may be cached")
			}
		})
	}
}

// TestWebJSON is the status of the command.
func TestWebJSON(t *testing.T) {
	w := &web{}
	_, body := ask(t, w.handler(), "GET", "/status.json")
	var got Status
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	want, _ := w.web().Get()
	if diff := cmp.Diff(*want, got); diff != "" {
		t.Error(diff)
	}
}

// TestPage is complete, loads nothing from elsewhere, and takes nothing of a
// request for HTML.
func TestPage(t *testing.T) {
	w := &web{ready: true}
	h := w.web()
	h.Get = func() (*Status, error) {
		st, _ := w.web().Get()
		st.Apps[0].Children[0].Request.URL = `/"><script>alert(1)</script>`
		return st, nil
	}
	_, body := ask(t, h.Handler(), "GET", "/")
	for _, want := range []string{"<b>1234</b> requests", "<b>21</b> connections", "up <b>1h00m</b>", "tcp:127.0.0.1:9",
		`<span class="state down">`, "and 1 more", "php <small>(fastcgi) · 1 waiting · 2 served", "3 refused"} {
		if !strings.Contains(body, want) {
			t.Errorf("no %q in\n%s", want, body)
		}
	}
	if strings.Contains(body, "<script") || regexp.MustCompile(`(src|url\(|@import|https?://)`).MatchString(body) {
		t.Errorf("it has what it should not have:\n%s", body)
	}
}

func TestMetrics(t *testing.T) {
	w := &web{ready: true}
	const want = `
# HELP sluice_app_children Children, running scripts or addresses by state.
# TYPE sluice_app_children gauge
sluice_app_children{app="far",kind="fastcgi",state="down"} 1
sluice_app_children{app="far",kind="fastcgi",state="up"} 1
sluice_app_children{app="php",kind="fastcgi",state="backoff"} 1
sluice_app_children{app="php",kind="fastcgi",state="ready"} 1
sluice_app_children{app="scripts",kind="cgi",state="running"} 2
# HELP sluice_app_oldest_request_seconds Age of the oldest request that a child has; 0 without [status] extended.
# TYPE sluice_app_oldest_request_seconds gauge
sluice_app_oldest_request_seconds{app="far"} 0
sluice_app_oldest_request_seconds{app="php"} 2
sluice_app_oldest_request_seconds{app="scripts"} 90
# HELP sluice_app_requests Requests that the children have now.
# TYPE sluice_app_requests gauge
sluice_app_requests{app="far"} 0
sluice_app_requests{app="php"} 2
sluice_app_requests{app="scripts"} 2
# HELP sluice_app_requests_refused_total Requests that got 503, since all children were busy or none was alive.
# TYPE sluice_app_requests_refused_total counter
sluice_app_requests_refused_total{app="far"} 0
sluice_app_requests_refused_total{app="php"} 3
sluice_app_requests_refused_total{app="scripts"} 0
# HELP sluice_build_info Always 1.
# TYPE sluice_build_info gauge
sluice_build_info{version="1.2"} 1
# HELP sluice_ready 1 while the server should be given requests.
# TYPE sluice_ready gauge
sluice_ready 1
# HELP sluice_start_time_seconds When the server was started, in seconds since 1970.
# TYPE sluice_start_time_seconds gauge
sluice_start_time_seconds 1.6999964e+09
# HELP sluice_worker_connections Connections of a worker by what they do.
# TYPE sluice_worker_connections gauge
sluice_worker_connections{generation="3",state="idle",worker="101"} 5
sluice_worker_connections{generation="3",state="lingering",worker="101"} 6
sluice_worker_connections{generation="3",state="reading",worker="101"} 1
sluice_worker_connections{generation="3",state="sending",worker="101"} 4
sluice_worker_connections{generation="3",state="waiting",worker="101"} 2
sluice_worker_connections{generation="3",state="working",worker="101"} 3
# HELP sluice_worker_lock_wait_seconds_total Time that a worker has waited for the accept lock.
# TYPE sluice_worker_lock_wait_seconds_total counter
sluice_worker_lock_wait_seconds_total{generation="3",worker="101"} 0.5
# HELP sluice_worker_requests_total Requests that a worker has answered.
# TYPE sluice_worker_requests_total counter
sluice_worker_requests_total{generation="3",worker="101"} 1234
# HELP sluice_workers Workers by state.
# TYPE sluice_workers gauge
sluice_workers{state="running"} 1
`
	names := regexp.MustCompile(`# TYPE (\S+)`).FindAllStringSubmatch(want, -1)
	var only []string
	for _, n := range names {
		only = append(only, n[1])
	}
	if err := testutil.CollectAndCompare(collector{w.web()}, strings.NewReader(want), only...); err != nil {
		t.Error(err)
	}
	problems, err := testutil.CollectAndLint(collector{w.web()})
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

// TestMetricsAreDescribed: a family that is not would be refused when it is
// collected.
func TestMetricsAreDescribed(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(collector{(&web{}).web()})
	got, err := r.Gather()
	if err != nil || len(got) != len(families) {
		t.Errorf("%d families of %d: %v", len(got), len(families), err)
	}
}
