package master

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"sync"

	"sluice/internal/assemble"
	"sluice/internal/config"
	"sluice/spawner"
)

// app is an app of one generation or of several: the children, if they are ours,
// and the ledgers by which workers share them, or whatever else they want.
type app struct {
	name    string
	label   string // what its sockets and its control group are called
	ledgers []*ledger
	sup     *spawner.Supervisor // nil: there is none
	kill    *os.File            // kills its control group; nil: there is none

	tuning  sync.Mutex
	cfg     *config.App               // the newest that it has been given
	limits  spawner.SupervisorOptions // that it has by the newest configuration
	max     int                       // children that it may have now; 0: as the limits say
	started bool
	leaving bool // no generation that serves has it
}

// ledger is a ledger as its owner has it.
type ledger struct {
	spawner.Shared
	name   string
	made   spawner.LedgerOptions
	memory *memory
}

// openApps takes over the apps that stay, and makes the others.
func (g *generation) openApps(before *generation) error {
	for _, c := range g.cfg.Apps {
		var old *app
		if before != nil {
			old = before.apps[c.Name]
		}
		if old != nil && g.keeps(old, c) {
			if old.sup != nil {
				if err := old.sup.Grow(c.Max); err != nil {
					return fmt.Errorf("app %q: %w", c.Name, err)
				}
			}
			g.apps[c.Name] = old
			continue
		}
		a, err := g.openApp(c)
		if err != nil {
			return fmt.Errorf("app %q: %w", c.Name, err)
		}
		g.apps[c.Name] = a
		g.fresh = append(g.fresh, a)
	}
	return nil
}

// keeps reports whether an app goes on under a new configuration: its children
// would be the same ones, and its ledgers have room.
func (g *generation) keeps(old *app, c *config.App) bool {
	old.tuning.Lock()
	defer old.tuning.Unlock()
	was := old.cfg
	if was.Kind != c.Kind || !reflect.DeepEqual(places(was), places(c)) || (old.sup != nil) != assemble.Supervised(c) {
		return false
	}
	if old.sup != nil {
		o := g.supervisor(c)
		if !reflect.DeepEqual(o.Program, old.limits.Program) || o.Connections != old.limits.Connections || o.SocketGID != old.limits.SocketGID {
			return false
		}
	}
	wanted := assemble.LedgersOf(c)
	if len(wanted) != len(old.ledgers) {
		return false
	}
	for i, n := range wanted {
		if _, fits := n.Options.Within(old.ledgers[i].made); !fits {
			return false
		}
	}
	return true
}

// places are where the programs of an app run that are not ours.
func places(c *config.App) (all []config.Address) {
	for _, at := range c.Address {
		at.Weight = 0 // is the ledger's
		all = append(all, at)
	}
	return all
}

func (g *generation) supervisor(c *config.App) spawner.SupervisorOptions {
	return assemble.Supervisor(g.cfg, c, g.m.runtime.children, g.ids, g.m.log)
}

// openApp makes an app. Nothing of it runs.
func (g *generation) openApp(c *config.App) (_ *app, err error) {
	a := &app{name: c.Name, label: g.m.label(c.Name), cfg: c}
	defer func() {
		if err != nil {
			g.m.endApp(a)
		}
	}()
	for _, n := range assemble.LedgersOf(c) {
		l, err := g.m.createLedger(n)
		if err != nil {
			return nil, err
		}
		a.ledgers = append(a.ledgers, l)
	}
	if assemble.Supervised(c) {
		if err := g.supervise(a, c); err != nil {
			return nil, err
		}
	}
	return a, g.m.add(a)
}

// label is what an app is called by, where no other must be called the same.
func (m *Master) label(name string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	label := name
	taken := func(a *app) bool { return a.label == label }
	for n := 2; slices.ContainsFunc(m.apps, taken); n++ {
		label = fmt.Sprintf("%s~%d", name, n) // which no app is
	}
	return label
}

// add makes an app one of those that there are.
func (m *Master) add(a *app) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopping {
		return errStopping
	}
	m.apps = append(slices.Clone(m.apps), a)
	m.ringing = append(slices.Clone(m.ringing), a.ledgers...)
	return nil
}

