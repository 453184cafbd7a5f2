package exchange

import "time"

// paceWindow is the time, in seconds, over which an upload must reach its rate.
const paceWindow = 10

// pace watches that an upload is not slower than a rate over any ten seconds
// that it is waited for: what the server itself takes long for does not count.
// Windows begin with full seconds.
type pace struct {
	rate   int64             // bytes a second; 0: any
	waited time.Duration     // for the client so far
	bytes  [paceWindow]int64 // in each of the last seconds
	slow   bool
}

// left is how long the client may be silent from now on; 0: it is too slow.
func (p *pace) left() time.Duration {
	if p.slow {
		return 0
	}
	now := int64(p.waited / time.Second)
	end := max(now+1, paceWindow)
	sum := int64(0)
	for s := end - paceWindow; s <= now; s++ {
		sum += p.bytes[s%paceWindow]
	}
	// Each second later one that has bytes is left behind.
	for ; sum >= paceWindow*p.rate && end <= now+paceWindow; end++ {
		sum -= p.bytes[end%paceWindow]
	}
	return time.Duration(end)*time.Second - p.waited
}

// took counts n bytes that were waited for. They may have come too late, where
// they came before the deadline was noticed.
func (p *pace) took(n int, d time.Duration) {
	p.slow = d >= p.left()
	before := int64(p.waited / time.Second)
	p.waited += max(0, d)
	now := int64(p.waited / time.Second)
	for s := max(before, now-paceWindow) + 1; s <= now; s++ {
		p.bytes[s%paceWindow] = 0
	}
	p.bytes[now%paceWindow] += int64(n)
}
