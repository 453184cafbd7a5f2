package securelink

import (
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const until = 2000000000

var secret = Key("0123456789abcdef0123456789abcdef")

// The signatures were made with openssl, as docs/signed-links.md shows.
func TestSignatureIsTheDocumentedOne(t *testing.T) {
	for _, c := range []struct{ path, client, want string }{
		{"/signed/report.pdf", "", "expires=2000000000&sig=Kls0rQiobn8c0UBP-_u2T6hfuZ8PKXLKhQjODM3JrAA"},
		{"/signed/Jahresübersicht 100%.pdf", "", "expires=2000000000&sig=q95kBNMwlnAuoQe4yQmVCNiiuanpL-oOlAdGSPDyeRc"},
		{"/signed/report.pdf", "192.0.2.7", "expires=2000000000&sig=8toZ8wAihcjLgzqcJW3jV_x9nssVZFJU4kBwPS-xvMk"},
		{"/signed/report.pdf", "2001:db8::1", "expires=2000000000&sig=McFg7kcoyZAzZXRQ2iz8lbZ-Udv92YCCGs_SuSFZ-uk"},
	} {
		var client netip.Addr
		if c.client != "" {
			client = netip.MustParseAddr(c.client)
		}
		if got := secret.Query(Link{Path: c.path, Expires: until, Client: client}); got != c.want {
			t.Errorf("%s for %q: %s, want %s", c.path, c.client, got, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	const path = "/signed/a b"
	good := secret.Query(Link{Path: path, Expires: until})
	sig := strings.TrimPrefix(good, "expires=2000000000&sig=")
	here := netip.MustParseAddr("192.0.2.7")
	bound := secret.Query(Link{Path: path, Expires: until, Client: here})
	boundSig := strings.TrimPrefix(bound, "expires=2000000000&sig=")
	// The same with another last character: the last has four bits that count.
	flipped := func(s string) string {
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		i := strings.IndexByte(alphabet, s[len(s)-1])
		return s[:len(s)-1] + string(alphabet[i^1])
	}
	before, after := time.Unix(until, 999999999), time.Unix(until+1, 0)
	for _, c := range []struct {
		name        string
		path, query string
		client      bool
		from        string
		now         time.Time
		want        Verdict
	}{
		{"good", path, good, false, "", before, Good},
		{"the other way round", path, "sig=" + sig + "&expires=2000000000", false, "", before, Good},
		{"among others", path, "a=1&" + good + "&b=%zz&;&=&&%zz=1", false, "", before, Good},
		{"percent-encoded", path, "%65xpires=%32000000000&s%69g=" + url.QueryEscape(sig), false, "", before, Good},
		{"a client is no matter", path, good, false, "192.0.2.7", before, Good},
		{"expired", path, good, false, "", after, Expired},

		{"no query", path, "", false, "", before, Unsigned},
		{"no signature", path, "expires=2000000000", false, "", before, Unsigned},
		{"no signature, expired", path, "expires=1", false, "", before, Unsigned},
		{"no expiry", path, "sig=" + sig, false, "", before, Unsigned},
		{"other names", path, "Expires=2000000000&SIG=" + sig, false, "", before, Unsigned},
		{"the same twice", path, good + "&sig=" + sig, false, "", before, Repeated},
		{"another before it", path, "sig=x&" + good, false, "", before, Repeated},
		{"two times", path, good + "&expires=9000000000", false, "", before, Repeated},
		{"two times, one of them encoded", path, good + "&%65xpires=9000000000", false, "", before, Repeated},
		{"twice and expired", path, good + "&sig=" + sig, false, "", after, Repeated},

		{"no number", path, "expires=soon&sig=" + sig, false, "", before, Malformed},
		{"nothing", path, "expires=&sig=" + sig, false, "", before, Malformed},
		{"a sign", path, "expires=%2B2000000000&sig=" + sig, false, "", before, Malformed},
		{"a leading zero", path, "expires=02000000000&sig=" + sig, false, "", before, Malformed},
		{"a blank", path, "expires=2000000000+&sig=" + sig, false, "", before, Malformed},
		{"below zero", path, "expires=-1&sig=" + sig, false, "", before, Malformed},
		{"a fraction", path, "expires=2000000000.5&sig=" + sig, false, "", before, Malformed},
		{"hexadecimal", path, "expires=0x77359400&sig=" + sig, false, "", before, Malformed},
		{"too large", path, "expires=99999999999999999999&sig=" + sig, false, "", before, Malformed},
		{"cannot be decoded", path, "expires=%zz&sig=" + sig, false, "", before, Malformed},

		{"another path", "/signed/a", good, false, "", before, Wrong},
		{"another path, expired", "/signed/a", good, false, "", after, Wrong},
		{"another time", path, "expires=2000000001&sig=" + sig, false, "", before, Wrong},
		{"a time long ago", path, "expires=1&sig=" + sig, false, "", before, Wrong},
		{"no value", path, "expires=2000000000&sig=", false, "", before, Wrong},
		{"a value that cannot be decoded", path, "expires=2000000000&sig=%zz", false, "", before, Wrong},
		{"cut", path, strings.TrimSuffix(good, sig[len(sig)-1:]), false, "", before, Wrong},
		{"padded", path, good + "=", false, "", before, Wrong},
		{"with a line end", path, good + "%0A", false, "", before, Wrong},
		{"bits behind the end", path, "expires=2000000000&sig=" + flipped(sig), false, "", before, Wrong},
		{"plain base64", path, "expires=2000000000&sig=" + strings.NewReplacer("-", "%2B", "_", "/").Replace(sig) + "=", false, "", before, Wrong},

		{"of a client", path, bound, true, "192.0.2.7", before, Good},
		{"of a client in IPv6", path, bound, true, "::ffff:192.0.2.7", before, Good},
		{"of another", path, bound, true, "192.0.2.8", before, Wrong},
		{"of nobody", path, bound, true, "", before, Nobody},
		{"of a client, expired", path, bound, true, "192.0.2.7", after, Expired},
		{"for everybody, where one is wanted", path, good, true, "192.0.2.7", before, Wrong},
		{"of a client, where none is wanted", path, bound, false, "192.0.2.7", before, Wrong},
		{"the client made part of the path", path + "\n2000000000", "expires=192.0.2.7&sig=" + boundSig, false, "", before, Malformed},
	} {
		g := Guard{Key: secret, Client: c.client}
		var from netip.Addr
		if c.from != "" {
			from = netip.MustParseAddr(c.from)
		}
		got := g.Check(c.path, c.query, from, c.now)
		if got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		status := map[Verdict]int{Good: 200, Expired: 410}[got]
		if status == 0 {
			status = 403
		}
		if got.Status() != status {
			t.Errorf("%s: %d, want %d", c.name, got.Status(), status)
		}
		other := Guard{Key: Key(strings.Repeat("k", 32)), Client: c.client}
		if got := other.Check(c.path, c.query, from, c.now); got == Good || got == Expired {
			t.Errorf("%s: %v with another secret", c.name, got)
		}
	}
}

// Without a secret nothing is right, not even what was signed without one.
func TestNoKey(t *testing.T) {
	for _, k := range []Key{nil, {}, Key("15 bytes of key")} {
		g := Guard{Key: k}
		if got := g.Check("/", k.Query(Link{Path: "/", Expires: until}), netip.Addr{}, time.Unix(1, 0)); got != Wrong {
			t.Errorf("%q: %v", k, got)
		}
	}
}

func TestSigned(t *testing.T) {
	for query, want := range map[string]bool{
		"": false, "a=b": false, "sig": true, "sig=": true, "a&expires=1": true, "%73ig=1": true, "a=sig": false, "design=1": false,
	} {
		if Signed(query) != want {
			t.Errorf("%q: %v", query, !want)
		}
	}
}

func TestReadKey(t *testing.T) {
	dir := t.TempDir()
	const sixteen = "0123456789abcde\xff"
	for _, c := range []struct{ name, text, want, err string }{
		{"a line", sixteen + "\n", sixteen, ""},
		{"a line of another system", sixteen + "\r\n", sixteen, ""},
		{"no line end", sixteen, sixteen, ""},
		{"one line end is cut", sixteen + "\n\n", sixteen + "\n", ""},
		{"blanks count", " " + sixteen + " \n", " " + sixteen + " ", ""},
		{"short", sixteen[:15] + "\n", "", "a secret has at least 16 bytes, this one has 15"},
		{"empty", "", "", "a secret has at least 16 bytes, this one has 0"},
		{"the longest", strings.Repeat("x", 4096) + "\r\n", strings.Repeat("x", 4096), ""},
		{"long", strings.Repeat("x", 4097), "", "a secret has at most 4096 bytes, this file has more"},
	} {
		path := filepath.Join(dir, "key")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := ReadKey(path)
		if got := errorText(err); string(k) != c.want || got != c.err {
			t.Errorf("%s: %s, %s; want %s, %s", c.name, strconv.Quote(string(k)), got, strconv.Quote(c.want), c.err)
		}
	}
	if _, err := ReadKey(filepath.Join(dir, "missing")); !os.IsNotExist(err) {
		t.Errorf("missing: %v", err)
	}
	if _, err := ReadKey(dir); errorText(err) != "want a file" {
		t.Errorf("a folder: %v", err)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
