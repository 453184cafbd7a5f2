package main

import (
	"context"
	"fmt"
	"syscall"
	"time"
)

// idleConnections are held at once by the idle trial.
const idleConnections = 10_000

// parked is how long a server gets to put idle connections away.
const parked = 5 * time.Second

// idleSources are as many source addresses, 127.0.0.2 and on: the ports of one
// may be in TIME_WAIT after other scenarios.
const idleSources = 8

var idleTrial = &trial{
	columns: []column{
		{"held", 0}, {"PSS MiB before", 1}, {"PSS MiB after", 1}, {"bytes/connection", 0},
		{"private bytes/connection", 0}, {"bytes/connection after a second request", 0}, {"answered again", 0},
	},
	run: func(ctx context.Context, b *bench, in *instance) (x sample) {
		s := in.scenario
		if _, err := runWrk(ctx, in.url(), 64, time.Second, false, nil, nil); err != nil {
			x.failed(1, "warm up: %v", err)
		}
		pause(ctx, parked)
		before := in.resident()
		list := make([]*asker, min(s.held, descriptors()-spareDescriptors))
		for i := range list {
			list[i] = &asker{addr: in.address(), from: fmt.Sprintf("127.0.0.%d", 2+i%idleSources)}
		}
		defer closeAll(list)
		held, err := askPaced(ctx, list, s.path, s.size())
		if err != nil {
			x.failed(int64(len(list))-held, "%d of %d connections were opened: %v", held, len(list), err)
		}
		pause(ctx, parked)
		after := in.resident()
		kept := list[:0:0]
		for _, a := range list {
			if a.conn != nil {
				kept = append(kept, a)
			}
		}
		again, err := askAll(ctx, kept, s.path, s.size())
		if err != nil {
			x.failed(held-again, "%d of %d answered again: %v", again, held, err)
		}
		pause(ctx, parked)
		x.requests = held + again
		each := func(a, b int64) float64 { return float64(a-b) / float64(max(held, 1)) }
		x.figures = []float64{float64(held), mebi(before.pss), mebi(after.pss), each(after.pss, before.pss),
			each(after.private, before.private), each(in.resident().pss, before.pss), float64(again)}
		return x
	},
}

// openRate is how many of the connections are opened in a second: fewer are new
// at once than idle, so that it is being idle that is measured. Their second
// requests come as fast as they are answered.
const openRate = 2000

func askPaced(ctx context.Context, list []*asker, path string, size int64) (answered int64, fault error) {
	for begin := time.Now(); len(list) > 0; {
		n := min(openRate/10, len(list))
		some, err := askAll(ctx, list[:n], path, size)
		answered, list = answered+some, list[n:]
		if err != nil {
			fault = err
		}
		begin = begin.Add(time.Second / 10)
		pause(ctx, time.Until(begin))
	}
	return answered, fault
}

func mebi(n int64) float64 { return float64(n) / (1 << 20) }

// footprint is memory of all front-end processes, in bytes.
type footprint struct{ pss, private int64 }

func (in *instance) resident() (f footprint) {
	for _, m := range in.frontEnd() {
		path := fmt.Sprintf("/proc/%d/smaps_rollup", m.pid)
		f.pss += procField(path, "Pss:")
		f.private += procField(path, "Private_Dirty:") + procField(path, "Private_Clean:")
	}
	return f
}

// wantDescriptors are what a server needs that holds idleConnections, with as
// many files as there are downloads; spareDescriptors those for the rest.
const (
	wantDescriptors  = 2*idleConnections + spareDescriptors
	spareDescriptors = 1000
)

// raiseDescriptors lets this process and what it starts open many files: by
// itself the runtime would give its children the limit that it had found.
func raiseDescriptors() error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	if l.Max < wantDescriptors { // root may
		syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: wantDescriptors, Max: wantDescriptors})
		syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	}
	l.Cur = min(l.Max, wantDescriptors)
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
}

// descriptors is how many files this process may open.
func descriptors() int {
	var l syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return int(min(l.Cur, wantDescriptors))
}
