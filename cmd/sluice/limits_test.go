package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// raw is a connection of a client that does as the test says.
type raw struct {
	t  testing.TB
	c  *net.TCPConn
	in *bufio.Reader
}

func (s *site) connect() *raw { return s.connectFrom("127.0.0.1") }

func (s *site) connectFrom(host string) *raw {
	s.t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
	c, err := d.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(requestWait))
	c.(*net.TCPConn).SetNoDelay(true)
	return &raw{s.t, c.(*net.TCPConn), bufio.NewReader(c)}
}

func (r *raw) send(text string) *raw {
	io.WriteString(r.c, text)
	return r
}

func (r *raw) get(target string) *raw {
	return r.send("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")
}

// trickle sends the text byte by byte until it is through or the connection is
// closed.
func (r *raw) trickle(text string, every time.Duration) {
	for i := range len(text) {
		if _, err := io.WriteString(r.c, text[i:i+1]); err != nil {
			return
		}
		time.Sleep(every)
	}
}

// status reads an answer; 0: the connection ended without one.
func (r *raw) status() (status int, body string) {
	r.t.Helper()
	res, err := http.ReadResponse(r.in, nil)
	if err != nil {
		return 0, err.Error()
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error()
	}
	return res.StatusCode, string(b)
}

func (r *raw) want(status int) (body string) {
	r.t.Helper()
	got, body := r.status()
	if got != status {
		r.t.Fatalf("status %d, want %d: %s", got, status, body)
	}
	return body
}

// ends expects the end of the connection, and nothing before it.
func (r *raw) ends() {
	r.t.Helper()
	if b, err := io.ReadAll(r.in); len(b) > 0 || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		r.t.Errorf("the connection ends with %q, %v", b, err)
	}
}

// header_timeout is for the whole header: bytes that come one by one do not
// renew it.
func TestSlowHeader(t *testing.T) {
	s := startSite(t, withSite(t), "[limits]\nheader_timeout = \"1s\"\n"+scripted("max = 1"))
	for _, c := range []struct {
		name   string
		before int // requests on the connection
		every  time.Duration
	}{{"first", 0, 50 * time.Millisecond}, {"later", 2, 50 * time.Millisecond}, {"silent", 0, 20 * time.Second}, {"silent, later", 1, 20 * time.Second}} {
		t.Run(c.name, func(t *testing.T) {
			r := s.connect()
			for range c.before {
				r.get("/x.cgi").want(200)
			}
			if c.before > 0 {
				time.Sleep(1200 * time.Millisecond) // an idle connection is not slow
			}
			begin := time.Now()
			done := make(chan struct{})
			go func() {
				defer close(done)
				r.trickle("GET /x.cgi HTTP/1.1\r\nHost: x\r\nX-Slow: "+strings.Repeat("x", 400), c.every)
			}()
			r.want(408)
			if took := time.Since(begin); took < 900*time.Millisecond || took > 10*time.Second {
				t.Errorf("it took %v", took)
			}
			r.ends()
			r.c.Close()
			if c.every < time.Second {
				<-done
			}
		})
	}
	r := s.connect()
	r.trickle("GET /x.cgi HTTP/1.1\r\nHost: x\r\n\r\n", 10*time.Millisecond)
	r.want(200)
}

// An upload that is slower than body_rate over ten seconds is ended, whether it
// trickles or is silent; a child is not held, and a faster one goes on.
func TestBodyRate(t *testing.T) {
	t.Parallel()
	s := startSite(t, withSite(t), "[limits]\nbody_rate = \"1KiB\"\n"+scripted("max = 1\nqueue = 0"))
	post := func(framing string) *raw {
		return s.connect().send("POST /app HTTP/1.1\r\nHost: x\r\n" + framing + "\r\n\r\n")
	}
	const length, chunked = "Content-Length: 1000000", "Transfer-Encoding: chunked"
	var all sync.WaitGroup
	slow := func(name string, r *raw, text string, every time.Duration) {
		all.Go(func() {
			begin := time.Now()
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				for {
					if _, err := io.WriteString(r.c, text); err != nil {
						return
					}
					time.Sleep(every)
				}
			}()
			status, body := r.status()
			if took := time.Since(begin); status != 408 || took < 9*time.Second || took > 25*time.Second {
				t.Errorf("%s: %d after %v: %s", name, status, took, body)
			}
			r.ends()
			r.c.Close()
			if every < time.Minute {
				<-ended
			}
		})
	}
	slow("trickle", post(length), "x", 10*time.Millisecond)
	slow("trickle of chunks", post(chunked), "5\r\nhello\r\n", 50*time.Millisecond)
	slow("silent", post(length), "hello", time.Minute)
	slow("silent in a chunk", post(chunked), "ffff\r\nhello", time.Minute)
	slow("pauses", post(length), strings.Repeat("x", 500), time.Second)
	all.Go(func() {
		r := post("Content-Length: 56000")
		for range 28 {
			r.send(strings.Repeat("x", 2000))
			time.Sleep(500 * time.Millisecond)
		}
		if status, body := r.status(); status != 200 || !strings.Contains(body, "POST 56000") {
			t.Errorf("a faster one: %d: %s", status, body)
		}
	})
	for range 20 {
		if a, err := (httpRequest{target: "/app"}).send("tcp", s.addr); err != nil || a.StatusCode != 200 {
			t.Errorf("meanwhile: %v, %v", a, err) // queue = 0: a child that is held is 503
		}
		time.Sleep(200 * time.Millisecond)
	}
	all.Wait()
	s.waitLog(t, `slower than 1024 bytes a second`)
}

