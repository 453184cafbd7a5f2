package http1_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/front/http1"
)

// browserHead is a request as browsers send them.
const browserHead = "GET /some/file.txt HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n" +
	"Accept: text/html\r\nAccept-Encoding: gzip\r\nCookie: a=b\r\n"

// fileAnswer answers as for a file of 4.5 KB: the fields are there already, so
// that the engine's share is what is measured.
func fileAnswer() http.Handler {
	body := []byte(strings.Repeat("0123456789abcde\n", 4500/16))
	text, length, tag := []string{"text/plain; charset=utf-8"}, []string{"4496"}, []string{`"0123456789abcdef"`}
	modified, ranges := []string{"Wed, 25 Nov 2026 17:00:00 GMT"}, []string{"bytes"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h["Content-Type"], h["Content-Length"], h["Etag"], h["Last-Modified"], h["Accept-Ranges"] = text, length, tag, modified, ranges
		w.WriteHeader(http.StatusOK)
		w.Write(body)
	})
}

// answerBytes is how long an answer is on a connection that lives on.
func answerBytes(b *testing.B, addr string) int {
	b.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, browserHead+"Connection: close\r\n\r\n")
	all, err := io.ReadAll(c)
	if err != nil {
		b.Fatal(err)
	}
	return len(bytes.Replace(all, []byte("Connection: close\r\n"), nil, 1))
}

// BenchmarkKeepAlive has requests on connections that live on: one at a time, a
// wake-up each, and sixteen in one piece, which shows what is not system calls.
func BenchmarkKeepAlive(b *testing.B) {
	for name, pipelined := range map[string]int{"single": 1, "pipelined": 16} {
		b.Run(name, func(b *testing.B) {
			_, addrs, _ := serving(b, http1.Options{Handler: fileAnswer(), KeepaliveIdle: time.Minute, HeaderTimeout: time.Minute,
				SendTimeout: time.Minute}, 1)
			length := answerBytes(b, addrs[0])
			c, err := net.Dial("tcp", addrs[0])
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			requests := []byte(strings.Repeat(browserHead+"\r\n", pipelined))
			buf := make([]byte, 128<<10)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(requests); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(c, buf[:pipelined*length]); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*pipelined), "ns/request")
		})
	}
}

// BenchmarkConnection has one request on each connection. What the client
// allocates counts as well.
func BenchmarkConnection(b *testing.B) {
	_, addrs, _ := serving(b, http1.Options{Handler: fileAnswer(), KeepaliveIdle: time.Minute, HeaderTimeout: time.Minute,
		SendTimeout: time.Minute}, 1)
	at, err := net.ResolveTCPAddr("tcp", addrs[0])
	if err != nil {
		b.Fatal(err)
	}
	request := []byte(browserHead + "Connection: close\r\n\r\n")
	buf := make([]byte, 16<<10)
	b.ReportAllocs()
	for b.Loop() {
		c, err := net.DialTCP("tcp", nil, at)
		if err != nil {
			b.Fatal(err)
		}
		c.Write(request)
		for err == nil {
			_, err = c.Read(buf)
		}
		c.Close()
	}
}
