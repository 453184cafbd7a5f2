package tune

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// someReport has everything that a report can show: settings that do not work,
// ones that are left out, a recommendation other than the default, and one for it.
func someReport() *Report {
	accept := madeUp(studies[0], someAccept, []level{{rate: 1}, {rate: 1.2}, {rate: 1.5, broken: 50}, {rate: 1.22}, {failed: "sem: not in this kernel"}}, 0.02)
	linger := madeUp(studies[1], lingerSettings(2), []level{{1, 1, "", 0}, {1.01, 1, "", 0}, {1, 0.98, "", 0}, {failed: "not supported <yet>"}, {1.1, 0.02, "", 0}}, 0.02)
	return &Report{Began: time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC), Studies: []*Study{accept, linger},
		Facts: []Fact{{"sluice", "1.2.3"}, {"kernel", "Linux 6.1 x86_64"}, {"CPUs", "2, Some CPU"}, {"workers", "1 to 2"}}}
}

// golden compares with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s differs; with -update it is rewritten:\n%s", file, d)
	}
}

func TestPrint(t *testing.T) {
	var b strings.Builder
	if err := someReport().Print(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, "report.txt", b.String())
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 100 {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
}

func TestPage(t *testing.T) {
	var b strings.Builder
	if err := someReport().Page(&b); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	golden(t, "report.html", page)
	// Nothing is fetched: the only addresses are names of XML.
	rest := strings.NewReplacer("http://www.w3.org/2000/svg", "", "http://www.w3.org/1999/xlink", "").Replace(page)
	for _, bad := range []string{"http:", "https:", "src=", "url(", "@import", "<script", "<link", "#01000"} {
		if strings.Contains(rest, bad) {
			t.Errorf("%q in the page", bad)
		}
	}
	if n, want := strings.Count(page, "<svg "), len(drawings[0])+len(drawings[1]); n != want {
		t.Errorf("%d figures, want %d", n, want)
	}
	if strings.Contains(page, "<yet>") {
		t.Error("what a server said is taken for HTML")
	}
	// Every variable that is used is defined, for light and for dark.
	for _, v := range regexp.MustCompile(`var\((--[a-z0-9]+)\)`).FindAllStringSubmatch(page, -1) {
		if strings.Count(page, v[1]+":") != 2 {
			t.Errorf("%s is not defined twice", v[1])
		}
	}
}

// A report in which nothing works is a report, too.
func TestReportOfNothing(t *testing.T) {
	rep := &Report{}
	for _, st := range studies {
		settings := st.settings(1)
		levels := make([]level, len(settings))
		for i := range levels {
			levels[i].failed = "no"
		}
		rep.Studies = append(rep.Studies, madeUp(st, settings, levels, 0))
	}
	var b strings.Builder
	if err := rep.Print(&b); err != nil || strings.Contains(b.String(), "req/s") || !strings.Contains(b.String(), "do not work here: no") {
		t.Errorf("%v:\n%s", err, b.String())
	}
	b.Reset()
	if err := rep.Page(&b); err != nil || strings.Contains(b.String(), "<svg") {
		t.Errorf("%v:\n%s", err, b.String())
	}
}

func TestTicks(t *testing.T) {
	labels := func(ticks func(low, high float64) []string, low, high float64) string {
		return strings.Join(ticks(low, high), " ")
	}
	linear := func(low, high float64) (list []string) {
		for _, k := range even(low, high) {
			list = append(list, k.Label)
		}
		return list
	}
	logs := func(low, high float64) (list []string) {
		for _, k := range decades(low, high) {
			list = append(list, k.Label)
		}
		return list
	}
	for _, c := range []struct {
		scale     func(low, high float64) []string
		low, high float64
		want      string
	}{
		{linear, 0, 1.05, "0 0.2 0.4 0.6 0.8 1"},
		{linear, 0, 31000, "0 5000 10000 15000 20000 25000 30000"},
		{linear, 0, 105, "0 20 40 60 80 100"},
		{linear, 0, 0.0042, "0 0.001 0.002 0.003 0.004"},
		{logs, 0.9, 30, "1 2 5 10 20"},
		{logs, 0.03, 0.2, "0.05 0.1 0.2"},
	} {
		if got := labels(c.scale, c.low, c.high); got != c.want {
			t.Errorf("%v to %v: %s, want %s", c.low, c.high, got, c.want)
		}
	}
}
