package master

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"sluice/cgi"
	"sluice/internal/assemble"
	"sluice/internal/config"
	"sluice/spawner"
)

// remoteScripts are the scripts that the master starts for this worker.
type remoteScripts struct {
	conn  *net.UnixConn
	names []func(string) bool // of variables that count, by place
	done  chan struct{}       // closed when nothing is heard of the master any more

	mu      sync.Mutex
	last    uint64
	running map[uint64]*remoteScript
	over    error // why none is started any more
}

var errMasterGone = errors.New("the master has gone")

func newRemoteScripts(conn *net.UnixConn, names []func(string) bool) *remoteScripts {
	r := &remoteScripts{conn: conn, names: names, done: make(chan struct{}), running: map[uint64]*remoteScript{}}
	go r.listen()
	return r
}

// For is the Starter of an app.
func (r *remoteScripts) For(a *config.App) cgi.Starter {
	return &remoteApp{r: r, stop: assemble.StopSignal(a.StopSignal)}
}

type remoteApp struct {
	r    *remoteScripts
	stop syscall.Signal
}

// Start implements cgi.Starter. Of the command it is the script and its place
// that count, and the meta-variables; the master has its own word for the rest.
func (a *remoteApp) Start(cmd cgi.Command, stdin, stdout, stderr *os.File) (cgi.Process, error) {
	fail := func(err error) (cgi.Process, error) {
		return nil, &os.PathError{Op: "exec", Path: cmd.Script, Err: err}
	}
	start := &scriptStart{Place: cmd.Place}
	if cmd.Folder != "" {
		path, ok := strings.CutPrefix(cmd.Script, cmd.Folder)
		if !ok {
			return fail(syscall.EINVAL)
		}
		start.Path = []byte(strings.TrimLeft(path, "/"))
	}
	if len(start.Path) > maxScriptPath {
		return fail(syscall.ENAMETOOLONG)
	}
	var meta []string
	for _, kv := range cmd.Env {
		if name, _, _ := strings.Cut(kv, "="); a.r.names[cmd.Place](name) {
			meta = append(meta, kv)
		}
	}
	env, err := writeEnv(meta)
	if err != nil {
		return fail(err)
	}
	defer env.Close()
	p := &remoteScript{r: a.r, stop: a.stop, started: make(chan error, 1), done: make(chan struct{})}
	if err := a.r.add(p); err != nil {
		return fail(err)
	}
	call := scriptCall{Script: p.number, Start: start}
	if err := sendPacket(a.r.conn, call, int(stdin.Fd()), int(stdout.Fd()), int(stderr.Fd()), int(env.Fd())); err != nil {
		a.r.remove(p.number)
		return fail(err)
	}
	if err := <-p.started; err != nil {
		return nil, err
	}
	return p, nil
}

func (r *remoteScripts) add(p *remoteScript) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over != nil {
		return r.over
	}
	r.last++
	p.number = r.last
	r.running[p.number] = p
	return nil
}

func (r *remoteScripts) remove(number uint64) *remoteScript {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.running[number]
	delete(r.running, number)
	return p
}

// listen takes the master's news. When the master has gone, its scripts have,
// too: they were killed by that.
func (r *remoteScripts) listen() {
	defer close(r.done)
	defer r.conn.Close()
	b := make([]byte, maxScriptCall)
	for {
		n, err := r.conn.Read(b)
		var news scriptNews
		if err == nil {
			err = json.Unmarshal(b[:n], &news)
		}
		if err != nil {
			break
		}
		r.take(news)
	}
	r.mu.Lock()
	left := r.running
	r.running, r.over = nil, errMasterGone
	r.mu.Unlock()
	for _, p := range left {
		p.end(errMasterGone, cgi.Ending{Signal: syscall.SIGKILL})
	}
}

func (r *remoteScripts) take(n scriptNews) {
	switch {
	case n.Error != nil:
		if p := r.remove(n.Script); p != nil {
			p.started <- n.Error
		}
	case n.End != nil:
		if p := r.remove(n.Script); p != nil {
			p.end(nil, *n.End)
		}
	default:
		r.mu.Lock()
		p := r.running[n.Script]
		first := p != nil && p.pid == 0 && n.PID != 0
		if first {
			p.pid = n.PID
		}
		r.mu.Unlock()
		if first {
			p.started <- nil
		}
	}
}

// count is how many scripts run, or are being started.
func (r *remoteScripts) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.running)
}

// Stop ends every script that still runs: its stop signal, the grace, SIGKILL.
// It returns when all have ended. One whose start is under way is left to the
// master, for which the end of this process is the end of its scripts.
func (r *remoteScripts) Stop(grace time.Duration) {
	spawner.Await(r.signal(0), grace, func() { r.signal(syscall.SIGKILL) })
}

// signal sends a signal to all, or to each its own for 0.
func (r *remoteScripts) signal(s syscall.Signal) []*remoteScript {
	r.mu.Lock()
	if r.over == nil {
		r.over = spawner.ErrStopped
	}
	var all []*remoteScript
	for _, p := range r.running {
		if p.pid != 0 {
			all = append(all, p)
		}
	}
	r.mu.Unlock()
	for _, p := range all {
		if s != 0 {
			p.Signal(s)
		} else {
			p.Signal(p.stop)
		}
	}
	return all
}

// remoteScript is a script that the master started. It implements cgi.Process.
type remoteScript struct {
	r       *remoteScripts
	number  uint64
	stop    syscall.Signal
	pid     int        // set before started says so
	started chan error // of one
	done    chan struct{}
	ending  cgi.Ending // set before done is closed
}

// end is the end of a script, or of the way to its start.
func (p *remoteScript) end(why error, e cgi.Ending) {
	if p.pid == 0 {
		p.started <- why
	}
	p.ending = e
	close(p.done)
}

// PID is the process id, and the id of the process group.
func (p *remoteScript) PID() int { return p.pid }

// Signal has the master send to the whole process group.
func (p *remoteScript) Signal(s syscall.Signal) error {
	select {
	case <-p.done:
		return syscall.ESRCH
	default:
	}
	return sendPacket(p.r.conn, scriptCall{Script: p.number, Signal: int(s)})
}

// Done is closed when the script has been reaped, or the master has gone.
func (p *remoteScript) Done() <-chan struct{} { return p.done }

// Ending says how it ended; it may be asked after Done.
func (p *remoteScript) Ending() cgi.Ending { return p.ending }
