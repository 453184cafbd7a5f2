package sendfile

import (
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func FuzzTake(f *testing.F) {
	f.Add("/srv/files/a%20b", true)
	f.Add("/srv/../etc/passwd", false)
	raw := newSender(f, Options{Roots: []string{"/srv"}})
	decoding := newSender(f, Options{Roots: []string{"/srv"}, Decode: true})
	f.Fuzz(func(t *testing.T, value string, decode bool) {
		s := raw
		if decode {
			s = decoding
		}
		h := http.Header{"X-Sendfile": {value}, "x-accel-charset": {value}}
		o, _, ok, err := s.Take(h)
		if len(h) != 0 {
			t.Fatalf("left %v", h)
		}
		if !ok {
			if statusOf(err) != 502 || !reflect.DeepEqual(o, Order{}) {
				t.Fatalf("%+v, %v", o, err)
			}
			return
		}
		if err != nil || o.Path == "" || o.Path[0] != '/' || strings.ContainsRune(o.Path, 0) {
			t.Fatalf("%+v, %v", o, err)
		}
		for _, segment := range strings.Split(strings.Trim(o.Path, "/"), "/") {
			if segment == "." || segment == ".." || segment == "" && strings.Trim(o.Path, "/") != "" {
				t.Fatalf("%q has the segment %q", o.Path, segment)
			}
		}
		if again := clean(o.Path); again != o.Path {
			t.Fatalf("%q cleaned again is %q", o.Path, again)
		}
	})
}

// FuzzOpen never gets a byte from outside the root. Names in the tree are short, so that they are found by chance.
func FuzzOpen(f *testing.F) {
	dir := tree(f, map[string]string{
		"r/a": "inside", "r/d/a": "inside", "r/u": "-> ..", "r/o": "-> ../o", "r/p": "-> $DIR/o/a", "r/q": "-> d/../a",
		"r/d/u": "-> ../..", "o/a": "outside", "a": "outside", "r2/a": "outside",
	})
	for _, seed := range []string{"/r/a", "/r/u/a", "/r/o/a", "/r/p", "/r/d/../../a", "/r2/a", "/r/q", "/r/d/u/o/a", "/r/a/"} {
		f.Add(seed, 0)
		f.Add(seed, 1)
	}
	senders := []*Sender{
		newSender(f, Options{Roots: []string{dir + "/r"}, Symlinks: Beneath}),
		newSender(f, Options{Roots: []string{dir + "/r"}, Symlinks: Deny}),
	}
	f.Fuzz(func(t *testing.T, path string, mode int) {
		mode &= 1
		s := senders[mode]
		inside := func(file *File, err error) {
			if err != nil {
				var e *Error
				if !errors.As(err, &e) || e.Status != 403 && e.Status != 404 || e.Error() == "" {
					t.Fatal(err)
				}
				return
			}
			defer file.Close()
			if b, err := io.ReadAll(file.Content()); err != nil || string(b) != "inside" {
				t.Fatalf("%q: read %q, %v", path, b, err)
			}
		}
		inside(s.Open(Order{Path: dir + path}))
		inside(s.Open(Order{Path: path}))
		inside(OpenBeneath(dir+"/r", path, Symlinks(mode)))
		if o, _, ok, _ := s.Take(http.Header{"X-Sendfile": {dir + "/r/" + path}}); ok {
			inside(s.Open(o))
		}
	})
}
