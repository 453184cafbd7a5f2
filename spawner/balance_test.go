package spawner

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func weighted(weights ...int) (s []SlotOptions) {
	for _, w := range weights {
		s = append(s, SlotOptions{Connections: 100, Weight: w})
	}
	return s
}

// turns are the slots of n requests, one after the other, from several ledgers
// in turn.
func turns(t *testing.T, n int, ls ...Shared) string {
	t.Helper()
	var b strings.Builder
	for i := range n {
		l := ls[i%len(ls)]
		c := claim(t, l, -1)
		fmt.Fprint(&b, c.Slot)
		l.Release(c, Answered)
	}
	return b.String()
}

func TestRoundRobin(t *testing.T) {
	for _, c := range []struct {
		name    string
		weights []int
		states  string // r: ready, x: absent, f: full
		want    string
	}{
		{"alike", []int{1, 1, 1}, "rrr", "012012012"},
		{"smooth", []int{5, 1, 1}, "rrr", "00102000010200"},
		{"two and one", []int{2, 1}, "rr", "010010010"},
		{"one is down: the others share alike", []int{1, 1, 1}, "rxr", "02020202"},
		{"one is full", []int{1, 1, 1}, "frr", "12121212"},
		{"the heavy one is down", []int{5, 1, 1}, "xrr", "12121212"},
		{"all but one", []int{5, 1, 1}, "xxr", "2222"},
	} {
		s := share(t, LedgerOptions{Balance: BalanceRoundRobin, Slots: weighted(c.weights...)}, 2)
		for i, st := range c.states {
			switch st {
			case 'x':
				s.owner.Set(i, Absent, 0)
			case 'f':
				for cells := s.owner.(*ledger).slots[i].cells; len(cells) > 0; cells = cells[1:] {
					cells[0].Store(1)
				}
			}
		}
		if got := turns(t, len(c.want), s.owner, s.workers[0], s.workers[1]); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// However large the weights are, the rota is short and leaves nobody out.
func TestRota(t *testing.T) {
	for _, weights := range [][]int{{1, 1000000}, {math.MaxInt32, math.MaxInt32, 1}, make([]int, 700), {0}} {
		slots := weighted(weights...)
		r := newRota(slots)
		n := len(r.next) / len(slots)
		if n > 2*max(longestRota, len(slots)) {
			t.Errorf("%d slots: %d turns", len(slots), n)
		}
		had := make([]int, len(slots))
		for turn := range n {
			for i := range slots {
				if r.distance(uint64(turn), i) == 0 {
					had[i]++
				} else if d := r.distance(uint64(turn), i); r.distance(uint64(turn+d), i) != 0 || d >= n {
					t.Fatalf("turn %d: the next of slot %d is %d later", turn, i, d)
				}
			}
		}
		for i, h := range had {
			if h == 0 {
				t.Errorf("slot %d has no turn", i)
			}
		}
	}
}

func near(t *testing.T, what string, got, of int, share float64) {
	t.Helper()
	if s := float64(got) / float64(of); math.Abs(s-share) > 0.03 {
		t.Errorf("%s: %.3f, want %.3f", what, s, share)
	}
}

func TestHash(t *testing.T) {
	const keys = 10000
	s := share(t, LedgerOptions{Balance: BalanceHash, Slots: weighted(1, 2, 1)}, 2)
	where := func(key int) int {
		l := s.workers[key%2]
		c, err := l.Claim(t.Context(), Want{Avoid: -1, Key: uint64(key)})
		must(t, err)
		l.Release(c, Answered)
		return c.Slot
	}
	var home [keys]int
	var count [3]int
	for k := range keys {
		home[k] = where(k)
		count[home[k]]++
	}
	for i, w := range []float64{0.25, 0.5, 0.25} {
		near(t, fmt.Sprint("slot ", i), count[i], keys, w)
	}
	for _, st := range []string{"down", "full", "back"} {
		cells := s.owner.(*ledger).slots[1].cells
		for i := range cells {
			cells[i].Store(uint64(map[string]int{"full": 1}[st]))
		}
		s.owner.Set(1, map[string]State{"down": BackingOff, "full": Ready, "back": Ready}[st], 102)
		var to [3]int
		for k := range keys {
			w := where(k)
			if home[k] == 1 {
				to[w]++
			} else if w != home[k] {
				t.Fatalf("%s: key %d has moved from %d to %d", st, k, home[k], w)
			}
		}
		if st == "back" {
			if to[1] != count[1] {
				t.Errorf("back: %v", to)
			}
			continue
		}
		near(t, st, to[0], count[1], 0.5)
		near(t, st, to[2], count[1], 0.5)
	}
}

func TestRandomTwo(t *testing.T) {
	const n = 20000
	l := ledgerOf(LedgerOptions{Balance: BalanceRandomTwo, Slots: weighted(1, 2, 1)}, 0)
	var count [3]int
	for range n {
		c := claim(t, l, -1)
		count[c.Slot]++
		l.Release(c, Answered)
	}
	for i, w := range []float64{0.25, 0.5, 0.25} {
		near(t, fmt.Sprint("nobody is busy, slot ", i), count[i], n, w)
	}
	// Of two slots both are drawn, and so the loads are alike.
	l = ledgerOf(LedgerOptions{Balance: BalanceRandomTwo, Slots: weighted(1, 1)}, 0)
	for range 100 {
		claim(t, l, -1)
		if n := l.Counts().Children; max(n[0].Claims, n[1].Claims)-min(n[0].Claims, n[1].Claims) > 1 {
			t.Fatalf("%+v", n)
		}
	}
	// The busiest of three is never the less loaded of two.
	l = ledgerOf(LedgerOptions{Balance: BalanceRandomTwo, Slots: weighted(1, 1, 1)}, 0)
	busy := claim(t, l, -1)
	claims := [3]int{}
	for range 300 {
		c := claim(t, l, -1)
		claims[c.Slot]++
		l.Release(c, Answered)
	}
	if claims[busy.Slot] != 0 || claims[(busy.Slot+1)%3] == 0 || claims[(busy.Slot+2)%3] == 0 {
		t.Errorf("%v, busy is %d", claims, busy.Slot)
	}
}

// What every way goes by before its own.
func TestBalanceTiers(t *testing.T) {
	for b := range ways {
		t.Run(fmt.Sprint(b), func(t *testing.T) {
			l := ledgerOf(LedgerOptions{Balance: Balance(b), Slots: weighted(1, 1, 1, 1)}, 0)
			for i := range 4 {
				l.Set(i, Ready, 101+i)
			}
			cut := func() int {
				c := claim(t, l, -1)
				l.Release(c, Cut)
				return c.Slot
			}
			finishing := cut()
			starting := (finishing + 1) % 4
			l.Set(starting, Starting, 200)
			ready, shy := (finishing+2)%4, (finishing+3)%4
			for key := range uint64(50) {
				expect := func(want int) {
					t.Helper()
					c, err := l.Claim(t.Context(), Want{Avoid: shy, Key: key})
					must(t, err)
					if c.Slot != want {
						t.Errorf("slot %d, want %d; %+v", c.Slot, want, l.Counts())
					}
					l.Release(c, Unsent)
				}
				expect(ready)
				l.Set(ready, Retiring, 101+ready)
				expect(starting)
				l.Set(starting, Stopping, 200)
				expect(finishing)
				l.Set(finishing, Absent, 101+finishing)
				expect(shy)
				l.Set(finishing, Ready, 101+finishing)
				l.Set(starting, Starting, 200)
				l.Set(ready, Ready, 101+ready)
			}
		})
	}
}
