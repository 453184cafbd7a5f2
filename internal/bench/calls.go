package main

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Of one visit.
const (
	tracedRequests  = 400
	countedRequests = 4000
	callsClients    = 4
	frequentCalls   = 6 // are named
)

var callsTrial = &trial{
	columns: []column{{"system calls/request", 1}, {"allocations/request", 1}, {"bytes allocated/request", 0}},
	run: func(ctx context.Context, b *bench, in *instance) (x sample) {
		clients := make([]*asker, callsClients)
		for i := range clients {
			clients[i] = &asker{addr: in.address()}
		}
		defer closeAll(clients)
		x.figures = make([]float64, 3)
		ask := func(n int) { x.askCounted(ctx, in.scenario, clients, n) }
		ask(tracedRequests) // warm
		if in.name == "sluice" && b.counting != "" {
			n := countedRequests
			if in.scenario.kind == kindCGI {
				n /= 10
			}
			before, err := in.askAllocated(ctx, b, 1)
			if err == nil {
				ask(n)
				var after allocated
				after, err = in.askAllocated(ctx, b, 2)
				d := after.since(before)
				x.figures[1], x.figures[2] = float64(d.objects)/float64(n), float64(d.bytes)/float64(n)
			}
			if err != nil {
				x.failed(1, "%v", err)
			}
		}
		counts, err := in.trace(ctx, b, func() { ask(tracedRequests) })
		if err != nil {
			x.failed(1, "strace: %v", err)
		}
		x.figures[0], x.detail = callsOf(counts, tracedRequests)
		return x
	},
}

// askCounted does exactly n requests, divided over the clients.
func (x *sample) askCounted(ctx context.Context, s scenario, clients []*asker, n int) {
	ends := make(chan error, len(clients))
	for i, a := range clients {
		share := (n + i) / len(clients)
		go func() {
			var last error
			for range share {
				if err := a.ask(ctx, s.path, s.size(), s.connect); err != nil {
					last = err
				}
			}
			ends <- last
		}()
	}
	for range clients {
		if err := <-ends; err != nil {
			x.failed(1, "%v", err)
		}
	}
	x.requests += int64(n)
}

// callsOf is how many calls a request is, and the most frequent ones.
func callsOf(counts map[string]int, requests int) (float64, string) {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(counts[b]-counts[a], strings.Compare(a, b))
	})
	var sum int
	var frequent []string
	for i, name := range names {
		sum += counts[name]
		if i < frequentCalls {
			frequent = append(frequent, fmt.Sprintf("%s %.1f", name, float64(counts[name])/float64(requests)))
		}
	}
	return float64(sum) / float64(requests), strings.Join(frequent, ", ")
}

// traceWait is how long strace may take to attach, and to end.
const traceWait = 10 * time.Second

// trace counts the system calls of all threads of the front end meanwhile. It
// has strace list them, since `strace -c` would add those of forked scripts.
func (in *instance) trace(ctx context.Context, b *bench, meanwhile func()) (map[string]int, error) {
	path, err := lookPath("strace")
	if err != nil {
		return nil, err
	}
	list := filepath.Join(in.dir, "strace")
	argv := []string{path, "-f", "-qq", "-s", "0", "-e", "signal=none", "-o", list}
	family := in.frontEnd()
	for _, m := range family {
		argv = append(argv, "-p", strconv.Itoa(m.pid))
	}
	p, err := b.procs.start(launch{name: "strace", dir: in.dir, argv: argv})
	if err != nil {
		return nil, err
	}
	for end := time.Now().Add(traceWait); !traced(family); {
		if !p.sleep(ctx, 10*time.Millisecond) || time.Now().After(end) {
			return nil, fmt.Errorf("does not attach: %s", p.tail())
		}
	}
	ours := threads(family)
	meanwhile()
	maps.Copy(ours, threads(family))
	p.cmd.Process.Signal(syscall.SIGINT)
	select {
	case <-p.done:
	case <-time.After(traceWait):
		return nil, fmt.Errorf("does not end: %s", p.tail())
	}
	f, err := os.Open(list)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return countCalls(f, ours)
}

// threads are those of the processes.
func threads(family []member) map[int]bool {
	ids := map[int]bool{}
	for _, m := range family {
		entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", m.pid))
		for _, e := range entries {
			if id, err := strconv.Atoi(e.Name()); err == nil {
				ids[id] = true
			}
		}
	}
	return ids
}

// traced says whether every thread has a tracer.
func traced(family []member) bool {
	for id := range threads(family) {
		text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", id))
		if strings.Contains(string(text), "\nTracerPid:\t0\n") {
			return false
		}
	}
	return true
}

// countCalls reads what `strace -f -o` writes, "THREAD call(arguments…": calls
// of those threads, by name. The second half of an interrupted line, "<... call
// resumed>", and the ends of threads, "+++", are none.
func countCalls(r io.Reader, threads map[int]bool) (map[string]int, error) {
	counts := map[string]int{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		thread, rest, _ := strings.Cut(lines.Text(), " ")
		id, err := strconv.Atoi(thread)
		if err != nil {
			return nil, fmt.Errorf("line %q", lines.Text())
		}
		name, _, ok := strings.Cut(strings.TrimSpace(rest), "(")
		if ok && threads[id] && name != "" && !strings.ContainsAny(name, "<+ ") {
			counts[name]++
		}
	}
	return counts, lines.Err()
}
