package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What the client sees of a FastCGI child that misbehaves: section 3 of the
// contract.
func TestChildFaults(t *testing.T) {
	dir := withSite(t)
	s := startSite(t, dir, scripted("max = 2\nheader_timeout = \"700ms\"\n")+`
[[app]]
name = "born-dead"
kind = "fastcgi"
command = ["fcgi-child", "once:`+filepath.Join(dir, "died-once")+`"]
max = 1
[[app]]
name = "one"
kind = "fastcgi"
command = ["fcgi-child"]
max = 1
queue = 1
queue_timeout = "300ms"
`+strings.Replace(`[[site]]
hosts = ["other"]
root = "www"
[[site.route]]
match = "/born"
app = "born-dead"
[[site.route]]
match = "/one"
app = "one"
`, "\n\n", "\n", -1))
	// The child dies before it accepts; the request waits for its successor.
	a := s.do(httpRequest{target: "/born", host: "other"})
	if a.StatusCode != 200 && a.StatusCode != 503 {
		t.Errorf("a child that died once before it accepted: %s", a.Status)
	}
	if !waitFor(5*time.Second, func() bool { return s.do(httpRequest{target: "/born", host: "other"}).StatusCode == 200 }) {
		t.Error("the successor of a child that died at its start does not serve")
	}
	for _, tc := range []struct {
		name, method, query string
		status              int
		aborted             bool
		absent              string
	}{
		{name: "dies after reading, every time", query: "do=die-read", status: 502},
		{name: "dies after reading a POST", method: "POST", query: "do=die-read", status: 502},
		{name: "dies in the header", query: "do=die-header", status: 502, absent: "Secret"},
		{name: "dies in a short body", query: "do=die-body", status: 200, aborted: true},
		{name: "dies in a long body", query: "do=die-body&noise=2000000", status: 200, aborted: true},
		{name: "ends short", query: "do=short", status: 502, absent: "pid="},
		{name: "ends short of much", query: "do=short&noise=50000", status: 200, aborted: true},
		{name: "is silent", query: "do=hang", status: 504},
		{name: "CANT_MPX_CONN", query: "status=1", status: 503},
		{name: "OVERLOADED", query: "status=2", status: 503},
		{name: "OVERLOADED for a POST", method: "POST", query: "status=2", status: 503},
		{name: "UNKNOWN_ROLE", query: "status=3", status: 500},
		{name: "status 99", query: "status=99", status: 502},
		{name: "record of unknown type", query: "record=unknown", status: 200},
		{name: "record of another version", query: "record=version", status: 502},
		{name: "works", query: "", status: 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			works := func() bool {
				a, err := httpRequest{target: "/app"}.send("tcp", s.addr)
				return err == nil && a.StatusCode == 200
			}
			if !waitFor(2*time.Second, works) {
				t.Fatal("the application does not work before")
			}
			body := ""
			if tc.method == "POST" {
				body = "x"
			}
			a, err := httpRequest{method: tc.method, target: "/app?" + tc.query, body: body}.send("tcp", s.addr)
			switch {
			case err != nil:
				t.Fatal(err)
			case tc.aborted:
				// Either nothing had been sent, or the client can tell.
				if a.StatusCode != 502 && (a.StatusCode != tc.status || a.err == nil) {
					t.Errorf("%s and %v, want an abort", a.Status, a.err)
				}
			case a.err != nil || a.StatusCode != tc.status:
				t.Errorf("%s and %v, want %d", a.Status, a.err, tc.status)
			case tc.absent != "" && strings.Contains(a.body+fmt.Sprint(a.Header), tc.absent):
				t.Errorf("the client sees what the child printed: %v\n%s", a.Header, a.body)
			}
			if a.StatusCode == 503 && a.Header.Get("Retry-After") == "" {
				t.Error("503 without Retry-After")
			}
			if !waitFor(2*time.Second, works) {
				t.Error("the application does not work after")
			}
		})
	}
	s.waitLog(t, `child died.*app=app pid=\d+|app=app.*child died`)

	t.Run("queue", func(t *testing.T) {
		done := make(chan struct{})
		go func() {
			httpRequest{target: "/one?sleep=1s", host: "other"}.send("tcp", s.addr)
			close(done)
		}()
		time.Sleep(200 * time.Millisecond)
		waiting := make(chan *httpAnswer, 1)
		go func() {
			a, _ := httpRequest{target: "/one", host: "other"}.send("tcp", s.addr)
			waiting <- a
		}()
		time.Sleep(100 * time.Millisecond)
		full := s.do(httpRequest{target: "/one", host: "other"})
		if full.StatusCode != 503 || full.Header.Get("Retry-After") == "" || full.took > 100*time.Millisecond {
			t.Errorf("beyond the queue: %s after %v, Retry-After %q", full.Status, full.took, full.Header.Get("Retry-After"))
		}
		if a := <-waiting; a == nil || a.StatusCode != 503 || a.took < 250*time.Millisecond {
			t.Errorf("beyond queue_timeout: %+v", a)
		}
		<-done
	})
}

