package master

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/assemble"
)

// reopenLogged opens the logs of all generations anew, whose files have been renamed
// by who rotates them, and has the workers write there, too.
func (m *Master) reopenLogged() {
	m.reloading.Lock()
	defer m.reloading.Unlock()
	m.mu.Lock()
	gens := m.gens
	m.mu.Unlock()
	for _, g := range slices.Backward(gens) { // the one first where this very log is
		if err := g.reopen(); err != nil {
			m.log.Error("logs are not opened anew", "generation", g.number, "err", err)
			continue
		}
		m.log.Info("logs have been opened anew", "generation", g.number)
	}
}

// reopen puts the new files in the place of the old ones, under their numbers, so
// that whoever writes goes on with them; and so do the workers.
func (g *generation) reopen() error {
	m := g.m
	m.steady.Lock() // no worker is given an old one
	defer m.steady.Unlock()
	logs := []struct {
		file *os.File
		path string
		name string
	}{{g.errlog, g.cfg.Log.Error, fileErrorLog}, {g.access, g.cfg.Log.Access, fileAccessLog}}
	p := packet{}
	var old, fresh []*os.File
	defer func() { closeFiles(fresh) }()
	for _, l := range logs {
		if l.file == nil {
			continue
		}
		f, err := assemble.OpenLog(l.path)
		if err != nil {
			return err
		}
		old, fresh, p.Logs = append(old, l.file), append(fresh, f), append(p.Logs, l.name)
	}
	if len(fresh) == 0 {
		return nil
	}
	for i, f := range old {
		if err := replaceFile(f, int(fdOf(fresh[i]))); err != nil {
			return fmt.Errorf("%s: %w", p.Logs[i], err)
		}
	}
	m.mu.Lock()
	workers := g.living()
	m.mu.Unlock()
	var all sync.WaitGroup
	for _, w := range workers {
		all.Go(func() {
			if !w.await(w.sendLogs(p, fresh)) {
				m.log.Error("worker does not say that it writes to the new logs", "pid", w.child.PID())
			}
		})
	}
	all.Wait()
	return nil
}

// sendLogs sends a worker its new logs.
func (w *workerProcess) sendLogs(p packet, fresh []*os.File) (done <-chan struct{}) {
	p.Secret = w.secret
	p.Order, done = w.number()
	var fds []int
	for _, f := range fresh {
		fds = append(fds, int(fdOf(f)))
	}
	w.inbox.SetWriteDeadline(time.Now().Add(tellTimeout))
	if err := sendPacket(w.inbox, p, fds...); err != nil && !gone(err) {
		w.deaf(err)
	}
	return done
}

// replaceFile makes an open file another one, which is open as fd. Nobody who uses
// it meanwhile notices.
func replaceFile(f *os.File, fd int) error {
	rc, err := f.SyscallConn()
	if err != nil {
		return err
	}
	cerr := rc.Control(func(n uintptr) { err = unix.Dup3(fd, int(n), unix.O_CLOEXEC) })
	return errors.Join(err, cerr)
}
