package main

import (
	"strings"
	"testing"
	"time"

	"sluice/internal/samples"
)

// rounds makes samples of one second with so many requests each.
func rounds(cpu time.Duration, requests ...int64) []sample {
	var list []sample
	for _, n := range requests {
		list = append(list, sample{load: load{requests: n, elapsed: time.Second, p50: time.Millisecond, p99: 2 * time.Millisecond}, cpu: cpu, pss: 3 << 20, peak: 5 << 20})
	}
	return list
}

// TestRatioIsPairwise has a machine that becomes ten times slower: the ratio of
// medians would be 10 or 0.1, the median of ratios is 2.
func TestRatioIsPairwise(t *testing.T) {
	s := scenario{}
	a := &row{samples: rounds(time.Second, 200, 2000, 200)}
	b := &row{samples: rounds(time.Second, 100, 1000, 100)}
	if got := samples.SpreadOf(a.ratios(s, b, sample.rate)); got.Median != 2 {
		t.Errorf("ratio %v, want 2", got)
	}
	if got := a.ratios(s, a, sample.rate); got != nil {
		t.Errorf("ratios to itself: %v", got)
	}
	if got := a.ratios(s, nil, sample.rate); got != nil {
		t.Errorf("ratios to nobody: %v", got)
	}
}

// TestFailedRound has a visit without any answer, which is an error and no
// number; the same round of another server is left out of the ratio as well.
func TestFailedRound(t *testing.T) {
	s := scenario{}
	a := &row{samples: rounds(time.Second, 200, 0, 200)}
	b := &row{samples: rounds(time.Second, 100, 1000, 0)}
	a.samples[1].failed(1, "no answer")
	if got := a.over(s, sample.rate); got != (samples.Spread{Median: 200, Least: 200, Most: 200}) {
		t.Errorf("rate %v", got)
	}
	if got := a.ratios(s, b, sample.rate); len(got) != 1 || got[0] != 2 {
		t.Errorf("ratios %v", got)
	}
	rep := &report{results: []*result{{scenario: scenario{name: "x"}, rows: []*row{a}}}}
	if got := rep.faults(); len(got) != 1 || got[0] != "x: : round 2: no answer" {
		t.Errorf("faults %q", got)
	}
}

func TestCost(t *testing.T) {
	x := sample{load: load{requests: 1000, bytes: 2 << 30, elapsed: time.Second}, cpu: 500 * time.Millisecond}
	if got := x.cost(scenario{}); got != 500 {
		t.Errorf("CPU a request %v µs, want 500", got)
	}
	if got := x.cost(scenario{download: true}); got != 0.25 {
		t.Errorf("CPU a GiB %v s, want 0.25", got)
	}
	if got := x.rate(scenario{download: true}); got != 2 {
		t.Errorf("rate %v GiB/s, want 2", got)
	}
}

func TestReport(t *testing.T) {
	faulty := rounds(time.Second, 50)
	faulty[0].errors, faulty[0].fault = 3, "Non-2xx or 3xx responses: 3"
	rep := &report{
		machine: [][2]string{{"kernel", "Linux 6"}},
		notes:   []string{"a note."},
		results: []*result{{scenario: scenario{name: "file", title: "static file"}, rows: []*row{
			{server: "sluice", samples: rounds(time.Second, 200)},
			{server: "nginx", samples: rounds(time.Second, 100)},
			{server: "lighttpd", samples: faulty},
		}}},
	}
	text := rep.markdown()
	for _, want := range []string{
		"| kernel | Linux 6 |\n",
		"- a note.\n",
		"\n## file\n\nStatic file.\n",
		"| sluice | 200 (200–200) | 1.00 ms (≤1.00) | 2.00 ms (≤2.00) | 5000.0 (5000.0–5000.0) | 2.00 | 0.50 | 4.00 | 0.25 | 3.0 | 5.0 | – | 0 |\n",
		"| nginx | 100 (100–100) | 1.00 ms (≤1.00) | 2.00 ms (≤2.00) | 10000.0 (10000.0–10000.0) | – | – | 2.00 | 0.50 |",
		"\n## Faults\n\n- file: lighttpd: round 1: Non-2xx or 3xx responses: 3\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if got := (&report{}).faults(); len(got) != 1 {
		t.Errorf("faults of an empty run: %q", got)
	}
}

// TestDefaultRunIsShort bounds the time under load of `make bench` without
// arguments: with starts, warming up and trials it is twenty minutes.
func TestDefaultRunIsShort(t *testing.T) {
	o, err := parseOptions(nil)
	if err != nil {
		t.Fatal(err)
	}
	var d time.Duration
	for _, s := range o.scenarios() {
		for _, sv := range servers {
			if s.trial == nil && sv.can(s) {
				d += time.Duration(s.most(o.rounds)) * o.duration
			}
		}
	}
	if d > 10*time.Minute {
		t.Errorf("%v under load", d)
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		args, err string
		scenarios int
	}{
		{"", "", len(scenarios)},
		{"-only fastcgi", "", 2},
		{"-only fastcgi-4,cgi", "", 2},
		{"-only xsendfile-200m", "", 2},
		{"-only nothing", "no scenario", 0},
		{"-only fastcgi,nothing", "no scenario", 0},
		{"-only modes", "", 0},
		{"-only calls", "", 5},
		{"-servers iis", "no server", 0},
		{"-rounds 0", "at least one", 0},
		{"stray", "unexpected argument", 0},
	} {
		o, err := parseOptions(strings.Fields(c.args))
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%q: error %v, want %q", c.args, err, c.err)
			}
			continue
		}
		if err != nil || len(o.scenarios()) != c.scenarios {
			t.Errorf("%q: %d scenarios, %v; want %d", c.args, len(o.scenarios()), err, c.scenarios)
		}
	}
}

// TestConfigurations expands every template for every kind of scenario.
func TestConfigurations(t *testing.T) {
	for _, name := range []string{"nginx.conf", "lighttpd.conf", "apache.conf", "php-fpm.conf", "sluice.toml"} {
		for k := range kindSend + 1 {
			st := site{Dir: "/d", Port: 81, Root: "/r", Files: "/f", Path: "/app", Script: "/app", Match: "/app", User: "u",
				Sockets: []string{"/d/s"}, PHP: k == kindPHP, CGI: k == kindCGI, Send: k == kindSend, Keep: true, Held: 7, Workers: 1}
			if k != kindCGI && k != kindFile {
				st.Words, st.Command = []string{"/b", "x y"}, "/b x"
			}
			if _, err := expand(name, st); err != nil {
				t.Errorf("%s, kind %d: %v", name, k, err)
			}
		}
	}
	st := site{Dir: "/d", Port: 81, Root: "/r", Files: "/f", Path: "/app", Words: []string{"/b", "x y"}, Command: "/b x", Send: true, Children: 4}
	got, err := expand("sluice.toml", st)
	want := `listen = ["127.0.0.1:81"]
runtime = "/d/run"

[[app]]
name = "bench"
kind = "fastcgi"
command = ["/b", "x y"]
scale = "static"
max = 4

[app.send_file]
roots = ["/f"]

[[site]]
root = "/r"

[[site.route]]
match = "/app"
app = "bench"

`
	if err != nil || string(got) != want {
		t.Errorf("%v, got:\n%s\nwant:\n%s", err, got, want)
	}
}
