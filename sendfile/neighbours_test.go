package sendfile

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPreferred(t *testing.T) {
	for accept, want := range map[string]string{
		"":                                      "",
		"gzip":                                  "gzip",
		"GZip":                                  "gzip",
		"x-gzip":                                "gzip",
		"deflate":                               "",
		"gzip, deflate, br, zstd":               "zstd br gzip",
		"br;q=1.0, gzip;q=0.8, *;q=0.1":         "br gzip zstd",
		"gzip;q=0.5, br;q=0.8":                  "br gzip",
		"gzip;q=0.001":                          "gzip",
		"gzip;q=0":                              "",
		"gzip;q=0.000, br":                      "br",
		"*":                                     "zstd br gzip",
		"*;q=0":                                 "",
		"*;q=0, br":                             "br",
		"*, zstd;q=0":                           "br gzip",
		"identity":                              "",
		"identity, gzip":                        "gzip", // as good, and shorter
		"identity, gzip;q=0.9":                  "",
		"identity;q=0.5, gzip;q=0.4, br;q=0.6":  "br",
		"identity;q=0, gzip;q=0.1":              "gzip",
		"identity;q=0":                          "",
		"gzip ; q=0.5 ,\tbr ;Q=0.4":             "gzip br",
		"gzip;q=1.5, br;q=1.001, zstd;q=0.1234": "",
		"gzip;q=x, br;q=-1, zstd;q=":            "",
		"gzip;level=1":                          "",
		",,gzip,,":                              "gzip",
		"gzip;q=1.000":                          "gzip",
		"gzip;q=1.":                             "gzip",
		"gzip;q=0.5, x-gzip;q=0.7, br;q=0.6":    "gzip br",
		"compress, " + strings.Repeat("a,", 5000): "",
	} {
		var got []string
		for _, c := range preferred([]string{accept}) {
			got = append(got, c.name)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%.60q: %v, want %s", accept, got, want)
		}
	}
	if got := preferred([]string{"br", "gzip;q=0.5"}); len(got) != 2 || got[0].name != "br" {
		t.Errorf("two fields: %v", got)
	}
	if got := preferred(nil); got != nil {
		t.Errorf("no field: %v", got)
	}
}

// encoded sends a file of dir to a client that accepts something.
func encoded(t *testing.T, o Options, path, accept string, child http.Header, fields ...string) *httptest.ResponseRecorder {
	t.Helper()
	s := newSender(t, o)
	r := httptest.NewRequest("GET", "/", nil)
	if accept != "" {
		r.Header.Set("Accept-Encoding", accept)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	for k, v := range child {
		w.Header()[k] = v
	}
	f, form, err := s.OpenFor(Order{Path: path, Size: -1}, r, http.StatusOK, w.Header())
	if err != nil {
		w.Code = statusOf(err)
		return w
	}
	defer f.Close()
	p := s.Reply(0)
	p.Form = form
	must(t, p.Serve(w, r, f))
	return w
}

func TestOpenFor(t *testing.T) {
	dir := tree(t, map[string]string{
		"root/a.txt": "plain a", "root/a.txt.gz": "gzip a", "root/a.txt.br": "br a", "root/a.txt.zst": "zstd a",
		"root/b.txt": "plain b", "root/b.txt.gz": "gzip b",
		"root/c.txt": "plain c",
		"root/e.txt": "plain e", "root/e.txt.gz": "", "root/e.txt.br": "br e",
		"root/d.txt": "plain d", "root/d.txt.gz/": "",
		"root/o.txt": "plain o", "root/o.txt.gz": "-> ../outside", "root/o.txt.br": "-> b.txt.gz", "outside": "secret",
		"root/only.txt.gz":      "gzip only",
		"root/" + name255:       "plain long",
		"root/m.txt":            "plain m",
		"root/m.txt.gz":         "-> nowhere",
		"root/sub/up.txt":       "plain u",
		"root/sub/up.txt.gz":    "-> ../b.txt.gz",
		"root/sub/up.txt.zst/x": "",
	})
	on := Options{Roots: []string{dir + "/root"}, Precompressed: true}
	for _, c := range []struct {
		path, accept, body, coding string
	}{
		{"a.txt", "gzip, br, zstd", "zstd a", "zstd"},
		{"a.txt", "gzip, br", "br a", "br"},
		{"a.txt", "gzip", "gzip a", "gzip"},
		{"a.txt", "gzip, br;q=0.1", "gzip a", "gzip"},
		{"a.txt", "", "plain a", ""},
		{"a.txt", "identity;q=0, gzip;q=0.1", "gzip a", "gzip"},
		{"a.txt", "identity, gzip;q=0.1", "plain a", ""},
		{"b.txt", "zstd, br, gzip;q=0.1", "gzip b", "gzip"},
		{"b.txt", "br", "plain b", ""},
		{"c.txt", "gzip", "plain c", ""},
		{"c.txt", "identity;q=0", "plain c", ""},
		{"e.txt", "gzip, br;q=0.5", "br e", "br"}, // nothing is not compressed
		{"d.txt", "gzip", "plain d", ""},
		{"o.txt", "gzip", "plain o", ""},
		{"o.txt", "br, gzip", "gzip b", "br"}, // a link inside is followed
		{"m.txt", "gzip", "plain m", ""},
		{name255, "gzip", "plain long", ""},
		{"sub/up.txt", "gzip, zstd", "gzip b", "gzip"},
		{"b.txt.gz", "gzip", "gzip b", ""},
	} {
		w := encoded(t, on, dir+"/root/"+c.path, c.accept, nil)
		if w.Code != 200 || w.Body.String() != c.body || w.Header().Get("Content-Encoding") != c.coding || w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%.20s to %q: %d %v %q", c.path, c.accept, w.Code, w.Header(), w.Body)
		}
		if strings.HasSuffix(c.path, ".txt") && w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
			t.Errorf("%.20s to %q: type %s", c.path, c.accept, w.Header().Get("Content-Type"))
		}
	}
	deny := on
	deny.Symlinks = Deny
	if w := encoded(t, deny, dir+"/root/o.txt", "br", nil); w.Body.String() != "plain o" {
		t.Errorf("a link where there may be none: %q", w.Body)
	}
	if w := encoded(t, on, dir+"/root/only.txt", "gzip", nil); w.Code != 404 {
		t.Errorf("without the file itself: %d %q", w.Code, w.Body)
	}
	if w := encoded(t, Options{Roots: on.Roots}, dir+"/root/a.txt", "gzip", nil); w.Body.String() != "plain a" || w.Header().Get("Vary") != "" {
		t.Errorf("off: %q %v", w.Body, w.Header())
	}
	narrow := Options{Roots: []string{dir + "/root/c.txt", dir + "/root/sub"}, Precompressed: true}
	if w := encoded(t, narrow, dir+"/root/c.txt", "gzip", nil); w.Code != 403 {
		t.Errorf("the root itself: %d", w.Code)
	}
}

