package cgi

import (
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
)

// Meta holds what the meta-variables of one request are made from.
type Meta struct {
	Request *http.Request

	ScriptName     string // SCRIPT_NAME: the part of the decoded path that names the script
	ScriptFilename string // SCRIPT_FILENAME
	PathInfo       string // PATH_INFO, decoded; "" leaves it and PATH_TRANSLATED unset
	DocumentRoot   string // DOCUMENT_ROOT; "" leaves it unset
	RequestURI     string // REQUEST_URI, as the client sent it; "" is Request.RequestURI

	Software string   // SERVER_SOFTWARE
	Local    net.Addr // where the connection was accepted: SERVER_ADDR and SERVER_PORT
	// HTTPS says that the client speaks TLS although the connection does not: a
	// proxy stands between. Of a connection with TLS it need not be said.
	HTTPS bool

	// BodyLength is the length of the body that the child gets, after any
	// transfer coding has been removed. 0 is "no body": CONTENT_LENGTH unset.
	BodyLength int64
	// HasBody says that there is a body although it may be empty; then
	// CONTENT_LENGTH is set even if it is 0 (RFC 3875 section 4.1.2).
	HasBody bool

	// PassAuthorization lets Authorization through as HTTP_AUTHORIZATION
	// (RFC 3875 section 9.2 advises against it).
	PassAuthorization bool
	// Env is the operator's: each entry replaces the variable of its name.
	Env map[string]string
	// AppEnv is the operator's too, and gives way to Env.
	AppEnv map[string]string
}

// Each calls set once for every meta-variable, in no particular order.
//
// It is RFC 3875 section 4.1 in full and what servers have added by custom:
// SCRIPT_FILENAME, DOCUMENT_ROOT, DOCUMENT_URI, REQUEST_URI, REQUEST_SCHEME,
// HTTPS, SERVER_ADDR, REMOTE_PORT, REDIRECT_STATUS (php-cgi insists on it).
// AUTH_TYPE and REMOTE_USER only come from Env. The request's header fields
// follow the table of fieldPolicy.
func (m *Meta) Each(set func(name, value string)) {
	if len(m.Env)+len(m.AppEnv) > 0 {
		set = m.overridden(set)
	}
	r := m.Request
	set("GATEWAY_INTERFACE", "CGI/1.1")
	set("SERVER_SOFTWARE", m.Software)
	set("SERVER_PROTOCOL", r.Proto)
	set("REQUEST_METHOD", r.Method)
	set("QUERY_STRING", r.URL.RawQuery)
	set("REDIRECT_STATUS", "200")
	m.eachScript(set)
	m.eachAddress(set)
	if m.HasBody || m.BodyLength > 0 {
		set("CONTENT_LENGTH", strconv.FormatInt(m.BodyLength, 10))
	}
	if ct := r.Header.Get("Content-Type"); ct != "" {
		set("CONTENT_TYPE", ct)
	}
	m.eachField(set)
}

// overridden emits the operator's variables at once and keeps Each from
// setting them again.
func (m *Meta) overridden(set func(name, value string)) func(name, value string) {
	for k, v := range m.Env {
		set(k, v)
	}
	for k, v := range m.AppEnv {
		if _, ok := m.Env[k]; !ok {
			set(k, v)
		}
	}
	return func(name, value string) {
		if _, ok := m.Env[name]; ok {
			return
		}
		if _, ok := m.AppEnv[name]; ok {
			return
		}
		set(name, value)
	}
}

func (m *Meta) eachScript(set func(name, value string)) {
	set("SCRIPT_NAME", m.ScriptName)
	set("DOCUMENT_URI", m.ScriptName+m.PathInfo)
	if m.RequestURI != "" {
		set("REQUEST_URI", m.RequestURI)
	} else {
		set("REQUEST_URI", m.Request.RequestURI)
	}
	if m.ScriptFilename != "" {
		set("SCRIPT_FILENAME", m.ScriptFilename)
	}
	if m.DocumentRoot != "" {
		set("DOCUMENT_ROOT", m.DocumentRoot)
	}
	if m.PathInfo != "" {
		set("PATH_INFO", m.PathInfo)
		if m.DocumentRoot != "" {
			set("PATH_TRANSLATED", Translate(m.DocumentRoot, m.PathInfo))
		}
	}
}

