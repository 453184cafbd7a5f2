package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script says as its header what the request's field X-Head says, as the
// scripted FastCGI child does.
const headScript = `#!/bin/sh
printf '%s' "$HTTP_X_HEAD" | tr '|' '\n'
printf '\n\nthe body of the script\n'
`

// innerScript is another application, at which a redirect arrives. It redirects
// on by what X-Inner says.
const innerScript = `#!/bin/sh
if [ "$HTTP_X_INNER" ]; then
	printf '%s' "$HTTP_X_INNER" | tr '|' '\n'
	printf '\n\n'
	exit
fi
printf 'Status: 203\nContent-Type: text/plain\nX-Own: inner\nSet-Cookie: inner=1\n\n'
printf 'method=%s uri=%s query=%s info=%s length=%s\n' "$REQUEST_METHOD" "$REQUEST_URI" "$QUERY_STRING" "$PATH_INFO" "$CONTENT_LENGTH"
`

// acceleratedSite is a site with a script and a FastCGI child that say what they
// are told, below /cgi and /fcgi, and with routes to which they may redirect. more
// is for both applications.
func acceleratedSite(t *testing.T, more string) *site {
	dir := testDir(t)
	write(t, dir, "head.cgi", headScript)
	write(t, dir, "inner.cgi", innerScript)
	write(t, dir, "files/a.txt", "0123456789")
	write(t, dir, "files/100%?#.txt", "odd")
	write(t, dir, "files/folder/index.html", "the index")
	write(t, dir, "files/bare/x", "")
	write(t, dir, "www/public.txt", "public")
	write(t, dir, "www/folder/x", "")
	apps := ""
	for name, kind := range map[string]string{"cgi": "kind = \"cgi\"\n", "fcgi": "kind = \"fastcgi\"\ncommand = [\"fcgi-child\"]\n"} {
		apps += fmt.Sprintf("[[app]]\nname = %q\n%s%s\n", name, kind, more)
	}
	return startSite(t, dir, fmt.Sprintf(`
[log]
access = "access.log"
%s
[[app]]
name = "inner"
kind = "cgi"
[[site]]
root = "www"
[[site.route]]
match = "/cgi"
app = "cgi"
script = "head.cgi"
[[site.route]]
match = "/fcgi"
app = "fcgi"
[[site.route]]
match = "/protected/"
internal = true
alias = "files/"
[[site.route]]
match = "/inner"
internal = true
app = "inner"
script = "inner.cgi"
[[site.route]]
match = "/denied/"
deny = true
`, apps))
}

// both runs a test with a script and with a FastCGI child.
func both(t *testing.T, f func(t *testing.T, prefix string)) {
	for _, prefix := range []string{"/cgi", "/fcgi"} {
		t.Run(prefix[1:], func(t *testing.T) { f(t, prefix) })
	}
}

func (a *httpAnswer) field(t *testing.T, name, want string) {
	t.Helper()
	if got := strings.Join(a.Header.Values(name), " & "); got != want {
		t.Errorf("%s: %q, want %q", name, got, want)
	}
}

