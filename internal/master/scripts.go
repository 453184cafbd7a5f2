package master

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"sluice/cgi"
	"sluice/internal/assemble"
	"sluice/spawner"
)

// scriptDesk starts scripts of other users for one worker, and ends them when it
// has gone. It trusts nothing that the worker says: what is run, as whom and how
// is its places' to say.
type scriptDesk struct {
	generation int // of the worker
	places     []*assemble.Place
	conn       *net.UnixConn
	log        *slog.Logger
	grace      time.Duration    // of what still runs when the worker has gone
	bad        func(error)      // the worker says what none says
	owner      *spawner.Scripts // of what the worker started
	start      []cgi.Starter    // by place
	starts     sync.WaitGroup   // of run
	done       chan struct{}    // closed when the worker and all its scripts have gone

	gate gate

	mu      sync.Mutex
	running map[uint64]deskScript // by the worker's number
	count   map[string]int        // of running, by app
	telling int                   // news that the worker is being told
}

// deskScript is a script of a desk.
type deskScript struct {
	app   string
	stop  syscall.Signal
	child cgi.Process // nil while it is being started
}

func newScriptDesk(places []*assemble.Place, conn *net.UnixConn, owner *spawner.Scripts, grace time.Duration, log *slog.Logger) *scriptDesk {
	d := &scriptDesk{places: places, conn: conn, owner: owner, grace: grace, log: log, done: make(chan struct{}),
		running: map[uint64]deskScript{}, count: map[string]int{}}
	for _, p := range places {
		var st cgi.Starter
		if p != nil {
			st = owner.With(p.Options)
		}
		d.start = append(d.start, st)
	}
	return d
}

// serve carries out calls until the worker has gone.
func (d *scriptDesk) serve() {
	defer close(d.done)
	defer d.starts.Wait()
	defer func() { d.owner.Stop(d.grace) }()
	defer d.conn.Close()
	defer d.gate.left()
	for {
		call, files, err := receiveCall(d.conn)
		if d.gate.passes(err) {
			d.conn.SetReadDeadline(time.Time{})
			continue
		}
		if err == nil {
			err = d.handle(call, files)
		} else {
			closeFiles(files)
		}
		if errors.Is(err, errPacket) {
			d.bad(err)
		}
		if err != nil {
			return
		}
	}
}

// handle carries out one call. The error is errPacket for what no worker asks
// for; one that is refused is told so.
func (d *scriptDesk) handle(c scriptCall, files []*os.File) error {
	if c.Start == nil {
		closeFiles(files)
		d.signal(c.Script, syscall.Signal(c.Signal))
		return nil
	}
	if len(files) != startFiles {
		closeFiles(files)
		return fmt.Errorf("%w: %d descriptors", errPacket, len(files))
	}
	p, err := d.reserve(c)
	if err != nil {
		closeFiles(files)
		if !errors.Is(err, errPacket) {
			d.refuse(c.Script, err)
			return nil
		}
		return err
	}
	d.starts.Go(func() { d.run(c, p, files) })
	return nil
}

// reserve finds the place of a script and counts it.
func (d *scriptDesk) reserve(c scriptCall) (*assemble.Place, error) {
	i := c.Start.Place
	if i < 0 || i >= len(d.places) || d.places[i] == nil {
		return nil, fmt.Errorf("%w: place %d", errPacket, i)
	}
	p := d.places[i]
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, twice := d.running[c.Script]; twice {
		return nil, fmt.Errorf("%w: number %d is taken", errPacket, c.Script)
	}
	// As many as may run, and as many that work on after their answer.
	if d.count[p.App.Name] >= 2*p.App.Max {
		return nil, fmt.Errorf("%d scripts of app %q run: %w", 2*p.App.Max, p.App.Name, syscall.EAGAIN)
	}
	d.running[c.Script] = deskScript{app: p.App.Name, stop: p.Options.Stop}
	d.count[p.App.Name]++
	return p, nil
}

// run starts a script and says when it is over.
func (d *scriptDesk) run(c scriptCall, p *assemble.Place, files []*os.File) {
	proc, err := d.launch(c, p, files)
	closeFiles(files)
	if err != nil {
		d.forget(c.Script)
		d.refuse(c.Script, err)
		d.told()
		return
	}
	d.mu.Lock()
	s := d.running[c.Script]
	s.child = proc
	d.running[c.Script] = s
	d.telling++
	d.mu.Unlock()
	d.tell(scriptNews{Script: c.Script, PID: proc.PID()})
	d.told()
	d.attend(c.Script, proc)
}

// attend waits for the end of a script, and says so.
func (d *scriptDesk) attend(script uint64, proc cgi.Process) {
	<-proc.Done()
	d.forget(script)
	end := proc.Ending()
	d.tell(scriptNews{Script: script, End: &end})
	d.told()
}

func (d *scriptDesk) launch(c scriptCall, p *assemble.Place, files []*os.File) (cgi.Process, error) {
	meta, err := readEnv(files[3])
	if err != nil {
		return nil, err
	}
	cmd, err := p.Command(string(c.Start.Path), meta)
	if err != nil {
		return nil, err
	}
	return d.start[c.Start.Place].Start(cmd, files[0], files[1], files[2])
}

// forget takes a script off the list; told is called when the worker knows.
func (d *scriptDesk) forget(script uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count[d.running[script].app]--
	delete(d.running, script)
	d.telling++
}

func (d *scriptDesk) told() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.telling--
}

// signal passes a signal on to a script of this worker. One that has ended is no
// mistake: the news of it may be on its way.
func (d *scriptDesk) signal(script uint64, s syscall.Signal) {
	d.mu.Lock()
	proc := d.running[script].child
	d.mu.Unlock()
	if proc != nil && s > 0 {
		proc.Signal(s)
	}
}

func (d *scriptDesk) refuse(script uint64, err error) {
	if errors.Is(err, syscall.EINVAL) {
		d.log.Error("worker asks for what it may not start", "err", err)
	}
	d.tell(scriptNews{Script: script, Error: newScriptError(err)})
}

// tell sends news. A worker that does not listen is given up.
func (d *scriptDesk) tell(n scriptNews) {
	d.conn.SetWriteDeadline(time.Now().Add(tellTimeout))
	if err := sendPacket(d.conn, n); errors.Is(err, os.ErrDeadlineExceeded) {
		d.bad(err)
	}
}

// stop kills what still runs, and waits for the end. The worker has gone.
func (d *scriptDesk) stop() {
	d.owner.Stop(0)
	<-d.done
}

func (d *scriptDesk) ended() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// stopScripts kills the scripts of workers that could not do so themselves.
func (m *Master) stopScripts() {
	m.mu.Lock()
	desks := slices.Clone(m.desks)
	m.mu.Unlock()
	for _, d := range desks {
		d.stop()
	}
}
