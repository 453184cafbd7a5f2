package exchange

import (
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sluice/cgi"
	"sluice/fcgi"
	"sluice/sendfile"
)

// asking makes the rig's app an authorizer, which is asked about every request;
// what it allows is answered with its variables.
func asking(t *testing.T, o rigOptions) *rig {
	r := newRig(t, o)
	r.app.Backend.(*FastCGI).Role = fcgi.Authorizer
	r.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		local, _ := req.Context().Value(http.LocalAddrContextKey).(net.Addr)
		begin := time.Now()
		ans, err := r.app.Authorize(w, &Request{HTTP: req, Meta: &cgi.Meta{Request: req, ScriptName: "/s", PathInfo: "/i",
			DocumentRoot: "/root", ScriptFilename: "/root/s", Local: local}})
		r.finish(w, begin, ans, err)
		if err == nil && ans.Allowed {
			body, err := io.ReadAll(req.Body)
			if err != nil {
				t.Error(err)
			}
			w.Header().Set("Allowed", "yes")
			w.Write(body)
		}
	})
	return r
}

func TestAuthorizerAllows(t *testing.T) {
	r := asking(t, rigOptions{})
	for _, method := range []string{"GET", "POST", "HEAD", "DELETE"} {
		var asked *call
		r.script(func(c *call) {
			asked = c
			if in, err := c.stdin(); len(in) > 0 || err != nil {
				t.Errorf("%s: input %q, %v", method, in, err)
			}
			c.out("Status: 200\r\nContent-Type: text/x-dropped\r\nSet-Cookie: dropped=1\r\n")
			c.say("Variable-REMOTE_USER: ann\r\nvariable-auth_type: Basic\r\nVariable-X_9: a b\r\nVariable-Empty:\r\nX-Sendfile: /etc/passwd\r\n\r\nthe body")
		})
		body := strings.Repeat("b", 50_000)
		res := r.do(method, "/x?q=1", strings.NewReader(body))
		if method == "HEAD" {
			body = ""
		}
		if res.status != 200 || res.header.Get("Allowed") != "yes" || res.body != body {
			t.Fatalf("%s: %d, %d bytes, %v", method, res.status, len(res.body), res.end.err)
		}
		for _, f := range []string{"Set-Cookie", "X-Sendfile"} {
			if res.header.Get(f) != "" {
				t.Errorf("%s: %s of the authorizer reached the client", method, f)
			}
		}
		want := map[string]string{"REMOTE_USER": "ann", "AUTH_TYPE": "Basic", "X_9": "a b", "EMPTY": ""}
		if !maps.Equal(res.end.ans.Variables, want) {
			t.Errorf("%s: variables %v", method, res.end.ans.Variables)
		}
		if asked.role != 2 || asked.params["REQUEST_METHOD"] != method || asked.params["QUERY_STRING"] != "q=1" ||
			asked.params["SCRIPT_FILENAME"] != "/root/s" || asked.params["DOCUMENT_URI"] != "/s/i" {
			t.Errorf("%s: role %d, %v", method, asked.role, asked.params)
		}
		for _, name := range []string{"CONTENT_LENGTH", "PATH_INFO", "PATH_TRANSLATED", "SCRIPT_NAME"} {
			if v, ok := asked.params[name]; ok {
				t.Errorf("%s: the authorizer is told %s=%s", method, name, v)
			}
		}
		r.free(time.Second)
	}
}

