// Package procs lets a process use as many CPUs, and as much memory, as it needs,
// and no more.
//
// A front end whose work is system calls of a few microseconds pays for every
// thread beyond the first: each event wakes another one to look for work, and
// what one could do in a lot is torn apart. Measured with a small FastCGI answer,
// 64 clients, 2 CPUs: 15.6 us of CPU a request with one running thread, 18.2 with
// two, at the same rate. So GOMAXPROCS begins at 1, goes up while what there is
// does not suffice and the machine has CPU left, and comes down again later: where
// clients and children take the rest, another thread only takes from them.
//
// A process that starts others needs two as soon as it does much of that: whoever
// starts one keeps the one running thread for itself until the program is being
// executed, 0.1 ms, in which nothing else is done. Measured with a small CGI answer,
// 4 clients, 2 CPUs: 2,750 requests/s at 126 us of CPU each with one thread, and a
// quarter of the machine idle; 3,300 at 170 us with two.
//
// And what a burst leaves behind, such as ten thousand connections that idle now,
// goes back to the system when it is over: a collector that runs when the heap
// has doubled has no reason to run in a process that does nothing.
package procs

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
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
	left   = 0.20 // of a CPU has nothing to do: what more could be had, or it is no use
	held   = 0.10 // of a thread's time went into starting programs: one is not enough

	work  = 0.05 // of a CPU: something has been done …
	still = 0.02 // … and nothing is any more …
	calm  = 20   // … for so many: memory is given back
)

// Adapt adapts the process to what it does until stop is closed. GOMAXPROCS stays
// as it is where the environment says what it shall be. starting is the time that
// the process has spent so far in the start of programs.
func Adapt(stop <-chan struct{}, starting func() time.Duration) {
	most := runtime.GOMAXPROCS(0)
	g := gauge{procs: 1, most: most}
	if os.Getenv("GOMAXPROCS") != "" {
		g.procs, g.fixed = most, true
	}
	runtime.GOMAXPROCS(g.procs)
	defer runtime.GOMAXPROCS(most)
	t := time.NewTicker(period)
	defer t.Stop()
	var c calmness
	var m machine
	used, at, started := cpu(), time.Now(), starting()
	for {
		select {
		case <-stop:
			return
		case <-t.C:
		}
		u, now := cpu(), time.Now()
		before, share := g.procs, float64(u-used)/float64(now.Sub(at))
		st := starting()
		g.see(sample{used: share, starting: float64(st-started) / float64(now.Sub(at)), idle: m.idle})
		started = st
		if c.see(share) {
			release()
			u, now = cpu(), time.Now() // which is not to count as work
		}
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

// machine knows how much CPU nobody uses. Each of its looks is over the time since
// the one before.
type machine struct {
	ticks int64
	at    time.Time
}

// idle is how many CPUs had nothing to do since the last look. Where that cannot
// be told, as at the first look for a while, it is none, and many where the kernel
// does not tell.
func (m *machine) idle() float64 {
	ticks, ok := idleTicks()
	if !ok {
		return many
	}
	now := time.Now()
	took := now.Sub(m.at)
	n := float64(ticks-m.ticks) / ticksPerSecond / took.Seconds()
	m.ticks, m.at = ticks, now
	if took > 2*period {
		return 0
	}
	return n
}

const (
	many           = 1 << 20
	ticksPerSecond = 100 // USER_HZ (proc(5))
)

// idleTicks is the time that all CPUs together have idled or waited for disks.
func idleTicks() (int64, bool) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, false
	}
	f := strings.Fields(string(text[:min(len(text), 256)]))
	if len(f) < 6 || f[0] != "cpu" {
		return 0, false
	}
	idle, err := strconv.ParseInt(f[4], 10, 64)
	disk, err2 := strconv.ParseInt(f[5], 10, 64)
	return idle + disk, err == nil && err2 == nil
}

// sample is what happened in a period, in CPUs.
type sample struct {
	used     float64
	starting float64        // threads that were held by the start of programs
	idle     func() float64 // what nobody used; asked for where it matters
}

// gauge decides how many CPUs are enough.
type gauge struct {
	procs, most int
	fixed       bool
	above       int // periods in a row in which what there is did not suffice
	below       int // in which one less would have
}

// see takes in what happened in a period.
func (g *gauge) see(s sample) {
	if g.fixed {
		return
	}
	holds := s.starting > held
	switch {
	case holds && g.procs == 1, s.used > busy*float64(g.procs) && g.procs < g.most && s.idle() > left:
		g.above, g.below = g.above+1, 0
	case s.used < spare*float64(g.procs-1) && (!holds || g.procs > 2):
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

// calmness knows when it is time to give memory back.
type calmness struct {
	worked bool // since the last time
	still  int  // periods in a row without work
}

// see takes in how many CPUs were used in a period, and reports whether there is
// something to give back, and nobody whom that would disturb.
func (c *calmness) see(used float64) bool {
	switch {
	case used > work:
		c.worked, c.still = true, 0
	case used > still:
		c.still = 0
	default:
		c.still++
	}
	if !c.worked || c.still < calm {
		return false
	}
	*c = calmness{}
	return true
}

// release gives back what is not in use. A pool gives up what it has in two
// collections.
func release() {
	runtime.GC()
	debug.FreeOSMemory()
}
