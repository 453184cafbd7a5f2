package accept

import (
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/poll"
)

// watched accepts in the goroutine of the worker's set.
type watched struct {
	o   Options
	all []*listener

	turn  sync.Mutex // of one wake-up; Stop waits for it
	batch batch
	fine  bool // something was accepted since the last pause

	mu      sync.Mutex
	trouble trouble
	watches []*poll.Watch // none while it is at rest
	pausing bool          // after an error
	stopped bool
	timer   *time.Timer
}

func newWatched(o Options) *watched {
	return &watched{o: o, all: listeners(o.Listeners), trouble: trouble{log: o.Log, short: o.Short}}
}

func (w *watched) start() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped {
		return errStopped
	}
	return w.watch()
}

func listeners(fds []int) (all []*listener) {
	for i, fd := range fds {
		all = append(all, &listener{index: i, fd: fd})
	}
	return all
}

// watch begins to watch, with mu held.
func (w *watched) watch() error {
	for _, l := range w.all {
		p, err := w.o.Set.Watch(l.fd, unix.EPOLLIN, func() { w.wake(l) })
		if err != nil {
			w.unwatch()
			return err
		}
		w.watches = append(w.watches, p)
	}
	return nil
}

func (w *watched) unwatch() {
	for _, p := range w.watches {
		p.Stop()
	}
	w.watches = nil
}

// wake is called when a listener has a connection.
func (w *watched) wake(l *listener) {
	w.turn.Lock()
	defer w.turn.Unlock()
	if !w.watching() {
		return // it was on its way
	}
	room := w.o.Room()
	if room > 0 {
		w.batch.fill([]*listener{l}, room)
		w.o.Place.Wakeup(w.batch.n, 0)
		w.batch.hand(w.o.Take)
		w.fine = w.fine || w.batch.n > 0
		if w.batch.cause != 0 {
			w.pause(os.NewSyscallError("accept", w.batch.cause))
			return
		}
		room = w.o.Room()
	}
	if room <= 0 {
		w.rest()
	}
}

func (w *watched) watching() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.stopped && w.watches != nil
}

// rest stops watching until there is room.
func (w *watched) rest() {
	w.mu.Lock()
	w.unwatch()
	w.mu.Unlock()
	if w.o.Room() > 0 {
		w.resume() // was called before we rested
	}
}

// pause stops watching for a while.
func (w *watched) pause(cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unwatch()
	if w.fine {
		w.trouble.fine()
		w.fine = false
	}
	w.goOnLater(cause)
}

func (w *watched) goOnLater(cause error) {
	if !w.stopped {
		w.pausing = true
		w.timer = time.AfterFunc(w.trouble.next(cause), w.goOn)
	}
}

// goOn ends a pause.
func (w *watched) goOn() {
	w.mu.Lock()
	w.pausing = false
	w.mu.Unlock()
	w.resume()
}

func (w *watched) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stopped || w.pausing || w.watches != nil {
		return
	}
	if err := w.watch(); err != nil {
		w.goOnLater(err)
	}
}

func (w *watched) stop() {
	w.mu.Lock()
	w.stopped = true
	w.unwatch()
	if w.timer != nil {
		w.timer.Stop()
	}
	w.mu.Unlock()
	w.turn.Lock() // the one that was under way
	w.turn.Unlock()
}
