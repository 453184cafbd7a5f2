package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// leaveEarly asks for something, reads a little of it, and leaves.
func leaveEarly(t *testing.T, network, addr string, r httpRequest) {
	t.Helper()
	c, err := net.Dial(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(requestWait))
	r.host = "localhost"
	if _, err := c.Write(r.bytes()); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, res.Body, 1000); err != nil {
		t.Fatal(err)
	}
}

// largeBytes is more than the buffers of both sides hold.
const largeBytes = 24 << 20

// sparse makes a file of that length.
func sparse(t *testing.T, dir, name string) string {
	t.Helper()
	path := write(t, dir, name, "begin")
	if err := os.Truncate(path, largeBytes); err != nil {
		t.Fatal(err)
	}
	return path
}

// X-Sendfile2: slices of several files are one body.
func TestSendfile2(t *testing.T) {
	dir := testDir(t)
	s := startDialects(t, dir, "", map[string]string{"x": "roots = [\"files\"]\n"})
	one := write(t, dir, "files/one", "0123456789")
	two := write(t, dir, "files/a, b.txt", "abcdef")
	big := sparse(t, dir, "files/big")
	secret := write(t, dir, "secret", "secret")
	for _, p := range protocols {
		app := p + "-x"
		two := percent(two)
		a := s.do(said("GET", app, fmt.Sprintf("X-Sendfile2: %s 2-4, %s 1-,%s 9-9", one, two, one), "Range: bytes=0-0", "If-None-Match: *"))
		a.want(t, 200)
		if a.body != "234bcdef9" || a.ContentLength != 9 || a.Header.Get("Etag") != "" || a.Header.Get("Accept-Ranges") != "" {
			t.Errorf("%s: %q %v", p, a.body, a.Header)
		}
		a = s.do(said("GET", app, fmt.Sprintf("Status: 206\nContent-Range: bytes 2-4/10\nContent-Length: 5\nX-Own: 1\nX-Sendfile2: %s 2-4", one)))
		a.want(t, 206)
		if a.body != "234" || a.Header.Get("Content-Range") != "bytes 2-4/10" || a.Header.Get("X-Own") != "1" || a.ContentLength != 3 {
			t.Errorf("%s: %q %v", p, a.body, a.Header)
		}
		a = s.do(said("HEAD", app, fmt.Sprintf("X-Sendfile2: %s 2-4, %s 1-", one, two)))
		a.want(t, 200)
		if a.body != "" || a.ContentLength != 8 {
			t.Errorf("%s: HEAD: %q %d", p, a.body, a.ContentLength)
		}
		a = s.do(said("GET", app, fmt.Sprintf("X-Sendfile2: %s 5-, %s 0-3, %s 1048576-", big, one, big)))
		a.want(t, 200)
		if len(a.body) != 2*largeBytes-5+4-1<<20 || a.body[largeBytes-5:largeBytes-1] != "0123" {
			t.Errorf("%s: %d bytes", p, len(a.body))
		}
		for value, status := range map[string]int{
			one + " 0-10":                        502,
			one + " 11-":                         502,
			one:                                  502,
			one + " 0-1, " + secret + " 0-":      403,
			one + " 0-1, " + dir + "/nothing 0-": 403,
			one + " 0-1, " + one + "-missing 0-": 404,
			strings.Repeat("/a 0-0,", 1000) + "/a 0-0": 502,
			strings.Repeat("/a 0-0,", 999) + "/a 0-0":  403,
		} {
			a := s.do(said("GET", app, "X-Sendfile2: "+value))
			if a.StatusCode != status || strings.Contains(a.body, "01") {
				t.Errorf("%s: %.60s: %s %q", p, value, a.Status, a.body)
			}
		}
	}
}

