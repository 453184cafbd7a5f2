package master

import (
	"errors"
	"slices"
	"time"
)

// holdTime bounds each of the waits until nothing changes any more. What is waited
// for takes milliseconds, unless a child or a worker is being started.
const holdTime = 5 * time.Second

var errUnsteady = errors.New("the server does not come to rest")

func await(cond func() bool) error {
	for limit := time.Now().Add(holdTime); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			return errUnsteady
		}
	}
	return nil
}

// hold has nothing in this process change, so that it can be described. Workers and
// children know nothing of it: what they say waits for them in the sockets. release
// undoes it. The caller has reloading and steady.
func (m *Master) hold() (release func(), err error) {
	var undo []func()
	release = func() {
		for _, f := range slices.Backward(undo) {
			f()
		}
	}
	fail := func(err error) (func(), error) {
		release()
		return nil, err
	}
	err = m.control.hold()
	undo = append(undo, m.control.release)
	if err != nil {
		return fail(err)
	}
	page := m.now().page
	page.pause()
	undo = append(undo, func() { page.serve(m) })

	m.mu.Lock()
	apps, desks := m.apps, slices.Clone(m.desks)
	m.mu.Unlock()
	for _, a := range apps {
		if a.sup != nil {
			a.sup.Hold()
			undo = append(undo, a.sup.Release)
		}
	}
	for _, d := range desks {
		d.gate.shut()
		d.conn.SetReadDeadline(time.Unix(1, 0))
		undo = append(undo, d.gate.open)
	}
	quiet := func() error {
		return await(func() bool { return !slices.ContainsFunc(desks, func(d *scriptDesk) bool { return !d.quiet() }) })
	}
	if err := quiet(); err != nil { // nothing is being started
		return fail(err)
	}
	m.reaper.Hold()
	undo = append(undo, m.reaper.Release)
	for _, a := range apps {
		if a.sup != nil {
			if err := a.sup.Settle(); err != nil {
				return fail(err)
			}
		}
	}
	if err := quiet(); err != nil { // the end of what has ended has been told
		return fail(err)
	}
	workers := m.living()
	each(workers, (*workerProcess).said)
	for _, w := range workers {
		w.wire.hold()
		undo = append(undo, w.wire.release)
	}
	if err := await(func() bool {
		return !slices.ContainsFunc(workers, func(w *workerProcess) bool { return !w.wire.gate.held() })
	}); err != nil {
		return fail(err)
	}
	return release, nil
}

// quiet reports whether a desk takes no calls, starts nothing and has told all. That
// of a worker which has gone ends its scripts.
func (d *scriptDesk) quiet() bool {
	if d.ended() {
		return true
	}
	if !d.gate.held() {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.running {
		if s.child == nil {
			return false
		}
		select {
		case <-s.child.Done():
			return false
		default:
		}
	}
	return d.telling == 0
}

// atRest waits until nothing is on its way that is not described: apps that nobody
// has any more, and children that are being restarted. It returns with steady
// locked, or with the error that the server is being stopped.
func (m *Master) atRest() error {
	for {
		m.steady.Lock()
		m.mu.Lock()
		rest := m.restarts.Load() == 0 && !slices.ContainsFunc(m.apps, func(a *app) bool { return !m.uses(a) })
		stopping := m.stopping
		m.mu.Unlock()
		switch {
		case stopping:
			m.steady.Unlock()
			return errStopping
		case rest:
			return nil
		}
		m.steady.Unlock()
		select {
		case <-m.stopped:
		case <-time.After(restPause):
		}
	}
}

const restPause = 20 * time.Millisecond
