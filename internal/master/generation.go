package master

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"sluice/internal/assemble"
	"sluice/internal/config"
	"sluice/internal/scoreboard"
	"sluice/lockmodes"
	"sluice/spawner"
)

// generationState is where a generation is on its way.
type generationState uint8

const (
	draft    generationState = iota // is tried; nobody is served by it
	serving                         // there is one
	draining                        // a later one serves, and this one finishes what it has
)

// generation is one configuration, what belongs to it alone, and the workers that
// have it. They never get another one.
type generation struct {
	m       *Master
	number  int
	loaded  *config.Config // as it was written
	cfg     *config.Config // with a listener for each socket that systemd has passed
	ids     *assemble.Identities
	scripts []*assemble.Place // that the master starts, by route
	errlog  *os.File          // nil: standard error
	access  *os.File          // nil: none, or standard output
	board   *board
	mode    lockmodes.Mode
	lock    *lockmodes.Shared
	sockets []*socket              // by listener; a later generation has the same where the address is
	beside  map[*socket][]*os.File // sockets of a draft with reuseport, which do not listen yet
	apps    map[string]*app        // by name; a later generation has the same where it is unchanged
	fresh   []*app                 // of apps, those that no earlier one has
	seats   *seats                 // likewise; nil: a client may have any number of connections
	page    *statusPage            // likewise; nil: there is none
	lost    chan error             // of one: a worker of a draft has died

	// Under the master's mu.
	state     generationState
	replacing int              // workers that have died
	ending    bool             // its last worker has gone
	places    []int            // of workers, by index - 1
	workers   []*workerProcess // by index - 1; nil: has not been forked, or has gone
}

func (m *Master) newGeneration(c *config.Config, number int) *generation {
	return &generation{m: m, number: number, loaded: c, cfg: c, apps: map[string]*app{}, beside: map[*socket][]*os.File{}, lost: make(chan error, 1),
		workers: make([]*workerProcess, c.Workers)}
}

// lookUp finds which sockets were passed and who everything runs as, and opens the
// logs.
func (g *generation) lookUp() (err error) {
	if g.cfg, err = g.m.activated(g.loaded); err != nil {
		return &ExitError{ExitBind, err}
	}
	if g.ids, err = assemble.LookUpIdentities(g.cfg); err != nil {
		return &ExitError{ExitConfig, err}
	}
	if g.scripts, err = assemble.Places(g.cfg, g.ids, os.Environ()); err != nil {
		return &ExitError{ExitExec, err}
	}
	if path := g.cfg.Log.Error; path != "stderr" {
		if g.errlog, err = assemble.OpenLog(path); err != nil {
			return &ExitError{ExitConfig, fmt.Errorf("error log: %w", err)}
		}
	}
	if path := g.cfg.Log.Access; path != "" && path != "stdout" {
		if g.access, err = assemble.OpenLog(path); err != nil {
			return &ExitError{ExitConfig, fmt.Errorf("access log: %w", err)}
		}
	}
	return nil
}

// warn says what is no error and may not be meant.
func (g *generation) warn() {
	for _, key := range g.cfg.Unused() {
		g.m.log.Warn("a key of the configuration has no effect", "key", key)
	}
	for _, key := range g.cfg.Exposed() {
		g.m.log.Warn("a file with a secret can be read by others", "key", key)
	}
}

// take makes everything else that the generation has, and takes over from the one
// before what stays as it is. Nothing of that is changed.
func (g *generation) take(before *generation) (err error) {
	m := g.m
	if g.board, err = openBoard(g.cfg, m.opt.Version, g.number); err != nil {
		return &ExitError{ExitConfig, err}
	}
	if err := g.openLock(); err != nil {
		return &ExitError{ExitConfig, err}
	}
	if err := g.openSockets(before); err != nil {
		return &ExitError{ExitBind, err}
	}
	if err := g.openPage(before); err != nil {
		return &ExitError{ExitBind, err}
	}
	if err := g.openSeats(before); err != nil {
		return err
	}
	if err := g.openApps(before); err != nil {
		return &ExitError{ExitBind, err}
	}
	return m.enter(g)
}

