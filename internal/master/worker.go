package master

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/cgi"
	"sluice/internal/assemble"
	"sluice/internal/config"
	"sluice/internal/front"
	"sluice/internal/front/accept"
	"sluice/internal/front/http1"
	"sluice/internal/poll"
	"sluice/internal/procs"
	"sluice/internal/scoreboard"
	"sluice/spawner"
)

// RunWorker becomes a worker if this process was started as one, and otherwise
// returns at once.
func RunWorker() {
	if os.Getenv(workerVariable) == "" {
		return
	}
	os.Unsetenv(workerVariable)
	if err := (&worker{}).run(); err != nil {
		fmt.Fprintln(os.Stderr, "sluice: worker:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// orphanTimeout is how long a worker whose master has gone finishes what it has.
const orphanTimeout = 5 * time.Second

// floor is memory that is never touched, so that it costs address space alone.
// The collector counts it, and so does not run each time that a nearly empty
// worker has allocated four megabytes: a tenth less CPU a request, for as many
// megabytes as are set aside here.
var floor []byte

const floorBytes = 16 << 20

type worker struct {
	wire      *wire
	log       *slog.Logger
	front     *http1.Server
	listening []*os.File // kept, or the collector would close them
	acceptor  *accept.Acceptor
	inbox     *inbox
	set       *poll.Set
	asm       *assemble.Worker
	memory    *shared
	single    bool // it is the only one of its generation

	scripts spawner.Scripts
	remote  *remoteScripts // nil: there are none
	grace   time.Duration  // of the scripts that run when the worker ends
	groups  []*os.File     // that kill what the children of a dead master left
	done    chan struct{}
}

func (w *worker) run() error {
	// The master says what a signal means. They are caught and not ignored:
	// that would be inherited by every script.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGINT, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGHUP,
		syscall.SIGUSR1, syscall.SIGUSR2)
	// What is in here, such as other people's requests, is not for a debugger.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return os.NewSyscallError("prctl", err)
	}
	floor = make([]byte, floorBytes)
	w.done = make(chan struct{})
	for fd := controlFD; fd < controlFD+maxInherited; fd++ {
		unix.CloseOnExec(fd) // no script shall get any of it
	}
	unix.SetNonblock(controlFD, true)
	w.wire = newWire(os.NewFile(controlFD, "control"))
	if err := w.wire.receive(w.obey); err != nil {
		return err
	}
	killGroups(w.groups)
	go w.stop(orphanTimeout)
	<-w.done
	return nil
}

// obey does what the master says. What takes long is done beside.
func (w *worker) obey(m message) {
	switch {
	case m.Setup != nil && w.log == nil:
		if err := w.start(m.Setup); err != nil {
			w.wire.send(message{Failed: err.Error()})
			return
		}
		w.wire.send(message{Ready: true})
	case m.Event != nil && w.asm != nil:
		w.apply(*m.Event)
	case m.Accept:
		if err := w.acceptor.Start(); err != nil {
			w.log.Error("worker cannot accept", "err", err)
			os.Exit(1)
		}
		w.memory.keep(w.asm.Pools, w.single)
		w.confirm(m.Order)
	case m.Yield:
		w.memory.keep(w.asm.Pools, false)
		w.confirm(m.Order)
	case m.Drain != nil:
		go w.drain(*m.Drain, m.Order)
	case m.Stop != nil:
		go w.stop(m.Stop.Timeout)
	}
}

// confirm says that an order has been carried out.
func (w *worker) confirm(order uint64) {
	if err := w.wire.send(message{Done: order}); err != nil && !errors.Is(err, os.ErrClosed) {
		w.log.Error("order is not confirmed to the master", "err", err)
	}
}

// maxInherited bounds the descriptors that a master hands over.
const maxInherited = 1024

// inherit opens the descriptors that the master handed over, by what they are.
func inherit(names []string) map[string][]*os.File {
	files := map[string][]*os.File{}
	for i, name := range names {
		files[name] = append(files[name], os.NewFile(uintptr(firstInherited+i), name))
	}
	return files
}

func (w *worker) start(s *setup) error {
	files := inherit(s.Files)
	w.groups = files[fileKill]
	var errlog, access io.Writer = os.Stderr, nil
	for _, f := range files[fileErrorLog] {
		errlog = f
	}
	if s.Config.Log.Access == "stdout" {
		access = os.Stdout
	}
	for _, f := range files[fileAccessLog] {
		access = f
	}
	w.log = NewLog(errlog, s.Config.Log.Level)
	slog.SetDefault(w.log) // the standard library has something to say, too, such as of a store that says too much
	set, err := poll.New()
	if err != nil {
		return err
	}
	w.set = set
	memory, err := openShared(s.Config, files, s.Place, s.Rooms)
	if err != nil {
		return err
	}
	place, err := openPlace(files[fileScoreboard], s.Index)
	if err != nil {
		return err
	}
	for _, f := range files[fileScripts] {
		conn, err := packetConn(f)
		if err != nil {
			return err
		}
		w.remote = newRemoteScripts(conn, assemble.Names(s.Config))
	}
	asm, err := assemble.NewWorker(s.Config, assemble.Inputs{
		Version:  s.Version,
		Log:      w.log,
		Access:   access,
		Sockets:  s.Sockets,
		Label:    func(app string) string { return s.Labels[app] },
		Report:   w.report,
		Scripts:  func(a *config.App) cgi.Starter { return w.starter(a, s.Apart) },
		Ledger:   func(name string) spawner.Ledger { return memory.ledgers[name] },
		PassFrom: os.Environ(),
		Place:    place,
		Seats:    memory.seats,
		Slow:     w.slow,
		Set:      set,
	})
	if err != nil {
		return err
	}
	w.asm, w.grace = asm, assemble.ScriptGrace(s.Config)
	w.own(s.Config, s.Apart)
	w.memory, w.single = memory, s.Config.Workers == 1
	memory.keep(asm.Pools, false) // before it accepts
	for _, e := range s.Events {
		w.apply(e)
	}
	go countGoroutines(place)
	go procs.Adapt(nil, w.scripts.Starting)
	o := asm.Front
	o.Freed = func() { w.acceptor.Resume() }
	w.front = http1.New(o)
	if err := w.openAcceptor(s.Config, files, s.Index, place); err != nil {
		return err
	}
	logs := map[string]*os.File{}
	for _, name := range []string{fileErrorLog, fileAccessLog} {
		for _, f := range files[name] {
			logs[name] = f
		}
	}
	return w.openInbox(files[fileInbox], s.Secret, logs)
}

// openInbox has the worker take over connections, and learn who takes over its own.
func (w *worker) openInbox(files []*os.File, secret string, logs map[string]*os.File) (err error) {
	if len(files) != 1 {
		return errors.New("the master did not hand over an inbox")
	}
	if w.inbox, err = newInbox(files[0], secret, w.front, w.confirm); err != nil {
		return err
	}
	w.inbox.logs = logs
	go func() {
		if err := w.inbox.serve(); err != nil && err != io.EOF {
			w.log.Error("no connection is taken over any more", "err", err)
		}
	}()
	return nil
}

// starter starts the scripts of an app; apart are those whose scripts the master
// starts.
func (w *worker) starter(a *config.App, apart []string) cgi.Starter {
	if slices.Contains(apart, a.Name) {
		return w.remote.For(a)
	}
	return w.scripts.With(assemble.ScriptOptions(a, nil))
}

// own has the scripts of the first app that has any here, and of those with its
// umask, started without a thread of their own. Nothing that a worker makes itself
// has its mode by the umask, and none of its threads ends before it does.
func (w *worker) own(c *config.Config, apart []string) {
	for _, a := range c.Apps {
		if a.Kind == config.KindCGI && !slices.Contains(apart, a.Name) {
			w.scripts.Own(int(a.Umask))
			return
		}
	}
}

// countGoroutines keeps their number in the scoreboard: who looks for a leak sees
// it there.
func countGoroutines(place *scoreboard.Place) {
	for {
		place.Goroutines(runtime.NumGoroutine())
		time.Sleep(time.Second)
	}
}

func (w *worker) report(r spawner.Report) {
	if err := w.wire.send(message{Report: &r}); err != nil && !errors.Is(err, os.ErrClosed) {
		w.log.Error("report to the master", "err", err)
	}
}

func (w *worker) slow(s front.Slow) {
	if err := w.wire.send(message{Slow: &s}); err != nil && !errors.Is(err, os.ErrClosed) {
		w.log.Error("slow request is not reported to the master", "err", err)
	}
}

func (w *worker) apply(e spawner.Event) {
	if p := w.asm.Pools[e.App]; p != nil {
		p.Apply(e)
	}
}

func (w *worker) closeListening() {
	for _, f := range w.listening {
		f.Close()
	}
}

// stop finishes what there is, and ends the process; it does so at once for a
// timeout below 0, and waits for as long as it takes for 0. Of several stops the
// first to be done counts.
func (w *worker) stop(timeout time.Duration) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	begin := time.Now()
	switch {
	case timeout < 0:
		cancel()
	case timeout > 0:
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	if w.acceptor != nil {
		w.acceptor.Stop()
		if timeout >= 0 {
			w.acceptor.Drain()
		}
		w.closeListening()
	}
	if w.front != nil {
		if err := w.front.Shutdown(ctx); err != nil {
			w.log.Warn("requests were cut off by the stop", "err", err)
		}
		w.tell(ctx, timeout, begin)
	}
	w.endScripts(w.scriptGrace(timeout, time.Since(begin)))
	os.Exit(0)
}

// endScripts stops the scripts that still run.
func (w *worker) endScripts(grace time.Duration) {
	var all sync.WaitGroup
	all.Go(func() { w.scripts.Stop(grace) })
	if w.remote != nil {
		all.Go(func() { w.remote.Stop(grace) })
	}
	all.Wait()
}

// tell waits until the applications know what became of their files. Requests that
// took all of the timeout leave a twenty-fourth of it.
func (w *worker) tell(ctx context.Context, timeout time.Duration, begin time.Time) {
	if timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(context.Background(), begin.Add(timeout+timeout/24))
		defer cancel()
	}
	w.asm.Handler.Completions.Stop(ctx)
}

// scriptGrace is how long the scripts that still run have from the stop signal
// to SIGKILL. They must not outlive the worker, which the master kills soon
// after its timeout: so what is left of that, and a twelfth of it more.
func (w *worker) scriptGrace(timeout, used time.Duration) time.Duration {
	switch {
	case timeout < 0:
		return min(w.grace, stopNowGrace/2)
	case timeout > 0:
		return min(w.grace, max(0, timeout+timeout/12-used))
	}
	return w.grace
}
