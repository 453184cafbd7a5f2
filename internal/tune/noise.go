package tune

import (
	"math"
	"math/rand/v2"
	"slices"

	"sluice/internal/samples"
)

// trial is what rounds say of settings that were all tried in each of them.
//
// The score of a setting in a round is taken as the product of what the round is
// like (the machine's speed at that moment), what the setting is like, and noise.
// Logarithms make sums of that. A setting's effect is the median over the rounds
// of its score without the round's; the noise is what two rounds of one setting
// differ by, divided by the square root of two, pooled over all settings. How
// often noise alone would show a lead is found by trying it: rounds are made up of
// nothing but noise, again and again, and the same medians are taken of them.
type trial struct {
	effects []float64 // natural logarithms, of each setting
	noise   []float64
	rounds  int
	tries   int // of noise
}

// newTrial takes scores, more than 0, by setting and round.
func newTrial(scores [][]float64) *trial {
	t := &trial{rounds: len(scores[0]), tries: simulations}
	logs := make([][]float64, len(scores))
	for i, s := range scores {
		for _, v := range s {
			logs[i] = append(logs[i], math.Log(v))
		}
	}
	// A round has a median of so many settings, which takes a part of their noise
	// with it.
	n := float64(len(scores))
	widen := math.Sqrt(n/max(n-1, 1)) / math.Sqrt2
	for round := range t.rounds {
		column := make([]float64, len(logs))
		for i := range logs {
			column[i] = logs[i][round]
		}
		for i, m := 0, samples.Median(column); i < len(logs); i++ {
			logs[i][round] -= m
		}
	}
	for _, l := range logs {
		t.effects = append(t.effects, samples.Median(l))
		for i := range l {
			for j := range i {
				d := widen * (l[i] - l[j])
				t.noise = append(t.noise, d, -d)
			}
		}
	}
	return t
}

// lead is by how much setting a is ahead of b: 0.1 is 10 %.
func (t *trial) lead(a, b int) float64 { return math.Expm1(t.effects[a] - t.effects[b]) }

// simulations is how often noise is tried: chances are known to about a percent,
// and none is less than 1 in so many.
const simulations = 5000

// chance is how often noise alone would put the best of so many settings at least
// as far ahead of another as a is of b, from 0 to 1. It is the same each time.
func (t *trial) chance(a, b, of int) float64 {
	lead := t.effects[a] - t.effects[b]
	if len(t.noise) == 0 {
		return 1
	}
	draw := t.drawer(1)
	hits := 1
	for range t.tries {
		best := math.Inf(-1)
		for range of {
			best = max(best, draw())
		}
		if best-draw() >= lead {
			hits++
		}
	}
	return float64(hits) / float64(t.tries+1)
}

// margin is what a lead is to be widened by on each side, as a logarithm, to hold
// the true one in 95 of 100 cases.
func (t *trial) margin() float64 {
	if len(t.noise) == 0 {
		return math.Inf(1)
	}
	draw := t.drawer(2)
	list := make([]float64, t.tries)
	for i := range list {
		list[i] = math.Abs(draw() - draw())
	}
	return samples.Quantile(list, 0.95)
}

// interval is where the lead of a before b is, in 95 of 100 cases.
func (t *trial) interval(a, b int) (low, high float64) {
	d, m := t.effects[a]-t.effects[b], t.margin()
	return math.Expm1(d - m), math.Expm1(d + m)
}

// drawer returns medians of rounds of nothing but noise, one at each call.
func (t *trial) drawer(seed uint64) func() float64 {
	rng := rand.New(rand.NewPCG(seed, 0))
	list := make([]float64, t.rounds)
	return func() float64 {
		for i := range list {
			list[i] = t.noise[rng.IntN(len(t.noise))]
		}
		slices.Sort(list)
		return (list[(t.rounds-1)/2] + list[t.rounds/2]) / 2
	}
}

// share is a part of a number of tries.
type share struct{ hits, tries int64 }

func (s share) part() float64 { return per(float64(s.hits), float64(s.tries)) }

// interval is where the true part is, in 95 of 100 cases (Wilson's).
func (s share) interval() (low, high float64) {
	if s.tries == 0 {
		return 0, 1
	}
	const z = 1.96
	n, p := float64(s.tries), s.part()
	mid := (p + z*z/(2*n)) / (1 + z*z/n)
	half := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return max(mid-half, 0), min(mid+half, 1)
}
