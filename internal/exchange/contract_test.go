package exchange

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const ok = "Content-Type: text/plain\r\n\r\n"

// What the client sees when a child misbehaves: the table of the contract, for
// FastCGI.
var misbehaviour = []struct {
	name    string
	child   func(*call)
	status  int  // -1: whether the header had left is a matter of time
	kind    Kind // 0: no error
	aborted bool // the client can tell that the body is not whole
	tries   int  // 0 is 1
	log     string
}{
	{name: "dies at once", child: (*call).die, status: 502, kind: Died, tries: 2},
	{name: "dies in its header", child: func(c *call) { c.out("Content-Type: te"); c.die() }, status: 502, kind: Died},
	{name: "ends in its header", child: func(c *call) { c.say("Content-Type: te") }, status: 502, kind: BadHeader},
	{name: "says nothing at all", child: func(c *call) { c.end() }, status: 502, kind: BadHeader},
	{name: "no colon", child: func(c *call) { c.say("Content-Type\r\n\r\nsecret") }, status: 502, kind: BadHeader},
	{name: "blank before the colon", child: func(c *call) { c.say("A : b\n\nsecret") }, status: 502, kind: BadHeader},
	{name: "folded", child: func(c *call) { c.say("A: b\n c\n\nsecret") }, status: 502, kind: BadHeader},
	{name: "control byte", child: func(c *call) { c.say("A: b\x01\n\nsecret") }, status: 502, kind: BadHeader},
	{name: "name is no token", child: func(c *call) { c.say("A(): b\n\nsecret") }, status: 502, kind: BadHeader},
	{name: "status of two digits", child: func(c *call) { c.say("Status: 20\n\nsecret") }, status: 502, kind: BadHeader},
	{name: "status 600", child: func(c *call) { c.say("Status: 600\n\nsecret") }, status: 502, kind: BadHeader},
	{name: "two statuses", child: func(c *call) { c.say("Status: 200\nStatus: 200\n\nsecret") }, status: 502, kind: BadHeader},
	{name: "bad Content-Length", child: func(c *call) { c.say("Content-Length: x\n\nsecret") }, status: 502, kind: BadHeader},
	{name: "two Content-Lengths", child: func(c *call) { c.say("Content-Length: 1\nContent-Length: 1\n\nsecret") }, status: 502, kind: BadHeader},
	{name: "no header", child: func(c *call) { c.say("\n\nsecret") }, status: 502, kind: BadHeader},
	{name: "endless header", child: func(c *call) { c.out(strings.Repeat("A: b\n", 2000)); c.die() }, status: 502, kind: BadHeader},
	{name: "another transfer coding", child: func(c *call) { c.say("A: b\nTransfer-Encoding: gzip\n\nsecret") }, status: 502, kind: BadHeader},
	{name: "status 100", child: func(c *call) { c.say("Status: 100\n\n" + ok + "secret") }, status: 502, kind: BadHeader},
	{name: "status 101", child: func(c *call) { c.say("Status: 101\nUpgrade: x\n\nsecret") }, status: 502, kind: BadHeader},
	{name: "endless early hints", child: func(c *call) { c.say(strings.Repeat("Status: 103\nLink: x\n\n", 17)) }, status: 502, kind: BadHeader},

	{name: "dies behind its header", child: func(c *call) { c.out(ok, "secret"); c.die() }, status: 502, kind: Died},
	{name: "dies after a pause", child: func(c *call) { c.out(ok, "some"); time.Sleep(60 * time.Millisecond); c.die() }, status: 200, kind: Died, aborted: true},
	{name: "dies in a long body", child: func(c *call) { c.out(ok, strings.Repeat("x", 100_000)); c.die() }, status: 200, kind: Died, aborted: true},
	{name: "short of its Content-Length", child: func(c *call) { c.say("Content-Length: 9\n\nshort") }, status: 502, kind: Died},
	{name: "short, long body", child: func(c *call) { c.say("Content-Length: 100001\n\n" + strings.Repeat("x", 100_000)) }, status: 200, kind: Died, aborted: true},
	{name: "short, after a pause", child: func(c *call) { c.out("Content-Length: 9\n\n"); time.Sleep(60 * time.Millisecond); c.say("short") }, status: 200, kind: Died, aborted: true},
	{name: "more than its Content-Length", child: func(c *call) { c.say("Content-Length: 5\n\nwholesecret") }, status: 200, log: "more than its Content-Length"},
	{name: "more, later", child: func(c *call) { c.out("Content-Length: 5\n\nwhole"); c.say("secret") }, status: 200, log: "more than its Content-Length"},

	{name: "OVERLOADED", child: func(c *call) { c.end(0, 2) }, status: 503, kind: Overloaded, tries: 2},
	{name: "CANT_MPX_CONN", child: func(c *call) { c.end(0, 1) }, status: 503, kind: Overloaded, tries: 2},
	{name: "UNKNOWN_ROLE", child: func(c *call) { c.end(0, 3) }, status: 500, kind: UnknownRole},
	{name: "another protocol status", child: func(c *call) { c.end(0, 9) }, status: 502, kind: ProtocolStatus},
	{name: "unknown record", child: func(c *call) { c.send(77, []byte("secret")); c.say(ok + "whole") }, status: 200},
	{name: "record of another request", child: func(c *call) {
		c.Write([]byte{1, recStdout, 0, 2, 0, 3, 1, 0, 'a', 'b', 'c', 0})
		c.say(ok + "whole")
	}, status: 200},
	{name: "wrong version", child: func(c *call) { c.Write([]byte{2, recStdout, 0, 1, 0, 0, 0, 0}); c.die() }, status: 502, kind: Died, tries: 2},
	{name: "wrong version in the body", child: func(c *call) { c.out(ok, "secret"); c.Write(make([]byte, 8)); c.die() }, status: 502, kind: Died},
	{name: "appStatus 7 after a whole answer", child: func(c *call) { c.out(ok + "whole"); c.end(7) }, status: 200, log: "exit status 7"},
	{name: "chunked", child: func(c *call) { c.say("Transfer-Encoding: chunked\n\n3\r\nwho\r\n2\r\nle\r\n0\r\n\r\n") }, status: 200},
	{name: "chunked, cut", child: func(c *call) { c.say("Transfer-Encoding: chunked\n\n3\r\nwho\r\n") }, status: -1, kind: Died, aborted: true},
	{name: "chunked, nonsense", child: func(c *call) { c.say("Transfer-Encoding: chunked\n\nsecret") }, status: 502, kind: Died},
	{name: "standard error", child: func(c *call) { c.send(recStderr, []byte("my trouble\n")); c.say(ok + "whole") }, status: 200, log: "my trouble"},
}

