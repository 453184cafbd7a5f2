package assemble

import (
	"sluice/internal/config"
	"sluice/internal/scoreboard"
)

// Bounds of a scoreboard. What is beyond them works as well, and is not shown.
const (
	boardSlots   = 4096 // of an app
	boardRecords = 4096 // of an app, in each worker
	boardBytes   = 256 << 20
)

// Board is how the scoreboard of a configuration is divided. Any worker may have
// every child of an app at once, and of scripts as many again that work on
// behind their answers.
func Board(c *config.Config) scoreboard.Layout {
	for most := boardRecords; ; most /= 2 {
		l := board(c, most)
		if l.Bytes() <= boardBytes || most == 0 {
			return l
		}
	}
}

func board(c *config.Config, most int) scoreboard.Layout {
	l := scoreboard.Layout{Places: c.Workers, Times: c.Status.Extended}
	for _, a := range c.Apps {
		b := scoreboard.AppLayout{Name: a.Name, Kind: a.Kind}
		switch {
		case a.Kind == config.KindCGI:
			b.Requests = 2 * a.Max
		case len(a.Address) > 0:
			b.Slots = min(len(a.Address), boardSlots)
			b.Requests = len(a.Address) * a.MaxConns
			for _, t := range a.Address[:b.Slots] {
				b.Addresses = append(b.Addresses, t.Network+":"+t.Address)
			}
		default:
			b.Slots = min(a.Max, boardSlots)
			b.Requests = a.Max * a.Connections
		}
		b.Requests = min(b.Requests, 2*c.Limits.Connections, most)
		l.Apps = append(l.Apps, b)
	}
	return l
}
