package exchange

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/leak"
	"sluice/spawner"
)

// childVariable makes the test binary a FastCGI application on its standard
// input, as a supervisor starts it.
const childVariable = "EXCHANGE_TEST_CHILD"

// TestMain also is the shim and the child of the tests, and checks that they
// leave nothing behind.
func TestMain(m *testing.M) {
	spawner.RunShim()
	if os.Getenv(childVariable) != "" {
		l, err := net.FileListener(os.Stdin)
		if err != nil {
			panic(err)
		}
		serveCalls(l, childBehaviour)
		os.Exit(0)
	}
	go forever()
	go watchLag()
	onThread(func() {})
	os.Exit(leak.Main(m))
}

var thread = make(chan func())

// forever is a thread that does not end: see spawner.Forker.
func forever() {
	runtime.LockOSThread()
	for f := range thread {
		f()
	}
}

func onThread(f func()) {
	done := make(chan struct{})
	thread <- func() { f(); close(done) }
	<-done
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(d); !ok(); {
		if time.Now().After(limit) {
			t.Fatalf("not within %v: %s", d, what)
		}
		time.Sleep(time.Millisecond)
	}
}

// between checks a duration: at least want, and less than 50 ms more, or what
// the machine takes to wake somebody up.
func between(t testing.TB, what string, d, want time.Duration) {
	t.Helper()
	if d < want-5*time.Millisecond || late(d, want) {
		t.Errorf("%s after %v, want %v", what, d, want)
	}
}

func late(d, want time.Duration) bool { return d > want+50*time.Millisecond+3*lag(d+time.Second) }

// lags are by how much short sleeps were too long: this machine is shared.
var lags struct {
	sync.Mutex
	at   [4096]time.Time
	by   [4096]time.Duration
	next int
}

func watchLag() {
	const nap = 2 * time.Millisecond
	for {
		begin := time.Now()
		time.Sleep(nap)
		lags.Lock()
		i := lags.next % len(lags.at)
		lags.at[i], lags.by[i] = begin, time.Since(begin)-nap
		lags.next++
		lags.Unlock()
	}
}

// lag is the worst one of late.
func lag(window time.Duration) (worst time.Duration) {
	lags.Lock()
	defer lags.Unlock()
	for i, at := range lags.at {
		if time.Since(at) < window {
			worst = max(worst, lags.by[i])
		}
	}
	return worst
}

// pattern is n bytes in which every place can be told from its neighbours.
func pattern(n int) []byte {
	var b strings.Builder
	b.Grow(n + 16)
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%x.", i*7919)
	}
	return []byte(b.String()[:n])
}
