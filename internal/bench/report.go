package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"sluice/internal/samples"
)

// report is everything that one run tells.
type report struct {
	machine [][2]string // what, value
	notes   []string
	results []*result
	modes   string   // accept and linger modes, as sluice tells them; "": not asked for
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

	figures []float64 // of a trial, for each of its columns
	detail  string    // of a trial, in words
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

// nothing says that a visit failed altogether: it is an error, and no number.
func (x sample) nothing() bool { return x.requests == 0 }

// values are one measure of a row, of the visits that came to something.
func (r *row) values(s scenario, m measure) (values []float64) {
	for _, x := range r.samples {
		if !x.nothing() {
			values = append(values, m(x, s))
		}
	}
	return values
}

// over reduces one measure of a row.
func (r *row) over(s scenario, m measure) samples.Spread { return samples.SpreadOf(r.values(s, m)) }

// ratios are this row's measure divided by the other's in the same round; none
// when there is no other, or it is the row itself.
func (r *row) ratios(s scenario, other *row, m measure) (values []float64) {
	if other == nil || other == r {
		return nil
	}
	for i := range min(len(r.samples), len(other.samples)) {
		if base := m(other.samples[i], s); base > 0 && !r.samples[i].nothing() {
			values = append(values, m(r.samples[i], s)/base)
		}
	}
	return values
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
	if s.trial != nil {
		return res.trialTable()
	}
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

// trialTable has the columns of a trial, and its details if there are any.
func (res *result) trialTable() [][]string {
	head := []string{"server"}
	for _, c := range res.scenario.trial.columns {
		head = append(head, c.name)
	}
	lines := [][]string{append(head, "errors", "")}
	detailed := false
	for _, r := range res.rows {
		line, detail := []string{r.server}, ""
		for _, c := range res.scenario.trial.columns {
			values := r.values(res.scenario, figure(res.scenario.trial, c.name))
			line = append(line, valueText(samples.SpreadOf(values), c.digits, len(values)))
		}
		for _, x := range r.samples {
			detail = x.detail
		}
		detailed = detailed || detail != ""
		lines = append(lines, append(line, fmt.Sprint(r.errors()), detail))
	}
	if !detailed {
		for i, line := range lines {
			lines[i] = line[:len(line)-1]
		}
	}
	return lines
}

// valueText is the text of so many values: of a single one without extremes, and
// of zeros, which a trial has where it has no number, a dash.
func valueText(v samples.Spread, digits, n int) string {
	switch {
	case n == 0, v == samples.Spread{}:
		return "–"
	case n == 1:
		return fmt.Sprintf("%.*f", digits, v.Median)
	}
	return spreadText(v, digits)
}

// spreadText is a median with the extremes of the rounds.
func spreadText(v samples.Spread, digits int) string {
	return fmt.Sprintf("%.*f (%.*f–%.*f)", digits, v.Median, digits, v.Least, digits, v.Most)
}

func (r *row) against(s scenario, other *row, m measure) string {
	values := r.ratios(s, other, m)
	if len(values) == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", samples.SpreadOf(values).Median)
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
	if !answers && (len(rep.results) > 0 || rep.modes == "") {
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
