package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sluice/internal/samples"
)

// disturbedReport is everything that one run of disturbances tells.
type disturbedReport struct {
	machine [][2]string
	rows    []disturbedRow
	holds   []disturbedHold
	left    []string // servers that could not take part, and why
}

// disturbedHold is what a server held before and after all of a disturbance.
type disturbedHold struct {
	what          disturbance
	server        string
	before, after belongings
}

// disturbedServers are compared, in this order.
var disturbedServers = []string{"sluice", "nginx", "lighttpd"}

// runReloads does all of it and writes the report.
func runReloads(ctx context.Context, o options) ([]string, error) {
	b, err := newBench(ctx, o)
	if err != nil {
		return nil, err
	}
	defer b.close()
	rep := &disturbedReport{left: slices.Clone(b.faults)}
	for _, m := range b.machine(ctx) {
		if slices.Contains(disturbedFacts, m[0]) {
			rep.machine = append(rep.machine, m)
		}
	}
	for _, what := range disturbances {
		for _, name := range disturbedServers {
			if what.do[name] == nil || !o.wants(name) {
				continue
			}
			rows, before, after, err := b.runDisturbed(ctx, name, what)
			rep.rows = append(rep.rows, rows...)
			if err != nil {
				rep.left = append(rep.left, fmt.Sprintf("%s, %s: %v", what.name, name, err))
			} else {
				rep.holds = append(rep.holds, disturbedHold{what, name, before, after})
			}
			for _, r := range rows {
				fmt.Println(strings.Join(r.lines()[1], " | "))
			}
		}
	}
	text := rep.markdown()
	fmt.Println(text)
	if o.markdown != "" {
		err = os.WriteFile(filepath.Clean(o.markdown), []byte(text), 0o644)
	}
	return append(rep.left, rep.missed()...), err
}

// disturbedFacts are what of the machine matters here.
var disturbedFacts = []string{"kernel", "CPUs", "sluice", "nginx", "lighttpd", "Go"}

var disturbedHead = []string{"server", "load", "", "times", "requests", "failed", "resets", "kept, then gone", "p50", "p99", "longest", "over 50 ms"}

// lines are a row's table lines: without, and with it, and of these the requests
// that were under way meanwhile.
func (r disturbedRow) lines() [][]string {
	var lines [][]string
	kept, keptBeside := apart(r.during.kept, r.spans)
	fresh, freshBeside := apart(r.during.fresh, r.spans)
	for _, part := range []struct {
		name string
		of   []visited
	}{
		{"nothing", r.alone.all()},
		{r.what.name + ", all", r.during.all()},
		{"meanwhile, kept", kept},
		{"meanwhile, new", fresh},
		{"between them", slices.Concat(keptBeside, freshBeside)},
	} {
		f := figuresOf(part.of)
		times := ""
		if part.name == r.what.name+", all" {
			times = fmt.Sprint(len(r.spans))
		}
		lines = append(lines, []string{r.server, r.load, part.name, times, fmt.Sprint(f.requests), f.failures(), fmt.Sprint(f.resets), fmt.Sprint(f.gone),
			millis(f.p50), millis(f.p99), millis(f.most), fmt.Sprint(f.slow)})
	}
	return lines
}

func (f figures) failures() string {
	if f.failed == 0 {
		return "0"
	}
	var parts []string
	for _, why := range slices.Sorted(maps.Keys(f.why)) {
		parts = append(parts, fmt.Sprintf("%d × %s", f.why[why], why))
	}
	return fmt.Sprintf("%d (%s)", f.failed, strings.Join(parts, ", "))
}

