package sendfile

import (
	"net/http"
	"reflect"
	"testing"
)

func TestTarget(t *testing.T) {
	for _, c := range []struct{ uri, path, query string }{
		{"/protected/a", "/protected/a", ""},
		{"/a b/\xc3\xa4", "/a b/\xc3\xa4", ""},
		{"/100%25%3Fx%23", "/100%?x#", ""},
		{"/a%2525", "/a%25", ""}, // once
		{"/a%2fb", "/a/b", ""},
		{"/a#b?c=%20#d?e", "/a#b", "c=%20#d?e"},
		{"/a..b/..c", "/a..b/..c", ""},
		{"//host/x", "//host/x", ""}, // doubled slashes are one
		{"/", "/", ""},
		{uri: ""}, {uri: "?x"}, {uri: "relative"}, {uri: "http://host/x"}, {uri: "@named"},
		{uri: "/a/../b"}, {uri: "/.."}, {uri: "/a/%2e%2e/b"}, {uri: "/a/.%2E"}, {uri: "/a%2f..%2fb"},
		{uri: "/a%00"}, {uri: "/a\x00"}, {uri: "/%zz"}, {uri: "%2e%2e/x"},
	} {
		u, err := Target(c.uri)
		if c.path == "" {
			if statusOf(err) != 404 {
				t.Errorf("%q: %v, %v", c.uri, u, err)
			}
			continue
		}
		if err != nil || u.Path != c.path || u.RawQuery != c.query || u.RawPath != "" {
			t.Errorf("%q: %+v, %v", c.uri, u, err)
		}
	}
}

// Each row of the table stays, and nothing else.
func TestKept(t *testing.T) {
	h := http.Header{"Etag": {`"x"`}, "Last-Modified": {"x"}, "Location": {"/"}, "Content-Encoding": {"gzip"}, "Vary": {"x"},
		"Content-Length": {"5"}, "X-Own": {"x"}}
	want := http.Header{}
	for _, row := range survivors {
		v := []string{"one " + row.name, "two"}
		h[http.CanonicalHeaderKey(row.name)], want[http.CanonicalHeaderKey(row.name)] = v, v
	}
	if got := Kept(h); !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
	if got := Kept(http.Header{"Content-Type": {""}, "Expires": nil}); len(got) != 0 {
		t.Errorf("fields without a value: %v", got)
	}
}
