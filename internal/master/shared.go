package master

import (
	"fmt"
	"os"
	"sync/atomic"

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

// memory is memory that master and workers share. It has no name, and is gone
// with the last process that has it.
type memory struct {
	inheritedFile
	bytes []byte
}

// newMemory makes memory and keeps its file for the workers.
func newMemory(name string, size int) (*memory, error) {
	f, err := sealedMemory(name, size)
	if err != nil {
		return nil, err
	}
	b, err := mapShared(f, size)
	if err != nil {
		f.Close()
		return nil, err
	}
	return &memory{inheritedFile{name, f}, b}, nil
}

// drop gives the memory back, which nobody needs any more. It stays mapped, and
// empty: whoever is late finds nothing there, which is better than not to be
// there.
func (m *memory) drop() {
	unix.Fallocate(int(fdOf(m.file)), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, int64(len(m.bytes)))
	m.file.Close()
}

// openBells makes the bells, which all workers share, whatever generation they
// are of.
func (m *Master) openBells() error {
	mem, err := newMemory(fileBells, spawner.BellsSize)
	if err != nil {
		return err
	}
	m.listenTo(mem)
	return nil
}

func (m *Master) listenTo(mem *memory) {
	m.bellsFile, m.bells = mem, spawner.NewBells(mem.bytes)
	m.deaf = m.bells.Listen(0, func() {
		m.mu.Lock()
		all := m.ringing
		m.mu.Unlock()
		for _, l := range all {
			l.Wake()
		}
	})
}

// seats are those of the clients, for as many generations as have the same bound.
type seats struct {
	options peer.SeatsOptions
	memory  *memory
	*peer.Seats
}

func (g *generation) openSeats(before *generation) error {
	o, bounded := assemble.Seats(g.cfg)
	if !bounded {
		return nil
	}
	if before != nil && before.seats != nil && before.seats.options == o {
		g.seats = before.seats
		return nil
	}
	mem, err := newMemory(fileSeats, o.Size())
	if err != nil {
		return err
	}
	g.seats = &seats{options: o, memory: mem, Seats: peer.CreateSeats(o, mem.bytes)}
	return nil
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

// mapShared maps a file of shared memory.
func mapShared(f *os.File, size int) ([]byte, error) {
	mem, err := unix.Mmap(int(fdOf(f)), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	return mem, os.NewSyscallError("mmap", err)
}

// vacate takes back what a worker held that has been reaped.
func (w *workerProcess) vacate() { w.gen.vacate(w.index, w.place) }

func (g *generation) vacate(index, place int) {
	g.board.ClearPlace(index)
	for _, a := range g.apps {
		for _, l := range a.ledgers {
			l.ClearPlace(place)
		}
	}
	if g.seats != nil {
		g.seats.ClearPlace(place)
	}
	g.lock.Clear(index)
}

// shared is the memory as a worker has it.
type shared struct {
	ledgers map[string]spawner.Shared
	pools   atomic.Pointer[map[string]*spawner.Pool] // that keep connections; nil: none do
	seats   *peer.Seats                              // nil: a client may have any number of connections
	deaf    func()                                   // ends the listening
}

// openShared opens in a worker what the master shares.
func openShared(c *config.Config, files map[string][]*os.File, place int, rooms map[string]spawner.Room) (*shared, error) {
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
	bells := spawner.NewBells(mem)
	for _, n := range assemble.Ledgers(c) {
		n.Options.Room = rooms[n.Name]
		if mem, err = open(fileLedger+n.Name, n.Options.Size()); err != nil {
			return nil, err
		}
		if s.ledgers[n.Name], err = spawner.OpenLedger(n.Options, mem, bells, place); err != nil {
			return nil, fmt.Errorf("ledger %q: %w", n.Name, err)
		}
	}
	if o, bounded := assemble.Seats(c); bounded {
		if mem, err = open(fileSeats, o.Size()); err != nil {
			return nil, err
		}
		s.seats = peer.OpenSeats(o, mem, place)
	}
	s.deaf = bells.Listen(place, s.rung)
	return s, nil
}

// rung looks what the bell of this place may have rung for.
func (s *shared) rung() {
	for _, l := range s.ledgers {
		l.Wake()
	}
	if pools := s.pools.Load(); pools != nil {
		for app, p := range *pools {
			p.Yield(s.ledgers[app].Elsewhere)
		}
	}
}

// keep says whether the pools keep connections to their children.
func (s *shared) keep(pools map[string]*spawner.Pool, on bool) {
	if on {
		s.pools.Store(&pools)
	}
	for app, p := range pools {
		s.ledgers[app].Keeper(on)
		p.Keep(on)
	}
	if !on {
		s.pools.Store(nil)
	}
}

// close ends the listening.
func (s *shared) close() { s.deaf() }
