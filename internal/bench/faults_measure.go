package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// recoveries reads out of sluice's log how long it was from the end of each
// child to the next moment at which one became ready.
func recoveries(log string) ([]time.Duration, error) {
	text, err := os.ReadFile(log)
	if err != nil {
		return nil, err
	}
	var ended, ready []time.Time
	for line := range strings.Lines(string(text)) {
		m := logTime.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, m[1])
		if err != nil {
			return nil, err
		}
		switch {
		case childEnded.MatchString(line):
			ended = append(ended, at)
		case strings.Contains(line, `msg="child is ready"`):
			ready = append(ready, at)
		}
	}
	var times []time.Duration
	for _, e := range ended {
		if i := slices.IndexFunc(ready, func(r time.Time) bool { return r.After(e) }); i >= 0 {
			times = append(times, ready[i].Sub(e))
		}
	}
	return times, nil
}

var (
	logTime    = regexp.MustCompile(`^time=(\S+) `)
	childEnded = regexp.MustCompile(`msg="child (ended|has been retired)"`)
)

// deadlineErrors has requests wait in the queue of a child that is busy, and
// returns by how much each was refused too late.
func (b *bench) deadlineErrors(ctx context.Context) ([]time.Duration, error) {
	defer b.procs.stopAll()
	const wait, rounds, waiting = 500 * time.Millisecond, 4, 50
	r, err := b.startFaulty(ctx, fault{name: "queue", app: fmt.Sprintf("queue_timeout = %q\n", wait.String()),
		child: []string{"-work", "5s"}})
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", r.in.port)
	for range r.in.scenario.children() {
		c := &client{addr: addr}
		go func() { c.ask(); c.close() }() // which its child is busy with until all is over
	}
	time.Sleep(200 * time.Millisecond)
	var late []time.Duration
	for range rounds {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for range waiting {
			wg.Go(func() {
				c := &client{addr: addr}
				begin := time.Now()
				why := c.exchange()
				took := time.Since(begin)
				c.close()
				mu.Lock()
				defer mu.Unlock()
				if why == "503" {
					late = append(late, took-wait)
				}
			})
		}
		wg.Wait()
	}
	if len(late) != rounds*waiting {
		return late, fmt.Errorf("queue: %d of %d requests were refused", len(late), rounds*waiting)
	}
	return late, nil
}

// held is what sluice's processes hold.
type held struct {
	descriptors, zombies, processes int
	goroutines                      int // of master and workers, by the status
	resident                        int64
}

func (r *faultRun) held() held {
	var h held
	for _, m := range readTable().descendants(r.master()) {
		h.processes++
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", m.pid))
		if strings.Contains(string(text), "State:\tZ") {
			h.zombies++
		}
		if executable(m.pid) == executable(r.master()) {
			fds, _ := os.ReadDir(fmt.Sprintf("/proc/%d/fd", m.pid))
			h.descriptors += len(fds)
			h.resident += parseField(string(text), "VmRSS:")
		}
	}
	h.goroutines = r.goroutines()
	return h
}

func (r *faultRun) goroutines() (n int) {
	out, err := exec.Command(r.b.sluice, "status", "--control", r.control, "--json").Output()
	if err != nil {
		return -1
	}
	var s struct {
		Goroutines int
		Workers    []struct{ Goroutines int }
	}
	if json.Unmarshal(out, &s) != nil {
		return -1
	}
	n = s.Goroutines
	for _, w := range s.Workers {
		n += w.Goroutines
	}
	return n
}

// growthPause is between two kills: a child that is killed has answered most
// often, so that its successor is started at once.
const growthPause = 20 * time.Millisecond

// growth kills children one after the other, under load, and says what was held
// before and after.
func (b *bench) growth(ctx context.Context, kills int) (before, after held, t tally, err error) {
	defer b.procs.stopAll()
	r, err := b.startFaulty(ctx, fault{name: "growth"})
	if err != nil {
		return before, after, t, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", r.in.port)
	closedLoop(ctx, addr, 16, time.Second)
	time.Sleep(2 * time.Second)
	before = r.held()
	strike := signalChild(syscall.SIGKILL)
	long := time.Duration(kills) * 2 * growthPause
	load, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	done := make(chan tally, 1)
	go func() { done <- closedLoop(load, addr, 4, long) }()
	for r.strikes < kills && load.Err() == nil && err == nil {
		err = strike(r)
		time.Sleep(growthPause)
	}
	if r.strikes < kills && err == nil {
		err = fmt.Errorf("growth: only %d of %d kills", r.strikes, kills)
	}
	cancel()
	t = <-done
	closedLoop(ctx, addr, 16, time.Second)
	time.Sleep(2 * time.Second)
	return before, r.held(), t, err
}

// runFaults does all of it and writes the report.
func runFaults(ctx context.Context, o options) (list []string, err error) {
	b, err := newBench(ctx, o)
	if err != nil {
		return nil, err
	}
	defer b.close()
	rep := &faultReport{machine: b.machine(ctx), duration: o.duration, kills: o.kills}
	for _, f := range faults {
		rows, err := b.runFault(ctx, f)
		if err != nil {
			return nil, err
		}
		rep.rows = append(rep.rows, rows...)
		rep.print(os.Stdout, rows)
	}
	if rep.late, err = b.deadlineErrors(ctx); err != nil {
		return nil, err
	}
	if rep.before, rep.after, rep.growth, err = b.growth(ctx, o.kills); err != nil {
		return nil, err
	}
	text := rep.markdown()
	fmt.Println(text)
	if o.markdown != "" {
		err = os.WriteFile(filepath.Clean(o.markdown), []byte(text), 0o644)
	}
	return rep.unexcused(), err
}
