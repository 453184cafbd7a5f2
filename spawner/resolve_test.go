package spawner

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// book is a name service for tests.
type book struct {
	mu    sync.Mutex
	addrs []netip.Addr // nil: it fails
	takes time.Duration
	asked int
}

var errNoService = errors.New("the name service is down")

func (b *book) look(ctx context.Context, host string) ([]netip.Addr, error) {
	b.mu.Lock()
	addrs, takes := b.addrs, b.takes
	b.asked++
	b.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if addrs == nil {
		return nil, errNoService
	}
	return addrs, nil
}

func (b *book) says(texts ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.addrs = nil
	for _, s := range texts {
		b.addrs = append(b.addrs, netip.MustParseAddr(s))
	}
}

func (b *book) count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

func TestResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{takes: 100 * time.Millisecond}
		r := &resolver{look: b.look}
		ask := func(after time.Time, want any, asked int, took time.Duration) {
			t.Helper()
			begin := time.Now()
			got, err := r.addresses(t.Context(), "app.internal", after, time.Second)
			if e, ok := want.(error); ok && (err == nil || !errors.Is(err, e)) || !ok && fmt.Sprint(got) != want {
				t.Errorf("%v, %v; want %v", got, err, want)
			}
			if n := b.count(); n != asked || time.Since(begin) != took {
				t.Errorf("%d look-ups, want %d; took %v, want %v", n, asked, time.Since(begin), took)
			}
		}
		const look = 100 * time.Millisecond
		never := time.Time{}
		ask(never, errNoService, 1, look) // a failure is not remembered
		b.says("10.0.0.1")
		ask(never, "[10.0.0.1]", 2, look)
		b.says("10.0.0.2", "10.0.0.3")
		ask(never, "[10.0.0.1]", 2, 0)
		time.Sleep(resolveFor - time.Millisecond)
		ask(never, "[10.0.0.1]", 2, 0)
		time.Sleep(time.Millisecond)
		ask(never, "[10.0.0.2 10.0.0.3]", 3, look)
		// After a failed connect, at once.
		b.says("10.0.0.4")
		ask(time.Now(), "[10.0.0.4]", 4, look)
		// The last good answer stands where the service fails or takes long.
		b.says()
		time.Sleep(resolveFor)
		ask(never, "[10.0.0.4]", 5, look)
		ask(never, "[10.0.0.4]", 5, 0)
		b.takes = time.Hour
		time.Sleep(resolveFor)
		ask(never, "[10.0.0.4]", 6, 500*time.Millisecond)
		time.Sleep(lookUpTimeout)
		// Who leaves does not wait, and nobody's look-up ends by that.
		b.says("10.0.0.5")
		b.takes = look
		r.names["other"] = &resolved{}
		ctx, cancel := context.WithTimeout(t.Context(), look/2)
		defer cancel()
		if _, err := r.addresses(ctx, "other", never, time.Minute); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		synctest.Wait()
		time.Sleep(look)
		if got, err := r.addresses(t.Context(), "other", never, time.Minute); fmt.Sprint(got) != "[10.0.0.5]" {
			t.Error(got, err)
		}
	})
}

// One question for all who want to know at the same time.
func TestResolverJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{takes: time.Second}
		b.says("10.0.0.1")
		r := &resolver{look: b.look}
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if got, err := r.addresses(t.Context(), "app", time.Time{}, time.Minute); len(got) != 1 {
					t.Error(got, err)
				}
			})
		}
		wg.Wait()
		if n := b.count(); n != 1 {
			t.Errorf("%d look-ups", n)
		}
	})
}

