package master

import (
	"log/slog"
	"os"
	"slices"
	"time"

	"sluice/internal/front"
	"sluice/internal/scoreboard"
	"sluice/internal/status"
)

// slow writes the line of a slow request. Where a child is at it the line says
// where that is: the workers may not look.
func (m *Master) slow(w *workerProcess, s front.Slow) {
	args := []any{"method", s.Method, "request", s.Request, "client", s.Client}
	if s.App != "" {
		args = append(args, "app", s.App)
	}
	if s.PID != 0 {
		args = append(args, "pid", s.PID)
	}
	text := "slow request"
	if s.Ended {
		text = "slow request ended"
		args = append(args, "status", s.Status, "bytes", s.Bytes, "aborted", s.Aborted)
	} else {
		args = append(args, "phase", s.Phase, "waits_for", s.Phase.WaitsFor())
	}
	args = append(args, "took", s.Took.Round(time.Millisecond), spent(s))
	if s.Held && !s.Ended && m.isChild(w, s.App, s.PID) {
		args = append(args, location(s.PID))
	}
	m.log.Warn(text, args...)
}

// spent is the time in each phase that there was.
func spent(s front.Slow) slog.Attr {
	var all []any
	for p, d := range s.Spent {
		if d >= time.Millisecond {
			all = append(all, slog.Duration(scoreboard.Phase(p).String(), d.Round(time.Millisecond)))
		}
	}
	return slog.Group("spent", all...)
}

// location is where a child is in the kernel, as far as that can be read.
func location(pid int) slog.Attr {
	at, err := status.Locate(pid)
	if err != nil {
		return slog.Group("child", "state", "ended")
	}
	all := []any{"state", at.State}
	for _, a := range []slog.Attr{slog.String("wchan", at.Wchan), slog.String("syscall", at.Syscall), slog.String("stack", at.Stack)} {
		if a.Value.String() != "" {
			all = append(all, a)
		}
	}
	return slog.Group("child", all...)
}

// isChild reports whether a process that a worker names is one that it may
// name: a supervised child of that app, or for scripts one that the worker has
// started itself, or that this process has for it.
func (m *Master) isChild(w *workerProcess, app string, pid int) bool {
	if pid <= 0 {
		return false
	}
	if a := w.gen.apps[app]; a != nil && a.sup != nil {
		for _, e := range a.sup.Events() {
			if e.PID == pid {
				return true
			}
		}
		return false
	}
	if m.isWorker(pid) {
		return false
	}
	at, err := status.Locate(pid)
	return err == nil && (at.Parent == w.child.PID() || at.Parent == os.Getpid())
}

func (m *Master) isWorker(pid int) bool {
	return slices.ContainsFunc(m.living(), func(w *workerProcess) bool { return w.child.PID() == pid })
}
