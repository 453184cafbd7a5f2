package peer

import (
	"net/http"
	"net/netip"
	"strings"
)

// Forwarded is what trusted proxies say of a request.
type Forwarded struct {
	// Client is the client's address, with its port if a proxy has told it: a
	// form that http.Request.RemoteAddr may have.
	Client string
	HTTPS  bool // the client speaks TLS, to a proxy
}

// maxHops bounds how far a list is followed.
const maxHops = 64

// Forwarded finds out whose request it is that came from remote, in the form of
// http.Request.RemoteAddr. trusted are the proxies that are believed. false: it
// is the peer's own, as far as can be known.
//
// Every proxy appends the address that it has the request from to
// X-Forwarded-For. So the list is read from its end, and the first address that
// is not a proxy's is the client's. Where the list begins, or has what is no
// address, the one behind it is: nobody who is believed has said more.
//
// X-Forwarded-Proto counts where it says http or https, once, or as often as
// there are proxies: then the one counts that stands where the client does.
func (trusted *Networks) Forwarded(remote string, h http.Header) (f Forwarded, believed bool) {
	if trusted == nil || !trusted.Has(AddrOf(remote)) {
		return Forwarded{}, false
	}
	f.Client = remote
	hops := 0
	for entry := range fromEnd(h["X-Forwarded-For"]) {
		at, text, ok := parseEntry(entry)
		if !ok || hops == maxHops {
			break
		}
		f.Client = text
		if hops++; !trusted.Has(at) {
			break
		}
	}
	f.HTTPS = proto(h["X-Forwarded-Proto"], max(1, hops)) == "https"
	return f, true
}

// proto is the scheme that the hop-th proxy from the end has named.
func proto(fields []string, hop int) (said string) {
	n := 0
	for entry := range fromEnd(fields) {
		said = strings.ToLower(entry)
		if n++; n == hop {
			return said
		}
	}
	if n == 1 {
		return said // one says it for all
	}
	return ""
}

// fromEnd yields the elements of a list that may be divided over several fields,
// the last one first.
func fromEnd(fields []string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for i := len(fields) - 1; i >= 0; i-- {
			rest, more := fields[i], true
			for more {
				var entry string
				if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
					rest, entry = rest[:comma], rest[comma+1:]
				} else {
					entry, more = rest, false
				}
				if !yield(strings.Trim(entry, " \t")) {
					return
				}
			}
		}
	}
}

// maxEntry is longer than any address with a port.
const maxEntry = 64

// parseEntry reads an address, with or without a port, IPv6 with or without
// brackets. text is its form as a RemoteAddr. An address with a zone is none: it
// means nothing on this host.
func parseEntry(s string) (at netip.Addr, text string, ok bool) {
	if len(s) > maxEntry || strings.IndexByte(s, '%') >= 0 {
		return at, "", false
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		ap = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		return ap.Addr(), ap.String(), true
	}
	if n := len(s); n > 1 && s[0] == '[' && s[n-1] == ']' {
		if s = s[1 : n-1]; strings.IndexByte(s, ':') < 0 {
			return at, "", false
		}
	}
	at, err := netip.ParseAddr(s)
	if err != nil {
		return at, "", false
	}
	at = at.Unmap()
	return at, at.String(), true
}

// AddrOf is the address of a RemoteAddr; the zero Addr where there is none, as
// on a unix socket.
func AddrOf(remote string) netip.Addr {
	if ap, err := netip.ParseAddrPort(remote); err == nil {
		return ap.Addr()
	}
	a, _ := netip.ParseAddr(remote)
	return a
}
