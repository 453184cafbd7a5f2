package master

import (
	"sluice/internal/config"
)

// reloads makes other generations when SIGHUP has come and, while the
// configuration wants that, when its files have changed: one after the other.
func (m *Master) reloads(quit <-chan struct{}) {
	var files *config.Watcher
	changed := make(chan struct{}, 1)
	defer func() {
		if files != nil {
			files.Close()
		}
	}()
	for {
		switch c := m.now().loaded; {
		case c.Watch && files == nil:
			files = m.watch(c, changed)
		case !c.Watch && files != nil:
			files.Close()
			files = nil
		}
		select {
		case <-m.hups:
			m.reloadLogged("SIGHUP", false)
		case <-changed:
			m.reloadLogged("a change of its files", true)
		case <-m.usr1:
			m.reopenLogged()
		case <-m.usr2:
			m.upgradeLogged("SIGUSR2", nil)
		case <-m.reloaded: // by somebody else
		case <-quit:
			return
		}
	}
}

// watch begins to watch the files of a configuration; nil: it has none.
func (m *Master) watch(c *config.Config, changed chan<- struct{}) *config.Watcher {
	if m.opt.Load == nil || c.File == "" {
		return nil
	}
	w, err := config.Watch(c, config.WatchOptions{Log: m.log, Changed: func() {
		select {
		case changed <- struct{}{}:
		default: // it is known
		}
	}})
	if err != nil {
		m.log.Error("changes of the configuration are not noticed", "err", err)
	}
	return w
}
