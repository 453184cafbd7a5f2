package master

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// An upgrade executes the binary that is at this program's path now in the place of
// this program. The process stays what it is: its number, its children and all
// descriptors; everything else is described in an estate, from which the new program
// puts itself together. Then that makes a new generation, whose workers run it too.
// Nothing is changed before the exec, and that is tried before.

var (
	errNotAnew = errors.New("this server is made of its own program, and cannot be upgraded")
	errPath    = errors.New("the path of this program is not known")
)

// upgradeCommand is answered by the new program, or by this one if there is none.
func (m *Master) upgradeCommand(c *call) {
	if m.isOpen(c) {
		m.upgradeLogged("command", c)
	}
}

// upgradeLogged upgrades, and returns only if that fails. Who has asked hears why.
func (m *Master) upgradeLogged(why string, asked *call) {
	m.log.Info("the program is upgraded", "because", why)
	err := m.upgrade(asked)
	m.log.Error("upgrade failed, nothing has changed", "err", err)
	if asked != nil {
		asked.answer(Result{Error: err.Error()})
	}
}

// mayExecute refuses a program that is somebody else's, or that others can change:
// the master may be root.
func mayExecute(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user (%d)", path, st.Uid)
	}
	if st.Mode&0o002 != 0 {
		return fmt.Errorf("%s can be written by everybody", path)
	}
	return nil
}

func (m *Master) upgrade(asked *call) error {
	m.reloading.Lock()
	defer m.reloading.Unlock()
	switch {
	case m.isStopping():
		return errStopping
	case m.opt.Load == nil || !m.opt.Anew:
		return errNotAnew
	}
	path, err := os.Executable()
	if err != nil {
		return fmt.Errorf("%w: %w", errPath, err)
	}
	if err := mayExecute(path); err != nil {
		return err
	}
	m.tellReloading()
	defer m.tellReady()
	version, err := m.try(path)
	if err != nil {
		return fmt.Errorf("trial of %s: %w", path, err)
	}
	m.log.Info("the new program would take over", "path", path, "version", version, "pid", os.Getpid())
	if err := m.atRest(); err != nil {
		return err
	}
	defer m.steady.Unlock()
	release, err := m.hold()
	if err != nil {
		return err
	}
	defer release()
	e := m.describe(true, asked)
	i := &image{path: path, fds: e.Descriptors, failed: make(chan error, 1)}
	if i.estate, err = e.write(); err != nil {
		return err
	}
	defer i.estate.Close()
	select {
	case m.images <- i:
		return <-i.failed
	case <-m.stopped:
		return errStopping
	}
}

// upgraded is what comes behind the exec, before anybody else can reload: a generation
// of workers that run this program, too.
func (m *Master) upgraded(e *estate) {
	m.log.Info("the program has been executed in the place of another one", "was", e.Version, "is", m.opt.Version)
	r, err := m.logged("upgrade", func() (*Reloaded, error) { return m.loadAlone(false) })
	m.reloading.Unlock()
	var answer Result
	if err != nil {
		answer.Error = fmt.Sprintf("%s -> %s\nthe workers still run %s: %v", e.Version, m.opt.Version, e.Version, err)
		m.tellReady()
	} else {
		answer = Result{OK: true, Text: fmt.Sprintf("%s -> %s\n%s", e.Version, m.opt.Version, r.text())}
	}
	if m.asked != nil {
		m.asked.answer(answer)
	}
}