// missed are the bars that sluice does not hold: no request fails, no connection
// is reset or taken away, and none is delayed by more than 50 ms: meanwhile none takes
// 50 ms longer than the longest of the others, since the machine may be busy.
func (rep *disturbedReport) missed() (list []string) {
	for _, r := range rep.rows {
		if r.server != "sluice" {
			continue
		}
		meanwhile, beside := apart(r.during.all(), r.spans)
		f, others := figuresOf(r.during.all()), figuresOf(slices.Concat(r.alone.all(), beside))
		if f.failed+f.resets+f.gone > 0 {
			list = append(list, fmt.Sprintf("%s, %s: %d requests failed %v, %d resets, %d kept connections gone", r.what.name, r.load, f.failed, f.why, f.resets, f.gone))
		}
		if more := figuresOf(meanwhile).most - others.most; more > slowAnswer {
			list = append(list, fmt.Sprintf("%s, %s: the longest took %v more than the longest without it", r.what.name, r.load, more))
		}
	}
	return list
}

// markdown is the whole report.
func (rep *disturbedReport) markdown() string {
	var b strings.Builder
	b.WriteString("# What clients see of a reload\n\n")
	var machine [][]string
	for _, m := range rep.machine {
		machine = append(machine, m[:])
	}
	writeTable(&b, []string{"", ""}, machine)
	fmt.Fprintf(&b, disturbedNotes, undisturbedTime, disturbedTime, afterwards)
	for _, what := range disturbances {
		fmt.Fprintf(&b, "\n## %s\n\n%d times %s, one every %v at most.\n\n", what.name, what.times, what.title, what.every)
		var lines, took, holds [][]string
		for _, r := range rep.rows {
			if r.what.name == what.name {
				lines = append(lines, r.lines()...)
				took = append(took, append([]string{r.server, r.load}, r.took()...))
			}
		}
		writeTable(&b, disturbedHead, lines)
		b.WriteString("\nHow long it takes until the server has done it:\n\n")
		writeTable(&b, []string{"server", "load", "median", "longest"}, took)
		b.WriteString("\nWhat the server holds, with nobody connected, before and after all of it:\n\n")
		for _, h := range rep.holds {
			if h.what.name == what.name {
				holds = append(holds, append([]string{h.server, "before"}, h.before.cells()...), append([]string{h.server, "after"}, h.after.cells()...))
			}
		}
		writeTable(&b, []string{"server", "", "processes", "descriptors", "resident"}, holds)
	}
	for _, l := range rep.left {
		fmt.Fprintf(&b, "\nLeft out: %s\n", l)
	}
	return b.String()
}

func (r disturbedRow) took() []string {
	var all []time.Duration
	for _, s := range r.spans {
		all = append(all, s.until.Sub(s.from))
	}
	slices.Sort(all)
	if len(all) == 0 {
		return []string{"–", "–"}
	}
	return []string{millis(samples.Quantile(all, 0.5)), millis(samples.Quantile(all, 1))}
}

func (b belongings) cells() []string {
	return []string{fmt.Sprint(b.processes), fmt.Sprint(b.descriptors), fmt.Sprintf("%.1f MiB", float64(b.resident)/(1<<20))}
}

// disturbedNotes are how it is measured.
const disturbedNotes = `
Each server has four FastCGI children and static files; every client asks for an answer of the one and a file of 4.5 KB
in turn, half of the clients on kept connections, half on a new one for each request. "50/s" is 50 requests a second of ten
clients, "full load" 16 that ask as fast as they get answers. Each load runs %v alone ("nothing"), then while the server
is changed again and again, for %v at most. "meanwhile" are the requests that were under way between the beginning of
a change and %v behind the moment at which the server had done it: the return of ` + "`sluice reload`" + `, a new worker of nginx
(HUP, as ` + "`nginx -s reload`" + ` sends it), lighttpd's "server started" (USR1, its graceful restart).

"kept, then gone" are requests on a kept connection that the server had closed without saying so: a client that does not
ask again by itself has failed there. They are not among the failed, but among the resets if the answer was one.
"resident" counts pages that processes share once for each of them. Machine, clients and children share the CPUs, so that a delay
has to be compared with the line "nothing", and with the other servers: what holds the machine up makes a change take longer,
too, so "meanwhile" has more than its share of it.
`
