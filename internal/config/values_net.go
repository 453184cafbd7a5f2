package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// maxSocketPath is the room of sockaddr_un without the final NUL (unix(7)).
const maxSocketPath = 107

// endpoint is what a listener listens on.
type endpoint struct{ network, address string }

var hostName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)(\.[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?)*$`)

const wantListen = `want host:port, "[::1]:8080", "unix:/path" or "systemd:NAME"`

// listening is an address to listen on. A host of "" or "*" is every address,
// port 0 any that is free.
var listening = text(wantListen, func(s spot, text string) (endpoint, error) {
	if rest, ok := strings.CutPrefix(text, "unix:"); ok {
		path, err := socketPath(s, rest)
		return endpoint{"unix", path}, err
	}
	if name, ok := strings.CutPrefix(text, "systemd:"); ok {
		if name == "" || strings.ContainsAny(name, ": \x00") {
			return endpoint{}, errors.New(`want "systemd:NAME", the FileDescriptorName of a socket unit`)
		}
		return endpoint{"systemd", name}, nil
	}
	address, err := hostPort(strings.Replace(text, "*:", ":", 1), 0)
	if err != nil {
		return endpoint{}, fmt.Errorf("%s (%v)", wantListen, err)
	}
	return endpoint{"tcp", address}, nil
}, endpoint.String)

// String is the form of `listen`.
func (e endpoint) String() string {
	if e.network == "tcp" || e.address == "" {
		return e.address
	}
	return e.network + ":" + e.address
}

func socketPath(s spot, path string) (string, error) {
	if checkPath(path) != nil || strings.HasPrefix(path, "@") {
		return "", errors.New(`want "unix:" and a path`)
	}
	path = s.absolute(path)
	if len(path) > maxSocketPath {
		return "", fmt.Errorf("want a socket path of at most %d bytes, this has %d", maxSocketPath, len(path))
	}
	return path, nil
}

// hostPort checks host:port and returns it in one spelling.
func hostPort(text string, lowPort uint64) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		if _, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
			return "", errors.New("no port")
		}
		if strings.Count(text, ":") > 1 {
			return "", errors.New("an IPv6 address stands in brackets")
		}
		return "", errors.New("no port")
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n < lowPort {
		return "", fmt.Errorf("port is a number from %d to 65535", lowPort)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		host = addr.String()
	} else if host != "" && !hostName.MatchString(host) {
		return "", errors.New("not a host name or an address")
	}
	return net.JoinHostPort(host, strconv.FormatUint(n, 10)), nil
}

const weightOption = " weight="

const wantAddress = `want "unix:/path" or "tcp:host:port", then perhaps " weight=2"`

// upstream is an application's own socket.
var upstream = text(wantAddress, func(s spot, text string) (Address, error) {
	where, a := text, Address{Weight: 1}
	if i := strings.LastIndex(text, weightOption); i >= 0 {
		n, err := strconv.ParseUint(strings.TrimSpace(text[i+len(weightOption):]), 10, 16)
		if err != nil || n < 1 {
			return a, errors.New(`want " weight=N" with N from 1 to 65535 behind the address`)
		}
		where, a.Weight = strings.TrimSpace(text[:i]), int(n)
	}
	var err error
	if path, ok := strings.CutPrefix(where, "unix:"); ok {
		a.Network = "unix"
		a.Address, err = socketPath(s, path)
		return a, err
	}
	a.Network = "tcp"
	rest, ok := strings.CutPrefix(where, "tcp:")
	a.Address, err = hostPort(rest, 1)
	switch {
	case !ok:
		return a, errors.New(wantAddress)
	case err != nil:
		return a, fmt.Errorf("%s (%v)", wantAddress, err)
	case strings.HasPrefix(a.Address, ":"):
		return a, fmt.Errorf("%s (no host)", wantAddress)
	}
	return a, nil
}, func(a Address) string {
	shown := a.Network + ":" + a.Address
	if a.Weight != 1 || strings.Contains(shown, weightOption) {
		shown += weightOption + strconv.Itoa(a.Weight)
	}
	return shown
})

const wantNetwork = `want an address, a prefix such as "10.0.0.0/8", or "unix"`

// network is a prefix, or an address, which is the prefix of itself, or "unix"
// for every client of a unix socket. IPv4 in IPv6 becomes IPv4, as clients do.
var network = text(wantNetwork, func(_ spot, text string) (string, error) {
	if text == "unix" || text == "unix:" {
		return "unix", nil
	}
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()).String(), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return "", errors.New(wantNetwork)
	}
	if a := prefix.Addr(); a.Is4In6() && prefix.Bits() >= 96 {
		prefix = netip.PrefixFrom(a.Unmap(), prefix.Bits()-96)
	}
	if prefix != prefix.Masked() {
		return "", fmt.Errorf("want %s, the bits behind the prefix being 0", prefix.Masked())
	}
	return prefix.String(), nil
}, same)

// statusAddress is where the status page listens, "" nowhere.
var statusAddress = kind[string]{
	read: func(s spot) (string, bool) {
		if s.n.shape == aString && s.n.text == "" {
			return "", true
		}
		e, ok := listening.read(s)
		if ok && e.network == "systemd" {
			s.bad(`want host:port or "unix:/path"`)
			return "", false
		}
		return e.String(), ok
	},
	toml: func(p *printer, v string) string { return p.quote(v) },
}