func TestAuthorizerRefuses(t *testing.T) {
	r := asking(t, rigOptions{})
	cases := []struct {
		name, method, says string
		status             int
		header, body       string
	}{
		{"401", "GET", "Status: 401\r\nWWW-Authenticate: Basic realm=x\r\n\r\nwho?", 401, "Www-Authenticate: Basic realm=x", "who?"},
		{"403 to a POST", "POST", "Status: 403\r\n\r\nno", 403, "", "no"},
		{"HEAD", "HEAD", "Status: 403\r\nX-A: b\r\n\r\nno", 403, "X-A: b", ""},
		{"another success", "GET", "Status: 204\r\n\r\n", 204, "", ""},
		{"201", "GET", "Status: 201\r\n\r\nmade", 201, "", "made"},
		{"redirect", "GET", "Location: http://login/\r\n\r\n", 302, "Location: http://login/", ""},
		{"redirect with a cookie", "GET", "Location: /login\r\nSet-Cookie: a=b\r\n\r\n", 302, "Location: /login", ""},
		{"local redirect", "GET", "Location: /login?a\r\n\r\n", 200, "Test-Redirect: /login?a", ""},
		{"variables are not for the client", "GET", "Status: 403\r\nVariable-REMOTE_USER: x\r\nX-Sendfile: /etc/passwd\r\nX-Accel-Redirect: /x\r\n\r\nno", 403, "", "no"},
		{"long", "GET", "Status: 403\r\n\r\n" + strings.Repeat("no", 100_000), 403, "", strings.Repeat("no", 100_000)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r.t = t
			r.script(func(call *call) { call.say(c.says) })
			res := r.do(c.method, "/x", nil)
			if res.status != c.status || res.body != c.body || res.err != nil || res.end.err != nil || res.end.ans.Allowed {
				t.Fatalf("%d, %.40q, %v, %+v", res.status, res.body, res.err, res.end)
			}
			if name, value, ok := strings.Cut(c.header, ": "); ok && res.header.Get(name) != value {
				t.Errorf("%s: %q", c.header, res.header.Get(name))
			}
			for name := range res.header {
				if strings.HasPrefix(name, "Variable-") || sendfile.Known(name) {
					t.Errorf("the client got %s", name)
				}
			}
			r.free(time.Second)
		})
	}
}

// A request is never allowed by an authorizer that fails, in whatever way.
func TestAuthorizerFails(t *testing.T) {
	const yes = "Status: 200\r\nVariable-A: b\r\n\r\n"
	cases := []struct {
		name   string
		child  func(*call)
		status int
		tries  int
	}{
		{"dies", (*call).die, 502, 2},
		{"dies behind its header", func(c *call) { c.out(yes); c.die() }, 502, 1},
		{"dies in its body", func(c *call) { c.out(yes, "some"); time.Sleep(30 * time.Millisecond); c.die() }, 502, 1},
		{"no header", func(c *call) { c.end() }, 502, 1},
		{"half a header", func(c *call) { c.say("Status: 200\r\nVariable-A: b\r\n") }, 502, 1},
		{"bad header", func(c *call) { c.say("Status: 200\r\nVariable A\r\n\r\n") }, 502, 1},
		{"short", func(c *call) { c.say("Status: 200\r\nContent-Length: 9\r\n\r\nshort") }, 502, 1},
		{"endless", func(c *call) {
			for c.out(yes+strings.Repeat("x", 8000)) == nil {
			}
		}, 502, 1},
		{"ends badly", func(c *call) { c.out(yes); c.end(7) }, 502, 1},
		{"status 101", func(c *call) { c.say("Status: 101\r\n\r\n") }, 502, 1},
		{"wrong version", func(c *call) { c.out(yes); c.Write([]byte{9, 9, 9, 9, 9, 9, 9, 9}); c.die() }, 502, 1},
		{"OVERLOADED", func(c *call) { c.end(0, 2) }, 503, 2},
		{"UNKNOWN_ROLE", func(c *call) { c.end(0, 3) }, 500, 1},
		{"OVERLOADED behind its header", func(c *call) { c.out(yes); c.end(0, 2) }, 503, 2},
		{"silent", func(c *call) { c.departure(5 * time.Second) }, 504, 1},
		{"never ends", func(c *call) { c.out(yes); c.departure(5 * time.Second) }, 504, 1},
	}
	r := asking(t, rigOptions{change: func(a *App) { a.HeaderTimeout = 200 * time.Millisecond }})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r.t = t
			r.script(c.child)
			res := r.do("POST", "/x", strings.NewReader("body"))
			if res.status != c.status || res.end.err == nil || res.end.ans.Allowed || res.header.Get("Allowed") != "" {
				t.Errorf("%d, %+v", res.status, res.end)
			}
			if tries := len(r.slots()); tries != c.tries {
				t.Errorf("%d tries, want %d", tries, c.tries)
			}
			r.free(time.Second)
		})
	}
}

