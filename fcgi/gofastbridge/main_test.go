package gofastbridge_test

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"testing"
	"time"
)

// TestMain checks that the tests leave no goroutine and no descriptor behind.
// Fuzzing and gofast's pool, which is measured, do.
func TestMain(m *testing.M) {
	flag.Parse()
	goroutines, files := held()
	code := m.Run()
	special := flag.Lookup("test.fuzz").Value.String() != "" || flag.Lookup("test.bench").Value.String() != ""
	if code == 0 && !special && !settles(goroutines, files) {
		g, f := held()
		fmt.Fprintf(os.Stderr, "leak: %d goroutines and %d files before, %d and %d after\n", goroutines, files, g, f)
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		code = 1
	}
	os.Exit(code)
}

func held() (goroutines, files int) {
	fds, _ := os.ReadDir("/proc/self/fd")
	return runtime.NumGoroutine(), len(fds)
}

func settles(goroutines, files int) bool {
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for limit := time.Now().Add(5 * time.Second); time.Now().Before(limit); time.Sleep(5 * time.Millisecond) {
		// The runtime's poller has two files of its own.
		if g, f := held(); g <= goroutines && f <= files+2 {
			return true
		}
	}
	return false
}
