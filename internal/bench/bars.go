package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"sluice/internal/samples"
)

// bar is one number that sluice has to hold.
type bar struct {
	what     string
	row      string // of sluice, where its children are those of the peers; "": "sluice"
	scenario string
	measure  measure
	unit     string // behind an absolute number
	digits   int
	limit    float64
	least    bool     // the limit is a least one; else a most one
	peers    []string // the limit is a ratio to the best of them; none: absolute
}

// nginxes are nginx at its best: a process for each CPU, or a single one.
var (
	nginxes   = []string{"nginx", "nginx-1"}
	lighttpds = []string{"lighttpd"}
)

// bars are in the order of the summary.
var bars = []bar{
	{what: "small FastCGI answer, 4 clients: CPU a request, the same children", row: sluiceMany, scenario: "fastcgi-4", measure: sample.cost, limit: 1, peers: nginxes},
	{what: "small FastCGI answer, 64 clients: CPU a request, the same children", row: sluiceMany, scenario: "fastcgi-64", measure: sample.cost, limit: 1, peers: nginxes},
	{what: "small FastCGI answer, 4 clients: requests/s", scenario: "fastcgi-4", measure: sample.rate, limit: 1.3, least: true, peers: lighttpds},
	{what: "small FastCGI answer, 64 clients: requests/s", scenario: "fastcgi-64", measure: sample.rate, limit: 1.3, least: true, peers: lighttpds},
	{what: "small FastCGI answer, 64 clients: p99", scenario: "fastcgi-64", measure: late, unit: "ms", digits: 1, limit: 20},
	{what: "small CGI answer: requests/s", scenario: "cgi", measure: sample.rate, limit: 1.1, least: true, peers: lighttpds},
	{what: "static file of 4.5 KB: requests/s", scenario: "file", measure: sample.rate, limit: 1, least: true, peers: nginxes},
	{what: "file of 4.5 KB by X-Sendfile: requests/s", scenario: "xsendfile-small", measure: sample.rate, limit: 1, least: true, peers: nginxes},
	{what: "2,000 static files of 4.5 KB: requests/s", scenario: "file-2000", measure: sample.rate, limit: 1, least: true, peers: nginxes},
	{what: "2,000 files of 4.5 KB by X-Sendfile: requests/s", scenario: "xsendfile-2000", measure: sample.rate, limit: 1, least: true, peers: nginxes},
	{what: "200 MB by X-Sendfile, 1 client: CPU a GiB", scenario: "xsendfile-200m-1", measure: sample.cost, limit: 1.1, peers: nginxes},
	{what: "200 MB by X-Sendfile, 4 clients: CPU a GiB", scenario: "xsendfile-200m-4", measure: sample.cost, limit: 1.1, peers: nginxes},
	{what: "1000 slow downloads by X-Sendfile: memory of each (no part of a file)", scenario: "downloads", measure: figure(downloadsTrial, "KiB/download"), unit: "KiB", digits: 1, limit: 32},
	{what: "child free after a send-file header, longest of 10, nothing left to do", scenario: "release", measure: figure(releaseTrial, "free: longest"), unit: "ms", digits: 1, limit: 10},
	{what: "child free after a send-file header, longest of 10, `close`", scenario: "release-close", measure: figure(releaseTrial, "free: longest"), unit: "ms", digits: 1, limit: 10},
	{what: "one child, a slow download running: next request, longest of 50", scenario: "release", measure: figure(releaseTrial, "next: longest"), unit: "ms", digits: 1, limit: 100},
	{what: "file in memory beside 32 clients of cold ones: p99", scenario: "cold", measure: figure(coldTrial, "p99 beside 32"), limit: 1, peers: []string{"nginx-aio"}},
	{what: "file in memory beside 2000 clients of cold ones: p99", scenario: "cold", measure: figure(coldTrial, "p99 beside 2000"), limit: 1, peers: []string{"nginx-aio"}},
	{what: "idle keep-alive connection: memory", scenario: "idle", measure: figure(idleTrial, "bytes/connection"), unit: "bytes", limit: 1024},
	{what: "10,000 idle keep-alive connections: held", scenario: "idle", measure: figure(idleTrial, "held"), limit: idleConnections, least: true},
	{what: "10,000 idle keep-alive connections: answered again", scenario: "idle", measure: figure(idleTrial, "answered again"), limit: idleConnections, least: true},
}

