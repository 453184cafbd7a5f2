package cgi_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/cgi"
)

// vars collects the variables, and fails on one that is set twice.
func vars(t testing.TB, m *cgi.Meta) map[string]string {
	t.Helper()
	all := map[string]string{}
	m.Each(func(name, value string) {
		if old, ok := all[name]; ok {
			t.Errorf("%s is set twice: %q and %q", name, old, value)
		}
		all[name] = value
	})
	return all
}

func tcp(s string) net.Addr {
	a, err := net.ResolveTCPAddr("tcp", s)
	if err != nil {
		panic(err)
	}
	return a
}

// request is a Meta for a request as a server would see it.
func request(method, target string, header ...string) *cgi.Meta {
	r := httptest.NewRequest(method, target, nil)
	r.RemoteAddr = "192.0.2.9:4711"
	r.Host = "example.org"
	r.Header = fields(header...)
	return &cgi.Meta{Request: r, Software: "sluice/1", Local: tcp("192.0.2.1:8080")}
}

// TestMetaWhole: every variable of RFC 3875 section 4.1 and every extra, of one
// request that has them all, and of one that has as few as possible.
func TestMetaWhole(t *testing.T) {
	m := request("POST", "/cgi-bin/s.cgi/p%20q/r?a=b+c&d=%2f", "Content-Type", "text/x", "Content-Length", "5",
		"User-Agent", "u/1", "X-Requested-With", "y", "X-Odd-2", "z")
	m.Request.TLS = &tls.ConnectionState{}
	m.ScriptName, m.ScriptFilename = "/cgi-bin/s.cgi", "/srv/www/cgi-bin/s.cgi"
	m.PathInfo, m.DocumentRoot, m.BodyLength = "/p q/r", "/srv/www", 5
	m.Env = map[string]string{"REMOTE_USER": "joe", "AUTH_TYPE": "Basic"}
	want := map[string]string{
		"AUTH_TYPE":       "Basic",
		"CONTENT_LENGTH":  "5",
		"CONTENT_TYPE":    "text/x",
		"DOCUMENT_ROOT":   "/srv/www",
		"DOCUMENT_URI":    "/cgi-bin/s.cgi/p q/r",
		"HTTPS":           "on",
		"PATH_INFO":       "/p q/r",
		"PATH_TRANSLATED": "/srv/www/p q/r",
		"QUERY_STRING":    "a=b+c&d=%2f",
		"REMOTE_USER":     "joe",
		"REQUEST_METHOD":  "POST",
		"REQUEST_SCHEME":  "https",
		"REQUEST_URI":     "/cgi-bin/s.cgi/p%20q/r?a=b+c&d=%2f",
		"SCRIPT_FILENAME": "/srv/www/cgi-bin/s.cgi",
		"SCRIPT_NAME":     "/cgi-bin/s.cgi",

		"GATEWAY_INTERFACE": "CGI/1.1",
		"REDIRECT_STATUS":   "200",
		"REMOTE_ADDR":       "192.0.2.9",
		"REMOTE_HOST":       "192.0.2.9",
		"REMOTE_PORT":       "4711",
		"SERVER_ADDR":       "192.0.2.1",
		"SERVER_NAME":       "example.org",
		"SERVER_PORT":       "8080",
		"SERVER_PROTOCOL":   "HTTP/1.1",
		"SERVER_SOFTWARE":   "sluice/1",

		"HTTP_HOST":             "example.org",
		"HTTP_USER_AGENT":       "u/1",
		"HTTP_X_REQUESTED_WITH": "y",
		"HTTP_X_ODD_2":          "z",
	}
	if d := cmp.Diff(want, vars(t, m)); d != "" {
		t.Error(d)
	}
	m = request("GET", "/")
	m.ScriptName, m.Request.Host, m.Request.Proto = "", "", "HTTP/1.0"
	want = map[string]string{
		"GATEWAY_INTERFACE": "CGI/1.1",
		"SERVER_SOFTWARE":   "sluice/1",
		"SERVER_PROTOCOL":   "HTTP/1.0",
		"REQUEST_METHOD":    "GET",
		"QUERY_STRING":      "",
		"REDIRECT_STATUS":   "200",
		"SCRIPT_NAME":       "",
		"DOCUMENT_URI":      "",
		"REQUEST_URI":       "/",
		"REQUEST_SCHEME":    "http",
		"SERVER_ADDR":       "192.0.2.1",
		"SERVER_NAME":       "192.0.2.1",
		"SERVER_PORT":       "8080",
		"REMOTE_ADDR":       "192.0.2.9",
		"REMOTE_HOST":       "192.0.2.9",
		"REMOTE_PORT":       "4711",
	}
	if d := cmp.Diff(want, vars(t, m)); d != "" {
		t.Error(d)
	}
}