// X-Sendfile-Temporary: the file goes when a client has the whole of it, and not before.
func TestTemporary(t *testing.T) {
	dir := testDir(t)
	s := startDialects(t, dir, "[[listener]]\naddress = \"unix:http.sock\"\n", map[string]string{"x": "roots = [\"files\"]\ndelete_roots = [\"tmp\"]\n", "none": "roots = [\"files\"]\n"})
	write(t, dir, "files/kept", "kept")
	gone := func(path string) bool {
		_, err := os.Lstat(path)
		return os.IsNotExist(err)
	}
	for _, p := range protocols {
		app := p + "-x"
		small := write(t, dir, "tmp/small", "0123456789")
		large := sparse(t, dir, "tmp/large")
		for _, c := range []struct {
			name   string
			r      httpRequest
			status int
		}{
			{"HEAD", said("HEAD", app, "X-Sendfile-Temporary: "+small), 200},
			{"range", said("GET", app, "X-Sendfile-Temporary: "+small, "Range: bytes=0-3"), 206},
			{"all of it as a range", said("GET", app, "X-Sendfile-Temporary: "+small, "Range: bytes=0-"), 206},
			{"unsatisfiable", said("GET", app, "X-Sendfile-Temporary: "+small, "Range: bytes=100-"), 416},
			{"not modified", said("GET", app, "Etag: \"x\"\nX-Sendfile-Temporary: "+small, "If-None-Match: \"x\""), 304},
			{"the child's 304", said("GET", app, "Status: 304\nX-Sendfile-Temporary: "+small), 304},
			{"not in delete_roots", said("GET", app, "X-Sendfile-Temporary: "+dir+"/files/kept"), 403},
			{"in no root", said("GET", app, "X-Sendfile: "+small), 403},
			{"without delete_roots", said("GET", p+"-none", "X-Sendfile-Temporary: "+small), 200},
		} {
			a := s.do(c.r)
			if a.StatusCode != c.status || gone(small) || gone(dir+"/files/kept") {
				t.Errorf("%s, %s: %s, gone %v", p, c.name, a.Status, gone(small))
			}
			if c.name == "without delete_roots" && a.body != "body of the application\n" {
				t.Errorf("%s: %q", p, a.body)
			}
		}
		leaveEarly(t, "tcp", s.addr, said("GET", app, "X-Sendfile-Temporary: "+large))
		s.waitLog(t, "answer could not be sent.*app="+app)
		if gone(large) {
			t.Errorf("%s: unlinked although the client left", p)
		}
		// All of a smaller one is in our own buffers when its client leaves.
		middle := write(t, dir, "tmp/middle", strings.Repeat("x", 60_000))
		leaveEarly(t, "unix", filepath.Join(dir, "http.sock"), said("GET", app, "X-Own: unix\nX-Sendfile-Temporary: "+middle))
		s.waitLog(t, "answer could not be sent.*client=@?\\S* app="+app+".*left before")
		if gone(middle) {
			t.Errorf("%s: unlinked although the client of the unix socket left", p)
		}
		a, err := said("GET", app, "X-Sendfile-Temporary: "+middle).send("unix", filepath.Join(dir, "http.sock"))
		if err != nil || len(a.body) != 60_000 || !waitFor(logWait, func() bool { return gone(middle) }) {
			t.Errorf("%s: %v, %d bytes, gone %v", p, err, len(a.body), gone(middle))
		}
		for _, path := range []string{small, large} {
			a := s.do(said("GET", app, "X-Own: 1\nX-Sendfile-Temporary: "+path))
			a.want(t, 200)
			if a.Header.Get("X-Own") != "1" || !waitFor(logWait, func() bool { return gone(path) }) {
				t.Errorf("%s: %s is still there", p, path)
			}
			s.do(said("GET", app, "X-Sendfile-Temporary: "+path)).want(t, 404)
		}
	}
}

// A temporary file that is replaced while it is sent stays, and so does what it is replaced by.
func TestTemporaryReplaced(t *testing.T) {
	dir := testDir(t)
	s := startDialects(t, dir, "", map[string]string{"x": "delete_roots = [\"tmp\"]\n"})
	for _, p := range protocols {
		large := sparse(t, dir, "tmp/large")
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(requestWait))
		r := said("GET", p+"-x", "X-Sendfile-Temporary: "+large)
		r.host = s.addr
		c.Write(r.bytes())
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(write(t, dir, "tmp/new", "the next one"), large); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, res.Body); n != largeBytes || err != nil {
			t.Errorf("%s: %d bytes, %v", p, n, err)
		}
		s.waitLog(t, "temporary file stays.*app="+p+"-x|app="+p+"-x.*temporary file stays")
		if b, err := os.ReadFile(large); string(b) != "the next one" {
			t.Errorf("%s: %q, %v", p, b, err)
		}
	}
}

// X-Reproxy-File is X-Sendfile, and says how long the file has to be.
func TestReproxyFile(t *testing.T) {
	dir := testDir(t)
	s := startDialects(t, dir, "", map[string]string{"x": "roots = [\"files\"]\n"})
	file := write(t, dir, "files/f", "0123456789")
	for _, p := range protocols {
		for size, status := range map[string]int{"": 200, "10": 200, "9": 502, "0": 502} {
			head := "X-Reproxy-File: " + file
			if size != "" {
				head += "\nX-Reproxy-Expected-Size: " + size
			}
			a := s.do(said("GET", p+"-x", head))
			a.want(t, status)
			if status == 200 && (a.body != "0123456789" || a.Header.Get("Etag") == "") || a.Header.Get("X-Reproxy-Expected-Size") != "" {
				t.Errorf("%s, %q: %q %v", p, size, a.body, a.Header)
			}
		}
		a := s.do(said("GET", p+"-x", "X-Reproxy-File: "+file, "Range: bytes=2-3"))
		if a.StatusCode != 206 || a.body != "23" {
			t.Errorf("%s: %s %q", p, a.Status, a.body)
		}
	}
}