// A client that takes nothing is given up after send_timeout, and no child is held
// by it meanwhile; one that takes a little all the time is not.
func TestStalledReader(t *testing.T) {
	dir := withSite(t)
	s := startSite(t, dir, "[limits]\nsend_timeout = \"1s\"\nresponse_memory = \"64KiB\"\n[log]\naccess = \"access.log\"\nformat = \"json\"\n"+
		scripted("max = 1\nqueue = 0"))
	const size = 32 << 20
	stalled := func() *raw {
		r := s.connect()
		r.c.SetReadBuffer(4096)
		return r.get(fmt.Sprintf("/app?noise=%d", size))
	}
	r := stalled()
	if !waitFor(10*time.Second, func() bool {
		a, err := httpRequest{target: "/app"}.send("tcp", s.addr)
		return err == nil && a.StatusCode == 200
	}) {
		t.Error("the child is held")
	}
	if err := waitText(filepath.Join(dir, "access.log"), `noise=.*"aborted":true`, logWait); err != nil {
		t.Error(err)
	}
	r.c.Close()
	// Far slower than the kernel says that there is room.
	r = stalled()
	buf := make([]byte, 2048)
	total := 0
	for begin := time.Now(); time.Since(begin) < 4*time.Second; time.Sleep(50 * time.Millisecond) {
		n, err := r.c.Read(buf)
		if err != nil {
			t.Fatalf("a slow client is cut off after %d bytes: %v", total, err)
		}
		total += n
	}
	if total >= size/2 {
		t.Errorf("%d bytes are not slow", total)
	}
}

// at_limit = "wait": further connections wait to be accepted.
func TestAtLimitWait(t *testing.T) {
	s := startSite(t, withSite(t), "[limits]\nconnections = 2\n"+scripted("max = 1"))
	first, second := s.connect(), s.connect()
	first.get("/x.cgi").want(200)
	second.get("/x.cgi").want(200)
	third := s.connect().get("/x.cgi")
	third.c.SetDeadline(time.Now().Add(500 * time.Millisecond))
	if status, _ := third.status(); status != 0 {
		t.Fatalf("answered with %d beyond the limit", status)
	}
	third.in.Reset(third.c)
	third.c.SetDeadline(time.Now().Add(requestWait))
	second.get("/x.cgi").want(200)
	first.c.Close()
	third.want(200)
}

// at_limit = "refuse": they get an answer that they can read.
func TestAtLimitRefuse(t *testing.T) {
	needs(t, "curl")
	s := startSite(t, withSite(t), "[limits]\nconnections = 1\nat_limit = \"refuse\"\n"+scripted("max = 1"))
	first := s.connect()
	first.get("/x.cgi").want(200)
	url := "http://" + s.addr + "/x.cgi"
	for _, args := range [][]string{{}, {"-I"}, {"--data-binary", "@" + write(t, s.dir, "large", strings.Repeat("x", 5<<20)), "-H", "Expect:"}} {
		out, err := exec.Command("curl", append([]string{"-s", "-S", "-i", url}, args...)...).CombinedOutput()
		if err != nil || !strings.HasPrefix(string(out), "HTTP/1.1 503 ") || !strings.Contains(string(out), "\r\nRetry-After: 1\r\n") {
			t.Errorf("curl %v: %v\n%s", args, err, out)
		}
	}
	// Many at once; the log does not say it for each.
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			if a, err := (httpRequest{target: "/x.cgi"}).send("tcp", s.addr); err != nil || a.StatusCode != 503 || a.err != nil {
				t.Errorf("%v, %v", a, err)
			}
		})
	}
	all.Wait()
	first.get("/x.cgi").want(200)
	first.c.Close()
	if !waitFor(10*time.Second, func() bool {
		a, err := httpRequest{target: "/x.cgi"}.send("tcp", s.addr)
		return err == nil && a.StatusCode == 200
	}) {
		t.Error("refused although there is room")
	}
	s.waitLog(t, `level=WARN msg="connection refused: there are as many as there may be" client=127`)
	s.waitLog(t, `level=WARN msg="connection refused: there are as many as there may be" more=\d+`)
	if n := strings.Count(s.text(), "connection refused"); n > 100 {
		t.Errorf("%d lines about it", n)
	}
}

