package assemble

import (
	"sluice/internal/config"
	"sluice/spawner"
)

var balances = map[string]spawner.Balance{
	"least_conn":  spawner.BalanceLeastConn,
	"round_robin": spawner.BalanceRoundRobin,
	"hash":        spawner.BalanceHash,
	"random_two":  spawner.BalanceRandomTwo,
}

// LedgerOptions are those of an app's ledger. Master and workers make them of
// the same configuration, so both see the same layout.
func LedgerOptions(a *config.App) spawner.LedgerOptions {
	o := spawner.LedgerOptions{Queue: queue(a), QueueTimeout: a.QueueTimeout}
	switch {
	case a.Kind == config.KindCGI:
		o.Slots = []spawner.SlotOptions{{Connections: a.Max}}
	case len(a.Address) > 0:
		o.Balance, o.MaxFails, o.FailTimeout = balances[a.Balance], a.MaxFails, a.FailTimeout
		for _, t := range a.Address {
			o.Slots = append(o.Slots, spawner.SlotOptions{Connections: a.MaxConns, Weight: t.Weight})
		}
	default:
		o.MaxRequests = a.MaxRequests
		if a.Scale == "dynamic" {
			o.Spare = a.Spare
		}
		for range a.Max {
			o.Slots = append(o.Slots, spawner.SlotOptions{Connections: a.Connections})
		}
	}
	return o
}

// Supervised reports whether the app's children are sluice's own and live on
// from request to request.
func Supervised(a *config.App) bool { return a.Kind == config.KindFastCGI && len(a.Command) > 0 }

// queue is how many requests may wait: none if they may wait for no time, which
// to a ledger would be without end.
func queue(a *config.App) int {
	if a.QueueTimeout == 0 {
		return 0
	}
	return a.Queue
}
