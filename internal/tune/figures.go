package tune

import "sluice/internal/samples"

// drawing is a figure of the page: which measure, under which loads.
type drawing struct {
	title, unit string
	log         bool
	of          []line
	only        func(Setting) bool // nil: every setting
}

// line is a series of a drawing: a measure under a load.
type line struct {
	name string
	load Load
	of   func(o *Outcome, load int) samples.Spread
}

// each is a measure of the rounds.
func each(m measure) func(*Outcome, int) samples.Spread {
	return func(o *Outcome, load int) samples.Spread { return o.over(load, m) }
}

func bothLoads(m measure) []line {
	return []line{{Connect.String(), Connect, each(m)}, {Keepalive.String(), Keepalive, each(m)}}
}

func latencies(l Load) []line {
	return []line{{"median", l, each(median)}, {"99th percentile", l, each(late)}, {"maximum", l, each(latest)}}
}

func shared(s Setting) bool { return s.Workers > 1 }

// drawings are those of each study, in its order.
var drawings = [][]drawing{
	{
		{"Answers a second", "req/s", false, bothLoads(rate), nil},
		{"Latency, a connection for each request", "ms", true, latencies(Connect), nil},
		{"Latency, kept connections", "ms", true, latencies(Keepalive), nil},
		{"CPU of the server for a request", "µs", false, bothLoads(cost), nil},
		{"How uneven the workers' shares are", "standard deviation / mean", false, bothLoads(unevenly), shared},
		{"Wake-ups that found no connection", "for each connection", false, []line{{Connect.String(), Connect, each(empty)}}, shared},
	},
	{
		{"Early answers that arrived whole", "part of all, with the interval that holds it in 95 of 100 runs", false, []line{{Early.String(), Early,
			func(o *Outcome, load int) samples.Spread {
				w := o.whole(load)
				low, high := w.interval()
				return samples.Spread{Median: w.part(), Least: low, Most: high}
			}}}, nil},
		{"How long a connection lingered", "ms", false, []line{{Connect.String(), Connect, each(linger)}, {Early.String(), Early, each(linger)}}, nil},
		{"Answers a second", "req/s", false, bothLoads(rate), nil},
		{"CPU of the server for a request", "µs", false, bothLoads(cost), nil},
	},
}

// figure fills a drawing with the outcomes of a study.
func (d *drawing) figure(st *Study) *figure {
	f := &figure{title: d.title, unit: d.unit, log: d.log, marked: -1}
	for _, l := range d.of {
		f.series = append(f.series, series{l.name, map[int]samples.Spread{}})
	}
	for _, o := range st.Outcomes {
		if o.Failed != "" || d.only != nil && !d.only(o.Setting) {
			continue
		}
		row := len(f.rows)
		if o.Setting == st.Advice.Setting {
			f.marked = row
		}
		f.rows = append(f.rows, o.Setting.String())
		for i, l := range d.of {
			for j, load := range st.Loads {
				if load == l.load {
					f.series[i].values[row] = l.of(o, j)
				}
			}
		}
	}
	return f
}
