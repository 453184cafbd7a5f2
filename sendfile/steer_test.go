package sendfile

import (
	"net/http"
	"reflect"
	"testing"
)

func TestTakeMeanings(t *testing.T) {
	s := newSender(t, Options{Roots: []string{"/srv"}, DeleteRoots: []string{"/tmp"}, Decode: true,
		Reproxy: []string{"http://store.internal/", "https://b:8443/pub"}})
	for _, c := range []struct {
		header, value string
		want          Order // without Header and Size
		ok            bool
	}{
		{"X-Accel-Redirect", "/protected/a%20b?x=1", Order{Means: Redirect, URI: "/protected/a%20b?x=1"}, true},
		{"X-Reproxy-File", "/srv/a%20b", Order{Path: "/srv/a b"}, true},
		{"X-Sendfile-Temporary", "/tmp/x", Order{Means: Temporary, Path: "/tmp/x"}, true},
		{"X-Sendfile2", "/srv/a 0-9", Order{Means: Slices, Slices: []Slice{{"/srv/a", 0, 10}}}, true},
		{"X-Sendfile2", "/srv/a%2cb 5-5,  /srv/b%20c\t7-", Order{Means: Slices, Slices: []Slice{{"/srv/a,b", 5, 6}, {"/srv/b c", 7, -1}}}, true},
		{"X-Sendfile2", "/srv/a", Order{}, false},
		{"X-Sendfile2", "/srv/a 5", Order{}, false},
		{"X-Sendfile2", "/srv/a 5-4", Order{}, false},
		{"X-Sendfile2", "/srv/a -4", Order{}, false},
		{"X-Sendfile2", "/srv/a +1-4", Order{}, false},
		{"X-Sendfile2", "/srv/a 0-9223372036854775807", Order{}, false},
		{"X-Sendfile2", "/srv/a 0-9,", Order{}, false},
		{"X-Sendfile2", "a 0-9", Order{}, false},
		{"X-Reproxy-URL", "http://store.internal/x?y http://STORE.internal/z", Order{Means: Reproxy,
			URLs: []string{"http://store.internal/x?y", "http://STORE.internal/z"}}, true},
		{"X-Reproxy-URL", "http://evil/ https://b:8443/pub/x", Order{Means: Reproxy, URLs: []string{"https://b:8443/pub/x"}}, true},
		{"X-Reproxy-URL", "https://b:8443/public", Order{}, false},
		{"X-Reproxy-URL", "https://b:8443/pub/../x", Order{}, false},
		{"X-Reproxy-URL", "http://store.internal.evil/", Order{}, false},
		{"X-Reproxy-URL", "http://store.internal:81/", Order{}, false},
		{"X-Reproxy-URL", "http://store.internal@evil/", Order{}, false},
		{"X-Reproxy-URL", "file:///etc/passwd", Order{}, false},
		{"X-Reproxy-URL", "", Order{}, false},
	} {
		h := http.Header{}
		h.Set(c.header, c.value)
		got, _, ok, err := s.Take(h)
		if !c.ok {
			if ok || statusOf(err) != 502 {
				t.Errorf("%s: %s: %+v, %v", c.header, c.value, got, err)
			}
			continue
		}
		c.want.Header, c.want.Size = c.header, -1
		if !ok || err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %s:\n %+v, %v\nwant %+v", c.header, c.value, got, err, c.want)
		}
	}
}

func TestTakeSteers(t *testing.T) {
	s := newSender(t, Options{})
	for _, c := range []struct {
		name, value string
		want        Steer
	}{
		{"X-Accel-Limit-Rate", "1024", Steer{Rate: 1024}},
		{"X-Accel-Limit-Rate", "0", Steer{Rate: 0}},
		{"X-Accel-Limit-Rate", "-1", Steer{Rate: -1}},
		{"X-Accel-Limit-Rate", "fast", Steer{Rate: -1}},
		{"x-accel-buffering", "No", Steer{Rate: -1, Buffering: No}},
		{"X-Accel-Buffering", " yes ", Steer{Rate: -1, Buffering: Yes}},
		{"X-Accel-Buffering", "perhaps", Steer{Rate: -1}},
		{"X-Accel-Expires", "300", Steer{Rate: -1, Expires: "300"}},
		{"X-Accel-Expires", "@1700000000", Steer{Rate: -1, Expires: "@1700000000"}},
		{"X-Accel-Expires", "soon", Steer{Rate: -1}},
		{"X-Accel-Charset", "utf-8", Steer{Rate: -1, Charset: "utf-8"}},
		{"X-Reproxy-Expected-Size", "5", Steer{Rate: -1}},
	} {
		_, got, ok, err := s.Take(http.Header{c.name: {c.value}})
		if ok || err != nil || got != c.want {
			t.Errorf("%s: %s: %+v, %v, %v", c.name, c.value, got, ok, err)
		}
	}
}