// Where X-Accel-Redirect leads, and where not: whatever it names, nothing tells of
// internal paths.
func TestAccelRedirectTargets(t *testing.T) {
	s := acceleratedSite(t, "")
	both(t, func(t *testing.T, prefix string) {
		for _, c := range []struct {
			uri    string
			status int
			body   string
		}{
			{"/protected/a.txt", 200, "0123456789"},
			{"/public.txt", 200, "public"},
			{"/protected/100%25%3F%23.txt", 200, "odd"}, // decoded once
			{"/protected/100%25%3f#.txt?x=y", 200, "odd"},
			{"/protected//a.txt", 200, "0123456789"},
			{"/protected/folder%2Findex.html", 200, "the index"},
			{"/protected/folder/", 200, "the index"},
			{"/protected/bare/", 403, ""},
			{"/folder/", 403, ""},
			{"/denied/x", 403, ""},
			// A folder without its slash is no redirect, which would tell of it.
			{"/protected/folder", 404, ""},
			{"/protected", 404, ""},
			{"/folder", 404, ""},
			{"/protected/none", 404, ""},
			{"/protected/a.txt/", 404, ""},
			{"/protected/100%2525.txt", 404, ""},
			{"/none", 404, ""},
			{"/protected/../public.txt", 404, ""},
			{"/protected/%2e%2e/public.txt", 404, ""},
			{"/protected/%2E./a.txt", 404, ""},
			{"/protected/a.txt%00", 404, ""},
			{"/protected/%zz", 404, ""},
			{"?x", 404, ""},
			{"protected/a.txt", 404, ""},
			{"http://127.0.0.1/protected/a.txt", 404, ""},
			{"@named", 404, ""},
			{"", 404, ""},
		} {
			a := s.get(c.status, prefix, "X-Head: X-Accel-Redirect: "+c.uri)
			if c.body != "" && a.body != c.body || strings.Contains(a.body, "script") {
				t.Errorf("%q: %q", c.uri, a.body)
			}
			a.field(t, "X-Accel-Redirect", "")
			a.field(t, "Location", "")
		}
		a := s.get(502, prefix, "X-Head: X-Accel-Redirect: /public.txt|X-Accel-Redirect: /public.txt")
		a.field(t, "X-Accel-Redirect", "")
	})
	s.get(404, "/protected/a.txt") // from outside
}

// What is kept of the child: six fields, and nothing else.
func TestAccelRedirectHeader(t *testing.T) {
	s := acceleratedSite(t, "")
	both(t, func(t *testing.T, prefix string) {
		a := s.get(200, prefix, "X-Head: Status: 500|Content-Type: audio/ogg|Content-Disposition: attachment; filename=x.ogg|"+
			"Set-Cookie: a=1|Set-Cookie: b=2|Cache-Control: private|Expires: Thu, 01 Jan 1970 00:00:01 GMT|"+
			"ETag: \"child\"|Last-Modified: Thu, 01 Jan 1970 00:00:01 GMT|Content-Encoding: gzip|Content-Length: 3|"+
			"Content-Language: en|Vary: Cookie|Link: </x>|Location: /y|X-Own: 1|WWW-Authenticate: Basic|X-Accel-Redirect: /protected/a.txt")
		a.field(t, "Content-Type", "audio/ogg")
		a.field(t, "Content-Disposition", "attachment; filename=x.ogg")
		a.field(t, "Set-Cookie", "a=1 & b=2")
		a.field(t, "Cache-Control", "private")
		a.field(t, "Expires", "Thu, 01 Jan 1970 00:00:01 GMT")
		for _, name := range []string{"Content-Encoding", "Content-Language", "Vary", "Link", "Location", "X-Own", "Www-Authenticate"} {
			a.field(t, name, "")
		}
		if a.body != "0123456789" || a.Header.Get("Etag") == `"child"` || a.Header.Get("Last-Modified") == "Thu, 01 Jan 1970 00:00:01 GMT" {
			t.Errorf("%q %v", a.body, a.Header)
		}
		a.field(t, "Accept-Ranges", "bytes")
		// Without a type it is the file's.
		s.get(200, prefix, "X-Head: X-Own: 1|X-Accel-Redirect: /protected/a.txt").field(t, "Content-Type", "text/plain; charset=utf-8")
		// The page of an error is none of the child's.
		a = s.get(404, prefix, "X-Head: Content-Disposition: attachment|Cache-Control: max-age=9|Set-Cookie: a=1|X-Accel-Redirect: /protected/none")
		for _, name := range []string{"Content-Disposition", "Cache-Control", "Set-Cookie"} {
			a.field(t, name, "")
		}
	})
}

