package peer

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func networks(t testing.TB, list ...string) *Networks {
	t.Helper()
	n, err := ParseNetworks(list)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestForwarded(t *testing.T) {
	const direct = "203.0.113.9:4711"
	for _, c := range []struct {
		name    string
		trusted string // separated by blanks
		remote  string
		xff     string // fields, separated by |
		proto   string // the same
		client  string // "": not believed
		https   bool
	}{
		{"one proxy", "10.0.0.1/32", "10.0.0.1:5000", "192.0.2.1", "", "192.0.2.1", false},
		{"https", "10.0.0.1/32", "10.0.0.1:5000", "192.0.2.1", "https", "192.0.2.1", true},
		{"HTTPS", "10.0.0.1/32", "10.0.0.1:5000", "192.0.2.1", "HTTPS", "192.0.2.1", true},
		{"http", "10.0.0.1/32", "10.0.0.1:5000", "192.0.2.1", "http", "192.0.2.1", false},
		{"another scheme", "10.0.0.1/32", "10.0.0.1:5000", "192.0.2.1", "wss", "192.0.2.1", false},
		{"scheme with rubbish", "10.0.0.1/32", "10.0.0.1:5000", "192.0.2.1", "https://", "192.0.2.1", false},
		{"nobody is trusted", "", direct, "192.0.2.1", "https", "", false},
		{"an untrusted peer", "10.0.0.0/8", direct, "192.0.2.1", "https", "", false},
		{"an untrusted peer that names a proxy", "10.0.0.0/8", direct, "192.0.2.1, 10.0.0.1", "https", "", false},
		{"no field", "10.0.0.0/8", "10.0.0.1:5000", "", "", "10.0.0.1:5000", false},
		{"only a scheme", "10.0.0.0/8", "10.0.0.1:5000", "", "https", "10.0.0.1:5000", true},

		{"what the client wrote does not count", "10.0.0.0/8", "10.0.0.1:5000", "198.51.100.1, 192.0.2.1", "", "192.0.2.1", false},
		{"a chain", "10.0.0.0/8", "10.0.0.1:5000", "192.0.2.1, 10.0.0.3, 10.0.0.2", "", "192.0.2.1", false},
		{"a chain, and what the client wrote", "10.0.0.0/8", "10.0.0.1:5000", "10.0.0.9, 192.0.2.1, 10.0.0.3, 10.0.0.2", "", "192.0.2.1", false},
		{"several fields are one list", "10.0.0.0/8", "10.0.0.1:5000", "198.51.100.1|192.0.2.1,10.0.0.3|10.0.0.2", "", "192.0.2.1", false},
		{"every one is a proxy", "10.0.0.0/8", "10.0.0.1:5000", "10.0.0.4, 10.0.0.3", "", "10.0.0.4", false},

		{"rubbish ends it", "10.0.0.0/8", "10.0.0.1:5000", "192.0.2.1, unknown, 10.0.0.3", "", "10.0.0.3", false},
		{"rubbish at the end", "10.0.0.0/8", "10.0.0.1:5000", "192.0.2.1, unknown", "", "10.0.0.1:5000", false},
		{"an empty element ends it", "10.0.0.0/8", "10.0.0.1:5000", "192.0.2.1,, 10.0.0.3", "", "10.0.0.3", false},
		{"an empty field ends it", "10.0.0.0/8", "10.0.0.1:5000", "192.0.2.1||10.0.0.3", "", "10.0.0.3", false},
		{"a name", "10.0.0.0/8", "10.0.0.1:5000", "localhost", "", "10.0.0.1:5000", false},
		{"five parts", "10.0.0.0/8", "10.0.0.1:5000", "1.2.3.4.5", "", "10.0.0.1:5000", false},
		{"leading zeros", "10.0.0.0/8", "10.0.0.1:5000", "010.1.1.1", "", "10.0.0.1:5000", false},
		{"a control character", "10.0.0.0/8", "10.0.0.1:5000", "192.0.2.1\x00", "", "10.0.0.1:5000", false},
		{"a zone", "10.0.0.0/8", "10.0.0.1:5000", "fe80::1%eth0", "", "10.0.0.1:5000", false},
		{"a quoted one", "10.0.0.0/8", "10.0.0.1:5000", `"192.0.2.1"`, "", "10.0.0.1:5000", false},
		{"v4 in brackets", "10.0.0.0/8", "10.0.0.1:5000", "[192.0.2.1]", "", "10.0.0.1:5000", false},
		{"a long one", "10.0.0.0/8", "10.0.0.1:5000", strings.Repeat("1", 500), "", "10.0.0.1:5000", false},
		{"more hops than there are", "10.0.0.0/8", "10.0.0.1:5000", "192.0.2.1" + strings.Repeat(",10.0.0.7", 500), "", "10.0.0.7", false},
		{"blanks and tabs", "10.0.0.0/8", "10.0.0.1:5000", " \t192.0.2.1 \t", "\thttps ", "192.0.2.1", true},

		{"v4 with a port", "10.0.0.0/8", "10.0.0.1:5000", "192.0.2.1:99", "", "192.0.2.1:99", false},
		{"a bad port", "10.0.0.0/8", "10.0.0.1:5000", "192.0.2.1:99999", "", "10.0.0.1:5000", false},
		{"v6", "10.0.0.0/8", "10.0.0.1:5000", "2001:DB8::1", "", "2001:db8::1", false},
		{"v6 in brackets", "10.0.0.0/8", "10.0.0.1:5000", "[2001:db8::1]", "", "2001:db8::1", false},
		{"v6 with a port", "10.0.0.0/8", "10.0.0.1:5000", "[2001:db8::1]:99", "", "[2001:db8::1]:99", false},
		{"v6 proxies", "2001:db8:1::/48", "[2001:db8:1::1]:5000", "2001:db8:2::1, [2001:db8:1::2]:7", "", "2001:db8:2::1", false},
		{"v4 in v6", "10.0.0.0/8", "[::ffff:10.0.0.1]:5000", "::ffff:192.0.2.1, ::ffff:10.0.0.2", "", "192.0.2.1", false},
		{"a peer with a zone", "fe80::/10", "[fe80::1%eth0]:5000", "192.0.2.1", "", "192.0.2.1", false},
		{"a unix socket", "unix", "@", "192.0.2.1", "https", "192.0.2.1", true},
		{"a unix socket without an address", "unix", "", "192.0.2.1", "", "192.0.2.1", false},
		{"a unix socket, not trusted", "10.0.0.0/8", "@", "192.0.2.1", "https", "", false},
		{"unix does not stand for rubbish in the list", "unix", "@", "192.0.2.1, unix:", "", "@", false},

		{"a scheme for each hop", "10.0.0.0/8", "10.0.0.1:5000", "192.0.2.1, 10.0.0.2", "https, http", "192.0.2.1", true},
		{"one that the client wrote", "10.0.0.0/8", "10.0.0.1:5000", "192.0.2.1", "https, http", "192.0.2.1", false},
		{"one that the client wrote, of a chain", "10.0.0.0/8", "10.0.0.1:5000", "192.0.2.1, 10.0.0.2", "https|http|http", "192.0.2.1", false},
		{"one for a chain", "10.0.0.0/8", "10.0.0.1:5000", "192.0.2.1, 10.0.0.2", "https", "192.0.2.1", true},
		{"fewer than hops", "10.0.0.0/8", "10.0.0.1:5000", "192.0.2.1, 10.0.0.3, 10.0.0.2", "https, https", "192.0.2.1", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{}
			for name, fields := range map[string]string{"X-Forwarded-For": c.xff, "X-Forwarded-Proto": c.proto} {
				if fields != "" {
					h[name] = strings.Split(fields, "|")
				}
			}
			f, ok := networks(t, strings.Fields(c.trusted)...).Forwarded(c.remote, h)
			if ok != (c.client != "") || f != (Forwarded{c.client, c.https}) {
				t.Errorf("%+v, %v", f, ok)
			}
		})
	}
}

