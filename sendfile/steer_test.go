package sendfile

import (
	"net/http"
	"reflect"
	"testing"
	"time"
)

func TestTakeMeanings(t *testing.T) {
	s := newSender(t, Options{Roots: []string{"/srv"}, DeleteRoots: []string{"/tmp"}, Decode: true,
		Reproxy: []string{"http://store.internal/", "https://b:8443/pub", "http://c/pub/"}})
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
		{"X-Reproxy-URL", "http://c/pub/x/", Order{Means: Reproxy, URLs: []string{"http://c/pub/x/"}}, true},
		{"X-Reproxy-URL", "http://c/public", Order{}, false},
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
			status := 502
			if c.header == "X-Reproxy-URL" && c.value != "" {
				status = 503 // nothing is left that may be fetched
			}
			if ok || statusOf(err) != status {
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
		{"X-Accel-Expires", "-1", Steer{Rate: -1}},
		{"X-Accel-Charset", "utf-8", Steer{Rate: -1, Charset: "utf-8"}},
		{"X-Accel-Charset", "utf-8; x=y", Steer{Rate: -1}},
		{"X-Reproxy-Expected-Size", "5", Steer{Rate: -1}},
	} {
		_, got, ok, err := s.Take(http.Header{c.name: {c.value}})
		if ok || err != nil || got != c.want {
			t.Errorf("%s: %s: %+v, %v, %v", c.name, c.value, got, ok, err)
		}
	}
}

func TestSteerOver(t *testing.T) {
	below := Steer{Rate: 5, Buffering: Yes, Expires: "1", Charset: "a"}
	if got := steerless.Over(below); got != below {
		t.Errorf("nothing over all: %+v", got)
	}
	over := Steer{Rate: 0, Buffering: No, Expires: "2", Charset: "b"}
	if got := over.Over(below); got != over {
		t.Errorf("all over all: %+v", got)
	}
}

func TestExpire(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		expires string
		h       http.Header
		cache   string // Cache-Control afterwards
		date    string // Expires afterwards
	}{
		{"", http.Header{}, "", ""},
		{"300", http.Header{}, "max-age=300", "Tue, 14 Nov 2023 22:18:20 GMT"},
		{"@1700000300", http.Header{}, "max-age=300", "Tue, 14 Nov 2023 22:18:20 GMT"},
		{"@1600000000", http.Header{}, "no-cache", "Thu, 01 Jan 1970 00:00:01 GMT"},
		{"0", http.Header{}, "no-cache", "Thu, 01 Jan 1970 00:00:01 GMT"},
		{"99999999999999", http.Header{}, "max-age=2147483648", "Mon, 03 Dec 2091 01:27:28 GMT"},
		// It never opens to everybody what the application keeps for one.
		{"300", http.Header{"Cache-Control": {"private"}}, "private", ""},
		{"300", http.Header{"Expires": {"x"}}, "", "x"},
		{"300", http.Header{"Set-Cookie": {"a=b"}}, "", ""},
	} {
		Steer{Expires: c.expires}.Expire(c.h, now)
		if c.h.Get("Cache-Control") != c.cache || c.h.Get("Expires") != c.date {
			t.Errorf("%q: %v", c.expires, c.h)
		}
	}
}

func TestRecode(t *testing.T) {
	for _, c := range []struct{ charset, before, after string }{
		{"koi8-r", "text/html", "text/html; charset=koi8-r"},
		{"koi8-r", "text/plain; charset=utf-8; format=flowed", "text/plain; charset=koi8-r; format=flowed"},
		{"koi8-r", "application/rss+xml", "application/rss+xml; charset=koi8-r"},
		{"koi8-r", "image/png", "image/png"},
		{"koi8-r", "application/octet-stream", "application/octet-stream"},
		{"koi8-r", "", ""},
		{"koi8-r", "text/html; charset", "text/html; charset"},
		{"", "text/html", "text/html"},
	} {
		h := http.Header{}
		if c.before != "" {
			h.Set("Content-Type", c.before)
		}
		Steer{Charset: c.charset}.Recode(h)
		if got := h.Get("Content-Type"); got != c.after {
			t.Errorf("%q on %q: %q", c.charset, c.before, got)
		}
	}
}
