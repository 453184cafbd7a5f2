package master

import (
	"context"
	"os"
	"time"
)

// drain finishes what there is while others accept, and ends the process. Several
// may not: of a stop meanwhile, and of this, the first to be done counts.
func (w *worker) drain(d drain, order uint64) {
	w.memory.keep(w.asm.Pools, false)
	w.acceptor.Stop()
	for end := time.Now().Add(d.Settle); ; time.Sleep(settleLook) {
		w.acceptor.Empty(d.Going)
		if !time.Now().Before(end) {
			break
		}
	}
	w.closeListening()
	w.inbox.retire()
	w.confirm(order)
	ctx := context.Background()
	if d.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.Timeout)
		defer cancel()
	}
	begin := time.Now()
	if err := w.front.Finish(ctx); err != nil {
		w.log.Warn("requests were cut off by drain_timeout", "err", err)
	}
	w.tell(ctx, d.Timeout, begin)
	for w.busy() && ctx.Err() == nil {
		time.Sleep(restLook)
	}
	w.endScripts(w.grace)
	os.Exit(0)
}

// settleLook and restLook are how often is looked whether somebody still comes,
// and whether all that goes on behind the answers is over.
const (
	settleLook = 5 * time.Millisecond
	restLook   = 50 * time.Millisecond
)

// busy reports whether a child or a script still works for somebody who has gone.
func (w *worker) busy() bool {
	n := w.scripts.Running()
	for _, p := range w.asm.Pools {
		n += p.Busy()
	}
	if w.remote != nil {
		n += w.remote.count()
	}
	return n > 0
}
