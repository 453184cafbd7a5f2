package front

import (
	"container/heap"
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"sluice/cgi"
)

// Bounds of the posts to on_complete. The first pause doubles up to the last one;
// a stop lets none be longer than hastyPause.
const (
	maxCompletions  = 1024 // of an app, those that are being posted among them
	completionsOnce = 4    // posted at a time
	firstRepeat     = 100 * time.Millisecond
	lastRepeat      = time.Minute
	hastyPause      = time.Second
	completionTime  = time.Hour        // from the end of the send: then it is given up
	completionWait  = 30 * time.Second // of a stop that takes as long as it takes
)

// Completions tell applications what became of the files that they named: each
// is posted to a route of its app until that answers 2xx, within the bounds above.
// They are kept in memory, so those of a worker that is killed are lost.
type Completions struct {
	log  *slog.Logger
	post func(context.Context, *completion) error // does one
	ctx  context.Context                          // of every post
	end  context.CancelFunc

	mu    sync.Mutex
	lanes map[*App]*lane
	left  int           // completions that are not over, and requests that may make one
	none  chan struct{} // closed when left is 0; nil: nobody waits for it
	hasty bool          // a stop waits
	over  bool          // nothing is posted any more
}

// lane are the completions of an app: where one is down, the others' go on.
type lane struct {
	app     *App
	waiting waiting
	active  int
	timer   *time.Timer
	lines   cgi.Cap // of the log
}

// completion is what became of one answer.
type completion struct {
	app    *App
	host   string
	client string // address, and port if known
	local  net.Addr
	https  bool
	form   string

	began, due time.Time
	tries      int
}

// waiting is a heap, the next to be posted first.
type waiting []*completion

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].due.Before(w[j].due) }
func (w waiting) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waiting) Push(c any)        { *w = append(*w, c.(*completion)) }
func (w *waiting) Pop() any {
	last := (*w)[len(*w)-1]
	(*w)[len(*w)-1] = nil
	*w = (*w)[:len(*w)-1]
	return last
}

// NewCompletions posts through the handler's sites. Whoever makes them stops them.
func NewCompletions(h *Handler) *Completions {
	return newCompletions(h.Log, h.complete)
}

func newCompletions(log *slog.Logger, post func(context.Context, *completion) error) *Completions {
	c := &Completions{log: log, post: post, lanes: map[*App]*lane{}}
	c.ctx, c.end = context.WithCancel(context.Background())
	return c
}

// expect says that a request is with an app that wants to be told: a stop waits
// for what becomes of it.
func (c *Completions) expect() {
	c.mu.Lock()
	c.left++
	c.mu.Unlock()
}

// done is the end of that, or of a completion, with mu held.
func (c *Completions) done() {
	if c.left--; c.left == 0 && c.none != nil {
		close(c.none)
		c.none = nil
	}
}

// add posts a completion, in the background, in place of what was expected; nil:
// there is none.
func (c *Completions) add(n *completion) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n == nil {
		c.done()
		return
	}
	l := c.lane(n.app)
	n.began = time.Now()
	n.due = n.began
	switch {
	case c.over:
		c.lose(l, n, "the server stops")
		return
	case len(l.waiting)+l.active >= maxCompletions:
		if c.done(); l.lines.Admit(n.began) {
			c.given(l, n, "too many wait")
		}
		return
	}
	heap.Push(&l.waiting, n)
	c.next(l)
}

func (c *Completions) lane(a *App) *lane {
	l := c.lanes[a]
	if l == nil {
		l = &lane{app: a}
		l.lines = cgi.Cap{Most: refusalLines, Per: refusalTime, LeftOut: func(n int) {
			c.log.Warn("more lines about on_complete were left out", "app", a.Name, "lines", n)
		}}
		c.lanes[a] = l
	}
	return l
}

// lose gives a completion up, with mu held. A stop does not end before the log has it.
func (c *Completions) lose(l *lane, n *completion, why string) {
	c.given(l, n, why)
	c.done()
}

// given says so, with all that it would have told, so that somebody can.
func (c *Completions) given(l *lane, n *completion, why string) {
	c.log.Error("on_complete is given up", "app", l.app.Name, "why", why, "tries", n.tries, "form", n.form)
}

// next begins what is due, with mu held, and has itself called when more is.
func (c *Completions) next(l *lane) {
	now := time.Now()
	for !c.over && l.active < completionsOnce && len(l.waiting) > 0 && !l.waiting[0].due.After(now) {
		l.active++
		go c.run(l, heap.Pop(&l.waiting).(*completion))
	}
	if c.over || l.active >= completionsOnce || len(l.waiting) == 0 {
		return
	}
	pause := l.waiting[0].due.Sub(now)
	if l.timer == nil {
		l.timer = time.AfterFunc(pause, func() {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.next(l)
		})
	} else {
		l.timer.Reset(pause)
	}
}

// run posts one, and puts it back where that fails.
func (c *Completions) run(l *lane, n *completion) {
	n.tries++
	err := c.post(c.ctx, n)
	c.mu.Lock()
	defer c.mu.Unlock()
	l.active--
	now := time.Now()
	switch {
	case err == nil:
		c.done()
	case c.over:
		c.lose(l, n, err.Error())
	case now.Sub(n.began) >= completionTime:
		c.lose(l, n, err.Error())
	default:
		if n.tries == 1 && l.lines.Admit(now) {
			c.log.Warn("on_complete is repeated", "app", l.app.Name, "uri", l.app.OnComplete, "err", err)
		}
		n.due = now.Add(c.pause(n.tries))
		heap.Push(&l.waiting, n)
	}
	c.next(l)
}

// pause is the time between two tries.
func (c *Completions) pause(tries int) time.Duration {
	d := lastRepeat
	if tries < 16 {
		d = min(d, firstRepeat<<(tries-1))
	}
	if c.hasty {
		d = min(d, hastyPause)
	}
	return d
}

// Stop waits until everything has been taken, or ctx ends, or for 30 seconds where
// it has no deadline; what is left is in the log then. It may be called again
// while it waits. A nil Completions has nothing to wait for.
func (c *Completions) Stop(ctx context.Context) {
	if c == nil {
		return
	}
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, completionWait)
		defer cancel()
	}
	c.mu.Lock()
	c.hasty = true
	now := time.Now()
	for _, l := range c.lanes {
		for _, n := range l.waiting { // all alike, so that the heap stays one
			n.due = now
		}
		c.next(l)
	}
	if c.left > 0 && c.none == nil {
		c.none = make(chan struct{})
	}
	none := c.none
	c.mu.Unlock()
	if none != nil {
		select {
		case <-none:
		case <-ctx.Done():
		}
	}
	if active := c.close(); active && none != nil {
		select {
		case <-none:
		case <-time.After(cutWait):
		}
	}
}

// cutWait is how long posts that are cut off by a stop have to say so.
const cutWait = 200 * time.Millisecond

// close gives up what is left, and reports whether some of it is being posted.
func (c *Completions) close() (active bool) {
	c.end()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for _, l := range c.lanes {
		active = active || l.active > 0
		if l.timer != nil {
			l.timer.Stop()
		}
		for _, n := range l.waiting {
			c.lose(l, n, "the server stops")
		}
		l.waiting = nil
	}
	return active
}
