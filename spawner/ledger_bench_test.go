package spawner

import (
	"fmt"
	"testing"
)

// An uncontended claim and its release: no allocation, no system call.
func BenchmarkLedger(b *testing.B) {
	for _, balance := range []Balance{BalanceRecent, BalanceLeastConn, BalanceRoundRobin, BalanceHash, BalanceRandomTwo} {
		for _, g := range [][2]int{{4, 1}, {64, 1}, {4, 16}, {1, 32}} {
			b.Run(fmt.Sprintf("balance%d/%dx%d", balance, g[0], g[1]), func(b *testing.B) {
				o := LedgerOptions{Queue: 8, Balance: balance, MaxRequests: 1 << 30, Slots: make([]SlotOptions, g[0])}
				for i := range o.Slots {
					o.Slots[i].Connections = g[1]
				}
				l := ledgerOf(o, 0)
				b.ReportAllocs()
				for b.Loop() {
					c, err := l.Claim(b.Context(), Anyone)
					if err != nil {
						b.Fatal(err)
					}
					l.Release(c, Answered)
				}
			})
		}
	}
}
