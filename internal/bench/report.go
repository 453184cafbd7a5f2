package main

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strings"
	"text/tabwriter"
	"time"

	"sluice/internal/machine"
	"sluice/internal/samples"
)

// report is everything that one run tells.
type report struct {
	machine [][2]string // what, value
	notes   []string
	results []*result
	left    []string // servers that could not take part, by their own fault
}

// result is one scenario on every server.
type result struct {
	scenario scenario
	rows     []*row
}

// row is one server's samples, one a round.
type row struct {
	server   string
	instance *instance
	samples  []sample
}

// sample is one visit.
type sample struct {
	load
	cpu       time.Duration // of the front end
	pss, peak int64         // bytes
}

// rate is requests a second, or GiB a second for downloads.
func (x sample) rate(s scenario) float64 {
	if x.elapsed == 0 {
		return 0
	}
	if s.download {
		return float64(x.bytes) / (1 << 30) / x.elapsed.Seconds()
	}
	return float64(x.requests) / x.elapsed.Seconds()
}

// cost is CPU microseconds a request, or CPU seconds a GiB for downloads.
func (x sample) cost(s scenario) float64 {
	if x.requests == 0 {
		return 0
	}
	if s.download {
		return x.cpu.Seconds() / (float64(x.bytes) / (1 << 30))
	}
	return float64(x.cpu.Microseconds()) / float64(x.requests)
}

// measure takes one number out of a sample.
type measure func(sample, scenario) float64

// spread is a median with the extremes of the rounds.
// over reduces one measure of a row.
func (r *row) over(s scenario, m measure) samples.Spread {
	var values []float64
	for _, x := range r.samples {
		values = append(values, m(x, s))
	}
	return samples.SpreadOf(values)
}

// ratio is the median over rounds of this row's measure divided by the other's
// in the same round; false when there is no other, or it is the row itself.
func (r *row) ratio(s scenario, other *row, m measure) (float64, bool) {
	if other == nil || other == r {
		return 0, false
	}
	var values []float64
	for i := range min(len(r.samples), len(other.samples)) {
		if base := m(other.samples[i], s); base > 0 {
			values = append(values, m(r.samples[i], s)/base)
		}
	}
	return samples.SpreadOf(values).Median, len(values) > 0
}

func (r *row) errors() (sum int64) {
	for _, x := range r.samples {
		sum += x.errors
	}
	return sum
}

func (res *result) row(name string) *row {
	for _, r := range res.rows {
		if r.server == name {
			return r
		}
	}
	return nil
}

// table is the result in words, the header first.
func (res *result) table() [][]string {
	s := res.scenario
	rate, cost, digits := "requests/s", "CPU µs/request", 0
	if s.download {
		rate, cost, digits = "GiB/s", "CPU s/GiB", 2
	}
	lines := [][]string{{"server", rate, "p50", "p99", cost, "rate/nginx", "CPU/nginx", "rate/lighttpd", "CPU/lighttpd", "PSS MiB", "peak RSS MiB", "load CPU", "errors"}}
	for _, r := range res.rows {
		pss := func(x sample, _ scenario) float64 { return float64(x.pss) / (1 << 20) }
		peak := func(x sample, _ scenario) float64 { return float64(x.peak) / (1 << 20) }
		line := []string{r.server,
			spreadText(r.over(s, sample.rate), digits), r.latency(func(x sample) time.Duration { return x.p50 }),
			r.latency(func(x sample) time.Duration { return x.p99 }), spreadText(r.over(s, sample.cost), max(digits, 1))}
		for _, peer := range []string{"nginx", "lighttpd"} {
			line = append(line, r.against(s, res.row(peer), sample.rate), r.against(s, res.row(peer), sample.cost))
		}
		lines = append(lines, append(line,
			fmt.Sprintf("%.1f", r.over(s, pss).Most), fmt.Sprintf("%.1f", r.over(s, peak).Most),
			r.generator(), fmt.Sprint(r.errors())))
	}
	return lines
}

// spreadText is a median with the extremes of the rounds.
func spreadText(v samples.Spread, digits int) string {
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, v.Median, digits, v.Least, digits, v.Most)
}

func (r *row) against(s scenario, other *row, m measure) string {
	v, ok := r.ratio(s, other, m)
	if !ok {
		return "–"
	}
	return fmt.Sprintf("%.2f", v)
}

// latency is the median over rounds, with the worst round.
func (r *row) latency(of func(sample) time.Duration) string {
	v := r.over(scenario{}, func(x sample, _ scenario) float64 { return float64(of(x).Microseconds()) / 1000 })
	return fmt.Sprintf("%.2f ms (≤%.2f)", v.Median, v.Most)
}

// generator is how busy the load generator was: near 100 % it is the limit.
func (r *row) generator() string {
	v := r.over(scenario{}, func(x sample, _ scenario) float64 { return 100 * x.busy })
	if v.Most == 0 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", v.Median)
}

