package front

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	"sluice/internal/front/http1"
	"sluice/internal/front/http1/http1test"
	"sluice/internal/poll"
	"sluice/spawner"
)

// BenchmarkEngine is the whole way, from a client's connection to a child's and
// back, with many clients before few children. Clients and children are here
// too, and allocate nothing.
func BenchmarkEngine(b *testing.B) {
	set, err := poll.New()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(set.Close)
	h := small(b, socketChildren(b, 4), func(o *spawner.PoolOptions) {
		o.Dial = func(_, address string, _ time.Duration) (net.Conn, error) { return set.Dial(address) }
	})
	_, addrs, _ := http1test.Serve(b, http1.Options{Handler: h, Set: set, KeepaliveIdle: time.Minute, HeaderTimeout: time.Minute,
		SendTimeout: time.Minute}, 1)
	request := []byte("GET /app/some/page?a=b HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n" +
		"Accept: text/html\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\n\r\n")
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		c, err := net.Dial("tcp", addrs[0])
		if err != nil {
			b.Error(err)
			return
		}
		defer c.Close()
		buf, length := make([]byte, 4096), 0
		for pb.Next() {
			if _, err := c.Write(request); err != nil {
				b.Error(err)
				return
			}
			n, err := c.Read(buf)
			if length == 0 {
				length = n
			}
			if err == nil && n < length {
				_, err = io.ReadFull(c, buf[n:length])
			}
			if err != nil || !bytes.HasPrefix(buf, []byte("HTTP/1.1 200 ")) {
				b.Errorf("%q, %v", buf[:n], err)
				return
			}
		}
	})
}
