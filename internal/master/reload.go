package master

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"sluice/internal/config"
	"sluice/internal/scoreboard"
)

// errNoFile is a server that was started without a configuration that could be
// read again.
var errNoFile = errors.New("this server has no configuration file to load")

// Reloaded is what a reload has done.
type Reloaded struct {
	Generation int
	Changes    *config.Changes
}

// Reload loads the configuration again and puts a new generation in the place of
// the one that serves. One at a time does. With an error everything is as it was.
func (m *Master) Reload() (*Reloaded, error) { return m.load(false) }

// load is Reload; of a configuration that is as it was nothing is made if only
// differences count, and nil returned.
func (m *Master) load(differing bool) (*Reloaded, error) {
	m.reloading.Lock()
	defer m.reloading.Unlock()
	return m.loadAlone(differing)
}

// loadAlone is load for who has reloading.
func (m *Master) loadAlone(differing bool) (*Reloaded, error) {
	switch {
	case m.opt.Load == nil:
		return nil, errNoFile
	case m.isStopping():
		return nil, errStopping // the sockets that it would take over are closed
	}
	m.tellReloading()
	defer m.tellReady()
	c, err := m.opt.Load()
	if err != nil {
		return nil, err
	}
	before := m.now()
	changes := config.Diff(before.loaded, c)
	if err := changes.Refused(); err != nil {
		return nil, err
	}
	if differing && changes.Empty() {
		return nil, nil
	}
	g := m.newGeneration(c, before.number+1)
	if err := g.try(before); err != nil {
		m.discard(g, before)
		return nil, err
	}
	m.commit(g, before)
	select {
	case m.reloaded <- struct{}{}:
	default: // it is known
	}
	return &Reloaded{g.number, changes}, nil
}

// try makes a generation beside the one that serves, up to workers that only wait
// for the word to accept.
func (g *generation) try(before *generation) error {
	if err := g.lookUp(); err != nil {
		return err
	}
	if err := g.take(before); err != nil {
		return err
	}
	if err := g.startApps(); err != nil {
		return err
	}
	if err := g.checkApps(); err != nil {
		return err
	}
	if err := g.startWorkers(); err != nil {
		return err
	}
	select {
	case err := <-g.lost:
		return err
	default:
		return nil
	}
}

// discard undoes what try has done.
func (m *Master) discard(g, before *generation) {
	m.mu.Lock()
	workers := g.living()
	m.mu.Unlock()
	for _, w := range workers {
		w.kill()
		w.vacate()
	}
	for _, s := range g.sockets {
		if !slices.Contains(before.sockets, s) {
			s.close()
		}
	}
	if g.page != before.page {
		g.page.close()
	}
	m.end(g)
}

// commit puts a generation whose workers are ready in the place of the one that
// serves. From here on nothing fails: a worker that dies is replaced.
func (m *Master) commit(g, before *generation) {
	m.settleApps(g)
	m.yield(before)
	removed, surplus := g.changeSockets(before)
	m.mu.Lock()
	before.state, g.state = draining, serving
	m.current = g
	old, fresh := before.living(), g.living()
	for _, w := range g.workers {
		if w != nil && w.missing && !m.stopping {
			g.replacing++
			go w.replace()
		}
	}
	m.mu.Unlock()
	m.logTo.to(g)
	g.warn()
	if err := g.board.show(); err != nil {
		m.log.Error("scoreboard is not at its place", "err", err)
	}
	g.board.keep(g.sources())
	if g.page != before.page {
		g.page.serve(m)
		before.page.close()
	}
	each(fresh, func(w *workerProcess) {
		w.insist(w.order(message{Accept: true}))
		if !w.ended() {
			w.state(scoreboard.Running)
		}
	})
	// Those that drain already give to the new ones from now on, and not to those
	// that are about to: so what these get, they get before they are told to.
	m.bequeathAllBut(before)
	for _, s := range removed {
		s.close() // the workers have it, and are the last to close it
	}
	each(old, func(w *workerProcess) {
		w.state(scoreboard.Draining)
		d := drain{Timeout: g.cfg.DrainTimeout, Going: before.going(w.index, removed, surplus)}
		if len(surplus) > 0 {
			d.Settle = settleTime
		}
		m.bequeath(w, fresh)
		if !w.await(w.order(message{Drain: &d})) { // it may have downloads, so it is not killed
			m.log.Error("worker does not say that it accepts no more", "pid", w.child.PID())
		}
	})
	for s, files := range surplus {
		s.drop(files)
	}
	m.endIfGone(before) // with nobody left that would notice
}

// each calls f for all workers at once, and waits.
func each(all []*workerProcess, f func(*workerProcess)) {
	var wg sync.WaitGroup
	for _, w := range all {
		wg.Go(func() { f(w) })
	}
	wg.Wait()
}

// yield has the worker that keeps connections to children give them up: another
// is about to want the same children.
func (m *Master) yield(g *generation) {
	if g.cfg.Workers != 1 {
		return
	}
	m.mu.Lock()
	workers := g.living()
	m.mu.Unlock()
	each(workers, func(w *workerProcess) { w.insist(w.order(message{Yield: true})) })
}

// changeSockets opens the sockets that a generation has beside others, and changes
// those that stay. It returns those that nobody has any more: whole listeners, and
// of the others the sockets of single workers.
func (g *generation) changeSockets(before *generation) (removed []*socket, surplus map[*socket][]*os.File) {
	surplus = map[*socket][]*os.File{}
	for i, s := range g.sockets {
		if slices.Contains(before.sockets, s) {
			if err := s.change(g.cfg.Listeners[i]); err != nil && !g.m.isStopping() { // else it is closed
				g.m.log.Error("listener is not changed", "address", s.addr, "err", err)
			}
		} else {
			g.m.log.Info("listening", "address", s.addr)
		}
		if err := s.open(g.beside[s]); err != nil {
			g.m.log.Error("listener has a socket that does not listen", "address", s.addr, "err", err)
		}
		delete(g.beside, s)
		if files := s.surplus(g.wanted(s)); len(files) > 0 {
			surplus[s] = files
		}
	}
	for _, s := range before.sockets {
		if !slices.Contains(g.sockets, s) {
			g.m.log.Info("listening no more", "address", s.addr)
			removed = append(removed, s)
		}
	}
	return removed, surplus
}

// going are the listeners of the worker of an index that are among those that
// nobody has any more.
func (g *generation) going(index int, removed []*socket, surplus map[*socket][]*os.File) (all []int) {
	for i, s := range g.sockets {
		if slices.Contains(removed, s) || slices.Contains(surplus[s], g.of(s, index)) {
			all = append(all, i)
		}
	}
	return all
}

// reloadLogged is a reload of which the log says what the one who asks for it is
// told.
func (m *Master) reloadLogged(why string, differing bool) (*Reloaded, error) {
	return m.logged(why, func() (*Reloaded, error) { return m.load(differing) })
}

func (m *Master) logged(why string, load func() (*Reloaded, error)) (*Reloaded, error) {
	m.log.Info("configuration is loaded again", "because", why)
	r, err := load()
	switch {
	case err != nil:
		m.log.Error("reload failed, nothing has changed", "err", err)
		return nil, err
	case r == nil:
		m.log.Info("configuration is as it was")
		return nil, nil
	}
	m.log.Info("reloaded", "generation", r.Generation)
	for line := range strings.SplitSeq(r.Changes.String(), "\n") {
		m.log.Info("reload", "change", line)
	}
	return r, nil
}

// text is what is said of a reload.
func (r *Reloaded) text() string {
	return fmt.Sprintf("generation %d\n%s", r.Generation, r.Changes)
}