// faults names every server that could not take part or gave errors.
func (rep *report) faults() (list []string) {
	list = append(list, rep.left...)
	answers := false
	for _, res := range rep.results {
		for _, r := range res.rows {
			for round, x := range r.samples {
				answers = answers || x.requests > 0
				if x.errors > 0 {
					list = append(list, fmt.Sprintf("%s: %s: round %d: %s", res.scenario.name, r.server, round+1, x.fault))
				}
			}
		}
	}
	if !answers {
		list = append(list, "no server answered anything")
	}
	return list
}

// printHead writes what is known before the first load.
func (rep *report) printHead(w io.Writer) {
	for _, m := range rep.machine {
		fmt.Fprintf(w, "%-16s %s\n", m[0], m[1])
	}
	for _, n := range rep.notes {
		fmt.Fprintf(w, "note: %s\n", n)
	}
}

func (res *result) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s: %s\n", res.scenario.name, res.scenario.title)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range res.table() {
		fmt.Fprintln(t, strings.Join(line, "\t"))
	}
	t.Flush()
}

// markdown is the whole report.
func (rep *report) markdown() string {
	var b strings.Builder
	b.WriteString("# sluice beside nginx, lighttpd and Apache\n\n| | |\n| --- | --- |\n")
	for _, m := range rep.machine {
		fmt.Fprintf(&b, "| %s | %s |\n", m[0], m[1])
	}
	b.WriteString("\n")
	for _, n := range rep.notes {
		fmt.Fprintf(&b, "- %s\n", n)
	}
	for _, res := range rep.results {
		fmt.Fprintf(&b, "\n## %s\n\n%s%s.\n\n", res.scenario.name, strings.ToUpper(res.scenario.title[:1]), res.scenario.title[1:])
		for i, line := range res.table() {
			fmt.Fprintf(&b, "| %s |\n", strings.Join(line, " | "))
			if i == 0 {
				fmt.Fprintf(&b, "|%s\n", strings.Repeat(" --- |", len(line)))
			}
		}
	}
	if faults := rep.faults(); len(faults) > 0 {
		b.WriteString("\n## Faults\n\n")
		for _, f := range faults {
			fmt.Fprintf(&b, "- %s\n", f)
		}
	}
	return b.String()
}

// versions are how each program tells its version.
var versions = [][]string{
	{"nginx", "-v"}, {"lighttpd", "-v"}, {"apache2", "-v"}, {"php-cgi", "-v"},
	{"php-fpm8.2", "-v"}, {"php-fpm", "-v"}, {"fcgiwrap", "-h"}, {"wrk", "-v"},
}

// machine describes where the run happens.
func (b *bench) machine(ctx context.Context) [][2]string {
	list := [][2]string{
		{"kernel", machine.Kernel()},
		{"CPUs", fmt.Sprintf("%d, %s", runtime.NumCPU(), machine.CPU())},
		{"rounds", fmt.Sprintf("%d of %v, servers in rotated order", b.rounds, b.duration)},
	}
	if b.sluice != "" {
		list = append(list, [2]string{"sluice", versionOf(ctx, b.sluice, "version")})
	}
	for _, v := range versions {
		path, err := lookPath(v[0])
		if err != nil {
			continue
		}
		list = append(list, [2]string{v[0], versionOf(ctx, path, v[1])})
	}
	return append(list, [2]string{"CGI program", b.compiler}, [2]string{"Go", runtime.Version()})
}

// versionOf is the first line with a digit that the program prints: fcgiwrap
// begins with its usage. wrk exits with 1.
func versionOf(ctx context.Context, path, flag string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, flag).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.ContainsAny(line, "0123456789") {
			return strings.TrimSpace(line)
		}
	}
	return "version unknown"
}

// notes are what a reader must know to judge the tables.
func notes(b *bench) []string {
	list := []string{
		"CPU is the front end's own (user and system time of master and workers), without its children; nginx's `cgi` row includes fcgiwrap.",
		"Ratios are medians of the ratios of single rounds. The brackets are the extremes of the rounds.",
		"Clients, children and server share the CPUs: requests/s also measures the load generator and the children.",
		"nginx keeps connections to private children that hold many connections each; nginx-nokeep, lighttpd and Apache reach the same program in its one-connection mode.",
		"PHP: nginx and Apache use php-fpm, lighttpd and sluice spawn php-cgi; as many processes each, opcache as the distribution sets it.",
		"nginx-cache is nginx with open_file_cache.",
		"wrk leaves out connections that hang; where fewer than a quarter of the clients are active (mean latency × rate), that is counted as an error.",
		"Apache has no X-Sendfile without mod_xsendfile, and takes no part there.",
	}
	for _, name := range b.missing {
		list = append(list, name+" is not installed: left out.")
	}
	return list
}
