package cgi_test

import (
	"bytes"
	"testing"

	"sluice/cgi"
)

var (
	smallBlock = []byte("Status: 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n\r\n")
	usualBlock = []byte("Content-Type: text/html; charset=utf-8\r\nX-Powered-By: PHP/8.2.7\r\n" +
		"Set-Cookie: PHPSESSID=0123456789abcdef; path=/\r\nExpires: Thu, 19 Nov 1981 08:52:00 GMT\r\n" +
		"Cache-Control: no-store, no-cache, must-revalidate\r\nPragma: no-cache\r\n\r\n")
)

// browserMeta is what a browser's request becomes.
func browserMeta() *cgi.Meta {
	m := request("GET", "/index.php/a?b=c",
		"Accept", "text/html,application/xhtml+xml", "Accept-Encoding", "gzip, deflate, br", "Accept-Language", "en",
		"Cookie", "PHPSESSID=0123456789abcdef", "Referer", "http://example.org/", "User-Agent", "Mozilla/5.0 (X11; Linux x86_64)",
		"Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate", "Upgrade-Insecure-Requests", "1")
	m.ScriptName, m.ScriptFilename, m.PathInfo, m.DocumentRoot = "/index.php", "/srv/www/index.php", "/a", "/srv/www"
	return m
}

func parse(t testing.TB, block []byte) {
	if _, err := cgi.ParseHeader(block); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkParseHeader(b *testing.B) {
	for _, c := range []struct {
		name  string
		block []byte
	}{{"small", smallBlock}, {"usual", usualBlock}} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(c.block)))
			for b.Loop() {
				parse(b, c.block)
			}
		})
	}
}

func BenchmarkReadHeader(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 32<<10)
	r := bytes.NewReader(usualBlock)
	for b.Loop() {
		r.Reset(usualBlock)
		if _, _, _, err := cgi.ReadHeader(r, buf, 64<<10); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMeta(b *testing.B) {
	m := browserMeta()
	encode := encoder()
	b.ReportAllocs()
	for b.Loop() {
		encode(m)
	}
}

// encoder appends to one buffer, as FastCGI does.
func encoder() func(*cgi.Meta) {
	var buf []byte
	set := func(name, value string) { buf = append(append(append(append(buf, name...), '='), value...), 0) }
	return func(m *cgi.Meta) {
		buf = buf[:0]
		m.Each(set)
	}
}

func BenchmarkScript(b *testing.B) {
	for b.Loop() {
		s, err := cgi.Run(&starter, cgi.Command{Path: "/bin/true", Args: []string{"true"}, Dir: "/"}, cgi.Input{}, cgi.Options{})
		if err != nil {
			b.Fatal(err)
		}
		<-s.Done()
		s.Close(cgi.Complete)
	}
}

// TestAllocations holds what a small request costs.
func TestAllocations(t *testing.T) {
	m, encode := browserMeta(), encoder()
	for _, c := range []struct {
		name   string
		budget float64
		do     func()
	}{
		{"ParseHeader, small", 4, func() { parse(t, smallBlock) }},
		{"ParseHeader, usual", 4, func() { parse(t, usualBlock) }},
		{"Meta.Each", 4, func() { encode(m) }},
	} {
		if got := testing.AllocsPerRun(100, c.do); got > c.budget {
			t.Errorf("%s: %v allocations, budget %v", c.name, got, c.budget)
		}
	}
}