func TestMisbehaviour(t *testing.T) {
	r := newRig(t, rigOptions{})
	for _, m := range misbehaviour {
		t.Run(m.name, func(t *testing.T) {
			r.t = t
			res := r.get(m.child)
			if res.status != m.status && m.status >= 0 || (res.err != nil) != m.aborted {
				t.Errorf("status %d, reading: %v; want %d, aborted %v", res.status, res.err, m.status, m.aborted)
			}
			switch {
			case m.kind == 0 && res.end.err != nil, m.kind != 0 && (res.end.err == nil || res.end.err.Kind != m.kind):
				t.Errorf("error %v, want %v", res.end.err, m.kind)
			case m.kind != 0 && (res.end.err.PID < 1000 || res.end.err.Started != m.aborted || res.end.err.Error() == ""):
				t.Errorf("error %+v", res.end.err)
			case m.kind == 0 && res.body != "whole":
				t.Errorf("body %q", res.body)
			}
			if strings.Contains(res.body, "secret") {
				t.Errorf("the client got what the child printed: %q", res.body)
			}
			if tries := len(r.slots()); tries != max(1, m.tries) {
				t.Errorf("%d tries on %v", tries, r.slots())
			} else if tries == 2 && r.slots()[0] == r.slots()[1] {
				t.Errorf("the same child again: %v", r.slots())
			}
			if m.status == 503 && res.header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			r.free(time.Second)
			if !strings.Contains(r.log.String(), m.log) {
				t.Errorf("not in the log: %q in\n%s", m.log, &r.log)
			}
		})
	}
	if n := r.replaced(); len(n) > 0 {
		t.Errorf("replaced: %q", n)
	}
}

func TestKinds(t *testing.T) {
	for k := ClientGone; k <= SendFailed; k++ {
		level := k.Level()
		if k.String() == "" || k.Status() < 400 {
			t.Errorf("%d: %q, %d", k, k, k.Status())
		}
		if fault := k.Status(); level == slog.LevelInfo && fault >= 500 || level == slog.LevelError && fault != 500 && k != FileBusy {
			t.Errorf("%v: level %v with %d", k, level, fault)
		}
	}
	if e := (&Error{Kind: Died, Err: io.EOF}); !errors.Is(e, io.EOF) || e.Error() != "child died: EOF" {
		t.Error(e)
	}
}