// The client's conditions and ranges are about the file, and its method is GET or
// HEAD.
func TestAccelRedirectRequest(t *testing.T) {
	s := acceleratedSite(t, "")
	both(t, func(t *testing.T, prefix string) {
		head := "X-Head: Content-Type: text/plain|X-Accel-Redirect: /protected/a.txt"
		a := s.get(200, prefix, head)
		etag, modified := a.Header.Get("Etag"), a.Header.Get("Last-Modified")
		s.get(304, prefix, head, "If-None-Match: "+etag)
		s.get(304, prefix, head, "If-Modified-Since: "+modified)
		s.get(412, prefix, head, `If-Match: "other"`)
		a = s.get(206, prefix, head, "Range: bytes=2-4", "If-Range: "+etag)
		a.has(t, "234")
		a.field(t, "Content-Range", "bytes 2-4/10")
		s.get(200, prefix, head, "Range: bytes=2-4", `If-Range: "other"`)
		a = s.get(206, prefix, head, "Range: bytes=0-0,9-9")
		a.has(t, "bytes 0-0/10", "bytes 9-9/10", "Content-Type: text/plain")
		s.get(416, prefix, head, "Range: bytes=10-").field(t, "Content-Range", "bytes */10")
		// "none" of the child turns ranges off.
		a = s.get(200, prefix, head+"|Accept-Ranges: none", "Range: bytes=2-4")
		a.field(t, "Accept-Ranges", "none")
		for _, method := range []string{"POST", "PUT", "DELETE", "OPTIONS"} {
			a = s.do(httpRequest{method: method, target: prefix, body: "x", fields: []string{head}})
			if a.StatusCode != 200 || a.body != "0123456789" {
				t.Errorf("%s: %s %q", method, a.Status, a.body)
			}
		}
		a = s.do(httpRequest{method: "HEAD", target: prefix, fields: []string{head}})
		if a.StatusCode != 200 || a.body != "" || a.ContentLength != 10 {
			t.Errorf("HEAD: %s %q %d", a.Status, a.body, a.ContentLength)
		}
	})
}

// A redirect may lead to another application, five deep.
func TestAccelRedirectToApp(t *testing.T) {
	s := acceleratedSite(t, "")
	both(t, func(t *testing.T, prefix string) {
		head := "X-Head: Content-Type: text/html|Cache-Control: private|Set-Cookie: a=1|X-Own: 1|X-Accel-Redirect: /inner/info?q=1&r=%20"
		a := s.post(203, prefix+"?client", "body", head)
		a.has(t, "method=GET uri="+prefix+"?client query=q=1&r=%20 info=/info length=\n")
		a.field(t, "Content-Type", "text/plain")
		a.field(t, "Cache-Control", "private")
		a.field(t, "Set-Cookie", "a=1 & inner=1")
		a.field(t, "X-Own", "inner")
		a = s.do(httpRequest{method: "HEAD", target: prefix, fields: []string{head}})
		a.want(t, 203)
		// On to a file: what both keep, the second first.
		a = s.get(200, prefix, head, "X-Inner: Cache-Control: no-store|Set-Cookie: b=2|X-Accel-Redirect: /protected/a.txt")
		a.has(t, "0123456789")
		a.field(t, "Content-Type", "text/html")
		a.field(t, "Cache-Control", "no-store")
		a.field(t, "Set-Cookie", "a=1 & b=2")
		// In circles.
		s.get(500, prefix, "X-Head: X-Accel-Redirect: "+prefix)
		s.get(500, prefix, "X-Head: X-Accel-Redirect: /inner", "X-Inner: Location: /inner")
	})
}

// A file sent so is the application's in the access log, and a header that is not
// among those that act is only taken off.
func TestAccelRedirectOff(t *testing.T) {
	s := acceleratedSite(t, "[app.send_file]\nheaders = [\"X-Sendfile\"]")
	both(t, func(t *testing.T, prefix string) {
		a := s.get(200, prefix, "X-Head: Content-Type: text/plain|X-Accel-Redirect: /protected/a.txt|X-Accel-Limit-Rate: 0|X-Reproxy-URL: http://127.0.0.1/|X-Reproxy-Expected-Size: 5")
		if strings.Contains(a.body, "0123") {
			t.Errorf("%q", a.body)
		}
		for name := range a.Header {
			if strings.HasPrefix(name, "X-") {
				t.Errorf("%s reaches the client", name)
			}
		}
	})
}

