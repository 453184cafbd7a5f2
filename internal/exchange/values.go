package exchange

import (
	"context"
	"log/slog"
	"strconv"
	"time"

	"sluice/fcgi"
	"sluice/spawner"
)

// valuesTimeout bounds the question for an application's values: one that does
// not know it may never answer.
const valuesTimeout = 200 * time.Millisecond

// AskValues asks a child how many connections it takes at once, and warns where
// that is fewer than what the operator says. Nothing else follows from the
// answer, or from there being none.
func (b *FastCGI) AskValues(connections int, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(context.Background(), valuesTimeout)
	defer cancel()
	l, err := b.Pool.Lease(ctx, spawner.Anyone)
	if err != nil {
		log.Debug("child was not asked for its values", "err", err)
		return
	}
	// It has been sent no request, so whatever happens says nothing about it.
	defer l.Release(spawner.Unsent, nil)
	nc, err := l.Conn(ctx, false)
	if err != nil {
		log.Debug("child was not asked for its values", "pid", l.PID(), "err", err)
		return
	}
	defer nc.Close()
	values, err := fcgi.AskValues(nc, []string{fcgi.MaxConns, fcgi.MaxReqs, fcgi.MpxsConns}, valuesTimeout)
	if err != nil {
		log.Debug("child does not say what it can take", "pid", l.PID(), "err", err)
		return
	}
	log.Debug("child says what it can take", "pid", l.PID(), "values", values)
	if n, err := strconv.Atoi(values[fcgi.MaxConns]); err == nil && n < connections {
		log.Warn("child says that it takes fewer connections at once than are configured, which stand",
			"pid", l.PID(), fcgi.MaxConns, n, "connections", connections)
	}
}
