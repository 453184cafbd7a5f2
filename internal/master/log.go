package master

import (
	"io"
	"log/slog"
	"os"
	"sync/atomic"
)

// NewLog returns the logger of a level: debug, info, warn or error.
func NewLog(out io.Writer, level string) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: levelOf(level)}))
}

func levelOf(name string) slog.Level {
	var l slog.Level
	if err := l.UnmarshalText([]byte(name)); err != nil {
		return slog.LevelInfo
	}
	return l
}

// logSwitch is the master's log, whose place and level a new generation may
// change: whoever has a logger has it for good.
type logSwitch struct {
	out   atomic.Pointer[os.File]
	level slog.LevelVar
}

func newLogSwitch() (*logSwitch, *slog.Logger) {
	s := &logSwitch{}
	s.out.Store(os.Stderr)
	return s, slog.New(slog.NewTextHandler(s, &slog.HandlerOptions{Level: &s.level}))
}

// Write implements io.Writer.
func (s *logSwitch) Write(line []byte) (int, error) { return s.out.Load().Write(line) }

// to has the log go where a generation wants it.
func (s *logSwitch) to(g *generation) {
	out := g.errlog
	if out == nil {
		out = os.Stderr
	}
	s.level.Set(levelOf(g.cfg.Log.Level))
	s.out.Store(out)
}
