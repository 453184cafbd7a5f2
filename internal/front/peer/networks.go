package peer

import (
	"fmt"
	"net"
	"net/netip"
)

// Unix in a list of networks stands for every client of a unix socket, which
// has no address.
const Unix = "unix"

// Networks is a set of addresses. The nil Networks has none.
type Networks struct {
	prefixes []netip.Prefix
	unix     bool
}

// ParseNetworks makes a set of prefixes such as 10.0.0.0/8 and the word Unix. It
// is nil for an empty list.
func ParseNetworks(list []string) (*Networks, error) {
	if len(list) == 0 {
		return nil, nil
	}
	n := &Networks{}
	for _, text := range list {
		if text == Unix {
			n.unix = true
			continue
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("network %q: %w", text, err)
		}
		n.prefixes = append(n.prefixes, p)
	}
	return n, nil
}

// Has reports whether the set has an address. The zero Addr is that of a client
// of a unix socket.
func (n *Networks) Has(a netip.Addr) bool {
	switch {
	case n == nil:
		return false
	case !a.IsValid():
		return n.unix
	}
	a = a.Unmap().WithZone("") // a prefix has neither
	for _, p := range n.prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// Addr is the address of a socket's end; the zero Addr for a unix socket.
func Addr(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return t.AddrPort().Addr().Unmap()
}
