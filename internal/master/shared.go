package master

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"sluice/internal/assemble"
	"sluice/internal/config"
	"sluice/internal/front/peer"
	"sluice/spawner"
)

// What a descriptor of shared memory is; behind fileLedger comes the ledger's
// name.
const (
	fileBells  = "bells"
	fileLedger = "ledger:"
	fileSeats  = "seats"
)

// shared is the memory that master and workers share: the bells, the ledgers,
// and the seats of the clients.
type shared struct {
	bells   *spawner.Bells
	ledgers map[string]spawner.Shared
	seats   *peer.Seats     // nil: a client may have any number of connections
	files   []inheritedFile // the master's, for the workers to come
	deaf    func()          // ends the listening
}

// createShared makes the memory. It has no name, and is gone with the last
// process that has it.
func createShared(c *config.Config) (*shared, error) {
	s := &shared{ledgers: map[string]spawner.Shared{}}
	mem, err := s.add(fileBells, spawner.BellsSize)
	if err != nil {
		return nil, err
	}
	s.bells = spawner.NewBells(mem)
	for _, n := range assemble.Ledgers(c) {
		if mem, err = s.add(fileLedger+n.Name, n.Options.Size()); err != nil {
			return nil, err
		}
		l, err := spawner.CreateLedger(n.Options, mem, s.bells)
		if err != nil {
			return nil, fmt.Errorf("ledger %q: %w", n.Name, err)
		}
		for i := range n.Options.Slots {
			if !n.Supervised {
				l.Set(i, spawner.Ready, 0)
			}
		}
		s.ledgers[n.Name] = l
	}
	if o, bounded := assemble.Seats(c); bounded {
		if mem, err = s.add(fileSeats, o.Size()); err != nil {
			return nil, err
		}
		s.seats = peer.CreateSeats(o, mem)
	}
	s.listen(0)
	return s, nil
}

// listen wakes those who wait at a place when its bell rings.
func (s *shared) listen(place int) {
	s.deaf = s.bells.Listen(place, func() {
		for _, l := range s.ledgers {
			l.Wake()
		}
	})
}

// add makes a piece of memory and keeps its file for the workers.
func (s *shared) add(name string, size int) ([]byte, error) {
	f, err := sealedMemory(name, size)
	if err != nil {
		return nil, err
	}
	s.files = append(s.files, inheritedFile{name, f})
	return mapShared(f, size)
}

// sealedMemory is memory without a name, whose length nobody can change: who
// touches what has been cut off is killed.
func sealedMemory(name string, size int) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), name)
	err = f.Truncate(int64(size))
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// mapShared maps a file of shared memory, for as long as the process lives.
func mapShared(f *os.File, size int) ([]byte, error) {
	mem, err := unix.Mmap(int(fdOf(f)), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return mem, os.NewSyscallError("mmap", err)
}

// clear takes back what the dead worker of a place held.
func (s *shared) clear(place int) {
	for _, l := range s.ledgers {
		l.ClearPlace(place)
	}
	s.seats.ClearPlace(place)
}

func (s *shared) close() {
	if s.deaf != nil {
		s.deaf()
	}
	for _, f := range s.files {
		f.file.Close()
	}
}

// openShared opens in a worker what the master shares.
func openShared(c *config.Config, files map[string][]*os.File, place int) (*shared, error) {
	s := &shared{ledgers: map[string]spawner.Shared{}}
	open := func(name string, size int) ([]byte, error) {
		if len(files[name]) != 1 {
			return nil, fmt.Errorf("the master did not hand over %s", name)
		}
		f := files[name][0]
		defer f.Close()
		return mapShared(f, size)
	}
	mem, err := open(fileBells, spawner.BellsSize)
	if err != nil {
		return nil, err
	}
	s.bells = spawner.NewBells(mem)
	for _, n := range assemble.Ledgers(c) {
		if mem, err = open(fileLedger+n.Name, n.Options.Size()); err != nil {
			return nil, err
		}
		if s.ledgers[n.Name], err = spawner.OpenLedger(n.Options, mem, s.bells, place); err != nil {
			return nil, fmt.Errorf("ledger %q: %w", n.Name, err)
		}
	}
	if o, bounded := assemble.Seats(c); bounded {
		if mem, err = open(fileSeats, o.Size()); err != nil {
			return nil, err
		}
		s.seats = peer.OpenSeats(o, mem, place)
	}
	s.listen(place)
	return s, nil
}
