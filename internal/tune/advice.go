package tune

import (
	"fmt"
	"math"
)

// Advice is which setting of a study to take.
type Advice struct {
	Setting Setting
	// Sure is how sure that is, from 0 to 1: the part of runs in which noise would
	// not have shown the difference on which Verdict rests. 0: nothing was compared.
	Sure    float64
	Verdict string   // a sentence
	Reasons []string // sentences
}

// The thresholds of advice.
const (
	enough     = 0.95  // sure enough to leave the default
	worthwhile = 0.03  // a lead that is worth a line of configuration
	mostFailed = 0.001 // part of requests without a whole answer: noise of the machine
)

// sureness is how sure in words.
func sureness(sure float64) string {
	switch {
	case sure >= 0.99:
		return "very sure"
	case sure >= enough:
		return "sure"
	case sure >= 0.8:
		return "not sure"
	}
	return "within the noise"
}

// percent is a part as people say it. A chance that was never seen may exist.
func percent(v float64) string {
	switch {
	case v > 0 && v < 0.001:
		return "less than 0.1%"
	case v > 0.999 && v < 1:
		return "more than 99.9%"
	case v > 0 && v < 0.01, v > 0.99 && v < 1:
		return fmt.Sprintf("%.1f%%", 100*v)
	}
	return fmt.Sprintf("%.0f%%", 100*v)
}

func signed(v float64) string { return fmt.Sprintf("%+.1f%%", 100*v) }

// advise fills in the advice of a study.
func (st *Study) advise() {
	a := &st.Advice
	a.Setting = st.Outcomes[0].Setting
	fit := st.fit(a)
	if len(fit) == 0 {
		a.Verdict = fmt.Sprintf("Nothing can be said, since no setting worked: keep the default, %s.", st.Outcomes[0].name())
		return
	}
	if fit[0] != st.Outcomes[0] {
		a.Reasons = append(a.Reasons, fmt.Sprintf("The default, %s, does not do it here; the simplest setting that does is %s.",
			st.Outcomes[0].name(), fit[0].name()))
		a.Setting = fit[0].Setting
	}
	if len(fit) == 1 {
		a.Verdict = fmt.Sprintf("Take %s: there is nothing to compare it with.", fit[0].name())
		return
	}
	st.compare(a, fit)
}

// fit are the outcomes of settings that work and do what they are for, the simplest first.
func (st *Study) fit(a *Advice) []*Outcome {
	var fit []*Outcome
	for _, o := range st.Outcomes {
		if o.Failed != "" {
			continue
		}
		ok := true
		for i, l := range st.Loads {
			if w := o.whole(i); l != Early && 1-w.part() > mostFailed {
				ok = false
				a.Reasons = append(a.Reasons, fmt.Sprintf("%s is left out: %s of its requests (%v) got no whole answer.",
					o.name(), percent(1-w.part()), l))
			}
		}
		if ok {
			fit = append(fit, o)
		}
	}
	for i, l := range st.Loads {
		if l == Early {
			fit = purposeful(a, fit, i)
		}
	}
	return fit
}

// purposeful are those whose early answers arrive as often as those of the best, as
// far as can be told.
func purposeful(a *Advice, all []*Outcome, load int) []*Outcome {
	best := 0.0
	for _, o := range all {
		low, _ := o.whole(load).interval()
		best = max(best, low)
	}
	var fit []*Outcome
	for _, o := range all {
		w := o.whole(load)
		low, high := w.interval()
		if high >= best {
			fit = append(fit, o)
			continue
		}
		a.Reasons = append(a.Reasons, fmt.Sprintf("%s is left out: %s of the early answers arrived whole (in 95 of 100 runs %s to %s), of others %s or more.",
			o.name(), percent(w.part()), percent(low), percent(high), percent(best)))
	}
	return fit
}

