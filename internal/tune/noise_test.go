package tune

import (
	"math"
	"math/rand/v2"
	"testing"
)

// noisy are scores of settings with these true values, in rounds that differ
// much, with noise of so much.
func noisy(rng *rand.Rand, truth []float64, rounds int, sigma float64) [][]float64 {
	scores := make([][]float64, len(truth))
	for range rounds {
		speed := math.Exp(0.5 * rng.NormFloat64())
		for i, v := range truth {
			scores[i] = append(scores[i], 10000*v*speed*math.Exp(sigma*rng.NormFloat64()))
		}
	}
	return scores
}

func TestTrial(t *testing.T) {
	// Without noise the effects are what they are, however the rounds differ.
	tr := newTrial(noisy(rand.New(rand.NewPCG(1, 1)), []float64{1, 1.1, 0.9}, 5, 0))
	if d := tr.lead(1, 0) - 0.1; math.Abs(d) > 1e-9 {
		t.Errorf("lead %v", tr.lead(1, 0))
	}
	if c := tr.chance(1, 0, 2); c > 0.001 {
		t.Errorf("a lead without noise has the chance %v", c)
	}
	low, high := tr.interval(2, 0)
	if math.Abs(low+0.1) > 1e-9 || math.Abs(high+0.1) > 1e-9 {
		t.Errorf("interval %v to %v", low, high)
	}
	// One round knows nothing of noise.
	tr = newTrial([][]float64{{1}, {2}})
	if c := tr.chance(1, 0, 1); c != 1 {
		t.Errorf("one round: chance %v", c)
	}
	if _, high := tr.interval(1, 0); !math.IsInf(high, 1) {
		t.Errorf("one round: at most %v", high)
	}
}

// Where all settings are alike, one of them looks surely better in about 5 of 100
// runs, however many there are and however few the rounds.
func TestChanceOfNothing(t *testing.T) {
	for _, c := range []struct{ settings, rounds int }{{5, 5}, {22, 5}, {22, 3}} {
		const runs = 100
		rng, wrong, outside := rand.New(rand.NewPCG(77, uint64(c.settings*c.rounds))), 0, 0
		for range runs {
			truth := make([]float64, c.settings)
			for i := range truth {
				truth[i] = 1
			}
			tr := newTrial(noisy(rng, truth, c.rounds, 0.05))
			tr.tries = 500
			best, _ := ranking(tr.effects)
			if best != 0 && 1-tr.chance(best, 0, c.settings-1) >= enough {
				wrong++
			}
			if low, high := tr.interval(1, 0); low > 0 || high < 0 {
				outside++
			}
		}
		if wrong > runs*10/100 {
			t.Errorf("%d settings, %d rounds: sure of nothing in %d of %d runs", c.settings, c.rounds, wrong, runs)
		}
		if outside > runs*12/100 {
			t.Errorf("%d settings, %d rounds: the interval misses in %d of %d runs", c.settings, c.rounds, outside, runs)
		}
	}
}

// A true lead of three times the noise is seen.
func TestChanceOfSomething(t *testing.T) {
	rng, seen := rand.New(rand.NewPCG(9, 9)), 0
	const runs = 40
	for range runs {
		truth := []float64{1, 1, 1, 1.15, 1, 0.5, 1, 1}
		tr := newTrial(noisy(rng, truth, 5, 0.05))
		tr.tries = 500
		if best, _ := ranking(tr.effects); best == 3 && 1-tr.chance(3, 0, len(truth)-1) >= enough {
			seen++
		}
	}
	if seen < runs*80/100 {
		t.Errorf("seen in %d of %d runs", seen, runs)
	}
}

func TestShare(t *testing.T) {
	for _, c := range []struct {
		s         share
		low, high float64
	}{
		{share{0, 0}, 0, 1},
		{share{100, 100}, 0.963, 1},
		{share{0, 100}, 0, 0.037},
		{share{50, 100}, 0.404, 0.596},
	} {
		low, high := c.s.interval()
		if math.Abs(low-c.low) > 0.001 || math.Abs(high-c.high) > 0.001 {
			t.Errorf("%v: %.3f to %.3f, want %v to %v", c.s, low, high, c.low, c.high)
		}
	}
}

func TestRanking(t *testing.T) {
	for _, c := range []struct {
		values     []float64
		best, next int
	}{
		{[]float64{3, 1, 2}, 0, 2}, {[]float64{1, 3, 2}, 1, 2}, {[]float64{1, 2}, 1, 0}, {[]float64{2, 1}, 0, 1}, {[]float64{1, 1, 1}, 0, 1},
	} {
		if best, next := ranking(c.values); best != c.best || next != c.next {
			t.Errorf("%v: %d and %d", c.values, best, next)
		}
	}
}
