package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// store is another server, which applications name in X-Reproxy-URL.
type store struct {
	*httptest.Server
	body []byte

	mu    sync.Mutex
	seen  []*http.Request
	left  chan struct{} // a request of /slow has been given up
	moved time.Time     // Last-Modified
}

func startStore(t *testing.T) *store {
	st := &store{body: noise(3 << 20), left: make(chan struct{}, 1), moved: time.Unix(1_700_000_000, 0)}
	m := http.NewServeMux()
	m.HandleFunc("/pub/data", func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Etag", `"store"`)
		h.Set("Content-Type", "text/x-store")
		h.Set("Set-Cookie", "store=1")
		h.Set("X-Store", "1")
		h.Set("X-Sendfile", "/etc/passwd")
		h.Set("X-Accel-Redirect", "/x")
		h.Set("Keep-Alive", "timeout=5")
		http.ServeContent(w, r, "", st.moved, bytes.NewReader(st.body))
	})
	m.HandleFunc("/pub/chunked", func(w http.ResponseWriter, r *http.Request) {
		w.Write(st.body[:5000])
		w.(http.Flusher).Flush()
		w.Write(st.body[5000:])
	})
	m.HandleFunc("/pub/short", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5000000")
		w.Write(st.body)
	})
	m.HandleFunc("/pub/slow", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "5000000")
		w.Write(st.body)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		st.left <- struct{}{}
	})
	m.HandleFunc("/pub/silent", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	m.HandleFunc("/pub/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/pub/data", 302) })
	m.HandleFunc("/pub/broken", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) })
	m.HandleFunc("/pub/fallthrough/", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(204) })
	m.HandleFunc("/secret", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "secret") })
	st.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		st.mu.Lock()
		st.seen = append(st.seen, r.Clone(r.Context()))
		st.mu.Unlock()
		m.ServeHTTP(w, r)
	}))
	t.Cleanup(st.Close)
	return st
}

// requests are those since the last call.
func (st *store) requests() []*http.Request {
	st.mu.Lock()
	defer st.mu.Unlock()
	seen := st.seen
	st.seen = nil
	return seen
}

func reproxySite(t *testing.T, more string) (*site, *store) {
	st := startStore(t)
	s := acceleratedSite(t, fmt.Sprintf("connect_timeout = \"1s\"\n%s\n[app.send_file]\nreproxy = [\"%s/pub/\"]", more, st.URL))
	return s, st
}

// X-Reproxy-URL: the store's bytes with the child's header, and its ranges and
// conditions for the client.
func TestReproxy(t *testing.T) {
	s, st := reproxySite(t, "")
	both(t, func(t *testing.T, prefix string) {
		st.requests()
		url := "X-Reproxy-URL: " + st.URL + "/pub/data"
		a := s.get(200, prefix, "Cookie: c=1", "Authorization: Basic eDp5", "Accept-Encoding: gzip",
			"X-Head: Content-Type: audio/ogg|Content-Disposition: attachment|Set-Cookie: a=1|Cache-Control: private|ETag: \"child\"|X-Own: 1|Content-Length: 3|"+url)
		if a.body != string(st.body) || a.ContentLength != int64(len(st.body)) {
			t.Errorf("%d bytes, Content-Length %d", len(a.body), a.ContentLength)
		}
		for name, want := range map[string]string{"Content-Type": "audio/ogg", "Content-Disposition": "attachment", "Set-Cookie": "a=1",
			"Cache-Control": "private", "Etag": `"store"`, "Last-Modified": "Tue, 14 Nov 2023 22:13:20 GMT", "Accept-Ranges": "bytes", "X-Own": "1",
			"X-Store": "", "X-Sendfile": "", "X-Accel-Redirect": "", "X-Reproxy-Url": "", "Keep-Alive": ""} {
			a.field(t, name, want)
		}
		for _, r := range st.requests() {
			for name := range r.Header {
				if name != "Accept-Encoding" || r.Header.Get(name) != "identity" {
					t.Errorf("the store gets %s: %s", name, r.Header.Get(name))
				}
			}
		}
		a = s.get(200, prefix, "X-Head: X-Own: 1|"+url)
		a.field(t, "Content-Type", "text/x-store")
		a = s.do(httpRequest{method: "HEAD", target: prefix, fields: []string{"X-Head: " + url}})
		if a.StatusCode != 200 || a.ContentLength != int64(len(st.body)) {
			t.Errorf("HEAD: %s, %d bytes", a.Status, a.ContentLength)
		}
		a = s.post(200, prefix, "body", "X-Head: "+url, "Range: bytes=0-1")
		if len(a.body) != len(st.body) {
			t.Errorf("POST: %d bytes", len(a.body))
		}
		for _, r := range st.requests() {
			if r.Method != "HEAD" && r.Method != "GET" {
				t.Errorf("the store gets %s", r.Method)
			}
		}
		a = s.get(206, prefix, "X-Head: Content-Type: a/b|"+url, "Range: bytes=10-19", `If-Range: "store"`)
		a.field(t, "Content-Range", "bytes 10-19/3145728")
		a.field(t, "Content-Type", "a/b")
		if a.body != string(st.body[10:20]) {
			t.Errorf("range: %d bytes", len(a.body))
		}
		a = s.get(206, prefix, "X-Head: Content-Type: a/b|"+url, "Range: bytes=0-9,20-29")
		if !strings.HasPrefix(a.Header.Get("Content-Type"), "multipart/byteranges; boundary=") {
			t.Errorf("several ranges: %v", a.Header)
		}
		a = s.get(416, prefix, "X-Head: Content-Type: a/b|"+url, "Range: bytes=3145728-")
		a.field(t, "Content-Range", "bytes */3145728")
		s.get(304, prefix, "X-Head: "+url, `If-None-Match: "store"`).field(t, "Etag", `"store"`)
		s.get(304, prefix, "X-Head: "+url, "If-Modified-Since: Tue, 14 Nov 2023 22:13:20 GMT")
		s.get(412, prefix, "X-Head: "+url, `If-Match: "x"`)
		// Another status of the child's is kept, with the whole.
		a = s.get(404, prefix, "X-Head: Status: 404|"+url, "Range: bytes=10-19", `If-None-Match: "store"`)
		if len(a.body) != len(st.body) {
			t.Errorf("status 404: %d bytes", len(a.body))
		}
		a = s.get(200, prefix, "X-Head: X-Accel-Limit-Rate: 2000000|"+url)
		if a.body != string(st.body) || a.took < 1500*time.Millisecond*95/100 {
			t.Errorf("at a rate: %d bytes in %v", len(a.body), a.took)
		}
		a = s.get(200, prefix, "X-Head: X-Reproxy-URL: "+st.URL+"/pub/chunked")
		if a.body != string(st.body) {
			t.Errorf("chunked: %d bytes", len(a.body))
		}
	})
}

