package cgi

import (
	"net/http"
	"strings"
)

// fieldPolicy is what becomes of a request's header field. A field without a
// row is passed as HTTP_NAME.
type fieldPolicy struct {
	prefix string // canonical name, or the start of it
	exact  bool
	pass   func(*Meta) bool
	why    string
}

func never(*Meta) bool { return false }

var fieldPolicies = []fieldPolicy{
	{"Proxy", true, never, "would become HTTP_PROXY, which client libraries take for their proxy (CVE-2016-5385)"},
	{"Proxy-Authorization", true, never, "RFC 3875 section 9.2"},
	{"Authorization", true, func(m *Meta) bool { return m.PassAuthorization }, "RFC 3875 section 9.2"},
	{"Content-Length", true, never, "is CONTENT_LENGTH"},
	{"Content-Type", true, never, "is CONTENT_TYPE"},
	{"Transfer-Encoding", true, never, "is removed before the child sees the body"},
	{"Trailer", true, never, "trailers are dropped"},
	{"X-Sendfile", false, never, "steers some frameworks (CVE-2025-61780)"},
	{"X-Lighttpd-", false, never, "steers some frameworks"},
	{"X-Accel-", false, never, "steers some frameworks"},
	{"X-Reproxy-", false, never, "steers some frameworks"},
}

// passes reports whether the field of that canonical name reaches the child.
func (m *Meta) passes(name string) bool {
	switch name[0] {
	case 'P', 'A', 'C', 'T', 'X':
	default:
		return true
	}
	for i := range fieldPolicies {
		p := &fieldPolicies[i]
		if name == p.prefix || !p.exact && strings.HasPrefix(name, p.prefix) {
			return p.pass(m)
		}
	}
	return true
}

// eachField emits the header fields. Repeated fields become one with the same
// meaning (RFC 3875 section 4.1.18): joined by ", ", cookies by "; ".
func (m *Meta) eachField(set func(name, value string)) {
	if m.Request.Host != "" {
		set("HTTP_HOST", m.Request.Host)
	}
	for name, values := range m.Request.Header {
		if name == "Host" || len(values) == 0 {
			continue
		}
		v, ok := common[name]
		if !ok {
			if v = buildVariable(name); v == "" || !m.passes(http.CanonicalHeaderKey(name)) {
				continue
			}
		}
		switch {
		case len(values) == 1:
			set(v, values[0])
		case v == "HTTP_COOKIE":
			set(v, strings.Join(values, "; "))
		default:
			set(v, strings.Join(values, ", "))
		}
	}
}

// common saves the allocation of a name for what every browser sends. They have
// no row in fieldPolicies, so all of them pass.
var common = func() map[string]string {
	m := map[string]string{}
	for _, n := range []string{"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Cache-Control",
		"Connection", "Cookie", "Dnt", "Expect", "From", "If-Match", "If-Modified-Since", "If-None-Match", "If-Range",
		"If-Unmodified-Since", "Origin", "Pragma", "Range", "Referer", "Sec-Fetch-Dest", "Sec-Fetch-Mode",
		"Sec-Fetch-Site", "Sec-Fetch-User", "Upgrade-Insecure-Requests", "User-Agent", "X-Forwarded-For",
		"X-Forwarded-Proto", "X-Requested-With"} {
		if (&Meta{}).passes(n) {
			m[n] = buildVariable(n)
		}
	}
	return m
}()

// buildVariable is the meta-variable of a field name; "" where the name has a byte
// that would let two names share one variable: only letters, digits and "-"
// pass, so a client's X_Forwarded_For cannot pose as X-Forwarded-For.
func buildVariable(name string) string {
	if name == "" {
		return ""
	}
	b := make([]byte, 0, len("HTTP_")+len(name))
	b = append(b, "HTTP_"...)
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z':
			b = append(b, c-'a'+'A')
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
			b = append(b, c)
		case c == '-':
			b = append(b, '_')
		default:
			return ""
		}
	}
	return string(b)
}
