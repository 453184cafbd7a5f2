package front

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sluice/internal/front/http1"
	"sluice/internal/scoreboard"
)

// Tracking is what is known of the requests in progress, beside their answers.
type Tracking struct {
	Place *scoreboard.Place // nil: no scoreboard
	Times bool              // how long each phase takes
	Slow  time.Duration     // requests that take longer are reported; 0: none
	// Report gets a slow request, once while it runs and once at its end. It
	// must not block for long.
	Report func(Slow)

	pool sync.Pool
}

// Slow is a request that takes long.
type Slow struct {
	Method  string        `json:"method"`  // cut to 64 bytes
	Request string        `json:"request"` // the target as the client sent it, cut to 16 KiB
	Client  string        `json:"client"`
	App     string        `json:"app,omitempty"`
	PID     int           `json:"pid,omitempty"` // of the child that it was given to last
	Took    time.Duration `json:"took"`          // so far
	// Phase is where it is, and Held whether the child is at it.
	Phase scoreboard.Phase                 `json:"phase"`
	Held  bool                             `json:"held,omitempty"`
	Spent [scoreboard.Phases]time.Duration `json:"spent"` // in each phase; all 0 without Times
	Ended bool                             `json:"ended,omitempty"`
	// When Ended: what the access log says.
	Status  int   `json:"status,omitempty"`
	Bytes   int64 `json:"bytes,omitempty"`
	Aborted bool  `json:"aborted,omitempty"`
}

// connStates is what a connection does while its request is in a phase.
var connStates = [scoreboard.Phases]scoreboard.ConnState{
	scoreboard.NoPhase: scoreboard.Reading,
	scoreboard.Upload:  scoreboard.Reading,
	scoreboard.Queue:   scoreboard.Waiting,
	scoreboard.Connect: scoreboard.Working,
	scoreboard.Header:  scoreboard.Working,
	scoreboard.Body:    scoreboard.Working,
	scoreboard.Send:    scoreboard.Sending,
	scoreboard.Drain:   scoreboard.Sending,
}

// tracker follows one request: it is the exchange's Observer. It is used again
// for another request when the handler, every child that had this one, and a
// report are done with it.
type tracker struct {
	t     *Tracking
	users atomic.Int32

	mu sync.Mutex
	// The timer is set when a request begins and it does not run; when it fires, it
	// is set for the rest of the time of whatever request there is then. To set it
	// for each would cost more than anything else here.
	timer *time.Timer
	armed bool
	course
}

// course is what a tracker knows of its request.
type course struct {
	r       *http.Request    // nil: there is none
	conn    http1.Connection // nil where the connection is not ours
	app     string
	records *scoreboard.Records
	began   time.Time
	phase   scoreboard.Phase
	since   time.Time
	spent   [scoreboard.Phases]time.Duration
	rec     scoreboard.Record // of the child that has the request
	held    bool
	pid     int
	over    bool // the handler has returned
	slow    lateness
	last    *Slow // what is to be reported behind what is being reported
}

// lateness is how far the report of a slow request is.
type lateness uint8

const (
	inTime    lateness = iota
	reporting          // is being told of
	reported
)

