package sendfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// sliced answers a request of a method with the slices of an X-Sendfile2 below dir, whose name stands for $.
func sliced(t *testing.T, dir, method, value string, status int, h http.Header) (*httptest.ResponseRecorder, *Reply, error) {
	t.Helper()
	s := newSender(t, Options{Roots: []string{dir + "/root"}, Decode: true})
	child := http.Header{"X-Sendfile2": {strings.ReplaceAll(value, "$", dir+"/root")}}
	for k, v := range h {
		child[k] = v
	}
	w := httptest.NewRecorder()
	o, _, ok, err := s.Take(child)
	if err != nil || !ok {
		return w, nil, err
	}
	b, err := s.OpenSlices(o)
	if err != nil {
		return w, nil, err
	}
	defer b.Close()
	for k, v := range child {
		w.Header()[k] = v
	}
	p := s.Reply(status)
	r := httptest.NewRequest(method, "/", nil)
	r.Header.Set("Range", "bytes=0-1")
	r.Header.Set("If-None-Match", "*")
	return w, p, p.ServeParts(w, r, b)
}

func TestSlices(t *testing.T) {
	dir := tree(t, map[string]string{"root/a.txt": "0123456789", "root/b, c": "abcdef", "root/empty": "", "root/d/": "", "outside": "secret",
		"root/out": "-> ../outside"})
	must(t, unix.Mkfifo(dir+"/root/fifo", 0o644))
	for _, c := range []struct {
		value string
		want  any // the body, or the status of the error
	}{
		{"$/a.txt 0-", "0123456789"},
		{"$/a.txt 0-9", "0123456789"},
		{"$/a.txt 2-3", "23"},
		{"$/a.txt 9-", "9"},
		{"$/a.txt 10-", ""},
		{"$/a.txt 2-3, $/a.txt 0-0,$/b%2c%20c 1-", "230bcdef"},
		{"$/empty 0-", ""},
		{"$/empty 0-,$/a.txt 5-5,$/empty 0-", "5"},
		{"$/d/../a.txt 0-1", "01"},
		{"$/a.txt 0-10", 502},
		{"$/a.txt 11-", 502},
		{"$/a.txt 20-30", 502},
		{"$/a.txt 3-2", 502},
		{"$/a.txt", 502},
		{"$/a.txt 0", 502},
		{"$/a.txt -5", 502},
		{"$/a.txt 0-1,", 502},
		{"$/a.txt x-1", 502},
		{"$/a.txt 0-99999999999999999999", 502},
		{"a.txt 0-", 502},
		{"", 502},
		{"$/missing 0-", 404},
		{"$/a.txt 0-1, $/missing 0-", 404},
		{"$/a.txt 0-1, $/../outside 0-", 403},
		{"$/a.txt 0-1, $/../missing 0-", 403},
		{"$/a.txt 0-1, $/out 0-", 403},
		{"$/d 0-", 403},
		{"$/fifo 0-", 403},
		{"$/a.txt 0-0" + strings.Repeat(",$/a.txt 0-0", MaxSlices-1), strings.Repeat("0", MaxSlices)},
		{"$/a.txt 0-0" + strings.Repeat(",$/a.txt 0-0", MaxSlices), 502},
	} {
		before := openDescriptors(t)
		w, p, err := sliced(t, dir, "GET", c.value, 200, nil)
		status, refused := c.want.(int)
		switch {
		case refused && statusOf(err) != status:
			t.Errorf("%.60q: %v, want %d", c.value, err, status)
		case refused:
		case err != nil || w.Body.String() != c.want || w.Code != 200:
			t.Errorf("%.60q: %d %.40q, %v", c.value, w.Code, w.Body, err)
		case !p.Whole || p.Sent != int64(w.Body.Len()) || w.Header().Get("Content-Length") != fmt.Sprint(w.Body.Len()):
			t.Errorf("%.60q: %+v, %v", c.value, p, w.Header())
		}
		if n := openDescriptors(t); n != before {
			t.Fatalf("%.60q: %d descriptors are open, before %d", c.value, n, before)
		}
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(all)
}

// What the child said stays, and nothing is added that would be one file's.
func TestSlicesHeader(t *testing.T) {
	dir := tree(t, map[string]string{"root/a.txt": "0123456789"})
	child := http.Header{"Content-Range": {"bytes 2-4/10"}, "Content-Length": {"99"}, "Etag": {`"own"`}, "X-Own": {"1"}}
	w, p, err := sliced(t, dir, "GET", "$/a.txt 2-4", 206, child)
	if err != nil || w.Code != 206 || w.Body.String() != "234" || p.Answer != 206 {
		t.Fatalf("%d %q, %v", w.Code, w.Body, err)
	}
	for name, want := range map[string]string{"Content-Range": "bytes 2-4/10", "Content-Length": "3", "Etag": `"own"`, "X-Own": "1",
		"Content-Type": "text/plain; charset=utf-8", "Last-Modified": "", "Accept-Ranges": "", "X-Sendfile2": ""} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	w, p, err = sliced(t, dir, "HEAD", "$/a.txt 2-4", 200, nil)
	if err != nil || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "3" || w.Header().Get("Etag") != "" || p.Whole {
		t.Errorf("HEAD: %v %q %+v, %v", w.Header(), w.Body, p, err)
	}
	for _, status := range []int{204, 304} {
		w, p, err = sliced(t, dir, "GET", "$/a.txt 2-4", status, nil)
		if err != nil || w.Code != status || w.Body.Len() != 0 || p.Whole {
			t.Errorf("%d: %v %q %+v, %v", status, w.Header(), w.Body, p, err)
		}
	}
	if _, _, err = sliced(t, dir, "GET", "$/a.txt 2-4", 99, nil); statusOf(err) != 502 {
		t.Errorf("status 99: %v", err)
	}
}

// Lengths whose sum is none of a body.
func TestSlicesTooLong(t *testing.T) {
	dir := tree(t, map[string]string{"root/huge": ""})
	const huge = 1 << 43
	must(t, os.Truncate(dir+"/root/huge", huge))
	f, err := OpenBeneath(dir, "root/huge", Beneath)
	must(t, err)
	defer f.Close()
	b := &Parts{size: 1<<63 - huge}
	if err := b.add(f, Slice{Path: "/huge", End: -1}); statusOf(err) != 502 {
		t.Errorf("%v", err)
	}
	if err := b.add(f, Slice{Path: "/huge", First: 1, End: -1}); err != nil {
		t.Errorf("%v", err)
	}
}

// A file that shrinks while its slices are sent is an error, not an end.
func TestSlicesShrink(t *testing.T) {
	dir := tree(t, map[string]string{"root/a": strings.Repeat("a", 1000)})
	s := newSender(t, Options{Roots: []string{dir + "/root"}})
	b, err := s.OpenSlices(Order{Means: Slices, Slices: []Slice{{dir + "/root/a", 0, 10}, {dir + "/root/a", 500, 600}}})
	must(t, err)
	defer b.Close()
	must(t, os.Truncate(dir+"/root/a", 100))
	w := httptest.NewRecorder()
	p := s.Reply(0)
	err = p.ServeParts(w, httptest.NewRequest("GET", "/", nil), b)
	if !errors.Is(err, io.ErrUnexpectedEOF) || p.Sent != 10 || p.Whole {
		t.Errorf("%v, %+v", err, p)
	}
}

// TestSlicesUseSendfile looks at the system calls: every slice leaves by sendfile from its own offset, and nothing of the
// files is read.
func TestSlicesUseSendfile(t *testing.T) {
	const size = 3<<20 + 17
	data := pattern(size)
	dir := tree(t, map[string]string{"body": string(data), "other": string(data[:100000])})
	trace := t.TempDir() + "/trace"
	value := fmt.Sprintf("%s/body 1000001-2999999, %s/other 10-99, %s/body 5-4004", dir, dir, dir)
	body := fetchTraced(t, dir, trace, http.Header{slicesField: {value}})
	want := append(append(bytes.Clone(data[1000001:3000000]), data[10:100]...), data[5:4005]...)
	if !bytes.Equal(body, want) {
		t.Fatalf("%d bytes, not those of the slices", len(body))
	}
	moved := map[int64]int64{} // by where it began
	next := int64(-1)
	var begin int64
	for _, k := range append(callsOn(t, trace, dir+"/body"), callsOn(t, trace, dir+"/other")...) {
		if k.name != "sendfile" {
			t.Errorf("%s = %d", k.name, k.ret)
			continue
		}
		if k.ret < 0 {
			continue
		}
		if k.offset != next {
			begin = k.offset
		}
		moved[begin] += k.ret
		next = k.offset + k.ret
	}
	if moved[1000001] != 1999999 || moved[10] != 90 || moved[5] != 4000 || len(moved) != 3 {
		t.Errorf("sendfile moved %v", moved)
	}
}

// A child that has just written to a file may name what it wrote, also where the file is kept open and looked at seldom.
func TestNamesMoreThanIsKept(t *testing.T) {
	dir := tree(t, map[string]string{"root/log": "0123456789"})
	synctest.Test(t, func(t *testing.T) {
		cache := NewCache(8, nil)
		s := newSender(t, Options{Roots: []string{dir + "/root"}, Files: cache})
		path := dir + "/root/log"
		for range hotUses + 2 {
			f, err := s.Open(Order{Path: path})
			must(t, err)
			f.Close()
		}
		must(t, os.WriteFile(path, []byte("0123456789abcdef"), 0o644))
		b, err := s.OpenSlices(Order{Means: Slices, Slices: []Slice{{path, 8, 12}, {path, 0, -1}}})
		must(t, err)
		if b.Size() != 4+16 {
			t.Errorf("%d bytes", b.Size())
		}
		b.Close()
		f, err := s.Open(Order{Header: reproxyFile, Path: path, Size: 16})
		must(t, err)
		f.Close()
		if _, err := s.Open(Order{Header: reproxyFile, Path: path, Size: 17}); statusOf(err) != 502 {
			t.Error(err)
		}
		cache.Release()
		time.Sleep(2 * cacheIdle)
	})
}
