package fcgi

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	stdfcgi "net/http/fcgi"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/cgi"
)

// peer is an application of the standard library: what the handler sees and
// says is compared with the same handler behind net/http.
func peer(t *testing.T, h http.Handler) func() net.Conn {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- stdfcgi.Serve(l, h) }()
	t.Cleanup(func() { l.Close(); <-done })
	return func() net.Conn {
		nc, err := net.Dial("unix", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(10 * time.Second))
		t.Cleanup(func() { nc.Close() })
		return nc
	}
}

// tell says what a handler sees of a request.
func tell(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	w.Header().Set("X-Answer", "yes")
	w.Header()["X-Twice"] = []string{"1", "2"}
	w.Header().Set("Content-Type", "text/plain")
	status, _ := strconv.Atoi(r.URL.Query().Get("status"))
	w.WriteHeader(max(status, 200))
	fmt.Fprintf(w, "%s %s %s %s\n", r.Method, r.URL.Path, r.URL.RawQuery, r.Host)
	fmt.Fprintf(w, "%d %d %x %v\n", r.ContentLength, len(body), sha256.Sum256(body), err)
	for _, name := range []string{"Accept", "Cookie", "X-Long", "Content-Type", "X-Empty"} {
		fmt.Fprintf(w, "%s %q\n", name, r.Header[name])
	}
	n, _ := strconv.Atoi(r.URL.Query().Get("more"))
	io.WriteString(w, text(n))
}

// TestStandardPeer: requests of all kinds, each over a connection of its own
// and one after the other over a kept one, are answered as if net/http had
// called the handler.
func TestStandardPeer(t *testing.T) {
	connect := peer(t, http.HandlerFunc(tell))
	kept := connect()
	for _, c := range []struct {
		method, target string
		body           int
		header         http.Header
	}{
		{"GET", "/", 0, nil},
		{"GET", "/a%20b/c?d=e&f=%2f", 0, http.Header{"Accept": {"a/b"}, "Cookie": {"a=1; b=2"}}},
		{"GET", "/x?status=404&more=100000", 0, nil},
		{"GET", "/", 0, http.Header{"X-Long": {strings.Repeat("v", 100<<10)}, "X-Empty": {""}}},
		{"DELETE", "/x", 0, nil},
		{"POST", "/", 1, http.Header{"Content-Type": {"text/x"}}},
		{"POST", "/?more=300000", 32767, nil},
		{"POST", "/", 32768, nil},
		{"POST", "/", 32769, nil},
		{"PUT", "/?status=201", 1 << 20, nil},
	} {
		t.Run(fmt.Sprintf("%s %.40s %d", c.method, c.target, c.body), func(t *testing.T) {
			body := []byte(text(c.body))
			r := httptest.NewRequest(c.method, c.target, bytes.NewReader(body))
			for k, v := range c.header {
				r.Header[k] = v
			}
			want := httptest.NewRecorder()
			tell(want, r.Clone(t.Context()))

			kept = comparePeer(t, kept, r, body, true, want.Result(), want.Body.String())
			if kept == nil {
				kept = connect() // the end of the upload was not seen in time
			}
			comparePeer(t, connect(), r, body, false, want.Result(), want.Body.String())
		})
	}
}

func comparePeer(t *testing.T, nc net.Conn, r *http.Request, body []byte, keep bool, want *http.Response, wantBody string) net.Conn {
	t.Helper()
	m := &cgi.Meta{Request: r, BodyLength: int64(len(body)), ScriptName: "", DocumentRoot: "/srv"}
	ex := begun(t, nc, &Request{Role: Responder, KeepConn: keep, Params: m.Each, Stdin: bytes.NewReader(body)})
	h, rest, _, err := cgi.ReadHeader(ex, nil, 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	got := string(rest) + answer(t, ex)
	if h.Code() != want.StatusCode || got != wantBody {
		t.Errorf("keep=%v: %d %.300q\nwant %d %.300q", keep, h.Code(), got, want.StatusCode, wantBody)
	}
	for _, name := range []string{"X-Answer", "X-Twice", "Content-Type"} {
		if fmt.Sprint(h.Fields[name]) != fmt.Sprint(want.Header[name]) {
			t.Errorf("%s is %q, want %q", name, h.Fields[name], want.Header[name])
		}
	}
	if end, ok := ex.Ended(0); !ok || !end.OK() {
		t.Error(end, ok)
	}
	return ex.Keep()
}

// TestStandardPeerAborts: the standard library's application hears an abort
// through its request's context or its body.
func TestStandardPeerAborts(t *testing.T) {
	began, over := make(chan bool), make(chan error)
	connect := peer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began <- true
		for {
			if _, err := io.WriteString(w, text(100<<10)); err != nil {
				over <- err
				return
			}
		}
	}))
	m := &cgi.Meta{Request: httptest.NewRequest("GET", "/", nil)}
	ex := begun(t, connect(), &Request{Role: Responder, KeepConn: true, Params: m.Each})
	<-began
	ex.Close(cgi.Abort)
	select {
	case <-over:
	case <-time.After(5 * time.Second):
		t.Error("the application goes on")
	}
}