// An address is never looked up.
func TestResolverLiterals(t *testing.T) {
	b := &book{}
	r := &resolver{look: b.look}
	for _, s := range []string{"127.0.0.1", "::1", "fe80::1%lo"} {
		if got, err := r.addresses(t.Context(), s, time.Now(), time.Second); err != nil || len(got) != 1 || got[0].String() != s {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	if n := b.count(); n != 0 {
		t.Errorf("%d look-ups", n)
	}
}

// named is a pool of one target, an application at a name.
func named(t *testing.T, b *book, l net.Listener) *Pool {
	ledger := NewLedger(LedgerOptions{Slots: make([]SlotOptions, 1)})
	ledger.Set(0, Ready, 0)
	_, port, _ := net.SplitHostPort(l.Addr().String())
	p := NewPool(PoolOptions{Ledger: ledger, ConnectTimeout: 5 * time.Second, LookUp: b.look,
		Targets: []Target{{"tcp", net.JoinHostPort("app.internal", port)}}})
	t.Cleanup(p.Close)
	return p
}

// connectTo is where a lease's connection goes; "" when it has none.
func connectTo(t *testing.T, p *Pool) (string, error) {
	t.Helper()
	l, err := p.Lease(t.Context(), Anyone)
	must(t, err)
	defer l.Release(Unsent, nil)
	c, err := l.Conn(t.Context(), true)
	if err != nil {
		return "", err
	}
	defer c.Close()
	host, _, _ := net.SplitHostPort(c.RemoteAddr().String())
	return host, nil
}

func TestDialEveryAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.3:0")
	must(t, err)
	defer l.Close()
	b := &book{}
	p := named(t, b, l)
	check := func(want string, asked int) {
		t.Helper()
		got, err := connectTo(t, p)
		if got != want || (err == nil) != (want != "") || b.count() != asked {
			t.Errorf("%q, %v after %d look-ups; want %q, %d", got, err, b.count(), want, asked)
		}
	}
	check("", 1) // no address at all: the look-up's error
	b.says("127.0.0.1", "127.0.0.2", "127.0.0.3")
	check("127.0.0.3", 2)
	check("127.0.0.3", 2)
	// The application moves: the name is looked up again at once.
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	moved, err := net.Listen("tcp", fmt.Sprintf("127.0.0.4:%d", port))
	must(t, err)
	defer moved.Close()
	b.says("127.0.0.4")
	check("127.0.0.4", 3)
	check("127.0.0.4", 3)
	// The service fails: the last good answer, and the error is the connect's.
	b.says()
	check("127.0.0.4", 3)
	moved.Close()
	_, err = connectTo(t, p)
	if !errors.Is(err, syscall.ECONNREFUSED) || b.count() != 4 {
		t.Errorf("%v after %d look-ups", err, b.count())
	}
	// Nothing new: nothing is tried twice.
	b.says("127.0.0.4")
	if _, err = connectTo(t, p); !errors.Is(err, syscall.ECONNREFUSED) || b.count() != 5 {
		t.Errorf("%v after %d look-ups", err, b.count())
	}
}

// A connect is bounded with all that belongs to it.
func TestDialTimeout(t *testing.T) {
	b := &book{takes: time.Minute}
	b.says("127.0.0.1")
	ledger := NewLedger(LedgerOptions{Slots: make([]SlotOptions, 1)})
	ledger.Set(0, Ready, 0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	p := NewPool(PoolOptions{Ledger: ledger, ConnectTimeout: 100 * time.Millisecond,
		Targets: []Target{{"tcp", "app.internal:9"}},
		LookUp:  func(context.Context, string) ([]netip.Addr, error) { return b.look(ctx, "") }})
	begin := time.Now()
	_, err := connectTo(t, p)
	if d := time.Since(begin); err == nil || d < 90*time.Millisecond || d > 5*time.Second {
		t.Errorf("%v after %v", err, d)
	}
}

// Began is called once, and not before a child is ready.
func TestPoolBegan(t *testing.T) {
	var calls atomic.Int32
	called := make(chan struct{})
	o := PoolOptions{Ledger: NewLedger(LedgerOptions{Slots: make([]SlotOptions, 2)}), Targets: make([]Target, 2),
		Began: func() { calls.Add(1); called <- struct{}{} }}
	p := NewPool(o)
	if p.Slots() != 2 {
		t.Error(p.Slots())
	}
	p.Apply(Event{Slot: 0, State: Starting, PID: 1})
	if n := calls.Load(); n != 0 {
		t.Errorf("%d calls while the child starts", n)
	}
	for _, slot := range []int{0, 1, 0} {
		p.Apply(Event{Slot: slot, State: Ready, PID: 1 + slot})
	}
	<-called
	select {
	case <-called:
		t.Error("called twice")
	case <-time.After(20 * time.Millisecond):
	}
}

func TestSplitTarget(t *testing.T) {
	for text, want := range map[string]string{"app:9000": "app 9000", "[::1]:1": "::1 1", "app": "error", "app:x": "error"} {
		host, port, err := splitTarget(Target{"tcp", text})
		got := fmt.Sprint(host, " ", port)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
