package master

import (
	"fmt"
	"time"
)

// guard sees to what has to happen when a worker ends. What it held is free also
// while the server is being stopped: another worker may wait for it.
func (w *workerProcess) guard() {
	<-w.child.Done()
	w.vacate()
	w.inbox.Close()
	m := w.m
	m.mu.Lock()
	state, stopping := w.gen.state, m.stopping
	switch state {
	case serving:
		w.gen.replacing++
	case draft:
		w.missing = true
	}
	m.mu.Unlock()
	switch {
	case stopping:
	case state == draft:
		select {
		case w.gen.lost <- fmt.Errorf("a worker of the new generation ended: %v", w.child.Ending()):
		default:
		}
	case state == draining:
		m.drained(w)
	default:
		w.replace()
	}
}

// replace starts the successor of a worker that has died, and counts as replacing,
// unless its generation has a successor itself by then.
func (w *workerProcess) replace() {
	m := w.m
	m.log.Error("worker died and is replaced", "pid", w.child.PID(), "ending", w.child.Ending())
	w.takePlace()
}

// takePlace is replace for one of which the log knows.
func (w *workerProcess) takePlace() {
	m := w.m
	w.succeed()
	m.mu.Lock()
	w.gen.replacing--
	m.mu.Unlock()
	m.endIfGone(w.gen)
}

func (w *workerProcess) succeed() {
	m := w.m
	pause := time.Duration(0)
	if time.Since(w.began) < time.Second {
		pause = workerPause
	}
	over := func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.stopping || w.gen.state == draining
	}
	for {
		time.Sleep(pause)
		if over() {
			return
		}
		err := w.gen.startWorker(w.index)
		if err == nil || over() {
			return
		}
		m.log.Error("worker could not be replaced", "err", err)
		pause = min(max(2*pause, workerPause), 10*time.Second)
	}
}

// workerPause keeps a worker that dies at once from being started without end.
const workerPause = 100 * time.Millisecond

// forget takes a worker that has ended off its generation's list.
func (w *workerProcess) forget() {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	if g := w.gen; g.workers[w.index-1] == w {
		g.workers[w.index-1] = nil
	}
}

// drained is the end of a worker whose generation does not serve any more.
func (m *Master) drained(w *workerProcess) {
	w.forget()
	m.giveBack(w)
	level := m.log.Info
	if !w.child.Ending().OK() {
		level = m.log.Error
	}
	level("worker of an earlier generation has ended", "pid", w.child.PID(), "generation", w.gen.number, "ending", w.child.Ending())
	m.endIfGone(w.gen)
}

// endIfGone ends a generation that does not serve any more with its last worker.
func (m *Master) endIfGone(g *generation) {
	m.steady.RLock()
	defer m.steady.RUnlock()
	m.mu.Lock()
	last := !m.stopping && g.state == draining && !g.ending && g.replacing == 0 && len(g.living()) == 0
	g.ending = g.ending || last
	m.mu.Unlock()
	if last {
		m.end(g)
	}
}
