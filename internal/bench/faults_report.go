package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice/internal/samples"
)

// faultReport is everything that one run of faults tells.
type faultReport struct {
	machine  [][2]string
	duration time.Duration
	rows     []faultRow
	late     []time.Duration // refusals behind queue_timeout
	kills    int
	before   held
	after    held
	growth   tally // requests between the two
}

// line is a row in words.
func (r *faultRow) line() []string {
	what := "0"
	if n := r.failures(); n > 0 {
		var parts []string
		for _, why := range slices.Sorted(maps.Keys(r.failed)) {
			parts = append(parts, fmt.Sprintf("%d × %s", r.failed[why], why))
		}
		what = fmt.Sprintf("%d (%s)", n, strings.Join(parts, ", "))
	}
	recovered := "–"
	if len(r.recover) > 0 {
		recovered = fmt.Sprintf("%s / %s", millis(samples.Quantile(r.recover, 0.5)), millis(samples.Quantile(r.recover, 0.99)))
	}
	strikes := "–"
	if r.fault.strike != nil {
		strikes = fmt.Sprint(r.strikes)
	}
	return []string{r.fault.title, r.load, strikes, what, fmt.Sprint(r.requests),
		millis(samples.Quantile(r.times, 0.5)), millis(samples.Quantile(r.times, 0.99)), millis(samples.Quantile(r.times, 1)), recovered}
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }

func (rep *faultReport) print(w io.Writer, rows []faultRow) {
	for _, r := range rows {
		fmt.Fprintln(w, strings.Join(r.line(), " | "))
	}
}

// unexcused names the faults that cost requests though none may fail.
func (rep *faultReport) unexcused() (list []string) {
	for _, r := range rep.rows {
		if r.fault.excuse == "" && r.failures() > 0 {
			list = append(list, fmt.Sprintf("%s, %s: %d of %d requests failed: %v", r.fault.name, r.load, r.failures(), r.requests, r.failed))
		}
	}
	return list
}

// markdown is the whole report.
func (rep *faultReport) markdown() string {
	var b strings.Builder
	b.WriteString("# What clients see of faults\n\n| | |\n| --- | --- |\n")
	for _, m := range rep.machine {
		fmt.Fprintf(&b, "| %s | %s |\n", m[0], m[1])
	}
	fmt.Fprintf(&b, "\nFour FastCGI children that compute for 1 ms each; GET requests for %v under each load: 50 a second, and 16 clients\n"+
		"that ask as fast as they get answers. The last column is the time from the end of a child to its ready successor,\n"+
		"median and 99th percentile, over both loads.\n\n", rep.duration)
	head := []string{"fault", "load", "strikes", "failed", "requests", "p50", "p99", "longest", "recovery"}
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(head, " | "), strings.Repeat(" --- |", len(head)))
	for _, r := range rep.rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(r.line(), " | "))
	}
	b.WriteString("\nFailures that are no fault of sluice's:\n\n")
	for _, f := range faults {
		if f.excuse != "" {
			fmt.Fprintf(&b, "- %s: %s\n", f.title, f.excuse)
		}
	}
	if len(rep.late) > 0 {
		fmt.Fprintf(&b, "\n## Deadline of the queue\n\n%d requests waited for busy children with a `queue_timeout` of 500 ms: the refusal came %s behind it\n"+
			"in the median, %s in the 99th percentile, %s at most.\n", len(rep.late), millis(samples.Quantile(rep.late, 0.5)),
			millis(samples.Quantile(rep.late, 0.99)), millis(samples.Quantile(rep.late, 1)))
	}
	fmt.Fprintf(&b, "\n## %d children killed\n\nOne every %v under load, busy or idle; %d of %d requests failed meanwhile.\n\n| | processes | zombies | descriptors | goroutines | resident |\n| --- | --- | --- | --- | --- | --- |\n",
		rep.kills, growthPause, rep.growth.failures(), rep.growth.requests)
	for _, h := range []struct {
		when string
		held
	}{{"before", rep.before}, {"after", rep.after}} {
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %.1f MiB |\n", h.when, h.processes, h.zombies, h.descriptors, h.goroutines,
			float64(h.resident)/(1<<20))
	}
	return b.String()
}
