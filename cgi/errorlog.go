package cgi

import (
	"log/slog"
	"sync"
	"time"
)

// ErrorLog writes what the children of one app print to their standard error
// to the log: by lines, with the app's name and the child's pid or address, and
// no more than Lines of them in Per. What is left out is counted, and said at the end
// of that time.
type ErrorLog struct {
	App   string
	Log   *slog.Logger
	Lines int // 0: no limit
	Per   time.Duration

	mu    sync.Mutex
	since time.Time
	count int
}

// For returns the cutter for one child.
func (e *ErrorLog) For(pid int) *Lines { return e.lines(slog.Int("pid", pid)) }

// At returns the cutter for a program elsewhere, whose pid nobody knows.
func (e *ErrorLog) At(address string) *Lines { return e.lines(slog.String("address", address)) }

func (e *ErrorLog) lines(child slog.Attr) *Lines {
	return &Lines{Emit: func(line []byte) {
		ok, left := e.admit(time.Now())
		e.leftOut(left)
		if ok {
			e.Log.Warn("stderr", "app", e.App, child, "line", string(line))
		}
	}}
}

func (e *ErrorLog) leftOut(n int) {
	if n > 0 {
		e.Log.Warn("lines of standard error were left out", "app", e.App, "lines", n)
	}
}

// admit counts a line; left is how many were left out before the window that
// begins with this one.
func (e *ErrorLog) admit(now time.Time) (ok bool, left int) {
	if e.Lines <= 0 {
		return true, 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if now.Sub(e.since) >= e.Per {
		left = e.rest()
		e.since, e.count = now, 0
	}
	e.count++
	if e.count == e.Lines+1 {
		// The child may never write another line.
		time.AfterFunc(e.since.Add(e.Per).Sub(now), func() {
			e.mu.Lock()
			left := e.rest()
			e.mu.Unlock()
			e.leftOut(left)
		})
	}
	return e.count <= e.Lines, left
}

// rest takes the count of the lines left out.
func (e *ErrorLog) rest() int {
	n := max(0, e.count-e.Lines)
	e.count -= n
	return n
}