// score is what settings are compared by: the geometric mean of the answers a second
// under the loads, where Early does not count.
func (st *Study) score(o *Outcome, round int) float64 {
	sum, n := 0.0, 0.0
	for i, l := range st.Loads {
		if l != Early {
			sum += math.Log(o.Rounds[round][i].rate())
			n++
		}
	}
	return math.Exp(sum / n)
}

// compare chooses among settings that do what they are for; the first is the one to
// stay with.
func (st *Study) compare(a *Advice, fit []*Outcome) {
	scores := make([][]float64, len(fit))
	for i, o := range fit {
		for round := range o.Rounds {
			scores[i] = append(scores[i], st.score(o, round))
		}
	}
	t := newTrial(scores)
	best, next := ranking(t.effects)
	name := func(i int) string { return fit[i].name() }
	if best == 0 {
		a.Sure = 1 - t.chance(0, next, 1)
		a.Verdict = fmt.Sprintf("Keep %s: nothing was faster; %s (%s).", name(0), sureness(a.Sure), percent(a.Sure))
		a.Reasons = append(a.Reasons, fmt.Sprintf("The next, %s, is at %s (in 95 of 100 runs %s). Noise alone would leave it as far behind in %s of runs.",
			name(next), signed(t.lead(next, 0)), t.words(next, 0), percent(1-a.Sure)))
		return
	}
	others := len(fit) - 1
	a.Sure = 1 - t.chance(best, 0, others)
	seen := fmt.Sprintf("The fastest, %s, was at %s against %s (in 95 of 100 runs %s)", name(best), signed(t.lead(best, 0)), name(0), t.words(best, 0))
	switch {
	case a.Sure < enough:
		a.Verdict = fmt.Sprintf("Keep %s: nothing is surely faster; %s (%s, and %s is wanted).", name(0), sureness(a.Sure), percent(a.Sure), percent(enough))
		a.Reasons = append(a.Reasons, fmt.Sprintf("%s; noise alone would show such a lead in %s of runs. A longer --duration sees more.",
			seen, percent(1-a.Sure)))
		return
	case t.lead(best, 0) < worthwhile:
		a.Verdict = fmt.Sprintf("Keep %s: what is faster is so by less than %s; %s (%s).", name(0), percent(worthwhile), sureness(a.Sure), percent(a.Sure))
		a.Reasons = append(a.Reasons, seen+".")
		return
	}
	pick := st.simplest(t, best, others)
	a.Setting, a.Sure = fit[pick].Setting, 1-t.chance(pick, 0, others)
	a.Verdict = fmt.Sprintf("Take %s: %.1f%% faster than %s; %s (%s).", name(pick), 100*t.lead(pick, 0), name(0), sureness(a.Sure), percent(a.Sure))
	a.Reasons = append(a.Reasons, fmt.Sprintf("In 95 of 100 runs it is %s; noise alone would show such a lead in %s of runs.", t.words(pick, 0), percent(1-a.Sure)))
	if pick != best {
		a.Reasons = append(a.Reasons, fmt.Sprintf("%s was at %s against it, which noise or less than %s explains: the simpler one is taken.",
			name(best), signed(t.lead(best, pick)), percent(worthwhile)))
	}
}

// simplest is the first that is as good as the best as far as can be told, and
// surely better than the first of all.
func (st *Study) simplest(t *trial, best, others int) int {
	for i := 1; i < len(t.effects); i++ {
		equal := t.lead(best, i) < worthwhile || 1-t.chance(best, i, others) < enough
		if equal && t.lead(i, 0) >= worthwhile && 1-t.chance(i, 0, others) >= enough {
			return i
		}
	}
	return best
}

// words is the interval of a lead.
func (t *trial) words(a, b int) string {
	low, high := t.interval(a, b)
	return fmt.Sprintf("%s to %s", signed(low), signed(high))
}

// ranking is the index of the largest value, and of the next.
func ranking(values []float64) (best, next int) {
	for i, v := range values {
		if v > values[best] {
			best = i
		}
	}
	if best == 0 {
		next = 1
	}
	for i, v := range values {
		if i != best && v > values[next] {
			next = i
		}
	}
	return best, next
}
