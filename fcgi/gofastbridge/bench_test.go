package gofastbridge_test

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/yookoala/gofast"

	"sluice/cgi"
	"sluice/fcgi"
	bridge "sluice/fcgi/gofastbridge"
)

// The benchmarks send the same request through the same middlewares to the same
// application, which allocates nothing, over a unix socket. What a server and
// its client cost is left out: the answer goes to a ResponseWriter that drops
// it.

// smallApp answers every request with 100 bytes.
func smallApp(b *testing.B) string {
	body := make([]byte, 100)
	for i := range body {
		body[i] = 'x'
	}
	say := []byte("Content-Type: text/plain\r\nContent-Length: 100\r\n\r\n" + string(body))
	addr := filepath.Join(b.TempDir(), "s")
	l, err := net.Listen("unix", addr)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go smallConn(nc, say)
		}
	}()
	return addr
}

var smallBuffers = sync.Pool{New: func() any { b := make([]byte, 65<<10); return &b }}

// smallConn answers the requests of one connection.
func smallConn(nc net.Conn, say []byte) {
	defer nc.Close()
	bp := smallBuffers.Get().(*[]byte)
	defer smallBuffers.Put(bp)
	in, out := (*bp)[1024:], (*bp)[:0:1024]
	n, keep := 0, true
	for {
		k, err := nc.Read(in[n:])
		if err != nil {
			return
		}
		n += k
		r := 0
		for n-r >= 8 {
			h := in[r:]
			size := 8 + int(h[4])<<8 + int(h[5]) + int(h[6])
			if n-r < size {
				break
			}
			r += size
			switch {
			case h[1] == 1:
				keep = h[10]&1 != 0
			case h[1] == 5 && size == 8: // the end of STDIN
				out = append(out[:0], 1, 6, h[2], h[3], 0, byte(len(say)), 0, 0)
				out = append(out, say...)
				out = append(out, 1, 3, h[2], h[3], 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
				nc.Write(out)
				if !keep {
					return
				}
			}
		}
		n = copy(in, in[r:n])
	}
}

// sink is a ResponseWriter that drops the answer.
type sink struct {
	header http.Header
	status int
	n      int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(code int)        { s.status = code }
func (s *sink) Write(p []byte) (int, error) { s.n += len(p); return len(p), nil }

func benchRequest() *http.Request {
	r := httptest.NewRequest("GET", "/index.php?a=b", nil)
	r.Body = http.NoBody
	for k, v := range map[string]string{"User-Agent": "Mozilla/5.0", "Accept": "text/html", "Accept-Language": "en",
		"Accept-Encoding": "gzip", "Cookie": "session=0123456789", "Referer": "http://example.org/", "Dnt": "1", "Cache-Control": "max-age=0"} {
		r.Header.Set(k, v)
	}
	return r
}

func bench(b *testing.B, h http.Handler) {
	r := benchRequest()
	s := &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(s.header)
		s.status, s.n = 0, 0
		h.ServeHTTP(s, r)
		if s.status != 200 || s.n != 100 {
			b.Fatalf("status %d, %d bytes", s.status, s.n)
		}
	}
}

var benchChain = []gofast.Middleware{gofast.BasicParamsMap, gofast.MapHeader, gofast.MapEndpoint("/srv/app/index.php")}

func benchTransport(b *testing.B, addr string, keep bool) *bridge.Transport {
	p := newPool(b, addr)
	return &bridge.Transport{Dial: p.dial, KeepConn: keep, HeaderTimeout: time.Minute, ReadTimeout: time.Minute, WriteTimeout: time.Minute}
}

// BenchmarkEngine is our engine through the bridge.
func BenchmarkEngine(b *testing.B) {
	addr := smallApp(b)
	b.Run("dial", func(b *testing.B) { bench(b, bridge.Handler(benchTransport(b, addr, false), benchChain...)) })
	b.Run("kept", func(b *testing.B) { bench(b, bridge.Handler(benchTransport(b, addr, true), benchChain...)) })
}

// BenchmarkGofast is gofast alone: with its simple factory, and with its pool.
func BenchmarkGofast(b *testing.B) {
	addr := smallApp(b)
	session := gofast.Chain(benchChain...)(gofast.BasicSession)
	simple := gofast.SimpleClientFactory(gofast.SimpleConnFactory("unix", addr))
	b.Run("dial", func(b *testing.B) { bench(b, gofast.NewHandler(session, simple)) })
	b.Run("kept", func(b *testing.B) {
		bench(b, gofast.NewHandler(session, gofast.NewClientPool(simple, 1, time.Hour).CreateClient))
	})
}

// BenchmarkSessions is gofast's client on our connections.
func BenchmarkSessions(b *testing.B) {
	addr := smallApp(b)
	session := gofast.Chain(benchChain...)(gofast.BasicSession)
	b.Run("dial", func(b *testing.B) { bench(b, bridge.Sessions(benchTransport(b, addr, false), session)) })
	b.Run("kept", func(b *testing.B) { bench(b, bridge.Sessions(benchTransport(b, addr, true), session)) })
}

// BenchmarkDirect is our engine without the bridge: no chain and no map.
func BenchmarkDirect(b *testing.B) {
	addr := smallApp(b)
	for _, keep := range []bool{false, true} {
		name := map[bool]string{false: "dial", true: "kept"}[keep]
		b.Run(name, func(b *testing.B) {
			tr := benchTransport(b, addr, keep)
			bench(b, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				meta := &cgi.Meta{Request: r, ScriptName: "/index.php", ScriptFilename: "/srv/app/index.php", Software: "sluice"}
				nc, done, err := tr.Dial(r.Context(), true)
				if err != nil {
					b.Fatal(err)
				}
				ex, err := fcgi.Begin(nc, &fcgi.Request{Role: fcgi.Responder, KeepConn: keep, Params: meta.Each})
				if err != nil {
					b.Fatal(err)
				}
				var buf [1024]byte
				h, rest, _, err := cgi.ReadHeader(ex, buf[:0], 64<<10)
				if err != nil {
					b.Fatal(err)
				}
				for k, v := range h.Fields {
					w.Header()[k] = v
				}
				w.WriteHeader(h.Code())
				w.Write(rest)
				for err == nil {
					var n int
					n, err = ex.Read(buf[:])
					w.Write(buf[:n])
				}
				if err != io.EOF {
					b.Fatal(err)
				}
				done(ex.Keep(), nil)
			}))
		})
	}
}
