package cgi_test

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestMain checks that the tests leave no goroutine, no descriptor and no
// zombie behind.
func TestMain(m *testing.M) {
	flag.Parse()
	// What this process was given itself is the business of whoever starts it.
	unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	before := resources()
	code := m.Run()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // whose coordinator leaves goroutines behind
	if code == 0 && !fuzzing && !settles(before) {
		fmt.Fprintf(os.Stderr, "leak: before %v, after %v\n", before, resources())
		pprof.Lookup("goroutine").WriteTo(os.Stderr, 1)
		code = 1
	}
	os.Exit(code)
}

// held is what a process holds; the poller's own descriptors do not count.
type held struct{ goroutines, descriptors, children int }

func resources() held {
	h := held{goroutines: runtime.NumGoroutine()}
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range fds {
		to, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err == nil && !strings.HasPrefix(to, "anon_inode:") {
			h.descriptors++
		}
	}
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, name := range tasks {
		b, _ := os.ReadFile(name)
		h.children += len(bytes.Fields(b))
	}
	return h
}

// settles waits until no more is held than before. A child that has ended and
// was not reaped is one of the children.
func settles(before held) bool {
	return eventually(func() bool {
		now := resources()
		return now.goroutines <= before.goroutines && now.descriptors <= before.descriptors && now.children <= before.children
	})
}

// eventually waits for what other processes do.
func eventually(ok func() bool) bool {
	for range 500 {
		if ok() {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}