func TestMetaRequest(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*cgi.Meta)
		want   map[string]string // "-" is unset
	}{
		{"the method keeps its case", func(m *cgi.Meta) { m.Request.Method = "pRopFind" }, map[string]string{"REQUEST_METHOD": "pRopFind"}},
		{"no query", func(m *cgi.Meta) { m.Request.URL.RawQuery = "" }, map[string]string{"QUERY_STRING": ""}},
		{"the query stays encoded", func(m *cgi.Meta) { m.Request.URL.RawQuery = "-d+a%3db&;" }, map[string]string{"QUERY_STRING": "-d+a%3db&;"}},
		{"the URI before a redirect", func(m *cgi.Meta) { m.RequestURI = "/first" }, map[string]string{"REQUEST_URI": "/first"}},
		{"HTTP/2", func(m *cgi.Meta) { m.Request.Proto = "HTTP/2.0" }, map[string]string{"SERVER_PROTOCOL": "HTTP/2.0"}},
		{"no body", func(m *cgi.Meta) {}, map[string]string{"CONTENT_LENGTH": "-", "CONTENT_TYPE": "-"}},
		{"an empty body", func(m *cgi.Meta) { m.HasBody = true }, map[string]string{"CONTENT_LENGTH": "0"}},
		{"a long body", func(m *cgi.Meta) { m.BodyLength = 5 << 30 }, map[string]string{"CONTENT_LENGTH": "5368709120"}},
		{"the client's Content-Length is of another body", func(m *cgi.Meta) {
			m.BodyLength = 3
			m.Request.Header.Set("Content-Length", "99")
		}, map[string]string{"CONTENT_LENGTH": "3", "HTTP_CONTENT_LENGTH": "-"}},
		{"chunked", func(m *cgi.Meta) { m.Request.Header.Set("Transfer-Encoding", "chunked"); m.BodyLength = 3 },
			map[string]string{"CONTENT_LENGTH": "3", "HTTP_TRANSFER_ENCODING": "-"}},
		{"HTTPS as far as a proxy", func(m *cgi.Meta) { m.HTTPS = true }, map[string]string{"HTTPS": "on", "REQUEST_SCHEME": "https", "SERVER_PORT": "8080"}},
		{"plain HTTP", func(m *cgi.Meta) {}, map[string]string{"HTTPS": "-", "REQUEST_SCHEME": "http"}},
		{"no path info", func(m *cgi.Meta) { m.DocumentRoot = "/srv" }, map[string]string{"PATH_INFO": "-", "PATH_TRANSLATED": "-", "DOCUMENT_ROOT": "/srv"}},
		{"path info without a root", func(m *cgi.Meta) { m.PathInfo = "/x" }, map[string]string{"PATH_INFO": "/x", "PATH_TRANSLATED": "-", "DOCUMENT_ROOT": "-"}},
		{"no user without the operator's word", func(m *cgi.Meta) {
			m.Request.SetBasicAuth("joe", "x")
			m.PassAuthorization = true
		}, map[string]string{"REMOTE_USER": "-", "AUTH_TYPE": "-", "REMOTE_IDENT": "-"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := request("GET", "/s.cgi?a")
			c.change(m)
			expect(t, m, c.want)
		})
	}
}