// elsewhere are the numbers to hold that this run does not measure, and where
// they are.
var elsewhere = [][2]string{
	{"idle child killed, recycled, or exiting by itself: failed requests", "see [faults.md](faults.md)"},
	{"reload under load: failed requests, resets, delay", "see [reloads.md](reloads.md)"},
	{"an hour's soak", "not measured yet"},
}

func late(x sample, _ scenario) float64 { return ms(x.p99) }

// figure is one column of a trial.
func figure(t *trial, name string) measure {
	at := slices.IndexFunc(t.columns, func(c column) bool { return c.name == name })
	return func(x sample, _ scenario) float64 {
		if at >= len(x.figures) {
			return 0
		}
		return x.figures[at]
	}
}

// verdict is a bar beside what was measured.
type verdict struct {
	samples.Spread
	rounds, met int // how many, and in how many of them the bar was met
	peer        string
}

// judge is false where it was not measured.
func (g bar) judge(results []*result) (v verdict, ok bool) {
	i := slices.IndexFunc(results, func(r *result) bool { return r.scenario.name == g.scenario })
	if i < 0 {
		return v, false
	}
	res := results[i]
	row := res.row(cmp.Or(g.row, "sluice"))
	if row == nil {
		return v, false
	}
	values := row.values(res.scenario, g.measure)
	if len(g.peers) > 0 {
		best := g.best(res)
		if best == nil {
			return v, false
		}
		v.peer, values = best.server, row.ratios(res.scenario, best, g.measure)
	}
	for _, x := range values {
		if g.meets(x) {
			v.met++
		}
	}
	v.Spread, v.rounds = samples.SpreadOf(values), len(values)
	return v, v.rounds > 0
}

func (g bar) meets(x float64) bool { return x == g.limit || (x > g.limit) == g.least }

// best is the peer that is hardest to beat; nil without one.
func (g bar) best(res *result) (best *row) {
	var most samples.Spread
	for _, name := range g.peers {
		r := res.row(name)
		if r == nil {
			continue
		}
		v := r.over(res.scenario, g.measure)
		if v.Median > 0 && (best == nil || (v.Median > most.Median) == g.least) {
			best, most = r, v
		}
	}
	return best
}

// line is the bar's line of the summary.
func (g bar) line(results []*result) []string {
	sign := "≤"
	if g.least {
		sign = "≥"
	}
	limit := fmt.Sprintf("%s %.*f %s", sign, g.digits, g.limit, g.unit)
	if len(g.peers) > 0 {
		limit = fmt.Sprintf("%s %.1f of %s's", sign, g.limit, g.peers[0])
	}
	v, ok := g.judge(results)
	if !ok {
		return []string{g.what, strings.TrimSpace(limit), "–", "not measured"}
	}
	measured := fmt.Sprintf("%s %s", valueText(v.Spread, g.digits, v.rounds), g.unit)
	if len(g.peers) > 0 {
		measured = fmt.Sprintf("%s of %s's", valueText(v.Spread, 2, v.rounds), v.peer)
	}
	met := "no"
	if g.meets(v.Median) {
		met = "yes"
	}
	if v.rounds > 1 {
		met += fmt.Sprintf(" (%d of %d rounds)", v.met, v.rounds)
	}
	return []string{g.what, strings.TrimSpace(limit), strings.TrimSpace(measured), met}
}

var summaryHead = []string{"what", "bar", "measured", "met"}

// summary is a line for every bar of which the run had the scenario.
func (rep *report) summary() (lines [][]string) {
	for _, g := range bars {
		if slices.ContainsFunc(rep.results, func(r *result) bool { return r.scenario.name == g.scenario }) {
			lines = append(lines, g.line(rep.results))
		}
	}
	return lines
}

func (rep *report) printSummary(w io.Writer) {
	lines := rep.summary()
	if len(lines) == 0 {
		return
	}
	fmt.Fprintln(w, "\nsummary: what sluice has to hold")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, line := range append([][]string{summaryHead}, lines...) {
		fmt.Fprintln(t, strings.Join(line, "\t"))
	}
	t.Flush()
}
