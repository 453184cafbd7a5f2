package exchange

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	type part struct {
		bytes int
		after time.Duration
	}
	steady := func(n, bytes int, every time.Duration) (all []part) {
		for range n {
			all = append(all, part{bytes, every})
		}
		return all
	}
	const s, ms = time.Second, time.Millisecond
	for _, c := range []struct {
		name  string
		parts []part
		left  time.Duration // of a rate of 100
	}{
		{"at the beginning", nil, 10 * s},
		{"silent", []part{{0, 4 * s}}, 6 * s},
		{"a little at the beginning", []part{{999, 0}}, 10 * s},
		{"just enough at the beginning", []part{{1000, 0}}, 11 * s},
		{"just enough, later", []part{{1000, 9500 * ms}}, 10500 * ms},
		{"a lot is no credit", []part{{1 << 30, 0}}, 11 * s},
		{"a lot, then silence", []part{{1 << 30, 0}, {0, 10500 * ms}}, 500 * ms},
		{"a byte each second", steady(9, 1, s), s},
		{"steady and fast enough", append([]part{{100, 0}}, steady(1000, 100, s)...), 2 * s},
		{"steady and faster", steady(1000, 200, s), 7 * s},
		{"steady and slower", steady(9, 99, s), s},
		{"bytes that come one by one", append([]part{{1, 0}}, steady(100000, 1, 10*ms)...), s},
		{"every nine seconds", steady(50, 1000, 9*s), 11 * s},
		{"fast, then slow", append(steady(5, 10000, s), steady(9, 1, s)...), 2 * s},
		{"slow, then fast", append(steady(9, 1, s), part{1000, 0}), 11 * s},
		{"a pause of an hour", []part{{1000, time.Hour}}, 0},
		{"too late, though it came", []part{{0, 9 * s}, {1000, 1001 * ms}}, 0},
		{"and nothing helps then", []part{{0, 11 * s}, {1 << 30, 0}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := pace{rate: 100}
			for _, q := range c.parts {
				p.took(q.bytes, q.after)
			}
			if got := p.left(); got != c.left {
				t.Errorf("%v are left, want %v", got, c.left)
			}
		})
	}
}

// TestPaceSlow: who is slower than the rate is found out, however it divides its
// bytes, and who is faster is not, once every second has its part.
func TestPaceSlow(t *testing.T) {
	for _, every := range []time.Duration{time.Millisecond, 70 * time.Millisecond, 700 * time.Millisecond, time.Second} {
		for _, rate := range []float64{50, 90, 99, 101, 110, 200, 1000} {
			p := pace{rate: 100}
			sent, slow := 0.0, false
			for range int(time.Minute / every) {
				before := int(sent)
				sent += rate * every.Seconds()
				p.took(int(sent)-before, every)
				slow = slow || p.left() == 0
			}
			switch {
			case rate < 100 && !slow:
				t.Errorf("%v bytes/s, one part in %v: not found out in a minute", rate, every)
			case rate > 110 && slow:
				t.Errorf("%v bytes/s, one part in %v: taken for too slow after %v", rate, every, p.waited)
			}
		}
	}
}
