package front

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/exchange"
)

// told is an application that is told, and says what it thinks of it.
type told struct {
	*Completions
	log bytes.Buffer // behind the mutex of Completions, or when all is over

	mu      sync.Mutex
	answers func(form string, try int) error
	tries   map[string][]time.Duration // from the beginning, by form
	most    int                        // posts at a time
	now     int
	begin   time.Time
	takes   time.Duration
}

func newTold(answers func(form string, try int) error) *told {
	k := &told{answers: answers, tries: map[string][]time.Duration{}, begin: time.Now()}
	k.Completions = newCompletions(slog.New(slog.NewTextHandler(&k.log, nil)), k.take)
	return k
}

func (k *told) take(ctx context.Context, c *completion) error {
	k.mu.Lock()
	k.tries[c.form] = append(k.tries[c.form], time.Since(k.begin))
	n := len(k.tries[c.form])
	k.now++
	k.most = max(k.most, k.now)
	k.mu.Unlock()
	defer func() { k.mu.Lock(); k.now--; k.mu.Unlock() }()
	if k.takes > 0 {
		select {
		case <-time.After(k.takes):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return k.answers(c.form, n)
}

func (k *told) tell(a *App, form string) {
	k.expect()
	k.add(&completion{app: a, form: form})
}

func anApp(name string) *App {
	return &App{App: &exchange.App{Name: name}, OnComplete: "/sent"}
}

var errDown = errors.New("down")

// A post is repeated after pauses that double, until the app takes it.
func TestCompletionRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTold(func(_ string, try int) error {
			if try < 5 {
				return errDown
			}
			return nil
		})
		k.tell(anApp("a"), "f")
		time.Sleep(time.Hour)
		synctest.Wait()
		const ms = time.Millisecond
		if got, want := fmt.Sprint(k.tries["f"]), fmt.Sprint([]time.Duration{0, 100 * ms, 300 * ms, 700 * ms, 1500 * ms}); got != want {
			t.Errorf("posted after %s, want %s", got, want)
		}
		if n := strings.Count(k.log.String(), "on_complete is repeated"); n != 1 {
			t.Errorf("the log says it %d times:\n%s", n, k.log.String())
		}
		k.Stop(t.Context())
	})
}

// What is never taken is given up after an hour, and stands in the log.
func TestCompletionGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTold(func(string, int) error { return errDown })
		k.tell(anApp("a"), "bytes=7&status=complete")
		time.Sleep(completionTime + 2*lastRepeat)
		synctest.Wait()
		tries := k.tries["bytes=7&status=complete"]
		if n := len(tries); n < 60 || n > 80 || tries[n-1] < completionTime || tries[n-1]-tries[n-2] != lastRepeat {
			t.Errorf("%d tries, the last after %v", n, tries[n-1])
		}
		if text := k.log.String(); !strings.Contains(text, "given up") || !strings.Contains(text, "bytes=7&status=complete") {
			t.Errorf("the log says\n%s", text)
		}
		begin := time.Now()
		k.Stop(t.Context())
		if d := time.Since(begin); d != 0 {
			t.Errorf("a stop waited for %v", d)
		}
	})
}

// An app that is down holds up nobody else, and few posts are under way at a time.
func TestCompletionLanes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTold(func(form string, _ int) error {
			if strings.HasPrefix(form, "down") {
				return errDown
			}
			return nil
		})
		k.takes = 10 * time.Millisecond
		up, down := anApp("up"), anApp("down")
		const n = 20
		for i := range n {
			k.tell(down, fmt.Sprint("down", i))
		}
		time.Sleep(time.Second)
		k.mu.Lock()
		k.most = 0
		k.mu.Unlock()
		began := time.Since(k.begin)
		for i := range n {
			k.tell(up, fmt.Sprint("up", i))
		}
		time.Sleep(n * k.takes)
		synctest.Wait()
		for i := range n {
			if tries := k.tries[fmt.Sprint("up", i)]; len(tries) != 1 || tries[0]-began > n*k.takes/completionsOnce {
				t.Errorf("up%d: %v after %v", i, tries, began)
			}
		}
		if k.most > 2*completionsOnce || k.most < completionsOnce {
			t.Errorf("%d posts at a time", k.most)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		k.Stop(ctx)
	})
}

