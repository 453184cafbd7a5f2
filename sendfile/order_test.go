package sendfile

import (
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestTakePath(t *testing.T) {
	raw := newSender(t, Options{Roots: []string{"/srv"}})
	decoding := newSender(t, Options{Roots: []string{"/srv"}, Decode: true})
	long := "/srv/" + strings.Repeat("n", 5000)
	for _, c := range []struct {
		value, raw, decoded string // "": 502
	}{
		{"/srv/a.txt", "/srv/a.txt", "/srv/a.txt"},
		{" \t/srv/a.txt ", "/srv/a.txt", "/srv/a.txt"},
		{"/srv/a b", "/srv/a b", "/srv/a b"},
		{"/srv/a%20b", "/srv/a%20b", "/srv/a b"},
		{"/srv/a+b", "/srv/a+b", "/srv/a+b"},
		{"/srv/100%", "/srv/100%", ""},
		{"/srv/%zz", "/srv/%zz", ""},
		{"/srv/100%25", "/srv/100%25", "/srv/100%"},
		{"/srv/a#b?c", "/srv/a#b?c", "/srv/a#b?c"},
		{"/srv/ä/\xff", "/srv/ä/\xff", "/srv/ä/\xff"},
		{"/srv/%c3%a4", "/srv/%c3%a4", "/srv/ä"},
		{"/srv/%2e%2e/x", "/srv/%2e%2e/x", "/x"},
		{"/srv%2fx", "/srv%2fx", "/srv/x"},
		{"%2Fsrv/x", "", "/srv/x"},
		{"//srv///x", "/srv/x", "/srv/x"},
		{"/srv/./a/../b", "/srv/b", "/srv/b"},
		{"/../../srv/x", "/srv/x", "/srv/x"},
		{"/srv/x/", "/srv/x/", "/srv/x/"},
		{"/srv/x/.", "/srv/x/", "/srv/x/"},
		{"/srv/x/y/..", "/srv/x/", "/srv/x/"},
		{"/", "/", "/"},
		{long, long, long},
		{"/srv/%00", "/srv/%00", ""},
		{"/srv/a\x00b", "", ""},
		{"", "", ""},
		{"   ", "", ""},
		{"srv/a", "", ""},
		{"./a", "", ""},
		{"~/a", "", ""},
		{"file:///srv/a", "", ""},
	} {
		for _, mode := range []struct {
			name string
			s    *Sender
			want string
		}{{"raw", raw, c.raw}, {"decode", decoding, c.decoded}} {
			for _, header := range []string{"X-Sendfile", "X-LIGHTTPD-send-file"} {
				h := http.Header{}
				h.Set(header, c.value)
				o, _, ok, err := mode.s.Take(h)
				if len(h) != 0 {
					t.Errorf("%s %q: left %v", mode.name, c.value, h)
				}
				if mode.want == "" {
					if ok || statusOf(err) != 502 {
						t.Errorf("%s %q: %+v, %v, %v, want 502", mode.name, c.value, o, ok, err)
					}
					continue
				}
				if want := (Order{Header: header, Path: mode.want, Size: -1}); !ok || err != nil || !reflect.DeepEqual(o, want) {
					t.Errorf("%s %q: %+v, %v, %v, want %+v", mode.name, c.value, o, ok, err, want)
				}
			}
		}
	}
}

func TestTakeWhichHeader(t *testing.T) {
	on := newSender(t, Options{Roots: []string{"/srv"}})
	one := newSender(t, Options{Roots: []string{"/srv"}, Headers: []string{"x-sendFILE", "X-Accel-Redirect"}})
	none := newSender(t, Options{Roots: []string{"/srv"}, Headers: []string{}})
	off := newSender(t, Options{})
	const file, broken = "/srv/a", "relative"
	for _, c := range []struct {
		name   string
		s      *Sender
		h      http.Header
		ok     bool
		status int
	}{
		{"nothing", on, http.Header{"Content-Type": {"text/html"}}, false, 0},
		{"no value", on, http.Header{"X-Sendfile": {}}, false, 0},
		{"one", on, http.Header{"X-Sendfile": {file}}, true, 0},
		{"lower case", on, http.Header{"x-sendfile": {file}}, true, 0},
		{"lighttpd", on, http.Header{"X-Lighttpd-Send-File": {file}}, true, 0},
		{"two values", on, http.Header{"X-Sendfile": {file, file}}, false, 502},
		{"two spellings", on, http.Header{"X-Sendfile": {file}, "x-sendfile": {file}}, false, 502},
		{"two dialects", on, http.Header{"X-Sendfile": {file}, "X-Lighttpd-Send-File": {file}}, false, 502},
		{"second dialect not acting", one, http.Header{"X-Sendfile": {file}, "X-Lighttpd-Send-File": {file}}, true, 0},
		{"only a dialect that does not act", one, http.Header{"X-Lighttpd-Send-File": {broken}}, false, 0},
		{"a redirect and a file", one, http.Header{"X-Accel-Redirect": {"/x"}, "X-Sendfile": {file}}, false, 502},
		{"a redirect needs no root", off, http.Header{"X-Accel-Redirect": {"/x"}}, true, 0},
		{"a hint beside it", on, http.Header{"X-Accel-Buffering": {"no"}, "X-Sendfile": {file}}, true, 0},
		{"no header acts", none, http.Header{"X-Sendfile": {broken, broken}}, false, 0},
		{"off", off, http.Header{"X-Sendfile": {broken, broken}}, false, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			o, _, ok, err := c.s.Take(c.h)
			if ok != c.ok || statusOf(err) != c.status {
				t.Errorf("%+v, %v, %v", o, ok, err)
			}
			Strip(c.h)
			for name := range c.h {
				if Known(name) {
					t.Errorf("%s is still there", name)
				}
			}
		})
	}
}

// The size that the body must have is for the two headers that Perlbal knows it beside.
func TestExpectedSize(t *testing.T) {
	dir := tree(t, map[string]string{"root/f": "12345"})
	s := newSender(t, Options{Roots: []string{dir + "/root"}})
	for _, c := range []struct {
		header string
		size   []string
		want   any
	}{
		{"X-Reproxy-File", nil, "12345"},
		{"X-Reproxy-File", []string{"5"}, "12345"},
		{"X-Reproxy-File", []string{" 5\t"}, "12345"},
		{"X-Reproxy-File", []string{"4"}, 502},
		{"X-Reproxy-File", []string{"0"}, 502},
		{"X-Reproxy-File", []string{"five"}, "12345"}, // said nothing
		{"X-Reproxy-File", []string{"-1"}, "12345"},
		{"X-Sendfile", []string{"4"}, "12345"},
	} {
		o, _, ok, err := s.Take(http.Header{c.header: {dir + "/root/f"}, "X-Reproxy-Expected-Size": c.size})
		if !ok || err != nil {
			t.Fatalf("%v: %v, %v", c, ok, err)
		}
		f, err := s.Open(o)
		check(t, c.header+" "+strings.Join(c.size, ","), f, err, c.want)
	}
}

func TestTakeErrorText(t *testing.T) {
	s := newSender(t, Options{Roots: []string{"/srv"}})
	_, _, _, err := s.Take(http.Header{"X-Sendfile": {"/a"}, "X-Lighttpd-Send-File": {"/a"}})
	const want = `take "/a": more than one send-file header: X-LIGHTTPD-send-file, X-Sendfile`
	if err == nil || err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	_, _, _, err = s.Take(http.Header{"X-Sendfile": {"a\nb"}})
	if err == nil || err.Error() != `take "a\nb": bad value of X-Sendfile: not an absolute path` {
		t.Error(err)
	}
}
