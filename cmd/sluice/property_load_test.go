package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// era is the time in which a plan may have answered: from the moment before it was
// written to the one when the reload of its successor had been carried out.
type era struct {
	plan        *plan
	from, until time.Time // until is zero while it may
}

// strike is a process that was killed. From is before that, until when it was gone.
type strike struct {
	worker      bool
	app         string // of a child
	pid         int
	from, until time.Time
}

// history is what the model knows of a run. The clients are judged by it.
type history struct {
	mu      sync.Mutex
	eras    []era
	strikes []strike
}

// begin says that a plan is about to be written.
func (h *history) begin(p *plan) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.eras = append(h.eras, era{plan: p, from: time.Now()})
}

// inForce says that the last plan alone answers new connections now.
func (h *history) inForce() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.eras[:len(h.eras)-1] {
		if e := &h.eras[i]; e.until.IsZero() {
			e.until = time.Now()
		}
	}
}

func (h *history) struck(s strike) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.strikes = append(h.strikes, s)
}

// strikesIn are those that touch a time.
func (h *history) strikesIn(from, until time.Time, of func(strike) bool) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.strikes {
		if of(s) && !s.from.After(until) && !s.until.Before(from) {
			n++
		}
	}
	return n
}

// killed reports whether a process was killed by the run.
func (h *history) killed(pid int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.strikes, func(s strike) bool { return s.pid == pid })
}

// asked is a request as a client knows it, and what came of it.
type asked struct {
	listener, host, what, app string
	post                      bool
	kept                      bool // not the first of its connection
	dialled, sent, done       time.Time
	status                    int
	body                      string
	close                     bool // the answer said so
	err                       error
	dialFailed                bool
}

func (a *asked) String() string {
	return fmt.Sprintf("%s%s of %s at %s (kept: %v, post: %v), connected %s, sent %s, done %s: %d %q, close %v, %v", a.what, a.app, a.host, a.listener,
		a.kept, a.post, clock(a.dialled), clock(a.sent), clock(a.done), a.status, a.body, a.close, a.err)
}

func clock(t time.Time) string { return t.Format("05.000") }

// target is the path that is asked for.
func (a *asked) target(files string) string {
	switch a.what {
	case "app":
		return "/a/" + a.app + "?env=WHO&environ=WHO&sleep=1ms"
	case "send":
		return "/a/" + a.app + "?sendfile=" + files + "/small"
	}
	return "/" + a.what
}

// right reports whether the answer is what a plan gives.
func (a *asked) right(p *plan) bool {
	if a.listener == "second" && !p.second || a.listener == "unix" && !p.unix {
		return a.dialFailed
	}
	if a.err != nil {
		return false
	}
	site := "default"
	if a.host == "other.test" && p.other {
		site = a.host
	}
	switch a.what {
	case "page.txt":
		return a.status == 200 && a.body == fmt.Sprintf("plan %d %s\n", p.number, site)
	case "cgi":
		return a.status == 200 && a.body == fmt.Sprintf("plan %d\n", p.number)
	}
	app, there := p.apps[a.app]
	switch {
	case !there:
		return a.status == 404
	case app.denied:
		return a.status == 403
	case a.what == "send":
		return a.status == 200 && a.body == smallText
	}
	begin := "GET 0"
	if a.post {
		begin = "POST 7"
	}
	_, rest, _ := strings.Cut(a.body, "\n") // the pid
	return a.status == 200 && rest == fmt.Sprintf("%s\nWHO=v%d\nenviron WHO=v%d\n", begin, app.who, app.who)
}

const smallText = "a small file\n"

// judge says what is wrong with an answer; "": nothing is.
func (h *history) judge(a *asked) string {
	h.mu.Lock()
	var may []*plan
	for _, e := range h.eras {
		// A connection that an old worker has gets one answer more of it.
		late := a.kept && a.close && !a.dialled.After(e.until)
		if !e.from.After(a.done) && (e.until.IsZero() || !e.until.Before(a.sent) || late) {
			may = append(may, e.plan)
		}
	}
	h.mu.Unlock()
	if slices.ContainsFunc(may, a.right) || h.excused(a, may) {
		return ""
	}
	var numbers []int
	for _, p := range may {
		numbers = append(numbers, p.number)
	}
	return fmt.Sprintf("%v; no answer of plans %v", a, numbers)
}

// excused reports whether a request may have failed.
func (h *history) excused(a *asked, may []*plan) bool {
	kills := h.strikesIn(a.sent, a.done, func(s strike) bool { return !s.worker && s.app == a.app })
	switch {
	case a.dialFailed:
		return false
	case a.err != nil:
		// What waits at a listener that goes away for good may come too late.
		goes := slices.ContainsFunc(may, func(p *plan) bool { return a.listener == "second" && !p.second || a.listener == "unix" && !p.unix })
		return goes || h.strikesIn(a.dialled, a.done, func(s strike) bool { return s.worker }) > 0
	case a.status == 502 && a.what != "page.txt" && a.what != "cgi":
		// The child was at it. Who may be asked again is, once.
		return kills > 1 || kills == 1 && a.post
	}
	return false
}

// requester is a client.
type requester struct {
	h     *history
	at    place
	rand  *rand.Rand
	keeps bool
	idles bool // sometimes for so long that its connection is parked
	c     net.Conn
	in    *bufio.Reader
	since time.Time
	used  bool
}

