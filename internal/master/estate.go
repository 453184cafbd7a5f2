package master

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/config"
	"sluice/internal/front/peer"
	"sluice/internal/scoreboard"
	"sluice/lockmodes"
	"sluice/spawner"
)

// estateFormat is the version of an estate and of what a master and a worker say to
// each other: workers of the earlier program go on under the master of the later one.
const estateFormat = 1

// estate is all that a master has, for the program that is executed in its place: as
// JSON in a memory file. Descriptors are numbers, below 0 where there is none; what
// several have in common is named by its index.
type estate struct {
	Format     int
	Children   int // spawner.Layout
	Scoreboard int // scoreboard.LayoutVersion

	Version     string // of the program that wrote it
	Runtime     string
	Lock        int
	Bells       int
	Control     int
	Calls       []estateCall
	Passed      map[string][]int
	Sockets     []estateSocket
	Seats       []estateSeats
	Pages       []estatePage
	Apps        []estateApp
	Desks       []estateDesk
	Generations []estateGeneration
	Current     int

	Descriptors []int // all of them
}

type estateCall struct {
	Conn    int
	Command *Command // nil: it has not been read
	Asked   bool     // for this upgrade
}

type estateSocket struct {
	File    int
	More    []int
	Path    string
	Backlog int
	Passed  bool
}

type estateSeats struct {
	Options peer.SeatsOptions
	Memory  int
	Size    int
}

type estatePage struct {
	Address string
	Socket  estateSocket
}

type estateApp struct {
	Name, Label string
	Config      *config.App
	Max         int
	Leaving     bool
	Ledgers     []estateLedger
	Supervisor  *spawner.SupervisorState
}

type estateLedger struct {
	Name     string
	Made     spawner.LedgerOptions
	Memory   int
	Size     int
	Geometry uint64
}

// estateDesk is a desk. Without Conn its worker has gone, and its scripts are about
// to.
type estateDesk struct {
	Generation int
	Conn       int
	Grace      time.Duration
	Running    []estateScript
}

type estateScript struct {
	Number uint64
	App    string
	Stop   syscall.Signal
	Child  spawner.ChildState
}

type estateGeneration struct {
	Number   int
	Draining bool
	Config   *config.Config // as it was loaded
	ErrorLog int
	Access   int
	Board    estateBoard
	Lock     lockmodes.SharedState
	Sockets  []int
	Apps     map[string]int
	Seats    int
	Page     int
	Places   []int
	Workers  []estateWorker
}

type estateBoard struct {
	File   int
	Name   string
	Shown  bool
	Layout scoreboard.Layout
	Size   int
	Owner  scoreboard.OwnerState
}

type estateWorker struct {
	Index, Place int
	Child        spawner.ChildState
	Wire         int
	Part         []byte // of a message, that has come
	Inbox        int
	Secret       string
	Desk         int
	Began        time.Time
	Order        uint64 // the last one
}

// inventory describes what a master has.
type inventory struct {
	m       *Master
	e       *estate
	frozen  bool // nothing changes
	sockets map[*socket]int
	seats   map[*seats]int
	pages   map[*statusPage]int
	apps    map[*app]int
	desks   map[*scriptDesk]int
}