// precompressed = true: the neighbour that the client likes best.
func TestPrecompressed(t *testing.T) {
	dir := testDir(t)
	s := startDialects(t, dir, "", map[string]string{"x": "roots = [\"files\"]\nprecompressed = true\n", "off": "roots = [\"files\"]\n"})
	file := write(t, dir, "files/page.css", "plain")
	for ending, text := range map[string]string{".gz": "gzip of it", ".br": "br of it"} {
		write(t, dir, "files/page.css"+ending, text)
	}
	write(t, dir, "secret", "secret")
	other := write(t, dir, "files/other.css", "other")
	if err := os.Symlink("../secret", other+".gz"); err != nil {
		t.Fatal(err)
	}
	for _, p := range protocols {
		for _, c := range []struct {
			app, head, accept string
			body, coding      string
			vary              string
		}{
			{"x", "X-Sendfile: " + file, "gzip, deflate, br, zstd", "br of it", "br", "Accept-Encoding"},
			{"x", "X-Sendfile: " + file, "br;q=0.1, gzip;q=0.9", "gzip of it", "gzip", "Accept-Encoding"},
			{"x", "X-Sendfile: " + file, "identity;q=0, *;q=0.1", "br of it", "br", "Accept-Encoding"},
			{"x", "X-Sendfile: " + file, "zstd", "plain", "", "Accept-Encoding"},
			{"x", "X-Sendfile: " + file, "*;q=0", "plain", "", "Accept-Encoding"},
			{"x", "X-LIGHTTPD-send-file: " + file, "gzip", "gzip of it", "gzip", "Accept-Encoding"},
			{"x", "X-Reproxy-File: " + file + "\nX-Reproxy-Expected-Size: 5", "gzip", "gzip of it", "gzip", "Accept-Encoding"},
			{"x", "X-Sendfile2: " + file + " 0-", "gzip", "plain", "", ""},
			{"x", "X-Sendfile: " + other, "gzip", "other", "", "Accept-Encoding"},
			{"x", "Content-Encoding: deflate\nX-Sendfile: " + file, "gzip", "plain", "deflate", ""},
			{"off", "X-Sendfile: " + file, "gzip", "plain", "", ""},
		} {
			a := s.do(said("GET", p+"-"+c.app, c.head, "Accept-Encoding: "+c.accept))
			h := a.Header
			if a.StatusCode != 200 || a.body != c.body || h.Get("Content-Encoding") != c.coding || h.Get("Vary") != c.vary || h.Get("Content-Type") != "text/css; charset=utf-8" {
				t.Errorf("%s, %.40q to %q: %s %q %v", p, c.head, c.accept, a.Status, a.body, h)
			}
		}
		a := s.do(said("GET", p+"-x", "X-Sendfile: "+file, "Accept-Encoding: gzip", "Range: bytes=0-3"))
		if a.StatusCode != 206 || a.body != "gzip" || a.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: %s %q %v", p, a.Status, a.body, a.Header)
		}
		tag := a.Header.Get("Etag")
		s.do(said("GET", p+"-x", "X-Sendfile: "+file, "Accept-Encoding: gzip", "If-None-Match: "+tag)).want(t, 304)
		s.do(said("GET", p+"-x", "X-Sendfile: "+file, "If-None-Match: "+tag)).want(t, 200)
	}
}

// The access log says what became of a file that an application named, and of nothing else.
func TestAccessLogOfFiles(t *testing.T) {
	for _, format := range []string{"common", "combined", "json"} {
		t.Run(format, func(t *testing.T) {
			dir := testDir(t)
			s := startDialects(t, dir, fmt.Sprintf("[log]\naccess = \"access.log\"\nformat = %q\n", format), map[string]string{"x": "roots = [\"files\"]\n"})
			file := write(t, dir, "files/f", "0123456789")
			large := sparse(t, dir, "files/large")
			s.do(said("GET", "fastcgi-x", "X-Sendfile: "+file))
			s.do(said("GET", "cgi-x", "X-Sendfile2: "+file+" 0-4"))
			leaveEarly(t, "tcp", s.addr, said("GET", "fastcgi-x", "X-Sendfile: "+large))
			s.do(said("GET", "cgi-x", "X-Own: 1"))
			s.do(said("GET", "cgi-x", "X-Sendfile: "+file+"-missing"))
			s.get(200, "/index.html")
			log := filepath.Join(dir, "access.log")
			expect := []string{
				`"GET /fastcgi-x HTTP/1.1" 200 10( "-" "-")? complete$`, `"GET /cgi-x HTTP/1.1" 200 5( "-" "-")? complete$`,
				`"GET /fastcgi-x HTTP/1.1" 200 \d+( "-" "-")? aborted$`, `"GET /cgi-x HTTP/1.1" 200 24( "-" "-")?$`,
				`"GET /cgi-x HTTP/1.1" 404 \d+( "-" "-")?$`, `"GET /index.html HTTP/1.1" 200 0( "-" "-")?$`,
			}
			if format == "json" {
				expect = []string{
					`"uri":"/fastcgi-x".*"status":200,"bytes":10,.*"aborted":false,"file":"complete"}`,
					`"uri":"/cgi-x".*"bytes":5,.*"file":"complete"}`, `"uri":"/fastcgi-x".*"aborted":true,"file":"aborted"}`,
					`"uri":"/cgi-x".*"bytes":24,.*"aborted":false}`, `"uri":"/cgi-x".*"status":404,.*"aborted":false}`, `"uri":"/index.html".*"aborted":false}`,
				}
			}
			for _, e := range expect {
				if err := waitText(log, e, logWait); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