// per_client counts over all workers, and forgets what a killed one had.
func TestPerClient(t *testing.T) {
	s := startSite(t, withSite(t), "workers = 2\n[limits]\nper_client = 4\n"+scripted("max = 1"))
	// fill connects until the client is refused.
	fill := func(host string) (in []*raw) {
		t.Helper()
		for range 40 {
			r := s.connectFrom(host).get("/x.cgi")
			switch status, body := r.status(); status {
			case 200:
				in = append(in, r)
			case 503:
				if !strings.HasPrefix(body, "503") {
					t.Errorf("%q", body)
				}
				return in
			default:
				t.Fatalf("status %d: %s", status, body)
			}
		}
		return in
	}
	in := fill("127.0.0.1")
	if len(in) != 4 {
		t.Fatalf("%d connections of 127.0.0.1, want 4", len(in))
	}
	if other := fill("127.0.0.3"); len(other) != 4 {
		t.Fatalf("%d connections of 127.0.0.3, want 4", len(other))
	}
	for _, r := range in {
		r.get("/x.cgi").want(200) // who is in stays in
		r.c.Close()
	}
	again := func(what string) {
		t.Helper()
		if !waitFor(10*time.Second, func() bool {
			in = fill("127.0.0.1")
			for _, r := range in {
				r.c.Close()
			}
			return len(in) == 4
		}) {
			t.Errorf("%d connections %s, want 4", len(in), what)
		}
	}
	again("after others have left")
	// What a worker that is killed had does not count any more.
	in = fill("127.0.0.5")
	if len(in) != 4 {
		t.Fatalf("%d connections of 127.0.0.5", len(in))
	}
	for _, pid := range s.workers() {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if !waitFor(10*time.Second, func() bool { return len(s.workers()) == 2 }) {
		t.Fatalf("workers %v", s.workers())
	}
	again("of another client after the workers were killed")
	if in = fill("127.0.0.5"); len(in) != 4 {
		t.Errorf("%d connections of 127.0.0.5 after the workers were killed, want 4", len(in))
	}
	s.waitLog(t, `level=INFO msg="connection refused: the client has as many as it may have" client=127\.0\.0\.\d:\d+`)
}

// Clients of a unix socket have no address, and are not counted.
func TestPerClientOfUnixSocket(t *testing.T) {
	dir := withSite(t)
	s := startSite(t, dir, "[limits]\nper_client = 1\n[[listener]]\naddress = \"unix:http.sock\"\n"+scripted("max = 1"))
	for range 5 {
		c, err := net.Dial("unix", filepath.Join(dir, "http.sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET /x.cgi HTTP/1.1\r\nHost: x\r\n\r\n")
		if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 200 {
			t.Fatalf("%v, %v", res, err)
		}
	}
	s.get(200, "/x.cgi")
}

// half_close: a client that has closed its side is gone, or gets its answer.
func TestHalfClose(t *testing.T) {
	for _, mode := range []string{"abort", "answer"} {
		t.Run(mode, func(t *testing.T) {
			dir := withSite(t)
			write(t, dir, "www/slow.cgi", "#!/bin/sh\necho $$ >pid\nsleep 1\necho done >done\nprintf 'Content-Type: text/plain\\n\\nslow\\n'\n")
			s := startSite(t, dir, "[limits]\nhalf_close = \""+mode+"\"\n"+scripted("max = 1"))
			half := func(text string) *raw {
				r := s.connect().send(text)
				r.c.CloseWrite()
				return r
			}
			for _, target := range []string{"/slow.cgi", "/app?sleep=1s"} {
				r := half("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")
				if mode == "answer" {
					r.want(200)
					r.ends()
				} else if status, _ := r.status(); status != 0 {
					t.Errorf("%s: answered with %d", target, status)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "www/done")); (err == nil) != (mode == "answer") {
				t.Errorf("the script: %v", err)
			}
			if mode == "abort" {
				return
			}
			// With a body, and with a second request behind the first.
			r := half("POST /app?sleep=300ms HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
			if body := r.want(200); !strings.Contains(body, "POST 5") {
				t.Error(body)
			}
			r = half("GET /x.cgi HTTP/1.1\r\nHost: x\r\n\r\nGET /app?sleep=300ms HTTP/1.1\r\nHost: x\r\n\r\n")
			r.want(200)
			r.want(200)
			r.ends()
			// A body that ends too early is no request, and one that is reset is over.
			if status, body := half("POST /app HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe").status(); status == 200 {
				t.Error(body)
			}
			os.Remove(filepath.Join(dir, "www/done"))
			os.Remove(filepath.Join(dir, "www/pid"))
			r = s.connect().get("/slow.cgi")
			if err := waitText(filepath.Join(dir, "www/pid"), `\d`, logWait); err != nil {
				t.Fatal(err)
			}
			r.c.SetLinger(0)
			r.c.Close()
			time.Sleep(1500 * time.Millisecond)
			if _, err := os.Stat(filepath.Join(dir, "www/done")); err == nil {
				t.Error("a script whose client has reset the connection ran on")
			}
		})
	}
}
