package sendfile

import (
	"net/http"
	"strings"
	"testing"
)

// spellings are ways in which a header may arrive in a map.
func spellings(name string) []string {
	return []string{name, strings.ToLower(name), strings.ToUpper(name), http.CanonicalHeaderKey(name)}
}

func TestFamilyIsAlwaysStripped(t *testing.T) {
	senders := map[string]*Sender{
		"off":          newSender(t, Options{}),
		"no header":    newSender(t, Options{Roots: []string{"/srv"}, Headers: []string{}}),
		"all":          newSender(t, Options{Roots: []string{"/srv"}}),
		"without root": newSender(t, Options{Headers: []string{"X-Sendfile"}}),
	}
	for _, r := range family {
		if r.text == "" {
			t.Errorf("%s: the table does not say what it means", r.name)
		}
		name := r.name
		if r.prefix {
			name += "anything"
		}
		for _, key := range spellings(name) {
			if !Known(key) {
				t.Errorf("Known(%q) = false", key)
			}
			h := http.Header{key: {"/srv/x"}, "Content-Type": {"text/plain"}}
			Strip(h)
			if len(h) != 1 {
				t.Errorf("Strip left %v", h)
			}
			for which, s := range senders {
				h := http.Header{key: {"/srv/x", "junk\x00"}, "Content-Type": {"text/plain"}}
				s.Take(h)
				if len(h) != 1 {
					t.Errorf("%s: Take left %v", which, h)
				}
			}
		}
	}
}

func TestUnknown(t *testing.T) {
	for _, name := range []string{
		"", "X-", "X-Sendfile3", "X-Send", "XSendfile", "X-Accel", "X-Reproxy", "Content-Type", "X-Powered-By", "X_Sendfile",
		"X-Lighttpd",
	} {
		if Known(name) {
			t.Errorf("Known(%q) = true", name)
		}
	}
}

func TestStripRequest(t *testing.T) {
	drop := []string{
		"X-Sendfile", "X-Sendfile-Type", "X-Sendfile2", "X-Lighttpd-Send-File", "X-Accel-Mapping", "X-Accel-Redirect",
		"X-Reproxy-Url", "x-accel-anything", "X_Accel_Mapping", "X-Sendfile_Type",
	}
	keep := []string{"Accept", "X-Forwarded-For", "X-Accelerate", "X-Send", "Range"}
	h := http.Header{}
	for _, n := range append(drop, keep...) {
		h[n] = []string{"v"}
	}
	StripRequest(h)
	for _, n := range drop {
		if _, ok := h[n]; ok {
			t.Errorf("%s is still there", n)
		}
	}
	for _, n := range keep {
		if _, ok := h[n]; !ok {
			t.Errorf("%s is gone", n)
		}
	}
}

func TestModes(t *testing.T) {
	for _, s := range []Symlinks{Beneath, Deny, Follow} {
		if got, err := ParseSymlinks(s.String()); got != s || err != nil {
			t.Errorf("ParseSymlinks(%q) = %v, %v", s, got, err)
		}
	}
	for _, p := range []TypePolicy{TypeKeep, TypeFile, TypeDefault} {
		if got, err := ParseTypePolicy(p.String()); got != p || err != nil {
			t.Errorf("ParseTypePolicy(%q) = %v, %v", p, got, err)
		}
	}
	for _, bad := range []string{"", "Beneath", "unknown(7)"} {
		if _, err := ParseSymlinks(bad); err == nil {
			t.Errorf("ParseSymlinks(%q): no error", bad)
		}
		if _, err := ParseTypePolicy(bad); err == nil {
			t.Errorf("ParseTypePolicy(%q): no error", bad)
		}
	}
	if Symlinks(7).String() != "unknown(7)" || TypePolicy(-1).String() != "unknown(-1)" {
		t.Error("a value out of range has no word")
	}
}

func TestNewRefuses(t *testing.T) {
	for name, o := range map[string]Options{
		"foreign header": {Headers: []string{"Location"}},
		"prefix":         {Headers: []string{"X-LIGHTTPD-"}},
		"relative root":  {Roots: []string{"srv"}},
		"empty root":     {Roots: []string{""}},
		"NUL in root":    {Roots: []string{"/srv\x00"}},
		"symlinks":       {Symlinks: 3},
		"type":           {Type: -1},
		"extension":      {Types: map[string]string{"txt": "text/plain"}},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	all := []string{
		"X-Sendfile", "x-lighttpd-send-file", "X-Sendfile2", "X-Accel-Redirect", "X-Reproxy-File", "X-Reproxy-URL",
		"X-Sendfile-Temporary",
	}
	if _, err := New(Options{Headers: all, Roots: []string{"/not/there/yet"}}); err != nil {
		t.Error(err)
	}
}
