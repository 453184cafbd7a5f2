package master

import (
	"errors"
	"os"

	"sluice/spawner"
)

// fileKill is an app's control group: who writes "1" to it kills its children
// and all that they have started.
const fileKill = "cgroup.kill"

// cgroups are the control groups of the apps, where they are delegated; else
// none.
type cgroups struct{ groups *spawner.Cgroups }

// openCgroups finds out whether there are any. That there are none is no fault,
// and what two servers in one group cannot share is no reason to run only one.
func (m *Master) openCgroups() {
	g, err := spawner.OpenCgroups()
	switch {
	case err == nil:
		m.cgroups.groups = g
	case errors.Is(err, spawner.ErrNotDelegated):
		m.log.Debug("children have no control groups of their own", "err", err)
	default:
		m.log.Warn("children have no control groups of their own", "err", err)
	}
}

// app makes the control group of an app; nil: there are none. The workers get
// what kills it, since they outlive a master that is killed.
func (c *cgroups) app(name string) (*spawner.Cgroup, *os.File, error) {
	if c.groups == nil {
		return nil, nil, nil
	}
	g, err := c.groups.App(name)
	if err != nil {
		return nil, nil, err
	}
	kill, err := g.KillFile()
	if err != nil {
		kill = nil // a kernel before 5.14 has none
	}
	return g, kill, nil
}

func (c *cgroups) close() {
	if c.groups != nil {
		c.groups.Close()
	}
}

// killGroups kills what the children of a dead master left behind. Its children
// are dead already; what they started may not be.
func killGroups(files []*os.File) {
	for _, f := range files {
		f.WriteString("1")
	}
}
