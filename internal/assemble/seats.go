package assemble

import (
	"sluice/internal/config"
	"sluice/internal/front/peer"
)

// Seats are those of the clients of all workers. bounded is false where there
// can be no more connections of one address than it may have.
func Seats(c *config.Config) (o peer.SeatsOptions, bounded bool) {
	o = peer.SeatsOptions{Most: c.Limits.PerClient, Connections: c.Limits.Connections, Places: c.Workers}
	return o, o.Most > 0 && o.Most < o.Connections*o.Places
}
