package master

import (
	"slices"
	"time"

	"sluice/internal/assemble"
	"sluice/spawner"
)

// alive counts the processes of an app.
func (a *app) alive() (n int) {
	if a.sup == nil {
		return 0
	}
	for _, e := range a.sup.Events() {
		switch e.State {
		case spawner.Starting, spawner.Ready, spawner.Retiring, spawner.Stopping:
			n++
		}
	}
	return n
}

// namesakes are the other apps of the name: those that it takes the place of.
func (m *Master) namesakes(a *app) (all []*app) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, other := range m.apps {
		if other != a && other.name == a.name {
			all = append(all, other)
		}
	}
	return all
}

// share is how many children an app may have: what those whose place it takes
// leave of its max, and one at least, which is ready before the first of theirs
// goes.
func (m *Master) share(a *app) int {
	n := a.limits.Max
	for _, other := range m.namesakes(a) {
		n -= other.alive()
	}
	return max(1, min(n, a.limits.Max))
}

// leavingIdle is how long a child idles whose app has been replaced or removed.
const leavingIdle = 100 * time.Millisecond

// tune gives the supervisor of an app its limits.
func (m *Master) tune(a *app) {
	a.tuning.Lock()
	defer a.tuning.Unlock()
	if !a.started || a.sup == nil {
		return
	}
	o := a.limits
	a.max = o.Max
	if a.leaving {
		// There are as many as the requests want that an earlier generation still has.
		o.Scale, o.Min, o.Spare, o.IdleTimeout = spawner.ScaleOnDemand, 0, 0, leavingIdle
	} else {
		a.max = m.share(a)
	}
	o.Max = a.max
	a.sup.Retune(o)
}

// grow lets an app have the children that another of its name leaves.
func (m *Master) grow(left *app) {
	for _, a := range m.namesakes(left) {
		a.tuning.Lock()
		due := a.started && a.sup != nil && !a.leaving && a.max < m.share(a)
		a.tuning.Unlock()
		if due {
			m.tune(a)
		}
	}
}

// settleApps gives the apps of a generation that serves now their limits, and
// those that only earlier ones have theirs.
func (m *Master) settleApps(g *generation) {
	for _, c := range g.cfg.Apps {
		a := g.apps[c.Name]
		a.tuning.Lock()
		a.cfg = c
		if a.sup != nil {
			o := g.supervisor(c)
			o.Sockets, o.Ledger, o.Start, o.Event, o.Cgroup = a.label, a.limits.Ledger, a.limits.Start, a.limits.Event, a.limits.Cgroup
			a.limits = o
		}
		a.tuning.Unlock()
		for i, n := range assemble.LedgersOf(c) {
			a.ledgers[i].Retune(n.Options)
		}
	}
	m.mu.Lock()
	all := slices.Clone(m.apps)
	m.mu.Unlock()
	for _, a := range all {
		a.tuning.Lock()
		a.leaving = g.apps[a.name] != a
		a.tuning.Unlock()
	}
	for _, a := range all {
		m.tune(a)
	}
}