func TestGoodAnswers(t *testing.T) {
	r := newRig(t, rigOptions{})
	whole := func(head, body string) func(*call) {
		return func(c *call) { c.say(head + "\r\n" + body) }
	}
	cases := []struct {
		name, method string
		child        func(*call)
		status       int
		length       int64
		header       map[string]string // "-": not there
		body         string
	}{
		{name: "small", child: whole("A: b\r\n", "hello"), status: 200, length: 5, header: map[string]string{"A": "b", "Content-Type": "-"}, body: "hello"},
		{name: "empty", child: whole("Status: 404 Gone missing\r\n", ""), status: 404, length: 0},
		{name: "text is not guessed", child: whole("A: b\r\n", "<html>"), status: 200, length: 6, header: map[string]string{"Content-Type": "-"}, body: "<html>"},
		{name: "connection fields", child: whole("Connection: X-A, close\r\nX-A: 1\r\nKeep-Alive: 5\r\nUpgrade: h2\r\nTE: x\r\nTrailer: y\r\nX-B: 2\r\n", "x"),
			status: 200, length: 1, header: map[string]string{"X-A": "-", "X-B": "2", "Keep-Alive": "-", "Upgrade": "-", "Te": "-", "Trailer": "-"}, body: "x"},
		{name: "absolute Location", child: whole("Location: http://other/\r\n", "x"), status: 302, length: 1, header: map[string]string{"Location": "http://other/"}, body: "x"},
		{name: "host Location", child: whole("Location: //other/\r\n", ""), status: 302, length: 0, header: map[string]string{"Location": "//other/"}},
		{name: "Location with others", child: whole("Location: /here\r\nA: b\r\n", ""), status: 302, length: 0, header: map[string]string{"Location": "/here"}},
		{name: "local redirect", child: whole("Location: /here?a=b\r\n", "ignored"), status: 200, length: 0, header: map[string]string{"Test-Redirect": "/here?a=b"}},
		{name: "send-file header without a sender", child: whole("X-Sendfile: /etc/passwd\r\nA: b\r\n", "x"), status: 200, length: 1, header: map[string]string{"X-Sendfile": "-"}, body: "x"},
		{name: "HEAD", method: "HEAD", child: whole("Content-Length: 7\r\n", ""), status: 200, length: 7},
		{name: "HEAD with a body", method: "HEAD", child: whole("Content-Length: 7\r\n", "7 bytes"), status: 200, length: 7},
		{name: "HEAD with a long body", method: "HEAD", child: whole("A: b\r\n", strings.Repeat("x", 300_000)), status: 200, length: -1},
		{name: "HEAD chunked", method: "HEAD", child: whole("Transfer-Encoding: chunked\r\n", ""), status: 200, length: -1},
		{name: "204 with a body", child: whole("Status: 204\r\nContent-Length: 4\r\n", "body"), status: 204, length: 0},
		{name: "304 with a body", child: whole("Status: 304\r\nETag: \"x\"\r\n", "body"), status: 304, length: 0, header: map[string]string{"Etag": `"x"`}},
		{name: "304 with a length", child: whole("Status: 304\r\nContent-Length: 9\r\n", ""), status: 304, length: 9},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r.t = t
			if c.method == "" {
				c.method = "GET"
			}
			r.script(c.child)
			res := r.do(c.method, "/x", nil)
			if res.err != nil || res.end.err != nil || res.status != c.status || res.body != c.body {
				t.Errorf("%d %q, %v, %v", res.status, res.body, res.err, res.end.err)
			}
			if res.length != c.length && c.status != 304 {
				t.Errorf("length %d, want %d", res.length, c.length)
			}
			for k, v := range c.header {
				if got := strings.Join(res.header[k], "|"); got != strings.TrimPrefix(v, "-") {
					t.Errorf("%s: %q, want %q", k, got, v)
				}
			}
			r.free(time.Second)
			if slices.Contains([]bool{r.finishing(0), r.finishing(1)}, true) {
				t.Error("a child that answered to its end counts as finishing")
			}
		})
	}
}

func TestHeadDoesNotCloseKept(t *testing.T) {
	r := newRig(t, rigOptions{children: 1, keepAlive: true})
	var conns []any
	r.script(func(c *call) {
		conns = append(conns, c.Conn)
		c.say("Content-Length: 7\r\n\r\n")
	})
	for range 3 {
		if res := r.do(http.MethodHead, "/x", nil); res.status != 200 || res.length != 7 {
			t.Errorf("%+v", res)
		}
		r.free(time.Second)
	}
	if len(conns) != 3 || conns[0] != conns[1] || conns[1] != conns[2] {
		t.Errorf("connections %v", conns)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.reports) != 0 || r.ledger.Use(0).Heard == 0 {
		t.Errorf("reports %+v, use %+v", r.reports, r.ledger.Use(0))
	}
}
