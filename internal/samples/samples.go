// Package samples says what a few repeated measurements have in common.
package samples

import (
	"cmp"
	"slices"
)

// Spread is a median with the extremes.
type Spread struct{ Median, Least, Most float64 }

// SpreadOf is all zero for no values.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	return Spread{Median: (v[(n-1)/2] + v[n/2]) / 2, Least: v[0], Most: v[n-1]}
}

// Median is the middle value, or the mean of the two in the middle; 0 for no values.
func Median(values []float64) float64 { return SpreadOf(values).Median }

// Quantile is the nearest-rank quantile, q from 0 to 1; 0 for no values.
func Quantile[T cmp.Ordered](values []T, q float64) (v T) {
	if len(values) == 0 {
		return v
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
