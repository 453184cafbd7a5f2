package scoreboard

import (
	"math"
	"sync/atomic"
	"time"
)

// Numbers that come from elsewhere: what cannot be is 0.

func countOf(w *atomic.Uint64) int {
	if v := w.Load(); v <= math.MaxInt32 {
		return int(v)
	}
	return 0
}

// lastTime keeps times within what JSON can say.
const lastTime = 4102444800e9 // the year 2100

func timeOf(w *atomic.Uint64) time.Time {
	if v := w.Load(); v != 0 && v < lastTime {
		return time.Unix(0, int64(v))
	}
	return time.Time{}
}