// The question may be repeated whatever the method, and goes over a kept
// connection.
func TestAuthorizerIsRepeated(t *testing.T) {
	r := asking(t, rigOptions{})
	r.script(first((*call).die))
	if res := r.do("POST", "/x", strings.NewReader("body")); res.status != 200 || !res.end.ans.Allowed || res.body != "body" {
		t.Errorf("%d, %+v", res.status, res.end)
	}
	kept := asking(t, rigOptions{children: 1, keepAlive: true})
	var conns []net.Conn
	kept.script(func(c *call) { c.stdin(); conns = append(conns, c.Conn); c.say("Status: 200\r\n\r\n") })
	for range 2 {
		kept.do("POST", "/x", strings.NewReader("body"))
		kept.free(time.Second)
	}
	if len(conns) != 2 || conns[0] != conns[1] {
		t.Errorf("connections %v", conns)
	}
}

// Interim answers of an authorizer are nobody's.
func TestAuthorizerInterim(t *testing.T) {
	r := asking(t, rigOptions{})
	r.script(func(c *call) { c.say("Status: 103\r\nLink: </secret>\r\n\r\nStatus: 403\r\n\r\nno") })
	rec := httptest.NewRecorder()
	req := httptest.NewRequest("GET", "/x", nil)
	if _, err := r.app.Authorize(rec, &Request{HTTP: req, Meta: &cgi.Meta{Request: req}}); err != nil {
		t.Fatal(err)
	}
	if rec.Code != 403 || rec.Header().Get("Link") != "" {
		t.Errorf("%d, %v", rec.Code, rec.Header())
	}
}

func TestSettable(t *testing.T) {
	for _, name := range []string{"REMOTE_USER", "AUTH_TYPE", "USER_ID", "X", "_X", "LDAP_DN", "PATHWAY", "REMOTE_USER_ID", "SCRIPTED", "HTTPD"} {
		if !settable(name) {
			t.Errorf("%s may not be set", name)
		}
	}
	for _, name := range []string{"", "9X", "A-B", "A.B", "a", "É", "HTTP_PROXY", "HTTP_HOST", "HTTP_", "HTTPS", "PATH", "PATH_INFO",
		"PATH_TRANSLATED", "LD_PRELOAD", "LD_LIBRARY_PATH", "SCRIPT_FILENAME", "SCRIPT_NAME", "DOCUMENT_ROOT", "DOCUMENT_URI",
		"PHP_VALUE", "PHP_ADMIN_VALUE", "FCGI_ROLE", "FCGI_DATA_LENGTH", "REMOTE_IDENT"} {
		if settable(name) {
			t.Errorf("%s may be set", name)
		}
	}
	// Nor any meta-variable that a request has, but for the two.
	req := httptest.NewRequest("POST", "/s/i?q", strings.NewReader("x"))
	req.Header.Set("Content-Type", "text/plain")
	req.Header.Set("X-Own", "1")
	m := &cgi.Meta{Request: req, ScriptName: "/s", ScriptFilename: "/s", PathInfo: "/i", DocumentRoot: "/", BodyLength: 1,
		Software: "x", Local: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80}}
	m.Each(func(name, _ string) {
		if settable(name) {
			t.Errorf("%s may be set", name)
		}
	})
	for _, r := range reserved {
		if settable(r.name) || r.why == "" {
			t.Errorf("row %+v", r)
		}
	}
}