// acceptRecord is the file of the runtime directory that names the semaphore of
// the accept mode sysvsem, which would outlive a master that is killed.
const acceptRecord = "accept.sem"

// sweepLocks removes the semaphores of a server that was killed.
func (m *Master) sweepLocks() error {
	records, err := filepath.Glob(filepath.Join(m.runtime.path, acceptRecord+"*"))
	if err != nil {
		return err
	}
	for _, r := range records {
		found, err := lockmodes.Sweep(r)
		if err != nil {
			return err
		}
		if found {
			m.log.Info("the semaphore of a server that was killed has been removed")
		}
	}
	return nil
}

// openLock makes what the workers share to agree who accepts.
func (g *generation) openLock() error {
	o, err := assemble.AcceptLock(g.cfg)
	if err != nil {
		return err
	}
	o.Record = filepath.Join(g.m.runtime.path, acceptRecord)
	if g.number > 1 {
		o.Record += fmt.Sprintf(".%d", g.number)
	}
	if g.ids.Workers != nil {
		o.UID, o.GID = g.ids.Workers.UID, g.ids.Workers.GID
	}
	g.mode = o.Mode
	g.lock, err = lockmodes.Create(o)
	return err
}

// errPlaces is a configuration for whose workers there is no room.
var errPlaces = errors.New("too many workers of earlier generations still finish what they have: drain_timeout ends that")

// enter makes a generation one of those that there are.
func (m *Master) enter(g *generation) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping {
		return errStopping
	}
	for place := 1; place < spawner.Places && len(g.places) < g.cfg.Workers; place++ {
		if !m.places[place] {
			g.places = append(g.places, place)
		}
	}
	if len(g.places) < g.cfg.Workers {
		g.places = nil
		return errPlaces
	}
	for _, place := range g.places {
		m.places[place] = true
	}
	m.gens = append(m.gens, g)
	return nil
}

// giveBack gives back the place of a worker that has ended and gets no successor,
// while others of its generation still finish what they have.
func (m *Master) giveBack(w *workerProcess) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if g := w.gen; g.places != nil { // else it has ended itself, with all of them
		m.places[w.place] = false
		g.places[w.index-1] = 0 // no worker's
	}
}

// living are the workers that there are.
func (g *generation) living() (all []*workerProcess) {
	for _, w := range g.workers {
		if w != nil && !w.ended() {
			all = append(all, w)
		}
	}
	return all
}

// living are the workers of all generations, the oldest first.
func (m *Master) living() (all []*workerProcess) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, g := range m.gens {
		all = append(all, g.living()...)
	}
	return all
}

// now is the generation that serves.
func (m *Master) now() *generation {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.current
}

// end gives back what only this generation has. Its workers have gone.
func (m *Master) end(g *generation) {
	m.mu.Lock()
	var rest []*generation
	for _, other := range m.gens {
		if other != g {
			rest = append(rest, other)
		}
	}
	m.gens = rest
	for _, place := range g.places {
		m.places[place] = false
	}
	g.places = nil
	var over []*app
	for _, a := range g.apps {
		if !m.uses(a) {
			over = append(over, a)
		}
	}
	seats := g.seats
	for _, other := range rest {
		if other.seats == seats {
			seats = nil
		}
	}
	m.mu.Unlock()
	g.closeOwn()
	if seats != nil {
		seats.memory.drop()
	}
	for _, a := range over {
		m.ends.Go(func() { m.endApp(a) })
	}
}

// closeOwn closes what no other generation can have.
func (g *generation) closeOwn() {
	if g.board != nil {
		g.board.close()
	}
	if g.lock != nil {
		if err := g.lock.Close(); err != nil {
			g.m.log.Error("accept lock is not removed", "err", err)
		}
	}
	for _, f := range []*os.File{g.errlog, g.access} {
		if f != nil {
			f.Close()
		}
	}
	for _, added := range g.beside {
		closeFiles(added)
	}
}

// state tells the scoreboard what became of a worker.
func (w *workerProcess) state(s scoreboard.WorkerState) { w.gen.board.State(w.index, s) }
