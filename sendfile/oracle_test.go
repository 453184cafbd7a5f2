package sendfile

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

// serveOracle is http.ServeContent on an *os.File with the same validators.
func serveOracle(w http.ResponseWriter, r *http.Request, f *File) {
	file, err := os.Open(f.Name())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer file.Close()
	if w.Header().Get("ETag") == "" {
		w.Header().Set("ETag", f.ETag())
	}
	w.Header().Set("Content-Type", f.Type(nil))
	http.ServeContent(w, r, "", f.ModTime(), file)
}

// plain is a response with what may differ by chance taken out: the date, and the boundary of several ranges.
type plain struct {
	status int
	header http.Header
	body   string
}

func plainOf(status int, h http.Header, body []byte) plain {
	h = h.Clone()
	h.Del("Date")
	if media, params, err := mime.ParseMediaType(h.Get("Content-Type")); err == nil && params["boundary"] != "" {
		body = bytes.ReplaceAll(body, []byte(params["boundary"]), []byte("BOUNDARY"))
		h.Set("Content-Type", media)
	}
	return plain{status, h, string(body)}
}

func (a plain) equal(b plain) bool {
	if a.status != b.status || a.body != b.body || len(a.header) != len(b.header) {
		return false
	}
	for k, v := range a.header {
		if strings.Join(v, "\n") != strings.Join(b.header[k], "\n") {
			return false
		}
	}
	return true
}

// TestOracle compares a matrix of requests with http.ServeContent, both over real connections.
func TestOracle(t *testing.T) {
	f := openTemp(t, "a.txt", pattern(5000))
	tag := f.ETag()
	date := func(d time.Duration) string { return f.ModTime().Add(d).UTC().Format(http.TimeFormat) }
	ranges := []string{
		"", "bytes=0-", "bytes=0-0", "bytes=10-19", "bytes=-10", "bytes=-99999", "bytes=4999-", "bytes=5000-",
		"bytes=4990-9999", "bytes=9-8", "bytes=abc", "bytes=", "bytes=,", "bytes=0-1,5-9", "bytes=0-1, 100-200 ,-1",
		"bytes=0-,0-", "bytes=5000-,0-1", "bytes=6000-,7000-", "bytes= 1-2", "bytes=1 - 2",
	}
	conditions := []set{
		{}, {"If-None-Match": tag}, {"If-None-Match": "W/" + tag}, {"If-None-Match": `"a", ` + tag}, {"If-None-Match": "*"},
		{"If-None-Match": `"a"`}, {"If-None-Match": "junk"}, {"If-Match": tag}, {"If-Match": "W/" + tag}, {"If-Match": "*"},
		{"If-Match": `"a"`}, {"If-Modified-Since": date(0)}, {"If-Modified-Since": date(-time.Hour)},
		{"If-Modified-Since": date(time.Hour)}, {"If-Modified-Since": "junk"}, {"If-Unmodified-Since": date(0)},
		{"If-Unmodified-Since": date(-time.Hour)}, {"If-None-Match": `"a"`, "If-Modified-Since": date(0)},
		{"If-Match": tag, "If-None-Match": tag}, {"If-Range": tag}, {"If-Range": "W/" + tag}, {"If-Range": `"a"`},
		{"If-Range": date(0)}, {"If-Range": date(-time.Hour)}, {"If-Range": "junk"},
	}
	s := serverFor(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/oracle" {
			serveOracle(w, r, f)
		} else if err := Serve(w, r, 0, f); err != nil {
			t.Errorf("%s %v: %v", r.Method, r.Header, err)
		}
	}))
	do := func(path, method, rng string, conditions set) plain {
		r, err := http.NewRequest(method, s.URL+path, nil)
		must(t, err)
		if rng != "" {
			r.Header.Set("Range", rng)
		}
		for k, v := range conditions {
			r.Header.Set(k, v)
		}
		resp, err := http.DefaultTransport.RoundTrip(r)
		must(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		must(t, err)
		return plainOf(resp.StatusCode, resp.Header, body)
	}
	statuses := map[int]int{}
	for _, method := range []string{"GET", "HEAD", "POST"} {
		for _, rng := range ranges {
			if method == "POST" && rng != "" {
				continue // ServeContent is wrong there; see TestServe
			}
			for _, c := range conditions {
				got, want := do("/ours", method, rng, c), do("/oracle", method, rng, c)
				if !got.equal(want) {
					t.Errorf("%s %q %v:\n%+v\nwant\n%+v", method, rng, c, got, want)
				}
				statuses[got.status]++
			}
		}
	}
	for _, status := range []int{200, 206, 304, 412, 416} {
		if statuses[status] == 0 {
			t.Errorf("the matrix has no %d: %v", status, statuses)
		}
	}
}

// FuzzRange compares Range and If-Range with http.ServeContent wherever that is right.
func FuzzRange(f *testing.F) {
	f.Add("bytes=0-9", "", false)
	f.Add("bytes=5-,-3", `"x"`, true)
	file := openTemp(f, "a.txt", pattern(300))
	f.Fuzz(func(t *testing.T, rng, ifRange string, head bool) {
		r := httptest.NewRequest("GET", "/", nil)
		if head {
			r.Method = "HEAD"
		}
		r.Header["Range"] = []string{rng}
		r.Header["If-Range"] = []string{ifRange}
		w := httptest.NewRecorder()
		p := &Reply{}
		if err := p.Serve(w, r, file); err != nil {
			t.Fatal(err)
		}
		got := plainOf(w.Code, w.Header(), w.Body.Bytes())
		unit, ranges, ok := strings.Cut(rng, "=")
		if !ok || unit != "bytes" || strings.Count(ranges, ",") >= MaxRanges {
			if (!ok || !strings.EqualFold(unit, "bytes")) && w.Code != 200 {
				t.Fatalf("unknown unit: %d", w.Code)
			}
			return
		}
		if withoutGiants(ranges) != ranges {
			return // an end may be beyond every number, which ServeContent does not know
		}
		if withoutEmptySuffixes(ranges, file.Size()) != ranges {
			if strings.Contains(got.header.Get("Content-Range"), "300-299") {
				t.Fatalf("%+v", got)
			}
			return // ServeContent is wrong there
		}
		o := httptest.NewRecorder()
		serveOracle(o, r, file)
		if want := plainOf(o.Code, o.Header(), o.Body.Bytes()); !got.equal(want) {
			t.Fatalf("%+v\nwant\n%+v", got, want)
		}
		if n := int64(w.Body.Len()); !head && p.Sent != n {
			t.Fatalf("Sent = %d of %d", p.Sent, n)
		}
	})
}
