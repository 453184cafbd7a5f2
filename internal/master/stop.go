package master

import (
	"context"
	"slices"
	"sync"
	"syscall"
	"time"

	"sluice/internal/scoreboard"
)

// stopKind is how a server is to be stopped; a greater one is more urgent.
type stopKind int

const (
	stopGraceful stopKind = iota + 1 // finish, for as long as it takes
	stopTimely                       // finish within stop_timeout
	stopNow
)

func (k stopKind) String() string {
	return map[stopKind]string{stopGraceful: "gracefully", stopTimely: "within stop_timeout", stopNow: "at once"}[k]
}

func (m *Master) ask(k stopKind) {
	select {
	case m.stops <- k:
	default: // eight are waiting: it is known
	}
}

// stop stops the workers, then the children. While it does, a more urgent stop
// may come.
func (m *Master) stop(k stopKind) {
	m.mu.Lock()
	m.stopping = true
	close(m.stopped)
	gens, timeout := slices.Clone(m.gens), m.current.cfg.StopTimeout
	m.mu.Unlock()
	workers := m.living()
	m.log.Info("stopping", "how", k)
	m.tellStopping(k)
	// Clients that come now are refused by the kernel as soon as the workers have
	// closed theirs. Left open, it would let them wait for as long as the stop takes.
	for _, g := range gens {
		for _, s := range g.sockets {
			s.close()
		}
	}
	hurry := make(chan stopKind, 8)
	quit := make(chan struct{})
	defer close(quit)
	go m.urgent(k, hurry, quit)
	k = m.stopWorkers(workers, k, timeout, hurry)
	m.stopScripts()
	m.stopChildren(k, timeout, hurry)
}

// urgent passes on the stops that are more urgent than the one before.
func (m *Master) urgent(k stopKind, hurry chan<- stopKind, quit <-chan struct{}) {
	for {
		select {
		case n := <-m.stops:
			if n > k {
				k = n
				hurry <- n
			}
		case <-quit:
			return
		}
	}
}

// stopWorkers waits for the workers to finish within what k allows, and no
// longer. It returns the most urgent stop that has come.
func (m *Master) stopWorkers(workers []*workerProcess, k stopKind, timeout time.Duration, hurry <-chan stopKind) stopKind {
	var kill <-chan time.Time
	tell := func() {
		s := &stop{}
		switch k {
		case stopTimely:
			// Half of what is left after the worker's share is the children's.
			share := timeout * 3 / 4
			s.Timeout = share
			kill = time.After(share + timeout/8)
		case stopNow:
			s.Timeout = -1
			kill = time.After(stopNowGrace)
		}
		for _, w := range workers {
			if !w.ended() {
				w.state(scoreboard.Stopping)
				w.tell(message{Stop: s})
			}
		}
	}
	tell()
	for _, w := range workers {
		for !w.ended() {
			select {
			case <-w.child.Done():
			case k = <-hurry:
				tell()
			case <-kill:
				for _, w := range workers {
					w.child.Signal(syscall.SIGKILL)
				}
				<-w.child.Done()
			}
		}
	}
	return k
}

// stopNowGrace is how long a worker that is stopped at once has to end its
// scripts.
const stopNowGrace = 2 * time.Second

// stopChildren stops the children: within what the workers have left of
// stop_timeout, or within their own stop_grace, which is shorter than all of it.
func (m *Master) stopChildren(k stopKind, timeout time.Duration, hurry <-chan stopKind) {
	ctx, now := context.WithCancel(context.Background())
	defer now()
	if k == stopTimely {
		defer time.AfterFunc(timeout/8, now).Stop()
	}
	var wg sync.WaitGroup
	m.mu.Lock()
	apps := m.apps
	m.mu.Unlock()
	for _, a := range apps {
		if a.sup != nil {
			wg.Go(func() { a.sup.Stop(ctx) })
		}
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	for {
		if k == stopNow {
			now()
		}
		select {
		case <-done:
			return
		case k = <-hurry:
		}
	}
}
