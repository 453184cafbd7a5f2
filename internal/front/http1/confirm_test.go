package http1_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"testing"
	"time"

	"sluice/internal/front/http1"
)

// A short answer counts as sent when its client has it, not when it is in our own buffers.
func TestConfirm(t *testing.T) {
	const size = 300_000
	for _, tc := range []struct {
		name   string
		bytes  int
		close  string // field of the request
		client func(t *testing.T, c net.Conn)
		fine   bool
	}{
		{"reads", size, "", func(t *testing.T, c net.Conn) { readAnswer(t, c, size) }, true},
		{"reads, for the last time", size, "Connection: close\r\n", func(t *testing.T, c net.Conn) { readAnswer(t, c, size) }, true},
		{"reads little, for the last time", 100, "Connection: close\r\n", func(t *testing.T, c net.Conn) { readAnswer(t, c, 100) }, true},
		{"reads late", size, "", func(t *testing.T, c net.Conn) { time.Sleep(300 * time.Millisecond); readAnswer(t, c, size) }, true},
		{"leaves", size, "", func(t *testing.T, c net.Conn) { c.Read(make([]byte, 10)); c.Close() }, false},
		{"never reads", size, "", func(t *testing.T, c net.Conn) { time.Sleep(3 * time.Second) }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			result := make(chan error, 1)
			_, addrs, _ := serving(t, http1.Options{SendTimeout: time.Second, KeepaliveIdle: time.Minute,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Length", strconv.Itoa(tc.bytes))
					w.Write(make([]byte, tc.bytes))
					result <- w.(interface{ Confirm() error }).Confirm()
				})}, 1)
			var d net.Dialer
			c, err := d.Dial("tcp", addrs[0])
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if !tc.fine {
				c.(*net.TCPConn).SetReadBuffer(4096) // for what it does not read
			}
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n"+tc.close+"\r\n")
			tc.client(t, c)
			select {
			case err := <-result:
				if (err == nil) != tc.fine {
					t.Errorf("%v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("nothing was confirmed")
			}
		})
	}
}

func readAnswer(t *testing.T, c net.Conn, size int64) {
	t.Helper()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Error(err)
		return
	}
	if n, err := io.Copy(io.Discard, res.Body); n != size || err != nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