// Translate is PATH_TRANSLATED: it maps a path info to the file system as if it were a URL of its
// own (RFC 3875 section 4.1.6). Section 9.8: it must not leave the root.
func Translate(root, info string) string {
	if !strings.HasPrefix(info, "/") {
		info = "/" + info
	}
	return strings.TrimSuffix(root, "/") + cleanPath(info)
}

// cleanPath removes dot segments and keeps everything else, a trailing slash
// and empty segments included.
func cleanPath(p string) string {
	if !strings.Contains(p, "/.") {
		return p
	}
	var out []string
	segs := strings.Split(p, "/")
	for i, s := range segs {
		last := i == len(segs)-1
		switch s {
		case ".":
			if last {
				out = append(out, "")
			}
		case "..":
			if len(out) > 1 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, s)
		}
	}
	p = strings.Join(out, "/")
	if !strings.HasPrefix(p, "/") {
		p = "/" + p
	}
	return p
}

func (m *Meta) eachAddress(set func(name, value string)) {
	r := m.Request
	if r.TLS != nil || m.HTTPS {
		set("REQUEST_SCHEME", "https")
		set("HTTPS", "on")
	} else {
		set("REQUEST_SCHEME", "http")
	}
	local := addrOf(m.Local)
	if local.host != "" {
		set("SERVER_ADDR", local.host)
	}
	name, port := splitHost(r.Host)
	if name == "" {
		name = local.name()
	}
	set("SERVER_NAME", name)
	switch {
	case local.port != "":
		set("SERVER_PORT", local.port)
	case port != "":
		set("SERVER_PORT", port)
	case r.TLS != nil || m.HTTPS:
		set("SERVER_PORT", "443")
	default:
		set("SERVER_PORT", "80")
	}
	m.eachClient(set)
}

func (m *Meta) eachClient(set func(name, value string)) {
	host, port, err := net.SplitHostPort(m.Request.RemoteAddr)
	if err != nil {
		// Middlewares that know the client from a proxy leave the port out.
		ip, err := netip.ParseAddr(m.Request.RemoteAddr)
		host = ip.String()
		if err != nil {
			// A client on a unix socket has no address; this is nginx's word for it.
			host = "unix:"
		}
	}
	// RFC 3875 section 4.1.8 has no room for the zone of an IPv6 address.
	host, _, _ = strings.Cut(host, "%")
	set("REMOTE_ADDR", host)
	set("REMOTE_HOST", host)
	if port != "" {
		set("REMOTE_PORT", port)
	}
}

type addr struct{ host, port string }

// name is the address in the form that SERVER_NAME wants (RFC 3875 section
// 4.1.14: IPv6 in brackets).
func (a addr) name() string {
	switch {
	case a.host == "":
		return "localhost"
	case strings.Contains(a.host, ":"):
		return "[" + a.host + "]"
	}
	return a.host
}

// known is the address that was asked for last: nearly always that of the one
// listener.
type known struct {
	ip   netip.Addr
	port int
	addr addr
}

var lastKnown atomic.Pointer[known]

// addrOf is the text of where a connection was accepted; empty for what is not
// TCP. An IPv4 client of a dual-stack socket shows as ::ffff:a.b.c.d.
func addrOf(a net.Addr) addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return addr{}
	}
	ip, ok := netip.AddrFromSlice(t.IP)
	if !ok {
		return splitAddr(t)
	}
	ip = ip.Unmap()
	if last := lastKnown.Load(); last != nil && last.ip == ip && last.port == t.Port {
		return last.addr
	}
	k := &known{ip, t.Port, splitAddr(t)}
	lastKnown.Store(k)
	return k.addr
}

func splitAddr(t *net.TCPAddr) addr {
	if v4 := t.IP.To4(); v4 != nil {
		return addr{v4.String(), strconv.Itoa(t.Port)}
	}
	return addr{t.IP.String(), strconv.Itoa(t.Port)}
}

// splitHost splits the port off a Host value and keeps IPv6 brackets.
func splitHost(h string) (name, port string) {
	i := strings.LastIndexByte(h, ':')
	if i < 0 || strings.IndexByte(h[i:], ']') >= 0 {
		return h, ""
	}
	return h[:i], h[i+1:]
}
