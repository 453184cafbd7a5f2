package sendfile

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func BenchmarkTake(b *testing.B) {
	s := newSender(b, Options{Roots: []string{"/srv/files"}, Decode: true})
	h := http.Header{"Content-Type": {"text/html"}, "Set-Cookie": {"a=b"}, "X-Powered-By": {"PHP/8.2"}}
	value := []string{"/srv/files/a/b.txt"}
	b.ReportAllocs()
	for b.Loop() {
		h["X-Sendfile"] = value
		if _, _, ok, err := s.Take(h); !ok || err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTakeNothing is what every answer pays that names no file.
func BenchmarkTakeNothing(b *testing.B) {
	s := newSender(b, Options{Roots: []string{"/srv/files"}})
	h := http.Header{"Content-Type": {"text/html"}, "Set-Cookie": {"a=b"}, "X-Powered-By": {"PHP/8.2"}, "Expires": {"0"}}
	b.ReportAllocs()
	for b.Loop() {
		s.Take(h)
	}
}

func BenchmarkOpen(b *testing.B) {
	dir := tree(b, map[string]string{"root/a/b/c.txt": "x"})
	s := newSender(b, Options{Roots: []string{dir + "/root"}})
	o := Order{Path: dir + "/root/a/b/c.txt"}
	b.ReportAllocs()
	for b.Loop() {
		f, err := s.Open(o)
		if err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

// nothing is a ResponseWriter that costs nothing.
type nothing struct{ h http.Header }

func (n nothing) Header() http.Header                   { return n.h }
func (nothing) WriteHeader(int)                         {}
func (nothing) Write(p []byte) (int, error)             { return len(p), nil }
func (nothing) JoinsHeader() bool                       { return true }
func (nothing) ReadFrom(r io.Reader) (n int64, _ error) { _, n, _ = Part(r); return n, nil }

func BenchmarkServe(b *testing.B) {
	f := openTemp(b, "a.txt", pattern(4500))
	for name, rng := range map[string]string{"whole": "", "range": "bytes=100-199"} {
		b.Run(name, func(b *testing.B) {
			r := httptest.NewRequest("GET", "/", nil)
			if rng != "" {
				r.Header.Set("Range", rng)
			}
			w := nothing{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.h)
				if err := Serve(w, r, 200, f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCopy(b *testing.B) {
	for _, size := range []int{4500, 16 << 20} {
		b.Run(map[bool]string{true: "4500B", false: "16MiB"}[size == 4500], func(b *testing.B) {
			f := openTemp(b, "a", pattern(size))
			server, client := pair(b, "tcp")
			go io.Copy(io.Discard, client)
			raw := rawOf(b, server)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Copy(raw, osOf(b, f), 0, int64(size), nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
