package spawner

import (
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/cgi"
	"sluice/internal/leak"
)

// modeVariable makes the test binary a child, in one of the modes of childModes.
const modeVariable = "SPAWNER_TEST_CHILD"

func init() {
	if os.Getenv(modeVariable) != "" {
		runtime.LockOSThread() // what proc(5) shows is the main thread
	}
}

// TestMain also is the shim and every child of the tests, and checks that the
// tests leave nothing behind.
func TestMain(m *testing.M) {
	RunShim()
	if mode := os.Getenv(modeVariable); mode != "" {
		childModes[mode]()
		os.Exit(0)
	}
	go forever()
	onThread(func() {})
	os.Exit(leak.Main(m))
}

var thread = make(chan func())

// forever is a thread that does not end: see Forker.Do.
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

// eventually waits for a condition.
func eventually(t testing.TB, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(d); !ok(); {
		if time.Now().After(limit) {
			t.Fatalf("not within %v: %s", d, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

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

func (l *logText) has(words ...string) bool {
	for line := range strings.Lines(l.String()) {
		all := true
		for _, w := range words {
			all = all && strings.Contains(line, w)
		}
		if all {
			return true
		}
	}
	return false
}

func (l *logText) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// forker starts children of this test; they are reaped when it ends.
func forker(t testing.TB) *Forker {
	t.Helper()
	r := NewReaper()
	t.Cleanup(r.Close)
	return &Forker{Reaper: r, Do: onThread}
}

// quick spares a child of a race build the second that it sleeps at its end.
const quick = "GORACE=atexit_sleep_ms=0"

// program is this test binary in a mode.
func program(t testing.TB, mode string, env ...string) Program {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	return Program{Command: []string{self}, Env: append(env, modeVariable+"="+mode, quick), Umask: 0o022}
}

func noLines(int) *cgi.Lines { return &cgi.Lines{Emit: func([]byte) {}} }
