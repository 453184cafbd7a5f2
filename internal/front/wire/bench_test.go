package wire

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const plainHead = "GET /hello.cgi HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: wrk\r\nAccept: */*\r\n\r\n"

const lowerHead = "POST /upload/a?b=c HTTP/1.1\r\nhost: example.org\r\nuser-agent: node\r\naccept: */*\r\ncontent-type: application/json\r\ncontent-length: 512\r\nx-request-id: 0123456789\r\n\r\n"

var answerHeader = http.Header{"Content-Type": {"text/html; charset=utf-8"}, "Content-Length": {"1234"}, "Cache-Control": {"no-store"},
	"Set-Cookie": {"a=b; Path=/", "c=d; Path=/"}, "X-Powered-By": {"PHP/8.2"}}

// parseAgain parses a head as a connection does that is used again.
func parseAgain(raw string) func() {
	var h Head
	buf := make([]byte, len(raw))
	ctx := context.WithValue(context.Background(), &h, "")
	return func() {
		copy(buf, raw)
		h.Reset()
		h.SetContext(ctx)
		if n, err := ParseHead(buf, &h, testLimit); n != len(raw) || err != nil {
			panic(err)
		}
	}
}

// readAgain reads a chunked body as a connection does that is used again.
func readAgain() func() {
	raw := strings.Repeat("400\r\n"+strings.Repeat("a", 1024)+"\r\n", 8) + "0\r\n\r\n"
	src := strings.NewReader(raw)
	br := bufio.NewReader(src)
	p := make([]byte, 4096)
	var b Body
	return func() {
		src.Reset(raw)
		br.Reset(src)
		b.Reset(br, -1, testLimit)
		for !b.Done() {
			if _, err := b.Read(p); err != nil && err != io.EOF {
				panic(err)
			}
		}
	}
}

// writeAgain makes the head of an answer into the same buffer.
func writeAgain() func() {
	buf := make([]byte, 0, 4096)
	now := time.Unix(1700000000, 0)
	return func() {
		b := AppendStatusLine(buf[:0], 1, 200)
		b = AppendDate(b, now)
		b = AppendHeader(b, answerHeader, "Content-Length")
		b = AppendLength(b, 123456)
		AppendChunkSize(b, 4096)
	}
}

func TestAllocations(t *testing.T) {
	refuse := func(raw string) func() {
		var h Head
		buf := []byte(raw)
		return func() {
			h.Reset()
			if _, err := ParseHead(buf, &h, testLimit); err == nil {
				panic("accepted")
			}
		}
	}
	tests := []struct {
		name string
		most float64
		f    func()
	}{
		{"a plain head: its text", 1, parseAgain(plainHead)},
		{"a browser's head: its text", 1, parseAgain(browserHead)},
		{"names in lower case: the text", 1, parseAgain(lowerHead)},
		{"a refused line", 0, refuse("GET / HTTP/1.1\r\nHost: x\r\n A: b\r\n\r\n")},
		{"a refused head: its text", 1, refuse("GET / HTTP/1.1\r\n\r\n")},
		{"a chunked body", 0, readAgain()},
		{"the head of an answer", 0, writeAgain()},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			if got := testing.AllocsPerRun(100, c.f); got > c.most {
				t.Errorf("%v allocations, the budget is %v", got, c.most)
			}
		})
	}
}

func BenchmarkHead(b *testing.B) {
	for _, c := range []struct{ name, raw string }{{"plain", plainHead}, {"browser", browserHead}, {"lower", lowerHead}} {
		b.Run(c.name+"/wire", func(b *testing.B) {
			f := parseAgain(c.raw)
			b.ReportAllocs()
			for b.Loop() {
				f()
			}
		})
		b.Run(c.name+"/net", func(b *testing.B) {
			src := strings.NewReader(c.raw)
			br := bufio.NewReader(src)
			b.ReportAllocs()
			for b.Loop() {
				src.Reset(c.raw)
				br.Reset(src)
				if _, err := http.ReadRequest(br); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("browser/bytes", func(b *testing.B) {
		var h Head
		raw := []byte(browserHead)
		b.ReportAllocs()
		for b.Loop() {
			h.Reset()
			for i := range raw {
				ParseHead(raw[:i+1], &h, testLimit)
			}
		}
	})
}

func BenchmarkChunked(b *testing.B) {
	b.Run("wire", func(b *testing.B) {
		f := readAgain()
		b.ReportAllocs()
		for b.Loop() {
			f()
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	b.Run("wire", func(b *testing.B) {
		f := writeAgain()
		b.ReportAllocs()
		for b.Loop() {
			f()
		}
	})
	b.Run("net", func(b *testing.B) {
		var buf bytes.Buffer
		b.ReportAllocs()
		for b.Loop() {
			buf.Reset()
			answerHeader.WriteSubset(&buf, map[string]bool{"Content-Length": true})
		}
	})
}
