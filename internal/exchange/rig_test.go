package exchange

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/cgi"
	"sluice/fcgi"
	"sluice/sendfile"
	"sluice/spawner"
)

// rig is an App behind net/http, over real TCP, before scripted children.
type rig struct {
	*farm
	t      *testing.T
	app    *App
	pool   *spawner.Pool
	ledger spawner.Ledger
	server *httptest.Server
	client *http.Client
	log    logText

	stream, nph, whole bool
	command            cgi.Command
	data               func() *sendfile.File // of a filter's request

	mu      sync.Mutex
	reports []spawner.Report
	ends    []end
	seen    []*witness // of every request
}

// end is how a request ended, as the caller of Serve sees it.
type end struct {
	ans  Answer
	err  *Error
	took time.Duration
}

type rigOptions struct {
	children  int // 0 is 2
	keepAlive bool
	queue     spawner.LedgerOptions
	change    func(*App)
}

// apply is what a supervisor does.
func (r *rig) apply(e spawner.Event) {
	r.ledger.Set(e.Slot, e.State, e.PID)
	r.pool.Apply(e)
}

func newRig(t *testing.T, o rigOptions) *rig {
	t.Helper()
	r := &rig{farm: &farm{}, t: t}
	if o.children == 0 {
		o.children = 2
	}
	o.queue.Slots = make([]spawner.SlotOptions, o.children)
	if o.queue.Queue == 0 {
		o.queue.Queue = 8
	}
	r.ledger = spawner.NewLedger(o.queue)
	po := spawner.PoolOptions{App: "app", Ledger: r.ledger, ConnectTimeout: time.Second, KeepAlive: o.keepAlive, Report: r.report}
	dir := t.TempDir()
	for i := range o.children {
		a, err := r.listen("unix", spawner.SocketPath(dir, "app", i), i)
		must(t, err)
		po.Targets = append(po.Targets, spawner.Target{Network: "unix", Address: a.String()})
	}
	r.pool = spawner.NewPool(po)
	for i := range o.children {
		r.apply(spawner.Event{Slot: i, State: spawner.Ready, PID: 1000 + i})
	}
	r.start(&FastCGI{Pool: r.pool, Role: fcgi.Responder, WriteTimeout: time.Second,
		Stderr: &cgi.ErrorLog{App: "app", Log: r.log.logger()}}, o.change)
	t.Cleanup(func() { r.pool.Close(); r.farm.close() })
	return r
}

func (r *rig) start(b Backend, change func(*App)) {
	dir := r.t.TempDir()
	r.app = &App{Name: "app", Backend: b, Log: r.log.logger(), HeaderBytes: 4 << 10,
		HeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second,
		ReleaseBytes: 64 << 10, ReleaseTimeout: time.Second,
		Body:     BodyLimits{Bytes: 256 << 10, Memory: 4 << 10, Dir: dir, Timeout: 5 * time.Second},
		Response: SpoolLimits{Memory: 64 << 10, File: 1 << 30, Dir: dir},
	}
	if change != nil {
		change(r.app)
	}
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	r.server.Start()
	tr := &http.Transport{DisableCompression: true, DisableKeepAlives: true, ExpectContinueTimeout: 5 * time.Second}
	r.client = &http.Client{Transport: tr, Timeout: 20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r.t.Cleanup(func() { r.server.Close(); r.witnessed() })
}

func (r *rig) report(rep spawner.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reports = append(r.reports, rep)
}

// serve does what the front does with an App.
func (r *rig) serve(w http.ResponseWriter, req *http.Request) {
	local, _ := req.Context().Value(http.LocalAddrContextKey).(net.Addr)
	see := &witness{}
	r.mu.Lock()
	r.seen = append(r.seen, see)
	r.mu.Unlock()
	own := &Request{HTTP: req, Observer: see, Stream: r.stream, NPH: r.nph, Whole: r.whole, Command: r.command,
		Meta: &cgi.Meta{Request: req, ScriptName: req.URL.Path, Local: local}}
	if r.data != nil {
		own.Data = r.data()
	}
	begin := time.Now()
	ans, err := r.app.Serve(w, own)
	r.finish(w, begin, ans, err)
}

// finish answers for a request that is over, as the front does.
func (r *rig) finish(w http.ResponseWriter, begin time.Time, ans Answer, err error) {
	e := end{ans: ans, took: time.Since(begin)}
	if err != nil && !errors.As(err, &e.err) {
		r.t.Errorf("not an *Error: %v", err)
	}
	r.mu.Lock()
	r.ends = append(r.ends, e)
	r.mu.Unlock()
	switch {
	case e.err == nil && ans.Redirect != "":
		w.Header().Set("Test-Redirect", ans.Redirect)
	case e.err == nil:
	case e.err.Started, e.err.Kind == ClientGone:
		panic(http.ErrAbortHandler)
	default:
		clear(w.Header())
		if e.err.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(e.err.RetryAfter))
		}
		w.WriteHeader(e.err.Kind.Status())
	}
}

// result is what a client saw, and what the server knows.
type result struct {
	status int
	header http.Header
	body   string
	length int64
	err    error // of reading the answer
	end
}

func (r *rig) last() (e end) {
	r.t.Helper()
	eventually(r.t, 5*time.Second, "the end of the request", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.ends) == 0 {
			return false
		}
		e, r.ends = r.ends[0], r.ends[1:]
		return true
	})
	return e
}

func (r *rig) do(method, path string, body io.Reader) (res result) {
	r.t.Helper()
	req, err := http.NewRequest(method, r.server.URL+path, body)
	must(r.t, err)
	resp, err := r.client.Do(req)
	if err != nil {
		res.err = err
	} else {
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		res = result{status: resp.StatusCode, header: resp.Header, body: string(b), length: resp.ContentLength, err: err}
	}
	res.end = r.last()
	return res
}

// get is a GET with what the child does for it.
func (r *rig) get(do func(*call)) result {
	r.t.Helper()
	r.script(do)
	return r.do("GET", "/x", nil)
}

// free waits until no child is held, and nothing waits.
func (r *rig) free(d time.Duration) {
	r.t.Helper()
	var n spawner.Counts
	limit := time.Now().Add(d)
	for {
		n = r.ledger.Counts()
		held := n.Waiting
		for _, c := range n.Children {
			if c.Claims < 0 {
				r.t.Fatalf("released twice: %+v", n)
			}
			held += c.Claims
		}
		if held == 0 {
			return
		}
		if time.Now().After(limit) {
			r.t.Fatalf("a lease is held after %v: %+v", d, n)
		}
		time.Sleep(time.Millisecond)
	}
}

func (r *rig) replaced() (why []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rep := range r.reports {
		if rep.Replace != "" {
			why = append(why, rep.Replace)
		}
	}
	return why
}

func (r *rig) finishing(slot int) bool { return r.ledger.Counts().Children[slot].Finishing }

// raw sends text on a connection of its own.
func (r *rig) raw(text string) *net.TCPConn {
	r.t.Helper()
	c, err := net.Dial("tcp", r.server.Listener.Addr().String())
	must(r.t, err)
	r.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = io.WriteString(c, text)
	must(r.t, err)
	return c.(*net.TCPConn)
}

// logText is a log that can be read.
type logText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logText) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}