// describe describes all. frozen: nothing changes meanwhile; otherwise it is a
// sketch, by which somebody can tell whether he understands the real one.
func (m *Master) describe(frozen bool, asked *call) *estate {
	v := &inventory{m, &estate{Format: estateFormat, Children: spawner.Layout, Scoreboard: scoreboard.LayoutVersion, Version: m.opt.Version,
		Runtime: m.runtime.path, Passed: map[string][]int{}}, frozen,
		map[*socket]int{}, map[*seats]int{}, map[*statusPage]int{}, map[*app]int{}, map[*scriptDesk]int{}}
	e := v.e
	e.Lock, e.Bells, e.Control = v.file(m.runtime.lock), v.file(m.bellsFile.file), v.conn(m.control.l)
	for name, files := range m.passed {
		e.Passed[name] = v.files(files)
	}
	v.calls(asked)
	m.mu.Lock()
	apps := m.apps
	m.mu.Unlock()
	for _, a := range apps { // who tunes one has it before mu
		v.app(a)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.desks {
		if !d.ended() {
			v.desks[d] = len(e.Desks)
			e.Desks = append(e.Desks, v.desk(d))
		}
	}
	for _, g := range m.gens {
		if g == m.current {
			e.Current = len(e.Generations)
		}
		e.Generations = append(e.Generations, v.generation(g))
	}
	return e
}

func (v *inventory) descriptor(fd int) int {
	if fd >= 0 {
		v.e.Descriptors = append(v.e.Descriptors, fd)
	}
	return fd
}

func (v *inventory) file(f *os.File) int {
	if f == nil {
		return -1
	}
	return v.descriptor(int(fdOf(f)))
}

func (v *inventory) files(all []*os.File) (fds []int) {
	for _, f := range all {
		fds = append(fds, v.file(f))
	}
	return fds
}

func (v *inventory) conn(c syscall.Conn) int {
	fd := -1
	if rc, err := c.SyscallConn(); err == nil {
		rc.Control(func(n uintptr) { fd = int(n) })
	}
	return v.descriptor(fd)
}

func (v *inventory) calls(asked *call) {
	c := v.m.control
	c.mu.Lock()
	defer c.mu.Unlock()
	for k := range c.calls {
		d := estateCall{Conn: v.conn(k.conn), Asked: k == asked}
		if k.read {
			d.Command = &Command{k.Name, k.Now, k.App}
		}
		v.e.Calls = append(v.e.Calls, d)
	}
}

func (v *inventory) socket(s *socket) estateSocket {
	return estateSocket{v.file(s.file), v.files(s.more), s.path, s.backlog, s.passed}
}

func (v *inventory) app(a *app) {
	a.tuning.Lock()
	defer a.tuning.Unlock()
	d := estateApp{Name: a.name, Label: a.label, Config: a.cfg, Max: a.max, Leaving: a.leaving}
	for _, l := range a.ledgers {
		d.Ledgers = append(d.Ledgers, estateLedger{l.name, l.made, v.file(l.memory.file), len(l.memory.bytes), l.made.Geometry()})
	}
	if a.sup != nil {
		s := a.sup.Describe(v.file)
		d.Supervisor = &s
	}
	v.apps[a] = len(v.e.Apps)
	v.e.Apps = append(v.e.Apps, d)
}

func (v *inventory) desk(d *scriptDesk) estateDesk {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := estateDesk{Generation: d.generation, Conn: -1, Grace: d.grace}
	if !d.gate.over() {
		s.Conn = v.conn(d.conn)
	}
	for n, r := range d.running {
		if c, ok := r.child.(*spawner.Child); ok {
			s.Running = append(s.Running, estateScript{n, r.app, r.stop, c.Describe()})
		}
	}
	return s
}

func (v *inventory) generation(g *generation) estateGeneration {
	d := estateGeneration{Number: g.number, Draining: g.state == draining, Config: g.loaded, ErrorLog: v.file(g.errlog), Access: v.file(g.access),
		Lock: g.lock.Describe(v.file), Apps: map[string]int{}, Seats: -1, Page: -1, Places: slices.Clone(g.places)}
	b := g.board
	d.Board = estateBoard{v.file(b.file), b.file.Name(), b.shown, b.layout, len(b.mem), b.Describe()}
	for _, s := range g.sockets {
		d.Sockets = append(d.Sockets, index(v.sockets, s, func() { v.e.Sockets = append(v.e.Sockets, v.socket(s)) }))
	}
	for name, a := range g.apps {
		d.Apps[name] = v.apps[a]
	}
	if s := g.seats; s != nil {
		d.Seats = index(v.seats, s, func() {
			v.e.Seats = append(v.e.Seats, estateSeats{s.options, v.file(s.memory.file), len(s.memory.bytes)})
		})
	}
	if p := g.page; p != nil && !p.closed() {
		d.Page = index(v.pages, p, func() { v.e.Pages = append(v.e.Pages, estatePage{p.address, v.socket(p.socket)}) })
	}
	for _, w := range g.workers {
		if w != nil && !w.ended() {
			d.Workers = append(d.Workers, v.worker(w))
		}
	}
	return d
}

// index is the number of a thing, which is described when it gets one.
func index[T comparable](all map[T]int, t T, describe func()) int {
	n, known := all[t]
	if !known {
		n = len(all)
		all[t] = n
		describe()
	}
	return n
}

func (v *inventory) worker(w *workerProcess) estateWorker {
	d := estateWorker{Index: w.index, Place: w.place, Child: w.child.Describe(), Wire: v.file(w.wire.f), Inbox: v.conn(w.inbox),
		Secret: w.secret, Desk: -1, Began: w.began}
	w.mu.Lock()
	d.Order = w.last
	w.mu.Unlock()
	if v.frozen {
		d.Part = w.wire.part
	}
	if n, ok := v.desks[w.desk]; ok {
		d.Desk = n
	}
	return d
}

// write puts an estate into a memory file.
func (e *estate) write() (*os.File, error) {
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return sealed("estate", b)
}

// readEstate reads what write has written, and closes it.
func readEstate(fd int) (*estate, error) {
	f := os.NewFile(uintptr(fd), "estate")
	if f == nil {
		return nil, unix.EBADF
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	b := make([]byte, fi.Size())
	if _, err := f.ReadAt(b, 0); err != nil {
		return nil, err
	}
	// The version first: what is in another one may be of other types.
	var v struct{ Format int }
	if err := json.Unmarshal(b, &v); err != nil {
		return nil, err
	}
	if v.Format != estateFormat {
		return nil, fmt.Errorf("the state of the server is of version %d, this program knows %d", v.Format, estateFormat)
	}
	e := &estate{}
	return e, json.Unmarshal(b, e)
}
