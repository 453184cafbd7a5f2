package gofastbridge_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/fcgi"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/yookoala/gofast"

	bridge "sluice/fcgi/gofastbridge"
)

// TestOracle: on the way that always worked, our engine, gofast on our
// connections, and gofast alone give the same answers.
func TestOracle(t *testing.T) {
	mib := strings.Repeat("0123456789abcdef", 1<<16)
	app := http.NewServeMux()
	app.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("X-Method", r.Method)
		fmt.Fprintf(w, "%v %q %q %q %q %d ", err, r.Host, r.URL.RawQuery, r.Header.Get("X-Question"), r.Header.Get("Cookie"), r.ContentLength)
		w.Write(b)
	})
	app.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere?a=b", 303) })
	app.HandleFunc("/cookies", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "1", Path: "/"})
		http.SetCookie(w, &http.Cookie{Name: "b", Value: "2", HttpOnly: true})
		w.WriteHeader(http.StatusTeapot)
		io.WriteString(w, "<html>")
	})
	app.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", fmt.Sprint(len(mib)))
		io.WriteString(w, mib)
	})
	app.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, mib)
	})
	app.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	addr := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go fcgi.Serve(l, app)

	tr := &bridge.Transport{Dial: bridge.DialTo("unix", addr)}
	chain := append(basic, gofast.MapEndpoint("/srv/app"))
	subjects := map[string]http.Handler{
		"ours":           bridge.Handler(tr, chain...),
		"gofast on ours": bridge.Sessions(tr, gofast.Chain(append(chain, tr.Repair)...)(gofast.BasicSession)),
	}
	oracle := listen(t, gofast.NewHandler(gofast.Chain(chain...)(gofast.BasicSession), gofast.SimpleClientFactory(gofast.SimpleConnFactory("unix", addr))))
	requests := []struct{ method, path, body string }{
		{"GET", "/echo?a=b&c=%20d", ""},
		{"POST", "/echo", "a=b&c=d"},
		{"PUT", "/echo", mib},
		{"DELETE", "/echo", ""},
		{"HEAD", "/echo", ""},
		{"GET", "/redirect", ""},
		{"GET", "/cookies", ""},
		{"GET", "/large", ""},
		{"HEAD", "/large", ""},
		{"GET", "/stream", ""},
		{"GET", "/empty", ""},
		{"GET", "/missing", ""},
	}
	for name, h := range subjects {
		s := listen(t, h)
		for _, r := range requests {
			t.Run(name+"/"+r.method+r.path, func(t *testing.T) {
				ask := func(url string) reply {
					req, _ := http.NewRequest(r.method, url+r.path, bytes.NewReader([]byte(r.body)))
					req.Host = "example.org"
					req.Header.Set("X-Question", "why")
					req.AddCookie(&http.Cookie{Name: "s", Value: "1"})
					got := do(t, req)
					got.header.Del("Date")
					return got
				}
				got, want := ask(s.URL), ask(oracle.URL)
				if got.err != nil || want.err != nil {
					t.Fatal(got.err, want.err)
				}
				if got.status != want.status || got.body != want.body {
					t.Errorf("%d, %d bytes, %.80q; gofast: %d, %d bytes, %.80q",
						got.status, len(got.body), got.body, want.status, len(want.body), want.body)
				}
				if diff := cmp.Diff(want.header, got.header); diff != "" {
					t.Errorf("header (- gofast, + %s):\n%s", name, diff)
				}
			})
		}
	}
}
