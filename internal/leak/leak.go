// Package leak finds what tests leave behind: goroutines, descriptors, and
// children, zombies among them.
package leak

import (
	"bytes"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"
)

// Held is what a process holds. The descriptors of the runtime's own poller do
// not count, and neither does /dev/null: all scripts without an input share one.
type Held struct{ Goroutines, Descriptors, Children int }

// Now counts what this process holds.
func Now() Held {
	h := Held{Goroutines: runtime.NumGoroutine() - permanent()}
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err == nil && to != os.DevNull && !strings.HasPrefix(to, "anon_inode:") {
			h.Descriptors++
		}
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, name := range tasks {
		b, _ := os.ReadFile(name)
		h.Children += len(bytes.Fields(b))
	}
	return h
}

// permanent counts the threads that start scripts, which never end.
func permanent() int {
	var b bytes.Buffer
	pprof.Lookup("goroutine").WriteTo(&b, 2)
	return bytes.Count(b.Bytes(), []byte("created by sluice/spawner.init.func"))
}

// settleTime is how long what is being closed may take to be closed.
const settleTime = 5 * time.Second

// Settles waits until no more is held than before.
func Settles(before Held) bool {
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	for limit := time.Now().Add(settleTime); ; time.Sleep(5 * time.Millisecond) {
		now := Now()
		if now.Goroutines <= before.Goroutines && now.Descriptors <= before.Descriptors && now.Children <= before.Children {
			return true
		}
		if time.Now().After(limit) {
			return false
		}
	}
}

// Main runs the tests and returns the exit status: a leak is a failure. Fuzzing
// is left alone, since its coordinator leaves goroutines behind.
func Main(m *testing.M) int {
	flag.Parse()
	before := Now()
	// The runtime starts one for signals when the first is asked for.
	before.Goroutines++
	code := m.Run()
	if code != 0 || flag.Lookup("test.fuzz").Value.String() != "" || Settles(before) {
		return code
	}
	fmt.Fprintf(os.Stderr, "leak: before %+v, after %+v\n", before, Now())
	pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
	return 1
}
