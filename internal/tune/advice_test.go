package tune

import (
	"math"
	"strings"
	"testing"
	"time"
)

// level is what a made-up setting is like: its answers a second relative to the
// default, the part of its early answers that arrive, and why it does not work.
type level struct {
	rate, whole float64
	failed      string
	broken      int64 // requests of the other loads without an answer
}

// wobble is the noise of made-up rounds, the same each time but not the same for
// any two settings.
func wobble(setting, round int, sigma float64) float64 {
	return math.Exp(sigma * math.Sin(float64(7*setting+13*round*round+setting*round)))
}

// madeUp is a study of the settings, five rounds of it.
func madeUp(kind study, settings []Setting, levels []level, sigma float64) *Study {
	st := &Study{Title: kind.title, Loads: kind.loads}
	for i, s := range settings {
		l := levels[i]
		o := &Outcome{Setting: s, Failed: l.failed}
		for round := 0; round < 5 && l.failed == ""; round++ {
			var list []Sample
			for _, load := range kind.loads {
				rate := []float64{8000, 30000, 500}[load] * l.rate * wobble(i, round, sigma)
				took := func(times float64) time.Duration { return time.Duration(times * 1e9 / rate) }
				smp := Sample{Result: Result{Elapsed: 400 * time.Millisecond, Answers: int64(0.4 * rate),
					Mean: took(32), P50: took(30), P99: took(90), Max: took(200 * wobble(round, i, 0.5))},
					CPU: time.Duration(0.4 * 3e8), Served: uint64(0.4 * rate), Accepts: uint64(0.4 * rate),
					Uneven: 0.05 * float64(i+1) * wobble(i, round, 0.4), Lingering: 0.2 * float64(i)}
				if s.Workers > 1 && s.Accept == "none" {
					smp.Empty = smp.Accepts / 3
				}
				smp.Failed[timeout] = l.broken
				if load == Early {
					smp.Answers = int64(200 * l.whole)
					smp.Failed[reset] = 200 - smp.Answers
				}
				list = append(list, smp)
			}
			o.Rounds = append(o.Rounds, list)
		}
		st.Outcomes = append(st.Outcomes, o)
	}
	st.advise()
	return st
}

var someAccept = []Setting{
	{Accept: "none", Workers: 1}, {Accept: "none", Workers: 2}, {Accept: "reuseport", Workers: 2}, {Accept: "flock", Workers: 2},
	{Accept: "partial", Permits: 1, Workers: 2},
}

func TestAdviceOnAccept(t *testing.T) {
	const ok = 1
	for _, c := range []struct {
		name    string
		levels  []level
		sigma   float64
		verdict string
		sure    [2]float64
		reasons []string // each in one of them
	}{
		{"all alike", []level{{rate: 1}, {rate: 1.01}, {rate: 1}, {rate: 0.99}, {rate: 1}}, 0.05,
			`Keep "none, 1 worker": nothing is surely faster; `, [2]float64{0, 0.95}, []string{"noise alone would show such a lead", "longer --duration"}},
		{"the default is best", []level{{rate: 1.3}, {rate: 1}, {rate: 1}, {rate: 1}, {rate: 1}}, 0.02,
			`Keep "none, 1 worker": nothing was faster; `, [2]float64{0.99, 1}, []string{"The next, ", "Noise alone would leave it as far behind in less than 0.1% of runs"}},
		{"one is better", []level{{rate: 1}, {rate: 1}, {rate: 1.25}, {rate: 1}, {rate: 1}}, 0.02,
			`Take "reuseport, 2 workers": 2`, [2]float64{0.99, 1}, []string{"In 95 of 100 runs it is +"}},
		{"better, but not worth it", []level{{rate: 1}, {rate: 1}, {rate: 1.02}, {rate: 1}, {rate: 1}}, 0.0005,
			`Keep "none, 1 worker": what is faster is so by less than 3%; very sure (`, [2]float64{0.99, 1}, []string{"The fastest, "}},
		{"the simplest of the good ones", []level{{rate: 1}, {rate: 1.29}, {rate: 1}, {rate: 1.3}, {rate: 1.3}}, 0.005,
			`Take "none, 2 workers": 2`, [2]float64{0.99, 1}, []string{"the simpler one is taken"}},
		{"the best breaks connections", []level{{rate: 1}, {rate: 1}, {rate: 1.3, broken: 50}, {rate: 1}, {rate: 1}}, 0.01,
			`Keep "none, 1 worker": `, [2]float64{0, 1}, []string{`"reuseport, 2 workers" is left out: `}},
		{"the default does not work", []level{{failed: "no"}, {rate: 1}, {rate: 1.3}, {rate: 1}, {rate: 1}}, 0.01,
			`Take "reuseport, 2 workers": `, [2]float64{0.99, 1}, []string{`"none, 1 worker", does not do it here; the simplest setting that does is "none, 2 workers"`}},
		{"one alone works", []level{{failed: "no"}, {failed: "no"}, {rate: ok}, {failed: "no"}, {failed: "no"}}, 0.01,
			`Take "reuseport, 2 workers": there is nothing to compare it with.`, [2]float64{0, 0}, nil},
		{"none works", []level{{failed: "no"}, {failed: "no"}, {failed: "no"}, {failed: "no"}, {failed: "no"}}, 0.01,
			`Nothing can be said, since no setting worked: keep the default, "none, 1 worker".`, [2]float64{0, 0}, nil},
	} {
		a := madeUp(studies[0], someAccept, c.levels, c.sigma).Advice
		checkAdvice(t, c.name, a, c.verdict, c.sure, c.reasons)
	}
}