// supervise makes the supervisor of an app. While another of its name still runs
// it has only as many children as that leaves.
func (g *generation) supervise(a *app, c *config.App) error {
	o, err := g.options(a, c)
	if err != nil {
		return err
	}
	a.limits = o
	a.max = g.m.share(a)
	o.Max = a.max
	if a.sup, err = spawner.NewSupervisor(o); err != nil {
		return err
	}
	return a.sup.Grow(c.Max)
}

// options are those of the supervisor of an app, whose control group it makes.
func (g *generation) options(a *app, c *config.App) (o spawner.SupervisorOptions, err error) {
	m := g.m
	o = g.supervisor(c)
	forker := &spawner.Forker{Reaper: m.reaper, Do: OnMain}
	o.Sockets, o.Ledger, o.Start = a.label, a.ledgers[0], forker.Start
	o.Event = func(e spawner.Event) { m.event(a, e) }
	if o.Cgroup, a.kill, err = m.cgroups.app(a.label); err != nil {
		return o, fmt.Errorf("control group: %w", err)
	}
	return o, nil
}

// createLedger makes a ledger in memory that workers get.
func (m *Master) createLedger(n assemble.NamedLedger) (*ledger, error) {
	mem, err := newMemory(fileLedger+n.Name, n.Options.Size())
	if err != nil {
		return nil, err
	}
	l := &ledger{name: n.Name, made: n.Options, memory: mem}
	if l.Shared, err = spawner.CreateLedger(n.Options, mem.bytes, m.bells); err != nil {
		mem.drop()
		return nil, fmt.Errorf("ledger %q: %w", n.Name, err)
	}
	for i := range n.Options.Slots {
		if !n.Supervised {
			l.Set(i, spawner.Ready, 0)
		}
	}
	return l, nil
}

// startApps starts the children of those apps that are new, and waits until the
// first are ready, or have failed.
func (g *generation) startApps() error {
	failed := make(chan error, len(g.fresh))
	n := 0
	for _, a := range g.fresh {
		if a.sup == nil {
			continue
		}
		n++
		go func() {
			err := a.sup.Start()
			a.tuning.Lock()
			a.started = true
			a.tuning.Unlock()
			if err != nil {
				err = &ExitError{ExitExec, fmt.Errorf("app %q: %w", a.name, err)}
			}
			failed <- err
		}()
	}
	var first error
	for range n {
		if err := <-failed; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// errNoChild is an app none of whose first children came up.
var errNoChild = errors.New("no child became ready; the log says why")

// checkApps reports a new app whose first children have all died on the way.
func (g *generation) checkApps() error {
	for _, a := range g.fresh {
		if a.sup != nil && a.sup.Stillborn() {
			return fmt.Errorf("app %q: %w", a.name, errNoChild)
		}
	}
	return nil
}

// uses reports whether a generation has an app. The caller has mu.
func (m *Master) uses(a *app) bool {
	return slices.ContainsFunc(m.gens, func(g *generation) bool { return g.apps[a.name] == a })
}

// endApp stops the children of an app that nobody has any more, and gives back
// what it had.
func (m *Master) endApp(a *app) {
	if a.sup != nil {
		a.sup.Stop(context.Background())
	}
	m.mu.Lock()
	m.apps = slices.DeleteFunc(slices.Clone(m.apps), func(other *app) bool { return other == a })
	m.ringing = slices.DeleteFunc(slices.Clone(m.ringing), func(l *ledger) bool { return slices.Contains(a.ledgers, l) })
	m.mu.Unlock()
	for _, l := range a.ledgers {
		l.memory.drop()
	}
	if a.kill != nil {
		a.kill.Close()
	}
	m.grow(a)
}

// event passes a supervisor's word on to the workers that have the app.
func (m *Master) event(a *app, e spawner.Event) {
	m.mu.Lock()
	for _, g := range m.gens {
		if g.apps[a.name] != a {
			continue
		}
		g.board.child(e)
		for _, w := range g.workers {
			if w != nil {
				w.tell(message{Event: &e})
			}
		}
	}
	m.mu.Unlock()
	m.grow(a)
}

// counts are those of the app's own ledger.
func (g *generation) counts(name string) (spawner.Counts, bool) {
	a := g.apps[name]
	if a == nil || len(a.ledgers) == 0 {
		return spawner.Counts{}, false
	}
	return a.ledgers[0].Counts(), true
}
