package cgi

import (
	"sync"
	"time"
)

// Cap lets so many of something pass in a time, such as lines of a log, and
// counts what it keeps back.
type Cap struct {
	Most    int // 0: no limit
	Per     time.Duration
	LeftOut func(n int) // is told how many were kept back, at the end of that time

	mu    sync.Mutex
	since time.Time
	count int
}

// Admit reports whether one more may pass now.
func (c *Cap) Admit(now time.Time) bool {
	if c.Most <= 0 {
		return true
	}
	ok, left := c.admit(now)
	c.leftOut(left)
	return ok
}

// admit counts one; left is how many were kept back before the time that begins
// with this one.
func (c *Cap) admit(now time.Time) (ok bool, left int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.since) >= c.Per {
		left = c.rest()
		c.since, c.count = now, 0
	}
	c.count++
	if c.count == c.Most+1 {
		// There may never be another.
		time.AfterFunc(c.since.Add(c.Per).Sub(now), func() {
			c.mu.Lock()
			left := c.rest()
			c.mu.Unlock()
			c.leftOut(left)
		})
	}
	return c.count <= c.Most, left
}

// rest takes the count of what was kept back.
func (c *Cap) rest() int {
	n := max(0, c.count-c.Most)
	c.count -= n
	return n
}

func (c *Cap) leftOut(n int) {
	if n > 0 {
		c.LeftOut(n)
	}
}
