package master

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"sluice/spawner"
)

// workerProcess is a running worker, as its master sees it.
type workerProcess struct {
	m       *Master
	gen     *generation
	index   int // 1 to workers: what the generation shares knows it by that
	place   int // likewise what all generations share
	child   *spawner.Child
	wire    *wire
	inbox   *net.UnixConn // by which it gets descriptors
	secret  string        // that comes with what the master sends there
	out     chan saying   // what the master says, in order
	ready   chan error
	began   time.Time
	missing bool            // it died in a draft, and nobody has replaced it; under the master's mu
	own     []inheritedFile // descriptors that this worker alone gets, behind the others
	desk    *scriptDesk     // nil: no scripts of other users

	mu     sync.Mutex
	last   uint64 // order
	orders map[uint64]chan struct{}
}

// saying is a message, or said is closed when all before it have been sent.
type saying struct {
	message
	said chan struct{}
}

// Bounds of a worker that does not listen: it is killed, and replaced. Whoever
// tells it something is not held up.
const (
	tellTimeout = 2 * time.Second
	tellQueue   = 4096 // messages
)

// tell sends a message, behind the caller's back. One that has ended hears
// nothing.
func (w *workerProcess) tell(m message) {
	if w.ended() {
		return
	}
	select {
	case w.out <- saying{message: m}:
	default:
		w.deaf(fmt.Errorf("%d messages wait for it", tellQueue))
	}
}

// talk sends what there is to tell, until the worker ends.
func (w *workerProcess) talk() {
	for {
		select {
		case m := <-w.out:
			if m.said != nil {
				close(m.said)
				continue
			}
			w.wire.f.SetWriteDeadline(time.Now().Add(tellTimeout))
			err := w.wire.send(m.message)
			if err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, os.ErrClosed) {
				w.deaf(err)
			}
		case <-w.child.Done():
			return
		}
	}
}

// said waits until a worker has been sent all that it was told.
func (w *workerProcess) said() {
	said := make(chan struct{})
	for out := w.out; ; out = nil {
		select {
		case out <- saying{said: said}:
		case <-said:
			return
		case <-w.child.Done():
			return
		}
	}
}

// number makes a message an order: done is closed when the worker says that it
// has carried it out.
func (w *workerProcess) number() (n uint64, done <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	c := make(chan struct{})
	w.orders[w.last] = c
	return w.last, c
}

// order tells a worker to do something, and returns what is closed when it has.
func (w *workerProcess) order(m message) (done <-chan struct{}) {
	m.Order, done = w.number()
	w.tell(m)
	return done
}

// carriedOut takes the worker's word for an order.
func (w *workerProcess) carriedOut(n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.orders[n]; c != nil {
		close(c)
		delete(w.orders, n)
	}
}

// await waits until a worker has carried out an order, or has ended; false: it has
// done neither in time.
func (w *workerProcess) await(done <-chan struct{}) bool {
	t := time.NewTimer(orderTime)
	defer t.Stop()
	select {
	case <-done:
	case <-w.child.Done():
	case <-t.C:
		return false
	}
	return true
}

// insist is await for what others depend on: one that does not obey is killed.
func (w *workerProcess) insist(done <-chan struct{}) {
	if !w.await(done) {
		w.deaf(fmt.Errorf("an order has not been carried out after %v", orderTime))
		<-w.child.Done()
	}
}

func (w *workerProcess) deaf(err error) {
	w.m.log.Error("worker does not listen, or talks nonsense, and is killed", "pid", w.child.PID(), "err", err)
	w.child.Signal(syscall.SIGKILL)
}

// ended reports whether the worker has been reaped.
func (w *workerProcess) ended() bool {
	select {
	case <-w.child.Done():
		return true
	default:
		return false
	}
}

// kill ends the worker and waits for that.
func (w *workerProcess) kill() {
	w.child.Signal(syscall.SIGKILL)
	<-w.child.Done()
}

// listen takes what the worker says until it ends.
func (w *workerProcess) listen() {
	defer w.wire.close()
	err := w.wire.receive(func(m message) {
		switch {
		case m.Ready:
			w.started(nil)
		case m.Failed != "":
			w.started(errors.New(m.Failed))
		case m.Done != 0:
			w.carriedOut(m.Done)
		case m.Report != nil:
			if a := w.gen.apps[m.Report.App]; a != nil && a.sup != nil {
				a.sup.Report(*m.Report)
			}
		case m.Slow != nil:
			w.m.slow(w, *m.Slow)
		}
	})
	if err != nil && !errors.Is(err, os.ErrClosed) {
		w.m.log.Error("worker says what cannot be understood", "pid", w.child.PID(), "err", err)
		w.child.Signal(syscall.SIGKILL)
	}
}

// started takes the first word of how the start went; any other is nonsense.
func (w *workerProcess) started(err error) {
	select {
	case w.ready <- err:
	default:
	}
}