// Beyond the bound a completion is given up at once, which the log says.
func TestCompletionBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(chan struct{})
		k := newTold(func(string, int) error { <-open; return nil })
		a := anApp("a")
		for i := range maxCompletions + 3 {
			k.tell(a, fmt.Sprint(i))
		}
		k.tell(anApp("other"), "other")
		synctest.Wait()
		close(open)
		k.Stop(t.Context())
		if len(k.tries) != maxCompletions+1 {
			t.Errorf("%d were posted", len(k.tries))
		}
		if n := strings.Count(k.log.String(), "too many wait"); n != 3 {
			t.Errorf("the log says it %d times:\n%s", n, k.log.String())
		}
	})
}

// A stop waits for what is left, without long pauses; and not longer than it may.
func TestCompletionStop(t *testing.T) {
	down := func(until time.Duration) func(string, int) error {
		begin := time.Now()
		return func(string, int) error {
			if time.Since(begin) < until {
				return errDown
			}
			return nil
		}
	}
	for _, c := range []struct {
		name    string
		down    time.Duration
		timeout time.Duration // 0: none
		least   time.Duration // that the stop takes
		most    time.Duration
		lost    bool
	}{
		{"taken at once", 90 * time.Second, 0, 0, 0, false}, // it comes back just before
		{"taken soon", 110 * time.Second, 0, 10 * time.Second, 11 * time.Second, false},
		{"never taken, no limit", time.Hour, 0, completionWait, completionWait, true},
		{"never taken", time.Hour, 5 * time.Second, 5 * time.Second, 5 * time.Second, true},
		{"taken within the limit", 103 * time.Second, 5 * time.Second, 3 * time.Second, 4 * time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newTold(down(c.down))
				k.tell(anApp("a"), "f")
				time.Sleep(100 * time.Second)
				ctx := t.Context()
				if c.timeout > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.timeout)
					defer cancel()
				}
				begin := time.Now()
				k.Stop(ctx)
				if d := time.Since(begin); d < c.least || d > c.most {
					t.Errorf("the stop took %v", d)
				}
				if lost := strings.Contains(k.log.String(), "form=f"); lost != c.lost {
					t.Errorf("the log says\n%s", k.log.String())
				}
			})
		})
	}
}

// A stop also waits for a request whose file may still be named, and for a post
// that is under way; what comes behind it is lost, and in the log.
func TestCompletionStopExpects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTold(func(string, int) error { return nil })
		k.takes = time.Second
		a := anApp("a")
		k.expect()
		k.expect()
		go func() {
			time.Sleep(3 * time.Second)
			k.add(&completion{app: a, form: "f"})
			time.Sleep(time.Second)
			k.add(nil) // no file was named
		}()
		begin := time.Now()
		k.Stop(t.Context())
		if d := time.Since(begin); d != 4*time.Second || len(k.tries) != 1 || k.log.Len() > 0 {
			t.Errorf("the stop took %v, posted %v\n%s", d, k.tries, k.log.String())
		}
		k.tell(a, "late")
		if !strings.Contains(k.log.String(), "form=late") {
			t.Errorf("the log says\n%s", k.log.String())
		}
		var none *Completions
		none.Stop(t.Context())
	})
}

// A stop that is cut off cuts the posts off, and says what they would have told.
func TestCompletionStopNow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newTold(func(string, int) error { return nil })
		k.takes = time.Hour
		for i := range completionsOnce + 1 {
			k.tell(anApp("a"), fmt.Sprint("f", i))
		}
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begin := time.Now()
		k.Stop(ctx)
		if d := time.Since(begin); d > cutWait {
			t.Errorf("the stop took %v", d)
		}
		if n := strings.Count(k.log.String(), "given up"); n != completionsOnce+1 {
			t.Errorf("%d lines:\n%s", n, k.log.String())
		}
	})
}
