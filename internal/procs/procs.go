// Package procs lets a process use as many CPUs as it needs, and no more.
//
// A front end whose work is system calls of a few microseconds pays for every
// thread beyond the first: each event wakes another one to look for work, and
// what one could do in a lot is torn apart. Measured with a small FastCGI answer,
// 64 clients, 2 CPUs: 15.6 us of CPU a request with one running thread, 18.2 with
// two, at the same rate. So GOMAXPROCS begins at 1, goes up while what there is
// does not suffice, and comes down again later.
package procs

import (
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// The rules, in periods.
const (
	period = 100 * time.Millisecond
	busy   = 0.85 // of the CPUs that it may use: more are needed …
	hot    = 2    // … after so many periods in a row
	spare  = 0.65 // of what one CPU less could do: that would be enough …
	cool   = 30   // … after so many
)

// Adapt adapts GOMAXPROCS to the process's use of CPU until stop is closed. It
// does nothing where the environment says how many there shall be.
func Adapt(stop <-chan struct{}) {
	if os.Getenv("GOMAXPROCS") != "" {
		return
	}
	most := runtime.GOMAXPROCS(0)
	g := gauge{procs: 1, most: most}
	runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(most)
	t := time.NewTicker(period)
	defer t.Stop()
	used, at := cpu(), time.Now()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		u, now := cpu(), time.Now()
		before := g.procs
		g.see(float64(u-used) / float64(now.Sub(at)))
		used, at = u, now
		if g.procs != before {
			runtime.GOMAXPROCS(g.procs)
		}
	}
}

// cpu is the CPU time that the process has used.
func cpu() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// gauge decides how many CPUs are enough.
type gauge struct {
	procs, most int
	above       int // periods in a row in which what there is did not suffice
	below       int // in which one less would have
}

// see takes in how many CPUs were used in a period.
func (g *gauge) see(used float64) {
	switch {
	case used > busy*float64(g.procs):
		g.above, g.below = g.above+1, 0
	case used < spare*float64(g.procs-1):
		g.above, g.below = 0, g.below+1
	default:
		g.above, g.below = 0, 0
	}
	switch {
	case g.above >= hot && g.procs < g.most:
		g.procs++
		g.above = 0
	case g.below >= cool:
		g.procs--
		g.below = 0
	}
}