// What the header says of the form, and what of the request is about it.
func TestForm(t *testing.T) {
	dir := tree(t, map[string]string{"root/big.txt": strings.Repeat("p", 2*smallFile), "root/big.txt.gz": strings.Repeat("z", 2*smallFile-5)})
	on := Options{Roots: []string{dir + "/root"}, Precompressed: true}
	path := dir + "/root/big.txt"
	gz, plain := encoded(t, on, path, "gzip", nil), encoded(t, on, path, "", nil)
	tag, other := gz.Header().Get("Etag"), plain.Header().Get("Etag")
	if tag == "" || other == "" || tag == other {
		t.Errorf("tags %s and %s", tag, other)
	}
	if n := gz.Header().Get("Content-Length"); n != fmt.Sprint(2*smallFile-5) {
		t.Errorf("length %s", n)
	}
	for name, c := range map[string]struct {
		child  http.Header
		fields []string
		status int
		body   string
		header map[string]string
	}{
		"range of the encoded form": {fields: []string{"Range", "bytes=0-3"}, status: 206, body: "zzzz",
			header: map[string]string{"Content-Encoding": "gzip", "Content-Range": fmt.Sprintf("bytes 0-3/%d", 2*smallFile-5)}},
		"If-Range of it":       {fields: []string{"Range", "bytes=0-3", "If-Range", tag}, status: 206, body: "zzzz"},
		"If-Range of the file": {fields: []string{"Range", "bytes=0-3", "If-Range", other}, status: 200, body: strings.Repeat("z", 2*smallFile-5)},
		"not modified":         {fields: []string{"If-None-Match", tag}, status: 304, header: map[string]string{"Vary": "Accept-Encoding", "Etag": tag}},
		"modified":             {fields: []string{"If-None-Match", other}, status: 200, body: strings.Repeat("z", 2*smallFile-5)},
		"the child's tag is the file's": {child: http.Header{"Etag": {`"child"`}}, status: 200, body: strings.Repeat("z", 2*smallFile-5),
			header: map[string]string{"Etag": tag}},
		"the child encodes": {child: http.Header{"Content-Encoding": {"br"}}, status: 200, body: strings.Repeat("p", 2*smallFile),
			header: map[string]string{"Content-Encoding": "br", "Vary": "", "Etag": other}},
		"the child's Vary": {child: http.Header{"Vary": {"Cookie"}}, status: 200, body: strings.Repeat("z", 2*smallFile-5),
			header: map[string]string{"Vary": "Cookie, Accept-Encoding"}},
		"the child knows": {child: http.Header{"Vary": {"Cookie, accept-encoding"}}, status: 200, body: strings.Repeat("z", 2*smallFile-5),
			header: map[string]string{"Vary": "Cookie, accept-encoding"}},
		"the child varies by all": {child: http.Header{"Vary": {"*"}}, status: 200, body: strings.Repeat("z", 2*smallFile-5),
			header: map[string]string{"Vary": "*"}},
		"the child's type": {child: http.Header{"Content-Type": {"text/own"}}, status: 200, body: strings.Repeat("z", 2*smallFile-5),
			header: map[string]string{"Content-Type": "text/own"}},
	} {
		w := encoded(t, on, path, "gzip", c.child, c.fields...)
		if w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%s: %d, %d bytes", name, w.Code, w.Body.Len())
		}
		for field, want := range c.header {
			if got := strings.Join(w.Header()[field], ", "); got != want {
				t.Errorf("%s: %s %q, want %q", name, field, got, want)
			}
		}
	}
}

// A status that is not 200 is the child's own matter.
func TestFormOfOtherStatus(t *testing.T) {
	dir := tree(t, map[string]string{"root/a": "plain", "root/a.gz": "gzip"})
	s := newSender(t, Options{Roots: []string{dir + "/root"}, Precompressed: true})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	f, form, err := s.OpenFor(Order{Path: dir + "/root/a"}, r, 206, http.Header{})
	must(t, err)
	defer f.Close()
	if f.Size() != 5 || form != (Form{}) {
		t.Errorf("%s as %+v", f.Name(), form)
	}
}

func FuzzPreferred(f *testing.F) {
	f.Add("gzip, br;q=0.5, *;q=0")
	f.Add("identity;q=0, zstd ; q=1.000")
	f.Fuzz(func(t *testing.T, accept string) {
		seen := map[string]bool{}
		for _, c := range preferred([]string{accept}) {
			if seen[c.name] {
				t.Fatalf("%q: %s twice", accept, c.name)
			}
			seen[c.name] = true
		}
	})
}
