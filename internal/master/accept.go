package master

import (
	"path/filepath"

	"sluice/internal/assemble"
	"sluice/lockmodes"
)

// acceptRecord is the file of the runtime directory that names the semaphore of
// the accept mode sysvsem, which would outlive a master that is killed.
const acceptRecord = "accept.sem"

// openAccept makes what the workers share to agree who accepts.
func (m *Master) openAccept() error {
	record := filepath.Join(m.runtime.path, acceptRecord)
	found, err := lockmodes.Sweep(record)
	if err != nil {
		return err
	}
	if found {
		m.log.Info("the semaphore of a server that was killed has been removed")
	}
	o, err := assemble.AcceptLock(m.cfg)
	if err != nil {
		return err
	}
	o.Record = record
	if m.ids.Workers != nil {
		o.UID, o.GID = m.ids.Workers.UID, m.ids.Workers.GID
	}
	m.acceptMode = o.Mode
	m.acceptLock, err = lockmodes.Create(o)
	return err
}

// openLock gives a worker its descriptor of the accept lock.
func (w *workerProcess) openLock() error {
	f, err := w.m.acceptLock.File()
	if f != nil {
		w.own = append(w.own, inheritedFile{fileAcceptLock, f})
	}
	return err
}
