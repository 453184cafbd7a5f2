package main

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sentTo waits until an application has been told n times, and reads what.
func sentTo(t *testing.T, s *site, app string, n int) []url.Values {
	t.Helper()
	var lines []string
	if !waitFor(logWait, func() bool {
		text, _ := os.ReadFile(filepath.Join(s.dir, app+".sent"))
		lines = strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		return strings.HasSuffix(string(text), "\n") && len(lines) >= n
	}) || len(lines) > n {
		t.Fatalf("%s was told %q, want %d times", app, lines, n)
	}
	var all []url.Values
	for _, l := range lines {
		v, err := url.ParseQuery(l)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

const tells = "roots = [\"files\"]\ndelete_roots = [\"tmp\"]\non_complete = \"$SENT\"\n"

// on_complete: the application learns what became of every file that it named.
func TestOnComplete(t *testing.T) {
	dir := testDir(t)
	s := startDialects(t, dir, "log.access = \"access.log\"\n", map[string]string{"x": tells, "other": tells})
	small := write(t, dir, "files/a b&c", "0123456789")
	two := write(t, dir, "files/two", "ab")
	large := sparse(t, dir, "files/large")
	for _, p := range protocols {
		app := p + "-x"
		tmp := write(t, dir, "tmp/t", "tmp")
		asked := []struct {
			r    httpRequest
			want map[string]string
		}{
			{said("GET", app, "X-Sendfile: "+percent(small)), map[string]string{"path": small, "bytes": "10", "status": "complete", "http_status": "200", "method": "GET"}},
			{said("GET", app, "X-Sendfile: "+percent(small), "Range: bytes=2-4"), map[string]string{"bytes": "3", "status": "complete", "http_status": "206"}},
			{said("HEAD", app, "X-Sendfile: "+percent(small)), map[string]string{"bytes": "0", "status": "complete", "http_status": "200", "method": "HEAD"}},
			{said("GET", app, "Etag: \"x\"\nX-Sendfile: "+percent(small), "If-None-Match: \"x\""), map[string]string{"bytes": "0", "status": "complete", "http_status": "304"}},
			{said("GET", app, "Status: 404\nX-Sendfile: "+percent(small)), map[string]string{"bytes": "10", "status": "complete", "http_status": "404"}},
			{said("POST", app, "X-LIGHTTPD-send-file: "+two), map[string]string{"path": two, "bytes": "2", "status": "complete", "method": "POST"}},
			{said("GET", app, "X-Sendfile2: "+two+" 0-, "+percent(small)+" 0-3, "+two+" 1-"), map[string]string{"path": two, "bytes": "7", "status": "complete"}},
			{said("GET", app, "X-Sendfile-Temporary: "+tmp), map[string]string{"path": tmp, "bytes": "3", "status": "complete"}},
			{said("GET", app, "X-Sendfile: "+dir+"/files/missing"), map[string]string{"path": dir + "/files/missing", "bytes": "0", "status": "aborted", "http_status": "404"}},
			{said("GET", app, "X-Sendfile: "+dir+"/secret"), map[string]string{"bytes": "0", "status": "aborted", "http_status": "403"}},
		}
		ids := map[string]bool{}
		for i, c := range asked {
			c.r.target += "?n=" + strconv.Itoa(i)
			s.do(c.r)
			v := sentTo(t, s, app, i+1)[i]
			for key, want := range c.want {
				if v.Get(key) != want {
					t.Errorf("%s, request %d: %s is %q, want %q", p, i, key, v.Get(key), want)
				}
			}
			if v.Get("uri") != c.r.target || v.Get("client") != "127.0.0.1" || v.Get("id") == "" || ids[v.Get("id")] {
				t.Errorf("%s, request %d: %v", p, i, v)
			}
			ids[v.Get("id")] = true
			if i == 6 && len(v["path"]) != 2 {
				t.Errorf("%s: slices of %q", p, v["path"])
			}
		}
		// A client that leaves.
		leaveEarly(t, "tcp", s.addr, said("GET", app, "X-Sendfile: "+large))
		v := sentTo(t, s, app, len(asked)+1)[len(asked)]
		if n, _ := strconv.Atoi(v.Get("bytes")); v.Get("status") != "aborted" || n == 0 || n >= largeBytes || v.Get("http_status") != "200" {
			t.Errorf("%s: %v", p, v)
		}
		// What names no file is nothing to tell.
		s.do(said("GET", app, "X-Own: 1")).want(t, 200)
		s.do(said("GET", app, "X-Sendfile: relative")).want(t, 502)
		// From outside nobody gets there, and an answer to the telling is not told.
		s.do(httpRequest{method: "POST", target: "/" + app + "-sent", body: "x"}).want(t, 404)
		write(t, dir, app+".sent.names", two)
		s.do(said("GET", app, "X-Sendfile: "+two)).want(t, 200)
		s.do(said("GET", p+"-other", "X-Sendfile: "+two)).want(t, 200)
		sentTo(t, s, p+"-other", 1)
		sentTo(t, s, app, len(asked)+2)
	}
	if text, _ := os.ReadFile(filepath.Join(dir, "access.log")); strings.Contains(string(text), "-sent HTTP/1.1\" 20") {
		t.Errorf("sluice's own requests are in the access log:\n%s", text)
	}
}

// An application that does not take it is told again, also while the server stops, and after it has been down.
func TestOnCompleteAgain(t *testing.T) {
	for _, p := range protocols {
		t.Run(p, func(t *testing.T) {
			dir := testDir(t)
			s := startDialects(t, dir, "", map[string]string{"x": tells})
			app := p + "-x"
			file := write(t, dir, "files/f", "0123456789")
			down := write(t, dir, app+".sent.down", "")
			a := s.do(said("GET", app, "X-Sendfile: "+file))
			if a.body != "0123456789" || a.took > requestWait/3 {
				t.Errorf("%q after %v", a.body, a.took)
			}
			s.waitLog(t, "on_complete is repeated.*status 503|on_complete is repeated.*503")
			os.Remove(down)
			sentTo(t, s, app, 1)

			write(t, dir, app+".sent.down", "")
			s.do(said("GET", app, "X-Sendfile: "+file))
			s.cmd.Process.Signal(syscall.SIGQUIT)
			time.Sleep(300 * time.Millisecond)
			if !s.running() {
				t.Error("the server did not wait for what it has to tell")
			}
			os.Remove(down)
			if code, err := s.wait(stopWait); err != nil || code != 0 {
				t.Errorf("status %d, %v", code, err)
			}
			sentTo(t, s, app, 2)
		})
	}
}

// A download that a stop cuts off is told, too; what nobody takes is in the log, and holds the stop up no longer than it
// may take.
func TestOnCompleteStop(t *testing.T) {
	dir := testDir(t)
	s := startDialects(t, dir, "stop_timeout = \"4s\"\n", map[string]string{"x": tells, "down": tells})
	large := sparse(t, dir, "files/large")
	write(t, dir, "fastcgi-down.sent.down", "")
	s.do(said("GET", "fastcgi-down", "X-Sendfile: "+write(t, dir, "files/small", "small")))
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := said("GET", "fastcgi-x", "X-Sendfile: "+large)
	r.host = s.addr
	c.Write(r.bytes())
	if _, err := c.Read(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	s.cmd.Process.Signal(syscall.SIGTERM)
	if code, err := s.wait(stopWait); err != nil || code != 0 {
		t.Errorf("status %d, %v", code, err)
	}
	if d := time.Since(begin); d > 8*time.Second {
		t.Errorf("the stop took %v", d)
	}
	if v := sentTo(t, s, "fastcgi-x", 1)[0]; v.Get("status") != "aborted" || v.Get("path") != large {
		t.Errorf("%v", v)
	}
	s.waitLog(t, "on_complete is given up.*app=fastcgi-down.*status=complete")
}
