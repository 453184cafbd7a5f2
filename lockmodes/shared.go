package lockmodes

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// Options say what lock it is.
type Options struct {
	Mode    Mode
	Permits int // Partial: holders at once, at least 1

	// Dir is the folder, on a local disk, of the file of Flock and Fcntl; "" is
	// the system's for temporary files. The file loses its name at once, so
	// nothing is left behind.
	Dir string
	// UID and GID are who the processes of SysVSem run as; below 0 as the caller.
	UID, GID int
	// Record is the file in which SysVSem notes what Sweep is to remove if this
	// process is killed; "": nowhere.
	Record string
}

func (o Options) check() error {
	switch {
	case o.Mode >= Modes:
		return fmt.Errorf("no such mode: %s", o.Mode)
	case o.Mode == Partial && o.Permits < 1:
		return fmt.Errorf("%d permits", o.Permits)
	}
	return nil
}

// share is what the processes of a mode share.
type share uint8

const (
	nothing share = iota
	aFile
	aMemory
	aSemaphore // whose number stands in memory
)

// Shared is a lock as the process has it that is above those that compete. Its
// methods may be called by any goroutine.
type Shared struct {
	o Options

	mu    sync.Mutex
	file  *os.File
	mem   *memory
	semid int
}

// Create makes what the processes of a mode share; for a mode without a lock that
// is nothing.
func Create(o Options) (*Shared, error) {
	s := &Shared{o: o, semid: -1}
	if err := s.create(); err != nil {
		s.Close()
		return nil, fmt.Errorf("create accept lock %s: %w", o.Mode, err)
	}
	return s, nil
}

func (s *Shared) create() (err error) {
	if err := s.o.check(); err != nil {
		return err
	}
	switch modes[s.o.Mode].share {
	case nothing:
		return nil
	case aFile:
		s.file, err = unnamedFile(s.o.Dir)
		return err
	}
	if s.file, err = createMemory(); err != nil {
		return err
	}
	if s.mem, err = mapMemory(s.file); err != nil || modes[s.o.Mode].share != aSemaphore {
		return err
	}
	if s.semid, err = createSemaphore(s.o.UID, s.o.GID); err != nil {
		return err
	}
	s.mem.semid.Store(int64(s.semid))
	return note(s.o.Record, s.semid)
}

func unnamedFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "accept-*.lock") // 0600
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// File returns the descriptor for the process of a place, with O_CLOEXEC; nil for
// a mode without a lock. Whoever starts the process hands it over and closes it:
// as long as it is open elsewhere, Flock stays locked when the process is killed.
func (s *Shared) File() (f *os.File, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil, nil
	}
	raw, err := s.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	cerr := raw.Control(func(fd uintptr) {
		if s.mem == nil {
			f, err = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fd), os.O_RDWR, 0) // an open file description of its own
			return
		}
		var n int
		if n, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			f = os.NewFile(uintptr(n), s.file.Name())
		}
	})
	if err = errors.Join(err, cerr); err != nil {
		return nil, fmt.Errorf("accept lock %s: %w", s.o.Mode, err)
	}
	return f, nil
}

// SharedState describes a Shared for a successor in the same process.
type SharedState struct {
	Options   Options
	File      int // descriptor; -1: there is none
	Semaphore int // -1: there is none
}

// Describe describes the lock. keep makes a descriptor one that the successor has, and
// returns its number.
func (s *Shared) Describe(keep func(*os.File) int) SharedState {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := SharedState{s.o, -1, s.semid}
	if s.file != nil {
		st.File = keep(s.file)
	}
	return st
}

// Resume is the lock of a State; file is that of its descriptor, or nil.
func Resume(st SharedState, file *os.File) (*Shared, error) {
	s := &Shared{o: st.Options, semid: st.Semaphore, file: file}
	if err := s.o.check(); err != nil {
		return nil, fmt.Errorf("accept lock: %w", err)
	}
	if file == nil || modes[s.o.Mode].share == aFile {
		return s, nil
	}
	var err error
	if s.mem, err = mapMemory(file); err != nil {
		return nil, fmt.Errorf("accept lock %s: %w", s.o.Mode, err)
	}
	return s, nil
}

// Clear takes back what the process of a place held, 1 to Places, and wakes who
// waits for it. The process has to have been reaped.
func (s *Shared) Clear(place int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mem != nil && place >= 1 && place <= Places {
		s.mem.clear(place)
	}
}

// Close removes what Create made. The processes are to have ended: who still
// waits for SysVSem gets an error.
func (s *Shared) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.semid >= 0 {
		errs = append(errs, semctl(s.semid, ipcRemove, 0, nil))
		if s.o.Record != "" {
			errs = append(errs, os.Remove(s.o.Record))
		}
		s.semid = -1
	}
	if s.mem != nil {
		errs = append(errs, s.mem.unmap())
		s.mem = nil
	}
	if s.file != nil {
		errs = append(errs, s.file.Close())
		s.file = nil
	}
	return errors.Join(errs...)
}
