package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestNumberedAnswers(t *testing.T) {
	c := newResponder("")
	c.numbered = newNumbered(300, "X-Sendfile: /srv/many/%05d.txt\r\n")
	for _, q := range []struct{ params, file string }{
		{"\x0c\x0aQUERY_STRINGfile=00042", "00042"},
		{"\x0b\x0fREQUEST_URI/app?file=00299", "00299"},
		{"\x0e\x03REQUEST_METHODGET", "00299"}, // none: as before
		{"\x0c\x0aQUERY_STRINGfile=00300", "00000"},
		{"\x0c\x07QUERY_STRINGfile=12", "00000"},
		{"\x0c\x0aQUERY_STRINGfile=-0001", "00000"},
	} {
		in := slices.Concat(appendRecord(nil, fcgiBeginRequest, "\x00\x01\x01\x00\x00\x00\x00\x00"), appendRecord(nil, fcgiParams, q.params),
			appendRecord(nil, fcgiParams, ""), appendRecord(nil, fcgiStdin, ""))
		for i := 0; i < len(in); { // the harness's records are of request 0, which no request has
			in[i+3] = 1
			i += fcgiHeaderLen + int(in[i+4])<<8 + int(in[i+5]) + int(in[i+6])
		}
		c.reset()
		c.have = copy(c.buf, in)
		if out, _ := c.advance(); !strings.Contains(string(out), "X-Sendfile: /srv/many/"+q.file+".txt\r\n") {
			t.Errorf("%q: %q", q.params, out)
		}
	}
}

// The same files in every run: all of one size, or as small as those of an image
// host are.
func TestFileSets(t *testing.T) {
	for _, f := range []*fileSet{sameFiles, images} {
		files, root := t.TempDir(), t.TempDir()
		small := *f
		small.count = 1000
		if err := small.make(files, root); err != nil {
			t.Fatal(err)
		}
		var sizes []int64
		for i := range small.count {
			a, errA := os.Stat(filepath.Join(files, f.name(i)))
			b, errB := os.Stat(filepath.Join(root, f.name(i)))
			if errA != nil || errB != nil || !os.SameFile(a, b) {
				t.Fatalf("%s: %v, %v", f.name(i), errA, errB)
			}
			sizes = append(sizes, a.Size())
		}
		first := sizes[0]
		slices.Sort(sizes)
		if m := sizes[500]; m < smallSize*8/10 || m > smallSize*12/10 {
			t.Errorf("%s: median %d", f.folder, m)
		}
		if same := sizes[0] == sizes[999]; same != (f == sameFiles) {
			t.Errorf("%s: %d to %d bytes", f.folder, sizes[0], sizes[999])
		}
		again := t.TempDir()
		small.count = 1
		if err := small.make(again, t.TempDir()); err != nil {
			t.Fatal(err)
		}
		if a, err := os.Stat(filepath.Join(again, f.name(0))); err != nil || a.Size() != first {
			t.Errorf("%s: another run has other files: %v, %v", f.folder, a, err)
		}
	}
}

// TestManyAreAsked has wrk ask a server that counts.
func TestManyAreAsked(t *testing.T) {
	if _, err := exec.LookPath("wrk"); err != nil {
		t.Fatalf("%v: install it: `make test` does", err)
	}
	var mu sync.Mutex
	asked := map[string]int{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.URL.String()]++
		mu.Unlock()
	}))
	defer srv.Close()
	for _, s := range []scenario{
		{kind: kindFile, path: "/x", many: &fileSet{folder: "many", ending: ".txt", count: 10}},
		{kind: kindSend, path: "/app", many: &fileSet{folder: "images", ending: ".jpg", count: 10, hot: 2}},
	} {
		clear(asked)
		before, behind, err := s.script(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		l, err := runWrk(t.Context(), srv.URL+s.path, 2, time.Second, false, before, behind)
		if err != nil || l.requests < 200 {
			t.Fatalf("%+v, %v", l, err)
		}
		mu.Lock()
		first, last, all := "/many/00000.txt", "/many/00009.txt", 0
		if s.kind == kindSend {
			first, last = "/app?file=00000", "/app?file=00009"
		}
		for _, n := range asked {
			all += n
		}
		// One in ten; with two hot ones a quarter and half of that.
		share := float64(asked[first]) / float64(all)
		if len(asked) != 10 || asked[last] == 0 || (share > 0.2) != (s.many.hot > 0) || share < 0.02 {
			t.Errorf("%d targets, %q %.3f of %d, %q %d", len(asked), first, share, all, last, asked[last])
		}
		mu.Unlock()
	}
	if before, behind, err := (scenario{}).script(t.TempDir()); before != nil || behind != nil || err != nil {
		t.Errorf("%v, %v, %v without files", before, behind, err)
	}
}