func checkAdvice(t *testing.T, name string, a Advice, verdict string, sure [2]float64, reasons []string) {
	t.Helper()
	if !strings.HasPrefix(a.Verdict, verdict) {
		t.Errorf("%s: %q, want %q", name, a.Verdict, verdict)
	}
	if a.Sure < sure[0] || a.Sure > sure[1] {
		t.Errorf("%s: %v sure", name, a.Sure)
	}
	if q := strings.Split(a.Verdict, `"`); len(q) < 2 || q[1] != a.Setting.String() {
		t.Errorf("%s: the verdict %q is not about %q", name, a.Verdict, a.Setting)
	}
	text := strings.Join(a.Reasons, "\n")
	for _, r := range reasons {
		if !strings.Contains(text, r) {
			t.Errorf("%s: no %q in:\n%s", name, r, text)
		}
	}
}

func TestAdviceOnLingering(t *testing.T) {
	// timed, adaptive, always, so_linger, off
	for _, c := range []struct {
		name    string
		levels  []level
		verdict string
		reasons []string
	}{
		{"off is fastest and useless", []level{{1, 1, "", 0}, {1, 1, "", 0}, {0.9, 1, "", 0}, {0.8, 1, "", 0}, {1.3, 0.1, "", 0}},
			`Keep "timed": `, []string{`"off" is left out: 10% of the early answers arrived whole`}},
		{"another is faster and as good", []level{{1, 1, "", 0}, {1.3, 1, "", 0}, {0.9, 1, "", 0}, {0.8, 1, "", 0}, {1.3, 0.1, "", 0}},
			`Take "adaptive": 3`, nil},
		{"the default loses answers", []level{{1, 0.5, "", 0}, {1, 0.5, "", 0}, {0.9, 1, "", 0}, {0.8, 1, "", 0}, {1.3, 0.1, "", 0}},
			`Keep "always": nothing was faster; `, []string{`"timed", does not do it here; the simplest setting that does is "always"`}},
	} {
		st := madeUp(studies[1], lingerSettings(1), c.levels, 0.01)
		checkAdvice(t, c.name, st.Advice, c.verdict, [2]float64{0, 1}, c.reasons)
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct {
		sure          float64
		words, amount string
	}{
		{0, "within the noise", "0%"}, {0.0002, "within the noise", "less than 0.1%"}, {0.5, "within the noise", "50%"},
		{0.94, "not sure", "94%"}, {0.95, "sure", "95%"}, {0.995, "very sure", "99.5%"}, {0.9998, "very sure", "more than 99.9%"}, {1, "very sure", "100%"},
	} {
		if w, a := sureness(c.sure), percent(c.sure); w != c.words || a != c.amount {
			t.Errorf("%v: %q, %q", c.sure, w, a)
		}
	}
}