// type of the application is that of what it redirects to, too: most PHP says
// text/html without wanting to.
func TestAccelRedirectType(t *testing.T) {
	s := acceleratedSite(t, "[app.send_file]\ntype = \"default\"")
	both(t, func(t *testing.T, prefix string) {
		s.get(200, prefix, "X-Head: Content-Type: text/html; charset=UTF-8|X-Accel-Redirect: /protected/a.txt").
			field(t, "Content-Type", "text/plain; charset=utf-8")
		s.get(200, prefix, "X-Head: Content-Type: image/x|X-Accel-Redirect: /protected/a.txt").field(t, "Content-Type", "image/x")
	})
}

// X-Accel-Expires and X-Accel-Charset are for every answer.
func TestAccelSteers(t *testing.T) {
	s := acceleratedSite(t, "[app.send_file]\nroots = [\"files\"]")
	both(t, func(t *testing.T, prefix string) {
		for _, to := range []string{"X-Own: 1", "X-Accel-Redirect: /protected/a.txt", "X-Sendfile: " + s.dir + "/files/a.txt",
			"X-Sendfile2: " + s.dir + "/files/a.txt 0-"} {
			a := s.get(200, prefix, "X-Head: Content-Type: text/plain|X-Accel-Charset: koi8-r|X-Accel-Expires: 300|"+to)
			a.field(t, "Content-Type", "text/plain; charset=koi8-r")
			a.field(t, "Cache-Control", "max-age=300")
			if e, err := http.ParseTime(a.Header.Get("Expires")); err != nil || time.Until(e) < time.Minute || time.Until(e) > 6*time.Minute {
				t.Errorf("Expires: %v", a.Header["Expires"])
			}
			a = s.get(200, prefix, "X-Head: Content-Type: image/png|Cache-Control: private|X-Accel-Charset: koi8-r|X-Accel-Expires: @4000000000|"+to)
			a.field(t, "Content-Type", "image/png")
			a.field(t, "Cache-Control", "private")
			a.field(t, "Expires", "")
			a.field(t, "X-Accel-Charset", "")
			a.field(t, "X-Accel-Expires", "")
		}
	})
}

// X-Accel-Buffering beats the route: without a spool the child waits for a client
// that reads nothing, and with one it does not.
func TestAccelBuffering(t *testing.T) {
	dir := testDir(t)
	write(t, dir, "big.cgi", "#!/bin/sh\nprintf 'Content-Type: text/plain\\nX-Accel-Buffering: %s\\n\\n' \"$QUERY_STRING\"\nhead -c 64000000 /dev/zero\ntouch \"$QUERY_STRING$SCRIPT_NAME.done\"\n")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, "yes"), 0o777))
	must(os.MkdirAll(filepath.Join(dir, "no"), 0o777))
	s := startSite(t, dir, `
[[app]]
name = "big"
kind = "cgi"
[[site]]
[[site.route]]
match = "/spool"
app = "big"
script = "big.cgi"
[[site.route]]
match = "/stream"
app = "big"
script = "big.cgi"
stream_response = true
`)
	ask := func(target string) {
		c, err := net.Dial("tcp", s.addr)
		must(err)
		t.Cleanup(func() { c.Close() })
		c.(*net.TCPConn).SetReadBuffer(4096)
		_, err = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target)
		must(err)
	}
	exists := func(name string) bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }
	ask("/spool?no")
	ask("/stream?yes")
	if !waitFor(20*time.Second, func() bool { return exists("yes/stream.done") }) {
		t.Error("X-Accel-Buffering: yes: the script waits for the client")
	}
	time.Sleep(200 * time.Millisecond)
	if exists("no/spool.done") {
		t.Error("X-Accel-Buffering: no: the script does not wait for the client")
	}
}

