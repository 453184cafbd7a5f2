package conformance

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// A handler that panics: the connection ends without a clean end of the answer,
// the cause is logged but for http.ErrAbortHandler, and the server serves on.
func TestPanic(t *testing.T) {
	panics := func(h http.HandlerFunc, with any) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			h(w, r)
			panic(with)
		}
	}
	for _, x := range []struct {
		name   string
		h      http.HandlerFunc
		said   string // of an answer; "" none
		logged bool
	}{
		{"before any byte", panics(nothing, "ouch"), "", true},
		{"by nil", panics(nothing, nil), "", true},
		{"after a small write", panics(says("hello"), "ouch"), "", true},
		{"after a status", panics(status(404, nothing), "ouch"), "", true},
		{"after a flush", panics(flushes("hello"), "ouch"), "200 chunked hello CUT", true},
		{"after a large write", panics(says(big), "ouch"), "200 chunked", true},
		{"within a length", panics(with(flushes("hello"), "Content-Length", "10"), "ouch"), "200 sized hello CUT", true},
		{"meant, before any byte", panics(nothing, http.ErrAbortHandler), "", false},
		{"meant, after a flush", panics(flushes("hello"), http.ErrAbortHandler), "200 chunked hello CUT", false},
		{"taken over", func(w http.ResponseWriter, r *http.Request) {
			conn, _ := hijacked(t, w)
			conn.Close()
			panic("ouch")
		}, "", true},
	} {
		t.Run(x.name, func(t *testing.T) {
			each(t, func(t *testing.T, m mode) {
				s := m.serve(t, x.h)
				c := dial(t, s)
				c.send(get)
				a, err := c.read("GET")
				switch {
				case x.said == "" && err == nil:
					t.Errorf("%v", a)
				case x.said != "" && (err != nil || !strings.HasPrefix(a.String(), x.said) || a.cut == nil):
					t.Errorf("%v, %v", a, err)
				}
				if x.logged {
					eventually(t, "logged", func() bool { return s.log.String() != "" })
				} else if s.log.String() != "" {
					t.Errorf("logged %q", s.log)
				}
				if s := dial(t, s).probe(); s != "open" {
					t.Error(s)
				}
			})
		})
	}
}

// A panic after half of a request's body does not leave the other half to be
// taken for a request.
func TestPanicInBody(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		seen := make(chan string, 5)
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			seen <- r.URL.Path
			io.ReadFull(r.Body, make([]byte, 3))
			panic(http.ErrAbortHandler)
		}))
		inner := request("GET /smuggled HTTP/1.1")
		c.send(request("POST /a HTTP/1.1", fmt.Sprintf("Content-Length: %d", 3+len(inner))) + "abc" + inner)
		if a, err := c.read("POST"); err == nil {
			t.Error(a)
		}
		take(t, "request", seen)
		if len(seen) > 0 {
			t.Error(<-seen)
		}
	})
}