// Where the end of the connection is the end of the body, an answer that breaks
// off must not look whole: a reset over TCP; over a unix socket, which has none,
// nothing is sent before all is there.
func TestAbortOldClient(t *testing.T) {
	dir := withSite(t)
	s := startSite(t, dir, scripted("max = 2")+"[[listener]]\naddress = \"unix:http.sock\"\n")
	for _, target := range []string{"/app?do=die-body", "/app?do=die-body&noise=3000000"} {
		s.get(200, "/app")
		a, err := httpRequest{target: target, old: true}.send("tcp", s.addr)
		if err == nil && a.err == nil && a.StatusCode == 200 {
			t.Errorf("tcp %s: %d bytes that look whole", target, len(a.body))
		}
		s.get(200, "/app")
		a, err = httpRequest{target: target, old: true}.send("unix", filepath.Join(dir, "http.sock"))
		if err != nil || a.err != nil || a.StatusCode != 502 {
			t.Errorf("unix %s: %+v, %v, want 502", target, a, err)
		}
	}
	s.get(200, "/app")
	a, err := httpRequest{target: "/app?noise=3000000", old: true}.send("unix", filepath.Join(dir, "http.sock"))
	if err != nil || a.err != nil || a.StatusCode != 200 || a.ContentLength < 3_000_000 {
		t.Errorf("unix, whole: %+v, %v", a, err)
	}
}

// A client that leaves while its request is being worked on frees nothing but
// what it used: the script is stopped, others are served.
func TestClientLeaves(t *testing.T) {
	dir := withSite(t)
	write(t, dir, "www/long.cgi", "#!/bin/sh\necho $$ >pid\nexec sleep 100\n")
	s := startSite(t, dir, strings.Replace(scripted("max = 1"), `kind = "cgi"`, "kind = \"cgi\"\nmax = 1\nqueue = 8", 1))
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "GET /long.cgi HTTP/1.1\r\nHost: x\r\n\r\n")
	pidFile := filepath.Join(dir, "www/pid")
	if err := waitText(pidFile, `\d+\n`, logWait); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(pidFile)
	script, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	c.Close()
	if !waitFor(3*time.Second, func() bool { return !alive(script) }) {
		t.Error("the script of a client that left is alive after 3 s")
	}
	if a := s.get(200, "/x.cgi"); a.took > time.Second {
		t.Errorf("the next script had to wait for %v", a.took)
	}
}

// queue_timeout = "0s": nobody waits.
func TestNoQueue(t *testing.T) {
	s := startSite(t, withSite(t), scripted("max = 1\nqueue_timeout = \"0s\""))
	s.get(200, "/app")
	done := make(chan struct{})
	go func() {
		httpRequest{target: "/app?sleep=500ms"}.send("tcp", s.addr)
		close(done)
	}()
	time.Sleep(200 * time.Millisecond)
	if a := s.get(503, "/app"); a.took > 100*time.Millisecond || a.Header.Get("Retry-After") == "" {
		t.Errorf("refused after %v, Retry-After %q", a.took, a.Header.Get("Retry-After"))
	}
	<-done
	s.get(200, "/app")
}
