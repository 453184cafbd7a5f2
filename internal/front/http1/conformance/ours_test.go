package conformance

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"sluice/internal/front/http1"
	"sluice/internal/front/http1/http1test"
)

func init() { modes = append(modes, mode{"http1", startOurs}) }

func startOurs(t testing.TB, o options) *server {
	t.Helper()
	o = o.filled()
	j := &journal{}
	if o.slog == nil {
		o.slog = slog.New(slog.NewTextHandler(j, nil))
	}
	s, addrs, stop := http1test.Serve(t, http1.Options{
		Handler:          probed(o.handler),
		Log:              o.slog,
		Connections:      o.connections,
		HeaderBytes:      o.headerBytes,
		HeaderTimeout:    o.headerTimeout,
		KeepaliveIdle:    max(0, o.idle),
		SendTimeout:      o.sendTimeout,
		AnswerHalfClosed: o.answerHalfClosed,
		Linger:           http1.Linger{Mode: http1.LingerAdaptive, Idle: 2 * time.Second, Total: bound, Max: 1024},
	}, 1)
	return &server{addr: addrs[0], log: j, shutdown: func(ctx context.Context) error {
		stop()
		return s.Shutdown(ctx)
	}}
}