func TestNetworks(t *testing.T) {
	n := networks(t, "10.0.0.0/8", "::1/128", "unix")
	for addr, want := range map[string]bool{"10.1.2.3": true, "11.0.0.1": false, "::1": true, "::2": false, "::ffff:10.0.0.1": true} {
		if n.Has(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s: %v", addr, !want)
		}
	}
	if !n.Has(netip.Addr{}) || networks(t, "10.0.0.0/8").Has(netip.Addr{}) || networks(t).Has(netip.Addr{}) {
		t.Error("clients of unix sockets")
	}
	if _, err := ParseNetworks([]string{"10.0.0.1"}); err == nil {
		t.Error("an address is taken for a prefix")
	}
	if a := Addr(&net.TCPAddr{IP: net.ParseIP("10.0.0.1"), Port: 1}); a != netip.MustParseAddr("10.0.0.1") {
		t.Error(a)
	}
	if a := Addr(&net.UnixAddr{Name: "/x"}); a.IsValid() {
		t.Error(a)
	}
}

// FuzzForwarded: whatever is in the fields, the client is the peer, or an address
// that stands in the list, and every element behind it is a proxy's.
func FuzzForwarded(f *testing.F) {
	f.Add("192.0.2.1, 10.0.0.2", "https")
	f.Add("[2001:db8::1]:99,10.0.0.2,,", "http,https")
	f.Add("unknown", "")
	trusted := networks(f, "10.0.0.0/8")
	f.Fuzz(func(t *testing.T, xff, proto string) {
		const remote = "10.0.0.1:5000"
		got, ok := trusted.Forwarded(remote, http.Header{"X-Forwarded-For": {xff}, "X-Forwarded-Proto": {proto}})
		if !ok {
			t.Fatal("the peer is trusted")
		}
		if got.Client == remote {
			return
		}
		if !AddrOf(got.Client).IsValid() {
			t.Fatalf("%q is no address", got.Client)
		}
		list := strings.Split(xff, ",")
		for i := len(list) - 1; i >= 0; i-- {
			at, text, ok := parseEntry(strings.Trim(list[i], " \t"))
			switch {
			case ok && text == got.Client:
				return
			case !ok || !trusted.Has(at):
				t.Fatalf("%q is behind what is no proxy's: %q", got.Client, xff)
			}
		}
		t.Fatalf("%q is not in %q", got.Client, xff)
	})
}
