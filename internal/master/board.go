package master

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/assemble"
	"sluice/internal/config"
	"sluice/internal/scoreboard"
	"sluice/internal/status"
	"sluice/spawner"
)

// board is the scoreboard of the server, in memory that the workers share.
type board struct {
	*scoreboard.Owner
	generation int
	places     int
	layout     scoreboard.Layout
	file       *os.File
	mem        []byte
	kept       bool   // it is a file that others may read
	path       string // of that
	shown      bool   // there
	quit       chan struct{}
	once       sync.Once
	keeper     sync.WaitGroup
}

// openBoard makes the memory and formats it.
func openBoard(c *config.Config, version string, generation int) (*board, error) {
	l := assemble.Board(c)
	b := &board{generation: generation, places: l.Places, layout: l, kept: c.Status.Scoreboard != "memory", path: c.Status.Scoreboard, quit: make(chan struct{})}
	var err error
	if b.kept {
		b.file, err = boardFile(c.Status.Scoreboard, l.Bytes())
	} else {
		b.file, err = sealedMemory(fileScoreboard, l.Bytes())
	}
	if err != nil {
		return nil, fmt.Errorf("scoreboard: %w", err)
	}
	if err := b.format(l, version); err != nil {
		b.file.Close()
		if b.kept {
			os.Remove(b.file.Name())
		}
		return nil, err
	}
	return b, nil
}

func (b *board) format(l scoreboard.Layout, version string) (err error) {
	if b.mem, err = mapShared(b.file, l.Bytes()); err != nil {
		return err
	}
	b.Owner, err = scoreboard.Create(b.mem, l, scoreboard.Head{Version: version, PID: os.Getpid(), Generation: b.generation})
	if err != nil {
		return err
	}
	for _, a := range l.Apps {
		for i := range a.Addresses {
			b.Child(a.Name, i, scoreboard.Slot{State: uint8(spawner.Ready)}) // until something else is known
		}
	}
	return nil
}

// show puts a scoreboard that is a file at its path: from now on it is the one.
func (b *board) show() error {
	if !b.kept {
		return nil
	}
	err := os.Rename(b.file.Name(), b.path)
	b.shown = err == nil
	return err
}

// boardFile is a new file beside the path, which takes its place when it has
// been formatted. So nobody ever finds half a scoreboard there, and a worker
// which a killed server left behind does not write into this one.
func boardFile(path string, size int) (*os.File, error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return nil, err
	}
	// A full disk is an error here, and not a signal later.
	err = unix.Fallocate(int(f.Fd()), 0, 0, int64(size))
	if errors.Is(err, unix.EOPNOTSUPP) {
		err = f.Truncate(int64(size))
	}
	if err != nil {
		f.Close()
		os.Remove(f.Name())
		return nil, err
	}
	return f, nil
}

// openPlace is how a worker gets at its part.
func openPlace(files []*os.File, place int) (*scoreboard.Place, error) {
	if len(files) != 1 {
		return nil, errors.New("no scoreboard was handed over")
	}
	defer files[0].Close()
	fi, err := files[0].Stat()
	if err != nil {
		return nil, err
	}
	mem, err := mapShared(files[0], int(fi.Size()))
	if err != nil {
		return nil, err
	}
	b, err := scoreboard.Open(mem)
	if err != nil {
		return nil, err
	}
	return b.Place(place)
}

// child notes what became of a child.
func (b *board) child(e spawner.Event) {
	b.Child(e.App, e.Slot, scoreboard.Slot{State: uint8(e.State), PID: e.PID, Began: beginning(e)})
}

func beginning(e spawner.Event) time.Time {
	if e.Began == 0 {
		return time.Time{}
	}
	return time.Unix(0, e.Began)
}

// boardPeriod is how old what the master knows may be in a scoreboard that is
// read after a crash.
const boardPeriod = time.Second

// keep copies what the master knows into a scoreboard that is a file, until
// close.
func (b *board) keep(s status.Sources) {
	if b.kept {
		b.keeper.Go(func() { b.copyDown(s) })
	}
}

func (b *board) copyDown(s status.Sources) {
	t := time.NewTicker(boardPeriod)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-b.quit:
			return
		}
		now, err := b.Snapshot()
		if err != nil {
			continue // it is said to who asks for the status
		}
		var was [][]scoreboard.Slot
		for _, a := range now.Apps {
			was = append(was, slices.Clone(a.Slots))
		}
		s.Complete(now)
		for i, a := range now.Apps {
			b.Queue(a.Name, a.Queue)
			for j, slot := range a.Slots {
				b.Refresh(a.Name, j, was[i][j], slot)
			}
		}
	}
}

// close says that the server has ended. A file stays: it tells how it was.
func (b *board) close() { b.once.Do(b.end) }

func (b *board) end() {
	close(b.quit)
	b.keeper.Wait()
	for place := range b.places {
		b.ClearPlace(place + 1)
	}
	b.End()
	b.Owner.Close()
	unix.Munmap(b.mem)
	if b.kept && !b.shown {
		os.Remove(b.file.Name())
	}
	b.file.Close()
}

// sources are where the state of a generation is found.
func (g *generation) sources() status.Sources {
	return status.Sources{Board: g.board.Snapshot, Counts: g.counts, Children: g.children, Memory: status.Resident}
}

func (g *generation) children(name string) ([]status.ChildInfo, bool) {
	a := g.apps[name]
	if a == nil || a.sup == nil {
		return nil, false
	}
	var all []status.ChildInfo
	for _, c := range a.sup.Children() {
		all = append(all, status.ChildInfo(c))
	}
	return all, true
}