func (q *requester) close() {
	if q.c != nil {
		q.c.Close()
	}
	q.c = nil
}

// draw decides what to ask for.
func (q *requester) draw() *asked {
	a := &asked{listener: "main", host: oneOf(q.rand, "any.test", "any.test", "other.test"), what: oneOf(q.rand, "page.txt", "page.txt", "cgi", "app", "app", "app", "send")}
	if a.what == "app" || a.what == "send" {
		a.app = oneOf(q.rand, appNames...)
	}
	a.post = a.what == "app" && q.rand.IntN(4) == 0
	if !q.keeps {
		a.listener = oneOf(q.rand, "main", "main", "second", "unix")
	}
	return a
}

// ask does one request.
func (q *requester) ask() *asked {
	a := q.draw()
	q.exchange(a)
	a.done = time.Now()
	if a.err != nil || a.close || !q.keeps {
		q.close()
	}
	return a
}

func (q *requester) exchange(a *asked) {
	if q.c == nil {
		q.since, q.used = time.Now(), false
		network, addr := "tcp", q.at.addr
		switch a.listener {
		case "second":
			addr = q.at.second
		case "unix":
			network, addr = "unix", q.at.unix
		}
		if q.c, a.err = net.DialTimeout(network, addr, requestWait); a.err != nil {
			q.c = nil
			a.dialled, a.sent, a.dialFailed = q.since, q.since, true
			return
		}
		q.in = bufio.NewReader(q.c)
	}
	a.dialled, a.sent, a.kept = q.since, time.Now(), q.used
	if !a.kept {
		a.sent = a.dialled
	}
	q.used = true
	q.c.SetDeadline(time.Now().Add(requestWait))
	method, body := "GET", ""
	if a.post {
		method, body = "POST", "Content-Length: 7\r\n\r\na body."
	} else {
		body = "\r\n"
	}
	if _, a.err = fmt.Fprintf(q.c, "%s %s HTTP/1.1\r\nHost: %s\r\n%s", method, a.target(q.at.files), a.host, body); a.err != nil {
		return
	}
	res, err := http.ReadResponse(q.in, nil)
	if err != nil {
		a.err = err
		return
	}
	text, err := io.ReadAll(res.Body)
	a.status, a.body, a.err, a.close = res.StatusCode, string(text), err, res.Close
}

// rest is between two requests.
func (q *requester) rest(quit <-chan struct{}) bool {
	d := time.Duration(q.rand.IntN(60)) * time.Millisecond
	if q.idles && q.rand.IntN(12) == 0 {
		d = time.Second + time.Duration(q.rand.IntN(1500))*time.Millisecond
	}
	select {
	case <-quit:
		return false
	case <-time.After(d):
		return true
	}
}

// propertyLoad are the clients of a run.
type propertyLoad struct {
	t     testing.TB
	h     *history
	at    place
	quit  chan struct{}
	all   sync.WaitGroup
	mu    sync.Mutex
	count map[string]int
	wrong int
}

func startPropertyLoad(t testing.TB, h *history, at place, seed uint64) *propertyLoad {
	l := &propertyLoad{t: t, h: h, at: at, quit: make(chan struct{}), count: map[string]int{}}
	for i := range 7 {
		q := &requester{h: h, at: at, rand: rand.New(rand.NewPCG(seed, uint64(i))), keeps: i >= 3, idles: i >= 5}
		l.all.Go(func() {
			defer q.close()
			for q.rest(l.quit) {
				l.note(q.ask())
			}
		})
	}
	for i := range 2 {
		l.all.Go(func() { l.downloads(time.Duration(1+2*i) * time.Second) })
	}
	return l
}

func (l *propertyLoad) note(a *asked) {
	kind := fmt.Sprintf("%d", a.status)
	if a.err != nil {
		kind = "failed"
	}
	if a.dialFailed {
		kind = "refused"
	}
	wrong := l.h.judge(a)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count[kind]++
	if wrong != "" {
		l.complain(wrong)
	}
}

// complain reports the first few; the caller has mu.
func (l *propertyLoad) complain(what string) {
	if l.wrong++; l.wrong <= 5 {
		l.t.Errorf("%s: %s", clock(time.Now()), what)
	}
}

// downloads fetch the big file again and again, each over about so long.
func (l *propertyLoad) downloads(over time.Duration) {
	for {
		select {
		case <-l.quit:
			return
		default:
		}
		begin := time.Now()
		err := download(l.at, over)
		lost := err != nil && l.h.strikesIn(begin, time.Now(), func(s strike) bool { return s.worker }) > 0
		l.mu.Lock()
		switch {
		case lost:
			l.count["cut downloads"]++
		case err != nil:
			l.complain(fmt.Sprintf("download from %s: %v", clock(begin), err))
		default:
			l.count["downloads"]++
		}
		l.mu.Unlock()
	}
}

// end stops the clients.
func (l *propertyLoad) end() {
	close(l.quit)
	l.all.Wait()
	l.t.Logf("answers by status: %v", l.count)
	if l.wrong > 0 {
		l.t.Errorf("%d answers were wrong", l.wrong)
	}
	if l.count["200"] < 50 || l.count["downloads"] == 0 {
		l.t.Error("that was no load")
	}
}