// The URLs are tried in order; those that may not be fetched are not.
func TestReproxyURLs(t *testing.T) {
	s, st := reproxySite(t, "header_timeout = \"2s\"")
	nobody := "http://127.0.0.1:" + freePort()
	both(t, func(t *testing.T, prefix string) {
		for _, c := range []struct {
			urls, size string
			status     int
		}{
			{st.URL + "/pub/data", "", 200},
			{st.URL + "/pub/data", "3145728", 200},
			{st.URL + "/pub/data", "5", 503},
			{st.URL + "/pub/chunked", "3145728", 200},
			{st.URL + "/pub/short " + st.URL + "/pub/data", "3145728", 200},
			{st.URL + "/pub/broken " + st.URL + "/pub/none\t" + st.URL + "/pub/fallthrough/ " + st.URL + "/pub/redirect " + st.URL + "/pub/data", "", 200},
			{st.URL + "/pub/redirect", "", 503},
			{st.URL + "/pub/none", "", 503},
			{st.URL + "/pub/silent", "", 503},
			{nobody + "/pub/data", "", 503},
			{st.URL + "/secret", "", 503},
			{st.URL + "/pub/../secret", "", 503},
			{st.URL + "/pub/%2e%2e/secret", "", 503},
			{st.URL + "/secret " + st.URL + "/pub/data", "", 200},
			{"", "", 502},
			{"http://%zz/", "", 502},
		} {
			head := "X-Head: X-Reproxy-URL: " + c.urls
			if c.size != "" {
				head += "|x-reproxy-expected-size: " + c.size
			}
			a := s.get(c.status, prefix, head)
			if c.status == 200 && a.body != string(st.body) || strings.Contains(a.body, "secret") {
				t.Errorf("%s: %d bytes", c.urls, len(a.body))
			}
			a.field(t, "X-Reproxy-Expected-Size", "")
		}
	})
	s.waitLog(t, `no store answered.*app=fcgi.*status 404`)
	s.waitLog(t, `no store answered.*app=fcgi.*expected 5`)
	for _, r := range st.requests() {
		if r.URL.Path == "/secret" {
			t.Error("a URL outside of reproxy was fetched")
		}
	}
}

// A store that breaks off, is silent or lies about its length ends in a way that
// the client can tell; the child is free all the while, and a client that leaves
// ends the fetch.
func TestReproxyBreaks(t *testing.T) {
	s, st := reproxySite(t, "max = 1\nmin = 1\nread_timeout = \"2s\"")
	both(t, func(t *testing.T, prefix string) {
		for _, path := range []string{"/pub/short", "/pub/slow", "/pub/chunked|X-Reproxy-Expected-Size: 5000000", "/pub/chunked|X-Reproxy-Expected-Size: 10"} {
			a, err := httpRequest{target: prefix, fields: []string{"X-Head: X-Reproxy-URL: " + st.URL + path}}.send("tcp", s.addr)
			if err == nil && (a.StatusCode != 200 || a.err == nil) { // else it broke off before the header
				t.Errorf("%s: %+v", path, a)
			}
		}
		gone := func(what string) {
			t.Helper()
			select {
			case <-st.left:
			case <-time.After(10 * time.Second):
				t.Errorf("%s, and the fetch goes on", what)
			}
		}
		gone("the store is silent")
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nX-Head: X-Reproxy-URL: %s/pub/slow\r\n\r\n", prefix, st.URL)
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if a := s.get(200, prefix, "X-Head: Content-Type: text/plain"); a.took > 2*time.Second {
			t.Errorf("the child is held: %v", a.took)
		}
		c.Close()
		gone("the client has left")
	})
	s.waitLog(t, "store broke off")
}

// A store that says more than its Content-Length is cut there; that it did is in
// the log, where it may be found.
func TestReproxyOfTooMuch(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := c.Read(make([]byte, 4096)); err == nil {
					fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more")
					c.Read(make([]byte, 1))
				}
			}()
		}
	}()
	s := acceleratedSite(t, fmt.Sprintf("[app.send_file]\nreproxy = [\"http://%s/\"]", l.Addr()))
	if a := s.get(200, "/cgi", fmt.Sprintf("X-Head: X-Reproxy-URL: http://%s/", l.Addr())); a.body != "hello" {
		t.Errorf("%q", a.body)
	}
	s.waitLog(t, `level=\w+ msg="Unsolicited response received`)
}
