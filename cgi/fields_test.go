package cgi_test

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sluice/cgi"
)

// httpVars are the HTTP_ variables of a Meta, without the Host.
func httpVars(t *testing.T, m *cgi.Meta) map[string]string {
	t.Helper()
	got := map[string]string{}
	for name, value := range vars(t, m) {
		if strings.HasPrefix(name, "HTTP_") && name != "HTTP_HOST" {
			got[name] = value
		}
	}
	return got
}

// TestFields: what becomes of a client's fields, as net/http reads them.
func TestFields(t *testing.T) {
	for _, c := range []struct {
		name string
		sent string
		want map[string]string
	}{
		{"any field", "X-Any: 1", map[string]string{"HTTP_X_ANY": "1"}},
		{"lower case", "x-any: 1", map[string]string{"HTTP_X_ANY": "1"}},
		{"digits", "X-9: 1", map[string]string{"HTTP_X_9": "1"}},
		{"known fields", "Accept: a/b\nReferer: r\nDNT: 1", map[string]string{"HTTP_ACCEPT": "a/b", "HTTP_REFERER": "r", "HTTP_DNT": "1"}},
		{"empty value", "X-A:", map[string]string{"HTTP_X_A": ""}},
		{"repeated", "X-A: 1\nX-A: 2\nx-a: 3", map[string]string{"HTTP_X_A": "1, 2, 3"}},
		{"cookies", "Cookie: a=1\nCookie: b=2; c=3\nCookie: d=4", map[string]string{"HTTP_COOKIE": "a=1; b=2; c=3; d=4"}},
		{"Expect and Range pass", "Range: bytes=0-1\nIf-Range: x", map[string]string{"HTTP_RANGE": "bytes=0-1", "HTTP_IF_RANGE": "x"}},

		{"Proxy (httpoxy)", "Proxy: evil", nil},
		{"proxy", "proxy: evil", nil},
		{"PROXY", "PROXY: evil", nil},
		{"pRoXy", "pRoXy: evil", nil},
		{"Proxy twice", "Proxy: a\nproxy: b", nil},
		{"Proxy-Authorization", "Proxy-Authorization: Basic x", nil},
		{"Proxy-Connection is harmless", "Proxy-Connection: close", map[string]string{"HTTP_PROXY_CONNECTION": "close"}},
		{"X-Proxy is another field", "X-Proxy: a", map[string]string{"HTTP_X_PROXY": "a"}},

		{"underscore for a hyphen", "X_Forwarded_For: evil\nX-Forwarded-For: 192.0.2.1", map[string]string{"HTTP_X_FORWARDED_FOR": "192.0.2.1"}},
		{"underscore alone", "X_A: evil", nil},
		{"underscore in one place", "X-Forwarded_For: evil", nil},
		{"Content_Length", "Content_Length: 5\nContent_Type: a/b", nil},
		{"dot for a hyphen", "X.Forwarded.For: evil", nil},
		{"other token bytes", "X!A: 1\nX#A: 1\nX$A: 1\nX%A: 1\nX&A: 1\nX'A: 1\nX*A: 1\nX+A: 1\nX^A: 1\nX`A: 1\nX|A: 1\nX~A: 1", nil},
		{"Pro_xy", "Pro_xy: evil", nil},

		{"Content-Type and Content-Length are variables of their own", "Content-Type: a/b\nContent-Length: 5", nil},
		{"Authorization", "Authorization: Basic x", nil},
		{"of a transfer", "Transfer-Encoding: chunked\nTrailer: X-A", nil},

		{"X-Sendfile", "X-Sendfile: /etc/passwd\nx-sendfile2: a\nX-Sendfile-Type: X-Accel-Redirect\nX-Sendfile-Temporary: /x", nil},
		{"X-LIGHTTPD-", "X-LIGHTTPD-send-file: /x\nx-lighttpd-kbytes-per-second: 1", nil},
		{"X-Accel-", "X-Accel-Redirect: /x\nX-Accel-Mapping: /a=/b", nil},
		{"X-Reproxy-", "X-Reproxy-URL: http://x/\nX-REPROXY-FILE: /x", nil},
		{"fields that begin alike", "X-Accelerate: 1\nX-Send: 1\nX-Reproxy: 1\nX-Lighttpd: 1", map[string]string{"HTTP_X_ACCELERATE": "1", "HTTP_X_SEND": "1", "HTTP_X_REPROXY": "1", "HTTP_X_LIGHTTPD": "1"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := "GET / HTTP/1.1\r\nHost: example.org\r\n" + strings.ReplaceAll(c.sent, "\n", "\r\n") + "\r\n\r\n"
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text)))
			if err != nil {
				t.Fatal(err)
			}
			want := c.want
			if want == nil {
				want = map[string]string{}
			}
			if d := cmp.Diff(want, httpVars(t, &cgi.Meta{Request: r})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestFieldsPassAuthorization(t *testing.T) {
	m := request("GET", "/", "Authorization", "Basic x", "Proxy-Authorization", "Basic y")
	m.PassAuthorization = true
	if d := cmp.Diff(map[string]string{"HTTP_AUTHORIZATION": "Basic x"}, httpVars(t, m)); d != "" {
		t.Error(d)
	}
}

func TestFieldsHost(t *testing.T) {
	m := request("GET", "/", "Host", "evil.example")
	expect(t, m, map[string]string{"HTTP_HOST": "example.org"})
	// RFC 9112 section 3.2.2: the host of an absolute request URI beats Host.
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader("GET http://a.example:99/x HTTP/1.1\r\nHost: b.example\r\n\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	expect(t, &cgi.Meta{Request: r}, map[string]string{"HTTP_HOST": "a.example:99", "SERVER_NAME": "a.example"})
}

// TestFieldsOddMaps: header maps that no server makes.
func TestFieldsOddMaps(t *testing.T) {
	m := request("GET", "/")
	m.Request.Header = http.Header{"": {"a"}, "X-None": nil, "X-Empty": {}, "X y": {"a"}, "X\x00": {"a"}, "Ä": {"a"}, "proxy": {"a"}, "x-accel-a": {"a"}}
	if got := httpVars(t, m); len(got) != 0 {
		t.Errorf("%q", got)
	}
}

// TestFieldsMany: hundreds of fields with values of every length around the
// borders of FastCGI's lengths come out as they went in.
func TestFieldsMany(t *testing.T) {
	m := request("GET", "/")
	want := map[string]string{}
	for i := range 300 {
		v := strings.Repeat("v", i)
		m.Request.Header.Set(fmt.Sprintf("X-%d", i), v)
		want[fmt.Sprintf("HTTP_X_%d", i)] = v
	}
	if d := cmp.Diff(want, httpVars(t, m)); d != "" {
		t.Error(d)
	}
}
