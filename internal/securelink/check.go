package securelink

import (
	"crypto/hmac"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Guard is how the links of a route are checked.
type Guard struct {
	Key    Key
	Client bool // a link is for one client
}

// Verdict is what has been found out about a link.
type Verdict uint8

// The verdicts. Expired is one about a link whose signature is right.
const (
	Good Verdict = iota
	Unsigned
	Repeated
	Malformed
	Nobody
	Wrong
	Expired
)

var verdicts = [...]struct {
	text   string
	status int
}{
	Good:      {"right", http.StatusOK},
	Unsigned:  {"missing", http.StatusForbidden},
	Repeated:  {"a parameter stands twice", http.StatusForbidden},
	Malformed: {"malformed", http.StatusForbidden},
	Nobody:    {"the client has no address", http.StatusForbidden},
	Wrong:     {"wrong", http.StatusForbidden},
	Expired:   {"expired", http.StatusGone},
}

// String says what is the matter with the signature.
func (v Verdict) String() string { return verdicts[v].text }

// Status is what the client is answered; 200 is for the file to say.
func (v Verdict) Status() int { return verdicts[v].status }

// Check finds out whether a request may have what it asks for. path is that of
// Link; query is raw; client counts only where it is signed.
func (g *Guard) Check(path, query string, client netip.Addr, now time.Time) Verdict {
	p := parse(query)
	switch {
	case p.expiries > 1 || p.sigs > 1:
		return Repeated
	case p.expiries == 0 || p.sigs == 0:
		return Unsigned
	}
	last, err := strconv.ParseInt(p.expires, 10, 64)
	if err != nil || last < 0 || strconv.FormatInt(last, 10) != p.expires {
		return Malformed
	}
	switch {
	case !g.Client:
		client = netip.Addr{}
	case !client.IsValid():
		return Nobody
	}
	// The texts are compared, not what they decode to, and in constant time.
	if !g.Key.usable() || !hmac.Equal(g.Key.sign(path, p.expires, client), []byte(p.sig)) {
		return Wrong
	}
	if now.Unix() > last {
		return Expired
	}
	return Good
}

// parameters are the two of a signed link, and how often each stands there.
type parameters struct {
	expires, sig   string
	expiries, sigs int
}

// parse finds them in a query. Names and values may be percent-encoded like any
// others; what cannot be decoded is no name of ours, and no right value.
func parse(query string) (p parameters) {
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		if err != nil {
			continue
		}
		value, _ = url.QueryUnescape(value) // "" with an error
		switch name {
		case expiresParam:
			p.expires = value
			p.expiries++
		case sigParam:
			p.sig = value
			p.sigs++
		}
	}
	return p
}

// Signed reports whether a query has a parameter of a signed link already.
func Signed(query string) bool {
	p := parse(query)
	return p.expiries+p.sigs > 0
}
