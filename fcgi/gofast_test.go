package fcgi

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"sluice/cgi"
	"sluice/internal/leak"
)

// TestNotLikeGofast has a row for each defect of gofast v0.8.0 that concerns
// the wire or the header: it is not ours.
func TestNotLikeGofast(t *testing.T) {
	for _, c := range []struct {
		defect string
		test   func(*testing.T)
	}{
		{"an application that dies in mid-answer has answered", func(t *testing.T) {
			ex := reading(t, play(stdout("Content-Type: a/b\n\nhalf")), nil)
			h, rest, _, err := cgi.ReadHeader(ex, nil, 1000)
			if err != nil || h.Code() != 200 || string(rest) != "half" {
				t.Fatal(h, string(rest), err)
			}
			_, err = io.ReadAll(ex)
			died(t, err)
		}},
		{"the body of END_REQUEST is ignored", func(t *testing.T) {
			_, err := reading(t, play(end(7, 2)), nil).Read(make([]byte, 1))
			var se *StatusError
			if !errors.As(err, &se) || !se.Refused() {
				t.Error(err)
			}
		}},
		{"a header line over 1024 bytes hangs", func(t *testing.T) {
			ex := reading(t, play(stdout("Content-Security-Policy: "+strings.Repeat("x", 60000)+"\n\n"), stdout("ok")+end(0, 0)), nil)
			h, rest, _, err := cgi.ReadHeader(ex, nil, 64<<10)
			if err != nil || len(h.Fields.Get("Content-Security-Policy")) != 60000 || string(rest)+answer(t, ex) != "ok" {
				t.Error(err)
			}
		}},
		{"a line without a colon hangs", func(t *testing.T) {
			nc := start(t, func(a *app) {
				a.request()
				a.say(stdout("what is this\n\n" + text(60000)))
				a.rest()
			})
			ex := begun(t, nc, &Request{Role: Responder})
			_, _, _, err := cgi.ReadHeader(ex, nil, 1000)
			var he *cgi.HeaderError
			if !errors.As(err, &he) {
				t.Error(err)
			}
			ex.Close(cgi.Stop)
		}},
		{"a header block has no limit", func(t *testing.T) {
			nc := play()
			for range 1000 {
				nc.steps = append(nc.steps, step{data: stdout(strings.Repeat("A: b\n", 1000))})
			}
			_, _, _, err := cgi.ReadHeader(reading(t, nc, nil), nil, 64<<10)
			var he *cgi.HeaderError
			if !errors.As(err, &he) || len(nc.steps) < 900 {
				t.Errorf("%v, %d records left", err, len(nc.steps))
			}
		}},
		{"status in lower case is no Status", func(t *testing.T) {
			h, _, _, err := cgi.ReadHeader(reading(t, play(stdout("status: 404\n\n")+end(0, 0)), nil), nil, 1000)
			if err != nil || h.Code() != 404 {
				t.Error(h, err)
			}
		}},
		{"Status: 099 kills the server", func(t *testing.T) {
			h, _, _, err := cgi.ReadHeader(reading(t, play(stdout("Status: 099\n\n")+end(0, 0)), nil), nil, 1000)
			if err == nil {
				t.Error(h)
			}
		}},
		{"Status: 103 loses the status behind it", func(t *testing.T) {
			ex := reading(t, play(stdout("Status: 103\nLink: </a>\n\nStatus: 404\n\nbody")+end(0, 0)), nil)
			h, rest, whole, err := cgi.ReadHeader(ex, nil, 1000)
			if err != nil || h.Status != 103 {
				t.Fatal(h, err)
			}
			h, rest, _, err = cgi.ReadHeader(ex, whole[:copy(whole, rest)], 1000)
			if err != nil || h.Status != 404 || string(rest) != "body" {
				t.Error(h, err)
			}
		}},
		{"no ABORT_REQUEST when the client goes", func(t *testing.T) {
			nc := play(stdout("a"))
			begun(t, nc, &Request{}).Close(cgi.Abort)
			if last := nc.writes[len(nc.writes)-1]; last[1] != 2 {
				t.Errorf("% x", last)
			}
		}},
		{"a client that leaves in mid-upload ends the input", func(t *testing.T) {
			nc := play()
			ex := begun(t, nc, &Request{Stdin: io.MultiReader(strings.NewReader(text(100<<10)), iotest.ErrReader(io.ErrUnexpectedEOF))})
			<-ex.uploadDone
			a := &app{t: t, in: newReader(slices.Concat(nc.writes...))}
			if g := a.begin(); a.input(g) == nil || g.ended || len(g.stdin) == 0 || nc.closed == 0 {
				t.Errorf("ended %v after %d bytes, closed %d times", g.ended, len(g.stdin), nc.closed)
			}
		}},
		{"Close during an upload kills the process", func(t *testing.T) {
			nc := start(t, func(a *app) { a.begin(); a.rest() })
			ex := begun(t, nc, &Request{Stdin: strings.NewReader(text(1 << 20))})
			ex.Close(cgi.Stop)
			ex.Close(cgi.Abort)
		}},
		{"request ids are not looked at", func(t *testing.T) {
			ex := reading(t, play(rec(6, 2, "another's", 0)+rec(3, 2, "\x00\x00\x00\x00\x00\x00\x00\x00", 0)+stdout("mine")+end(0, 0)), nil)
			if got := answer(t, ex); got != "mine" {
				t.Errorf("%q", got)
			}
		}},
		{"the next request gets what a cancelled one left", func(t *testing.T) {
			ex := reading(t, play(stdout("first")+end(0, 0)), nil)
			ex.Read(make([]byte, 2))
			if ex.Keep() != nil {
				t.Error("kept")
			}
		}},
		{"KeepConn is ignored", func(t *testing.T) {
			for _, keep := range []bool{false, true} {
				a := &app{t: t, in: newReader(sent(t, &Request{KeepConn: keep}))}
				if g := a.request(); (g.flags == 1) != keep {
					t.Errorf("%v is sent as %d", keep, g.flags)
				}
			}
		}},
		{"the whole input is read before the answer may end", func(t *testing.T) {
			nc := start(t, func(a *app) { a.begin(); a.say(stdout("no"), end(0, 0)); a.rest() })
			ex := begun(t, nc, &Request{Stdin: strings.NewReader(text(8 << 20))})
			if got := answer(t, ex); got != "no" {
				t.Errorf("%q", got)
			}
			ex.Close(cgi.Complete)
		}},
		{"standard error is kept in memory to the end", func(t *testing.T) {
			seen := make(chan string, 1)
			nc := start(t, func(a *app) { a.request(); a.say(stderr("now")); a.rest() })
			ex := begun(t, nc, &Request{Stderr: writer(func(p []byte) (int, error) { seen <- string(p); return len(p), nil })})
			ex.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			ex.Read(make([]byte, 1))
			if got := <-seen; got != "now" {
				t.Errorf("%q", got)
			}
			ex.Close(cgi.Stop)
		}},
		{"four writes for a GET", func(t *testing.T) { sent(t, &Request{Params: params(pair{"A", "b"})}) }},
		{"seven goroutines for a request", func(t *testing.T) {
			before := leak.Now().Goroutines
			ex := reading(t, play(stdout("a")+end(0, 0)), nil)
			if now := leak.Now().Goroutines; now != before {
				t.Errorf("%d, before %d", now, before)
			}
			ex.Close(cgi.Stop)
		}},
		{"HTTP_PROXY, aliases, cookies by comma, no REQUEST_SCHEME, CONTENT_LENGTH=0", func(t *testing.T) {
			r := httptest.NewRequest("GET", "/a?b", nil)
			r.Header = http.Header{"Proxy": {"x"}, "X_a": {"y"}, "Cookie": {"a=1", "b=2"}}
			m := &cgi.Meta{Request: r}
			a := &app{t: t, in: newReader(sent(t, &Request{Params: m.Each}))}
			got := map[string]string{}
			for _, p := range a.request().params {
				got[p.name] = p.value
			}
			for name, want := range map[string]string{"HTTP_COOKIE": "a=1; b=2", "REQUEST_SCHEME": "http", "HTTP_PROXY": "", "HTTP_X_A": "", "CONTENT_LENGTH": ""} {
				if got[name] != want {
					t.Errorf("%s is %q, want %q", name, got[name], want)
				}
			}
		}},
	} {
		t.Run(c.defect, c.test)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }
