package spawner

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// together is a supervisor of real children and the pool of those who use them,
// with one Ledger.
type together struct {
	*crew
	pool   *Pool
	ledger Ledger
	failed atomic.Int64
}

func newTogether(t *testing.T, mode string, change func(*SupervisorOptions)) *together {
	t.Helper()
	w := &together{}
	var targets []Target
	w.crew = newCrew(t, mode, 4, func(o *SupervisorOptions) {
		o.IdleTimeout = time.Hour
		change(o)
		w.ledger = NewLedger(LedgerOptions{Queue: 100, QueueTimeout: 10 * time.Second, Slots: make([]SlotOptions, o.Max),
			MaxRequests: o.MaxRequests, Spare: o.Spare})
		for i := range o.Max {
			targets = append(targets, Target{"unix", SocketPath(o.SocketDir, o.App, i)})
		}
		o.Ledger = w.ledger
		w.pool = NewPool(PoolOptions{App: o.App, Ledger: w.ledger, Targets: targets, ConnectTimeout: time.Second})
		add := o.Event
		o.Event = func(e Event) { add(e); w.pool.Apply(e) }
	})
	must(t, w.Start())
	return w
}

// request makes one request.
func (w *together) request(ctx context.Context) {
	l, err := w.pool.Lease(ctx, Anyone)
	if err != nil {
		w.failed.Add(1)
		w.t.Errorf("%v: %+v", err, w.ledger.Counts())
		return
	}
	if _, err := askAt(l.Target().Network, l.Target().Address); err != nil {
		w.failed.Add(1)
		w.t.Error(err)
		l.Release(Failed, nil)
		return
	}
	l.Release(Answered, nil)
}

// load makes requests, from so many clients, for a while. Each pauses after a
// request, for up to so long.
func (w *together) load(clients int, d, pause time.Duration) (n int64) {
	ctx, cancel := context.WithTimeout(context.Background(), d+10*time.Second)
	defer cancel()
	var count atomic.Int64
	var wg sync.WaitGroup
	for end := time.Now().Add(d); clients > 0; clients-- {
		wg.Go(func() {
			for time.Now().Before(end) && w.failed.Load() < 5 {
				w.request(ctx)
				count.Add(1)
				time.Sleep(time.Duration(rand.Int64N(int64(pause) + 1)))
			}
		})
	}
	wg.Wait()
	return count.Load()
}

// No request is lost to what the supervisor does by itself.
func TestNoRequestIsLost(t *testing.T) {
	cases := []struct {
		name   string
		mode   string
		change func(*SupervisorOptions)
		pause  time.Duration
		beside func(w *together)
	}{
		{"recycled every ten requests", "accept", func(o *SupervisorOptions) { o.MaxRequests = 10 }, 0, nil},
		{"recycled, dynamic", "accept", func(o *SupervisorOptions) {
			o.Scale, o.Min, o.Spare, o.MaxRequests = ScaleDynamic, 1, 1, 10
		}, 0, nil},
		{"recycled, ondemand", "accept", func(o *SupervisorOptions) { o.Scale, o.MaxRequests = ScaleOnDemand, 10 }, 0, nil},
		{"old after a moment", "accept", func(o *SupervisorOptions) { o.MaxAge = 30 * time.Millisecond }, 0, nil},
		{"idle after a moment", "accept", func(o *SupervisorOptions) { o.Scale, o.IdleTimeout = ScaleOnDemand, time.Millisecond }, 100 * time.Millisecond, nil},
		{"ends by itself", "once", func(o *SupervisorOptions) {}, 0, nil},
		{"restarted", "accept", func(o *SupervisorOptions) {}, 0, func(w *together) {
			for range 5 {
				if n, err := w.Restart(w.t.Context()); n != 4 || err != nil {
					w.t.Error(n, err)
				}
			}
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := newTogether(t, c.mode, c.change)
			var wg sync.WaitGroup
			if c.beside != nil {
				wg.Go(func() { c.beside(w) })
			}
			n := w.load(6, time.Second, c.pause)
			wg.Wait()
			restarts := 0
			for _, c := range w.Children() {
				restarts += c.Restarts
			}
			t.Logf("%d requests, %d restarts", n, restarts)
			if n < 20 || restarts < 5 {
				t.Errorf("%d requests, %d restarts", n, restarts)
			}
			if t.Failed() {
				t.Log(w.log.String())
			}
		})
	}
}

// An idle child that is killed costs no request, whatever the time between.
func TestIdleKilled(t *testing.T) {
	w := newTogether(t, "accept", func(o *SupervisorOptions) { o.Max = 1 })
	w.request(t.Context())
	for i := range 60 {
		sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGSEGV}[i%3]
		pid := w.pid(0)
		if pid == 0 {
			t.Fatalf("%d: there is no child\n%s", i, &w.log)
		}
		syscall.Kill(pid, sig)
		eventually(t, time.Second, "it is dead", func() bool { return zombie(pid) }) // it may take one more while it dies
		time.Sleep(time.Duration(rand.IntN(5)) * time.Millisecond)
		w.request(t.Context())
		w.request(t.Context())
		if t.Failed() {
			t.Fatalf("%d: %v\n%s", i, sig, &w.log)
		}
	}
}

// The number of children follows the requests.
func TestScaleTogether(t *testing.T) {
	w := newTogether(t, "accept", func(o *SupervisorOptions) {
		o.Scale, o.IdleTimeout = ScaleOnDemand, 300*time.Millisecond
	})
	count := func(states ...State) (n int) {
		for _, e := range w.Events() {
			for _, s := range states {
				if e.State == s {
					n++
				}
			}
		}
		return n
	}
	if count(Dormant) != 4 {
		t.Errorf("%+v", w.Events())
	}
	for range 2 {
		begin := time.Now()
		w.request(t.Context())
		if d := time.Since(begin); d > time.Second {
			t.Errorf("the first request took %v", d)
		}
		var held []*Lease
		for range 3 {
			l, err := w.pool.Lease(t.Context(), Anyone)
			must(t, err)
			held = append(held, l)
		}
		if n := count(Starting, Ready); n < 3 {
			t.Errorf("%d for three requests", n)
		}
		time.Sleep(500 * time.Millisecond)
		if n := count(Starting, Ready); n != 3 {
			t.Errorf("%d for three requests", n)
		}
		for _, l := range held {
			l.Release(Answered, nil)
		}
		time.Sleep(200 * time.Millisecond)
		if n := count(Ready); n != 3 {
			t.Errorf("too early: %d", n)
		}
		eventually(t, time.Second, "all are dormant", func() bool { return count(Dormant) == 4 })
	}
}
