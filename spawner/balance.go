package spawner

import (
	"math"
	"math/rand/v2"
)

// ways are how each Balance orders slots of the same tier: the least rank goes
// first, then the least tie, then the first.
var ways = [...]func(l *ledger, i, claims int, w Want, turn uint64) (rank float64, tie uint64){
	BalanceRecent: func(l *ledger, i, claims int, _ Want, _ uint64) (float64, uint64) {
		return l.slots[i].load(claims), ^l.slots[i].used.Load()
	},
	BalanceLeastConn: func(l *ledger, i, claims int, _ Want, _ uint64) (float64, uint64) {
		return l.slots[i].load(claims), l.slots[i].used.Load()
	},
	BalanceRoundRobin: func(l *ledger, i, _ int, _ Want, turn uint64) (float64, uint64) {
		return 0, uint64(l.rota.distance(turn, i))
	},
	// Rendezvous hashing: each key has an order of the slots of its own.
	BalanceHash: func(l *ledger, i, _ int, w Want, _ uint64) (float64, uint64) {
		return lot(mix(w.Key^mix(uint64(i)+1)), l.slots[i].weight), 0
	},
	// The two least of such lots are two slots drawn by weight.
	BalanceRandomTwo: func(l *ledger, i, _ int, _ Want, _ uint64) (float64, uint64) {
		return lot(rand.Uint64(), l.slots[i].weight), 0
	},
}

func (s *slot) load(claims int) float64 { return float64(claims) / float64(s.weight) }

// lot is exponentially distributed: among several, that of weight 2 is the least
// twice as often as that of weight 1.
func lot(random uint64, weight int) float64 {
	return -math.Log((float64(random>>11)+0.5)/(1<<53)) / float64(weight)
}

// mix is the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// candidate is a slot that has a free cell.
type candidate struct {
	slot, tier, claims int
	rank               float64
	tie                uint64
}

func (a *candidate) before(b *candidate) bool {
	switch {
	case b.slot < 0:
		return true
	case a.tier != b.tier:
		return a.tier < b.tier
	case a.rank != b.rank:
		return a.rank < b.rank
	}
	return a.tie < b.tie
}

// pick chooses a slot: one that is not to be avoided, ready before starting
// before finishing, and then the way of the Balance. -1 for none.
func (l *ledger) pick(w Want) int {
	now, allIn := l.outs()
	for {
		turn := l.head.turn.Load()
		first, second := candidate{slot: -1}, candidate{slot: -1}
		for i := range l.slots {
			c := candidate{slot: i}
			if !l.eligible(i, &c, now, allIn) {
				continue
			}
			if i == w.Avoid {
				c.tier += avoided
			}
			c.rank, c.tie = ways[l.opt.Balance](l, i, c.claims, w, turn)
			if c.before(&first) {
				c, first = first, c
			}
			if c.slot >= 0 && c.before(&second) {
				second = c
			}
		}
		switch {
		case first.slot < 0:
			return -1
		case l.opt.Balance == BalanceRoundRobin && !l.head.turn.CompareAndSwap(turn, turn+first.tie+1):
			continue // another took the turn
		case l.opt.Balance == BalanceRandomTwo && second.slot >= 0 && second.tier == first.tier && l.lighter(second, first):
			return second.slot
		}
		return first.slot
	}
}

func (l *ledger) lighter(a, b candidate) bool {
	return l.slots[a.slot].load(a.claims) < l.slots[b.slot].load(b.claims)
}

// Tiers, the best first; avoided is more than any.
const (
	tierReady = iota
	tierStarting
	tierFinishing
	avoided
)

// eligible reports whether a slot may be given a request, and fills in its tier
// and load.
func (l *ledger) eligible(i int, c *candidate, now uint64, allIn bool) bool {
	s := &l.slots[i]
	w := s.state.Load()
	if !State(w).leasable() || !allIn && l.isOut(s.out.Load(), now) {
		return false
	}
	key := w >> keyShift
	if limit := l.opt.MaxRequests; limit > 0 && keyPID(key) != 0 && s.requests.Load()&countMask >= uint64(limit) {
		return false
	}
	switch {
	case s.isFinishing(key):
		c.tier = tierFinishing
	case State(w) == Starting:
		c.tier = tierStarting
	}
	if len(l.slots) == 1 {
		return s.hasFree() // there is nothing to compare
	}
	c.claims = s.claims()
	return c.claims < s.max
}

// anyFree reports whether any slot may be given a request.
func (l *ledger) anyFree() bool {
	now, allIn := l.outs()
	for i := range l.slots {
		if l.eligible(i, &candidate{}, now, allIn) {
			return true
		}
	}
	return false
}

// turn is how far a grant moves the turn of a slot of weight 1.
const turn = 1 << 20

// used notes a grant, where turns are taken. A slot that was out for a while does
// not catch up.
func (l *ledger) used(s *slot) {
	if l.opt.Balance != BalanceLeastConn {
		return
	}
	u, clock := s.used.Load(), l.head.clock.Load()
	if u > clock && l.head.clock.CompareAndSwap(clock, u) {
		clock = u
	}
	s.used.Store(max(u, clock) + max(1, turn/uint64(s.weight)))
}

// rota is the smooth order in which slots of different weight have their turns:
// it is the same in every process, so one shared number says whose turn it is.
type rota struct {
	slots int
	next  []uint16 // for each turn and slot, how many turns later is its next
}

// longestRota bounds the turns of a rota; larger weights are scaled down.
const longestRota = 512

func newRota(slots []SlotOptions) rota {
	weights, sum := make([]int, len(slots)), 0
	for i, s := range slots {
		weights[i] = max(1, s.Weight)
		sum += weights[i]
	}
	if most := max(longestRota, len(slots)); sum > most {
		whole := sum
		sum = 0
		for i, w := range weights {
			weights[i] = max(1, int(int64(w)*int64(most)/int64(whole)))
			sum += weights[i]
		}
	}
	// Each turn adds to each slot its weight, and the one that has most pays the
	// sum for it.
	order, have := make([]int, sum), make([]int, len(slots))
	for t := range order {
		best := 0
		for i := range have {
			have[i] += weights[i]
			if have[i] > have[best] {
				best = i
			}
		}
		have[best] -= sum
		order[t] = best
	}
	r := rota{slots: len(slots), next: make([]uint16, sum*len(slots))}
	for i := range slots {
		d := uint16(0)
		for t := 2*sum - 1; t >= 0; t-- { // twice round: the last has its next in the first
			if d++; order[t%sum] == i {
				d = 0
			}
			r.next[t%sum*len(slots)+i] = d
		}
	}
	return r
}

// distance is how many turns after the present one the next of a slot is.
func (r *rota) distance(turn uint64, slot int) int {
	n := uint64(len(r.next) / r.slots)
	return int(r.next[int(turn%n)*r.slots+slot])
}
