package main

import (
	"math/rand/v2"
	"syscall"
	"time"
)

// settledAge, in seconds, is what makes a ready child one that is started again at once when it is
// killed.
const settledAge = 1.2

// killChild kills a child that is ready, busy or not.
func (r *propertyRun) killChild(lot *rand.Rand) {
	type victim struct {
		app string
		pid int
	}
	var all []victim
	out, err := r.ask("status", "--json")
	if err != nil {
		r.t.Errorf("status: %v, %s", err, out)
		return
	}
	for _, a := range decodeStatus(r.t, []byte(out)).Apps {
		for _, c := range a.Children {
			if c.PID > 0 && a.Kind == "fastcgi" && c.State == "ready" && c.AgeSeconds > settledAge {
				all = append(all, victim{a.Name, c.PID})
			}
		}
	}
	if len(all) == 0 {
		return
	}
	v, signal := all[lot.IntN(len(all))], oneOf(lot, syscall.SIGKILL, syscall.SIGTERM)
	s := strike{app: v.app, pid: v.pid, from: time.Now(), until: time.Now().Add(time.Hour)}
	r.struck(s) // before it happens, so that nobody wonders
	r.logf("signal %d to child %d of %s", signal, v.pid, v.app)
	syscall.Kill(v.pid, signal)
	r.gone(v.pid)
}

// gone waits for the end of a process that was struck.
func (r *propertyRun) gone(pid int) {
	if !waitFor(stopWait, func() bool { return !alive(pid) }) {
		r.t.Errorf("process %d does not end", pid)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.strikes {
		if s := &r.strikes[i]; s.pid == pid {
			s.until = time.Now().Add(10 * time.Millisecond)
		}
	}
}

// killWorker kills a worker of any generation; TERM it leaves to its master.
func (r *propertyRun) killWorker(lot *rand.Rand, signal syscall.Signal) {
	all := r.workers()
	if len(all) == 0 {
		return
	}
	pid := oneOf(lot, all...)
	r.logf("signal %d to worker %d", signal, pid)
	if signal == syscall.SIGTERM {
		syscall.Kill(pid, signal)
		return
	}
	r.struck(strike{worker: true, pid: pid, from: time.Now(), until: time.Now().Add(time.Hour)})
	syscall.Kill(pid, signal)
	r.gone(pid)
}
