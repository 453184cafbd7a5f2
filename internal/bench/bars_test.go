package main

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write golden files")

// Every bar's scenario exists, is one that its peers take part in, and has the
// figure that the bar reads.
func TestBarsFitScenarios(t *testing.T) {
	for _, g := range bars {
		i := slices.IndexFunc(scenarios, func(s scenario) bool { return s.name == g.scenario })
		if i < 0 {
			t.Errorf("%s: no scenario %q", g.what, g.scenario)
			continue
		}
		s := scenarios[i]
		x := sample{load: load{requests: 1000, bytes: 1 << 30, elapsed: time.Second, p99: time.Millisecond}, cpu: time.Second}
		if s.trial != nil {
			x.figures = slices.Repeat([]float64{1}, len(s.trial.columns))
		}
		if got := g.measure(x, s); got == 0 {
			t.Errorf("%s: measures nothing", g.what)
		}
		taking := 0
		for _, sv := range servers {
			if slices.Contains(g.peers, sv.name) && sv.can(s) {
				taking++
			}
		}
		if len(g.peers) > 0 && taking == 0 {
			t.Errorf("%s: no peer takes part", g.what)
		}
	}
}

// TestBestPeer has two variants of nginx, each of which is better at one thing.
func TestBestPeer(t *testing.T) {
	res := &result{rows: []*row{
		{server: "sluice", samples: rounds(100*time.Millisecond, 1000, 1000)},
		{server: "nginx", samples: rounds(100*time.Millisecond, 2000, 2000)},
		{server: "nginx-1", samples: rounds(20*time.Millisecond, 1000, 1000)},
	}}
	for _, c := range []struct {
		g    bar
		peer string
		want float64
	}{
		{bar{measure: sample.rate, least: true, peers: nginxes}, "nginx", 0.5},
		{bar{measure: sample.cost, peers: nginxes}, "nginx-1", 5},
	} {
		v, ok := c.g.judge([]*result{res})
		if !ok || v.peer != c.peer || v.Median != c.want {
			t.Errorf("judged by %q: %v, %v; want %q, %v", v.peer, v.Median, ok, c.peer, c.want)
		}
	}
	if _, ok := (bar{measure: sample.rate, peers: lighttpds}).judge([]*result{res}); ok {
		t.Error("judged by a server that is not there")
	}
}

// TestReportGolden has a load in which a bar is met in two of three rounds, a
// trial, and what sluice says of its modes.
func TestReportGolden(t *testing.T) {
	sluice := rounds(100*time.Millisecond, 1400, 1310, 1000)
	lighttpd := rounds(200*time.Millisecond, 1000, 1000, 1000)
	lighttpd[2].failed(3, "Non-2xx or 3xx responses: 3")
	trial := func(figures ...float64) []sample {
		return []sample{{load: load{requests: 20000}, figures: figures, detail: "read 1.0"}}
	}
	rep := &report{
		machine: [][2]string{{"kernel", "Linux 6"}},
		notes:   []string{"a note."},
		results: []*result{
			{scenario: scenario{name: "fastcgi-64", title: "small answers"}, rows: []*row{
				{server: "sluice", samples: sluice}, {server: "lighttpd", samples: lighttpd}}},
			{scenario: scenario{name: "idle", title: "idle connections", trial: idleTrial}, rows: []*row{
				{server: "sluice", samples: trial(10000, 20, 30, 1049, 1000, 1100, 9999)},
				{server: "apache", samples: nil}}},
		},
		modes: "not supported yet",
		left:  []string{"idle: apache: ended at start"},
	}
	golden := filepath.Join("testdata", "report.md")
	if *update {
		if err := os.WriteFile(golden, []byte(rep.markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got := rep.markdown(); got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}