// begin follows a request.
func (t *Tracking) begin(r *http.Request, c http1.Connection) *tracker {
	k, _ := t.pool.Get().(*tracker)
	if k == nil {
		k = &tracker{t: t}
	}
	k.users.Store(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.r, k.conn = r, c
	if t.Times || t.Slow > 0 {
		k.began = time.Now()
		k.since = k.began
	}
	if t.Slow > 0 && !k.armed {
		k.arm(t.Slow)
	}
	return k
}

// arm has the timer fire, with mu held.
func (k *tracker) arm(d time.Duration) {
	k.armed = true
	if k.timer == nil {
		k.timer = time.AfterFunc(d, k.late)
	} else {
		k.timer.Reset(d)
	}
}

// forApp says whose child the request is for. It returns when the request began,
// if it has had no child before.
func (k *tracker) forApp(a *App) (began time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.app, k.records = a.Name, a.Records
	if k.phase == scoreboard.NoPhase {
		began = k.began
	}
	return began
}

// sends says that the request is answered without a child. What is before that
// is not worth a look at the clock, unless a child was asked.
func (k *tracker) sends() {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.since
	if k.phase != scoreboard.NoPhase {
		now = k.now()
	}
	k.enter(scoreboard.Send, now)
	k.rec.Phase(scoreboard.Send, k.since)
}

// now is the time, where times are kept.
func (k *tracker) now() (t time.Time) {
	if k.t.Times {
		t = time.Now()
	}
	return t
}

// Phase implements exchange.Observer.
func (k *tracker) Phase(p scoreboard.Phase, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.over {
		k.enter(p, now)
		k.rec.Phase(p, k.since)
	}
}

func (k *tracker) enter(p scoreboard.Phase, now time.Time) {
	if k.t.Times {
		k.spent[k.phase] += now.Sub(k.since)
		k.since = now
	}
	k.phase = p
	if k.conn != nil {
		k.conn.State(connStates[p])
	}
}

// Leased implements exchange.Observer.
func (k *tracker) Leased(slot, pid int, now time.Time) scoreboard.Record {
	k.users.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.enter(scoreboard.Connect, now)
	k.pid, k.held = pid, true
	k.rec = k.records.Begin(scoreboard.Request{Slot: slot, PID: pid, Method: k.r.Method, URL: k.r.RequestURI, Client: k.r.RemoteAddr,
		Phase: scoreboard.Connect, Began: k.began, Since: k.since})
	return k.rec
}

// LetGo implements exchange.Observer.
func (k *tracker) LetGo(now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.over {
		return
	}
	k.enter(scoreboard.Send, now)
	k.rec.Phase(scoreboard.Drain, k.since)
	k.rec, k.held = scoreboard.Record{}, false
}

// Released implements exchange.Observer.
func (k *tracker) Released(rec scoreboard.Record) {
	k.mu.Lock()
	if k.rec == rec {
		k.rec, k.held = scoreboard.Record{}, false
	}
	k.mu.Unlock()
	rec.End()
	k.leave()
}

// late is the timer's.
func (k *tracker) late() {
	k.mu.Lock()
	k.armed = false
	if k.r == nil || k.over || k.slow != inTime {
		k.mu.Unlock()
		return
	}
	if rest := k.t.Slow - time.Since(k.began); rest > 0 { // it is another request's
		k.arm(rest)
		k.mu.Unlock()
		return
	}
	k.users.Add(1)
	k.slow = reporting
	s := k.report()
	k.mu.Unlock()
	k.t.Report(s)
	k.mu.Lock()
	k.slow = reported
	last := k.last
	k.mu.Unlock()
	if last != nil {
		k.t.Report(*last)
	}
	k.leave()
}

// report says how it is.
func (k *tracker) report() Slow {
	s := Slow{Method: cut(k.r.Method, maxSlowMethod), Request: cut(k.r.RequestURI, maxRequestLine), Client: k.r.RemoteAddr, App: k.app, PID: k.pid,
		Phase: k.phase, Held: k.held, Spent: k.spent}
	now := time.Now()
	s.Took = now.Sub(k.began)
	if k.t.Times {
		s.Spent[k.phase] += now.Sub(k.since)
	}
	return s
}

// maxSlowMethod bounds a method, which the client makes up.
const maxSlowMethod = 64

func cut(s string, n int) string { return s[:min(len(s), n)] }

// end is the handler's: the request is over.
func (k *tracker) end(w *response) {
	k.mu.Lock()
	k.over = true
	slow := k.slow
	var last *Slow
	if slow != inTime {
		s := k.report()
		s.Ended, s.Status, s.Bytes, s.Aborted = true, w.status, w.bytes, w.aborted
		last = &s
		k.last = last
	}
	k.mu.Unlock()
	if slow == reported {
		k.t.Report(*last)
	}
	k.leave()
}

// leave gives the tracker back when its last user has left.
func (k *tracker) leave() {
	if k.users.Add(-1) > 0 {
		return
	}
	k.mu.Lock()
	k.course = course{} // the timer may be looking
	k.mu.Unlock()
	k.t.pool.Put(k)
}
