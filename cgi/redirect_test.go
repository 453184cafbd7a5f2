package cgi_test

import (
	"testing"

	"sluice/cgi"
)

// TestLocalRedirect: which answers are local redirects (RFC 3875 section
// 6.2.2), and the status of those that are not.
func TestLocalRedirect(t *testing.T) {
	for _, c := range []struct {
		name, block string
		local       string
		code        int
	}{
		{"a path alone", "Location: /a/b?c=d\n\n", "/a/b?c=d", 302},
		{"lower case, CRLF", "location: /a\r\n\r\n", "/a", 302},
		{"the root", "Location: /\n\n", "/", 302},
		{"a path and a field of no value", "Location: /a\nContent-Type:\n\n", "/a", 302},
		{"a path and no status", "Status:\nLocation: /a\n\n", "/a", 302},
		{"a path and a status", "Status: 302\nLocation: /a\n\n", "", 302},
		{"a path and another status", "Status: 201 Created\nLocation: /a\n\n", "", 201},
		{"a path and a type", "Location: /a\nContent-Type: text/html\n\n", "", 302},
		{"a path and a cookie", "Location: /a\nSet-Cookie: x\n\n", "", 302},
		{"a path and an extension of no value", "Location: /a\nX-A:\n\n", "", 302},
		{"a path and a field that is dropped", "Location: /a\nConnection: close\n\n", "", 302},
		{"two paths", "Location: /a\nLocation: /b\n\n", "", 302},
		{"a path with a fragment, which only the client can use", "Location: /a#b\n\n", "", 302},
		{"another host", "Location: //example.org/a\n\n", "", 302},
		{"an absolute URL", "Location: http://example.org/\n\n", "", 302},
		{"a relative path", "Location: a/b\n\n", "", 302},
		{"a query", "Location: ?a\n\n", "", 302},
		{"no location", "Content-Type: a/b\n\n", "", 200},
		{"a location of no value", "Location:\nContent-Type: a/b\n\n", "", 200},
		{"a status alone", "Status: 500\n\n", "", 500},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := cgi.ParseHeader([]byte(c.block))
			if err != nil {
				t.Fatal(err)
			}
			if got := h.LocalRedirect(); got != c.local {
				t.Errorf("local redirect to %q, want %q", got, c.local)
			}
			if got := h.Code(); got != c.code {
				t.Errorf("code %d, want %d", got, c.code)
			}
		})
	}
}
