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

// NamedLedger is a ledger that master and workers share.
type NamedLedger struct {
	Name    string // of the app, or its looseName
	Options spawner.LedgerOptions
	// Supervised: the supervisor says what its children do. Otherwise its slots
	// are Ready for ever.
	Supervised bool
}

// Ledgers are those of a configuration: one for each app, and for scripts one
// more. Master and workers make them of the same configuration, so both see the
// same layout.
func Ledgers(c *config.Config) []NamedLedger {
	var all []NamedLedger
	for _, a := range c.Apps {
		all = append(all, LedgersOf(a)...)
	}
	return all
}

// LedgersOf are those of an app.
func LedgersOf(a *config.App) []NamedLedger {
	all := []NamedLedger{{a.Name, ledgerOptions(a), Supervised(a)}}
	if a.Kind == config.KindCGI {
		all = append(all, NamedLedger{looseName(a), spawner.LedgerOptions{Slots: scriptSlots(a), Room: scriptRoom(a)}, false})
	}
	return all
}

// Room for other limits in the ledgers that there are: at least so many children,
// and scripts, and twice as many as there may be now. Beyond it an app gets new
// ledgers, and so new children.
const (
	childrenRoom = 256
	scriptsRoom  = 128
)

func scriptRoom(a *config.App) spawner.Room { return spawner.Room{Cells: max(scriptsRoom, 2*a.Max)} }

// LocalLedgers are the same for one process alone.
func LocalLedgers(c *config.Config) func(name string) spawner.Ledger {
	all := map[string]spawner.Ledger{}
	for _, n := range Ledgers(c) {
		n.Options.Room = spawner.Room{}
		l := spawner.NewLedger(n.Options)
		all[n.Name] = l
		for i := range n.Options.Slots {
			l.Set(i, spawner.Ready, 0)
		}
	}
	return func(name string) spawner.Ledger { return all[name] }
}

// looseName is the ledger of the scripts that work on after their answer. No app
// has such a name.
func looseName(a *config.App) string { return a.Name + " loose" }

func scriptSlots(a *config.App) []spawner.SlotOptions {
	return []spawner.SlotOptions{{Connections: a.Max}}
}

func ledgerOptions(a *config.App) spawner.LedgerOptions {
	o := spawner.LedgerOptions{Queue: queue(a), QueueTimeout: a.QueueTimeout}
	switch {
	case a.Kind == config.KindCGI:
		o.Slots, o.Room = scriptSlots(a), scriptRoom(a)
	case len(a.Address) > 0:
		o.Balance, o.MaxFails, o.FailTimeout = balances[a.Balance], a.MaxFails, a.FailTimeout
		for _, t := range a.Address {
			o.Slots = append(o.Slots, spawner.SlotOptions{Connections: a.MaxConns, Weight: t.Weight})
		}
	default:
		o.MaxRequests, o.Room.Slots = a.MaxRequests, max(childrenRoom, 2*a.Max)
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
