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

	once sync.Once
	cap  Cap
}

// For returns the cutter for one child.
func (e *ErrorLog) For(pid int) *Lines { return e.lines(slog.Int("pid", pid)) }

// At returns the cutter for a program elsewhere, whose pid nobody knows.
func (e *ErrorLog) At(address string) *Lines { return e.lines(slog.String("address", address)) }

func (e *ErrorLog) lines(child slog.Attr) *Lines {
	return &Lines{Emit: func(line []byte) {
		if e.admit() {
			e.Log.Warn("stderr", "app", e.App, child, "line", string(line))
		}
	}}
}

func (e *ErrorLog) admit() bool {
	e.once.Do(func() {
		e.cap.Most, e.cap.Per = e.Lines, e.Per
		e.cap.LeftOut = func(n int) {
			e.Log.Warn("lines of standard error were left out", "app", e.App, "lines", n)
		}
	})
	return e.cap.Admit(time.Now())
}