// expect checks some variables; "-" is unset.
func expect(t *testing.T, m *cgi.Meta, want map[string]string) {
	t.Helper()
	all := vars(t, m)
	for name, value := range want {
		got, ok := all[name]
		if !ok {
			got = "-"
		}
		if got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}

func TestMetaAddresses(t *testing.T) {
	for _, c := range []struct {
		name                string
		host, remote        string
		local               net.Addr
		tls                 bool
		server, addr, port  string
		client, clientsPort string
	}{
		{"IPv4", "example.org", "192.0.2.9:1", tcp("192.0.2.1:81"), false, "example.org", "192.0.2.1", "81", "192.0.2.9", "1"},
		{"the port is the real one", "example.org:99", "192.0.2.9:1", tcp("192.0.2.1:81"), false, "example.org", "192.0.2.1", "81", "192.0.2.9", "1"},
		{"IPv6", "[2001:db8::1]:99", "[2001:db8::9]:1", tcp("[2001:db8::1]:81"), false, "[2001:db8::1]", "2001:db8::1", "81", "2001:db8::9", "1"},
		{"IPv6 without a port", "[2001:db8::1]", "[2001:db8::9]:1", tcp("[2001:db8::1]:81"), false, "[2001:db8::1]", "2001:db8::1", "81", "2001:db8::9", "1"},
		{"IPv6 with a zone", "example.org", "[fe80::9%eth0]:1", &net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0", Port: 81}, false, "example.org", "fe80::1", "81", "fe80::9", "1"},
		{"IPv4 on a socket of both", "example.org", "192.0.2.9:1", &net.TCPAddr{IP: net.ParseIP("::ffff:192.0.2.1"), Port: 81}, false, "example.org", "192.0.2.1", "81", "192.0.2.9", "1"},
		{"no Host", "", "192.0.2.9:1", tcp("192.0.2.1:81"), false, "192.0.2.1", "192.0.2.1", "81", "192.0.2.9", "1"},
		{"no Host, IPv6", "", "[2001:db8::9]:1", tcp("[2001:db8::1]:81"), false, "[2001:db8::1]", "2001:db8::1", "81", "2001:db8::9", "1"},
		{"a unix listener", "example.org", "@", &net.UnixAddr{Name: "/run/s"}, false, "example.org", "-", "80", "unix:", "-"},
		{"a unix listener, the client has no name", "example.org:99", "", &net.UnixAddr{Name: "/run/s"}, false, "example.org", "-", "99", "unix:", "-"},
		{"a unix listener with TLS before it", "example.org", "@", &net.UnixAddr{Name: "/run/s"}, true, "example.org", "-", "443", "unix:", "-"},
		{"nothing known", "", "", nil, false, "localhost", "-", "80", "unix:", "-"},
		{"a client known from a proxy", "example.org", "198.51.100.7", tcp("192.0.2.1:81"), false, "example.org", "192.0.2.1", "81", "198.51.100.7", "-"},
		{"an IPv6 client known from a proxy", "example.org", "2001:db8::7", tcp("192.0.2.1:81"), false, "example.org", "192.0.2.1", "81", "2001:db8::7", "-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := request("GET", "/")
			m.Request.Host, m.Request.RemoteAddr, m.Local = c.host, c.remote, c.local
			if c.tls {
				m.Request.TLS = &tls.ConnectionState{}
			}
			expect(t, m, map[string]string{"SERVER_NAME": c.server, "SERVER_ADDR": c.addr, "SERVER_PORT": c.port,
				"REMOTE_ADDR": c.client, "REMOTE_HOST": c.client, "REMOTE_PORT": c.clientsPort})
		})
	}
}

func TestPathTranslated(t *testing.T) {
	for _, c := range []struct{ name, root, info, want string }{
		{"plain", "/srv/www", "/a/b", "/srv/www/a/b"},
		{"of /s.cgi/a%2eb%3bc", "/srv/www", "/a.b;c", "/srv/www/a.b;c"},
		{"blank, question mark, equals sign", "/srv/www", "/a b?c=d", "/srv/www/a b?c=d"},
		{"a slash alone", "/srv/www", "/", "/srv/www/"},
		{"slash at the end", "/srv/www", "/a/", "/srv/www/a/"},
		{"root with a slash at its end", "/srv/www/", "/a", "/srv/www/a"},
		{"root of the file system", "/", "/a", "/a"},
		{"doubled slash", "/srv/www", "//a", "/srv/www//a"},
		{"dots that are no segment", "/srv/www", "/.a/..b/...", "/srv/www/.a/..b/..."},
		{"one dot", "/srv/www", "/a/./b/.", "/srv/www/a/b/"},
		{"two dots", "/srv/www", "/a/../b", "/srv/www/b"},
		{"two dots at the end", "/srv/www", "/a/b/..", "/srv/www/a/"},
		{"above the root", "/srv/www", "/../x", "/srv/www/x"},
		{"far above the root", "/srv/www", "/a/../../../x", "/srv/www/x"},
		{"above the root behind a doubled slash", "/srv/www", "//../../x", "/srv/www/x"},
		{"only dots", "/srv/www", "/../..", "/srv/www/"},
		{"no slash", "/srv/www", "2/x", "/srv/www/2/x"},
		{"no slash, dots", "/srv/www", "../x", "/srv/www/x"},
		{"no slash, two dots", "/srv/www", "..", "/srv/www/"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := request("GET", "/s.cgi")
			m.DocumentRoot, m.PathInfo = c.root, c.info
			expect(t, m, map[string]string{"PATH_TRANSLATED": c.want, "PATH_INFO": c.info})
		})
	}
}

// TestOperatorsVariables: Env beats AppEnv beats what the request says.
func TestOperatorsVariables(t *testing.T) {
	m := request("GET", "/?q", "X-A", "client", "X-B", "client", "X-C", "client")
	m.AppEnv = map[string]string{"HTTP_X_A": "app", "HTTP_X_B": "app", "SERVER_PORT": "443", "APP": "1", "EMPTY": ""}
	m.Env = map[string]string{"HTTP_X_A": "route", "QUERY_STRING": "route", "HTTPS": "on", "ROUTE": "1"}
	expect(t, m, map[string]string{"HTTP_X_A": "route", "HTTP_X_B": "app", "HTTP_X_C": "client", "SERVER_PORT": "443",
		"QUERY_STRING": "route", "HTTPS": "on", "APP": "1", "ROUTE": "1", "EMPTY": "", "GATEWAY_INTERFACE": "CGI/1.1"})
	// Without a request's word the operator's stands alone.
	m = request("GET", "/")
	m.Env = map[string]string{"HTTP_PROXY": "http://proxy.internal/"}
	m.Request.Header = http.Header{"Proxy": {"http://evil.example/"}}
	expect(t, m, map[string]string{"HTTP_PROXY": "http://proxy.internal/"})
}