// limit_rate, and X-Accel-Limit-Rate which beats it, hold for whatever the client
// gets of the application.
func TestLimitRate(t *testing.T) {
	s := acceleratedSite(t, "limit_rate = 30000\n[app.send_file]\nroots = [\"files\"]")
	big := write(t, s.dir, "files/big", "")
	if err := os.Truncate(big, 90_000); err != nil {
		t.Fatal(err)
	}
	const want = 3 * time.Second
	type ask struct{ target, head string }
	asks := map[string]ask{}
	for _, prefix := range []string{"/cgi", "/fcgi"} {
		asks[prefix+" a file"] = ask{prefix, "X-Sendfile: " + big}
		asks[prefix+" a redirect"] = ask{prefix, "X-Accel-Redirect: /protected/big"}
		asks[prefix+" a redirect, at its own rate"] = ask{prefix, "X-Accel-Limit-Rate: 30000|X-Accel-Redirect: /protected/big"}
	}
	asks["/fcgi a body"] = ask{"/fcgi?noise=90000", "Content-Type: text/plain"}
	for name, a := range asks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := httpRequest{target: a.target, fields: []string{"X-Head: " + a.head}}.send("tcp", s.addr)
			if err != nil || got.err != nil || got.StatusCode != 200 || len(got.body) < 90_000 {
				t.Fatalf("%+v, %v", got, err)
			}
			if got.took < want*95/100 || got.took > want*105/100+slack {
				t.Errorf("took %v, want %v", got.took, want)
			}
		})
	}
	for name, head := range map[string]string{"none": "X-Accel-Limit-Rate: 0|X-Sendfile: " + big, "more": "X-Accel-Limit-Rate: 90000000|X-Accel-Redirect: /protected/big"} {
		if a := s.get(200, "/fcgi", "X-Head: "+head); a.took > 2*time.Second {
			t.Errorf("%s: %v", name, a.took)
		}
	}
}

// slack is what a busy machine may add to what is measured.
const slack = 500 * time.Millisecond

// The end of a client is noticed in the pauses of a rate, and its file given up.
func TestLimitRateClientLeaves(t *testing.T) {
	s := acceleratedSite(t, "limit_rate = 10")
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "GET /fcgi HTTP/1.1\r\nHost: x\r\nX-Head: X-Accel-Redirect: /protected/a.txt\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := waitText(filepath.Join(s.dir, "access.log"), `"GET /fcgi HTTP/1.1" 200 [0-9] `, logWait); err != nil {
		t.Error(err)
	}
}

// on_complete tells of what a redirect led to, and of what a store sent; the access
// log does as well.
func TestAccelOnComplete(t *testing.T) {
	st := startStore(t)
	dir := testDir(t)
	s := startDialects(t, dir, "log.access = \"access.log\"\n", map[string]string{"x": tells + fmt.Sprintf("reproxy = [\"%s/pub/\"]\n", st.URL)})
	write(t, dir, "www/a b", "0123456789")
	for _, p := range protocols {
		app := p + "-x"
		for i, c := range []struct {
			r    httpRequest
			want map[string]string
		}{
			{said("POST", app, "X-Accel-Redirect: /a%20b?c"), map[string]string{"path": "/a b", "bytes": "10", "status": "complete", "http_status": "200", "method": "POST"}},
			{said("GET", app, "X-Accel-Redirect: /a%20b", "Range: bytes=2-4"), map[string]string{"path": "/a b", "bytes": "3", "status": "complete", "http_status": "206"}},
			{said("GET", app, "X-Accel-Redirect: /none"), map[string]string{"path": "/none", "bytes": "0", "status": "aborted", "http_status": "404"}},
			{said("GET", app, "X-Reproxy-URL: "+st.URL+"/pub/none "+st.URL+"/pub/data"), map[string]string{"path": st.URL + "/pub/data", "bytes": "3145728", "status": "complete", "http_status": "200"}},
			{said("GET", app, "X-Reproxy-URL: "+st.URL+"/pub/none"), map[string]string{"bytes": "0", "status": "aborted", "http_status": "503"}},
		} {
			s.do(c.r)
			v := sentTo(t, s, app, i+1)[i]
			for key, want := range c.want {
				if v.Get(key) != want {
					t.Errorf("%s, request %d: %s is %q, want %q", p, i, key, v.Get(key), want)
				}
			}
			if v.Get("uri") != c.r.target {
				t.Errorf("%s, request %d: %v", p, i, v)
			}
		}
	}
	for _, line := range []string{`"POST /cgi-x HTTP/1.1" 200 10 .*complete$`, `"GET /fastcgi-x HTTP/1.1" 200 3145728 .*complete$`} {
		if err := waitText(filepath.Join(dir, "access.log"), line, logWait); err != nil {
			t.Error(err)
		}
	}
}
