package exchange

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/cgi"
	"sluice/spawner"
)

// newScriptRig is an App of CGI scripts, two at once and two more.
func newScriptRig(t *testing.T, change func(*App, *Scripts)) *rig {
	t.Helper()
	r := &rig{farm: &farm{}, t: t}
	r.ledger = spawner.NewLedger(spawner.LedgerOptions{Queue: 8, QueueTimeout: time.Second, Slots: []spawner.SlotOptions{{Connections: 2}}})
	r.ledger.Set(0, spawner.Ready, 0)
	starter := &spawner.Scripts{}
	errs := &cgi.ErrorLog{App: "app", Log: r.log.logger()}
	loose := spawner.NewLedger(spawner.LedgerOptions{Slots: []spawner.SlotOptions{{Connections: 2}}})
	loose.Set(0, spawner.Ready, 0)
	b := &Scripts{Starter: starter, Ledger: r.ledger, Log: r.log.logger(), Loose: loose,
		Options: cgi.Options{StopGrace: 200 * time.Millisecond, Background: time.Second, Stderr: errs.For}}
	r.start(b, func(a *App) {
		if change != nil {
			change(a, b)
		}
	})
	t.Cleanup(func() { starter.Stop(0) })
	return r
}

// sh makes the shell script what requests run.
func (r *rig) sh(text string) {
	r.t.Helper()
	path := r.t.TempDir() + "/script"
	must(r.t, os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o755))
	r.command = cgi.Command{Path: path, Args: []string{path}, Dir: "/"}
}

const shOK = `printf 'Content-Type: text/plain\n\n'; `

func TestScriptAnswers(t *testing.T) {
	cases := []struct {
		name, script string
		status       int // -1: see misbehaviour
		kind         Kind
		aborted      bool
		body, log    string
		pause        time.Duration // at least, and not much more
	}{
		{name: "good", script: shOK + "printf hello", status: 200, body: "hello"},
		{name: "exit status", script: shOK + "printf hello; exit 3", status: 200, body: "hello", log: "exit status 3"},
		{name: "stderr", script: "echo trouble >&2; " + shOK + "printf hello", status: 200, body: "hello", log: "trouble"},
		{name: "killed before its header", script: "kill -9 $$", status: 502, kind: BadHeader, log: ""},
		{name: "killed behind its header", script: shOK + "printf secret; kill -9 $$", status: 502, kind: Died},
		{name: "killed in its body", script: shOK + "printf some; sleep 0.1; kill -9 $$", status: 200, kind: Died, aborted: true},
		{name: "killed, but its Content-Length reached", script: "printf 'Content-Length: 5\\n\\nhello'; kill -9 $$", status: 200, body: "hello"},
		{name: "short of its Content-Length", script: "printf 'Content-Length: 9\\n\\nshort'", status: 502, kind: Died},
		{name: "nothing", script: "exit 0", status: 502, kind: BadHeader},
		{name: "works on after its output", script: shOK + "printf hello; exec >&- 2>&-; sleep 0.5", status: 200, body: "hello", pause: crashWait},
		{name: "more than its Content-Length", script: "printf 'Content-Length: 5\\n\\nhellosecret'", status: 200, body: "hello", log: "more than"},
		{name: "chunked", script: "printf 'Transfer-Encoding: chunked\\n\\n5\\r\\nhello\\r\\n0\\r\\n\\r\\n'", status: 200, body: "hello"},
	}
	r := newScriptRig(t, nil)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r.t = t
			r.sh(c.script)
			res := r.do("GET", "/x", nil)
			if res.status != c.status || (res.err != nil) != c.aborted || c.kind == 0 && res.body != c.body {
				t.Errorf("%d %q, %v", res.status, res.body, res.err)
			}
			if c.kind == 0 && res.end.err != nil || c.kind != 0 && (res.end.err == nil || res.end.err.Kind != c.kind || res.end.err.PID == 0) {
				t.Errorf("%+v", res.end.err)
			}
			if c.pause > 0 {
				between(t, "the end", res.took, c.pause)
			}
			r.free(time.Second)
			eventually(t, time.Second, "the log", func() bool { return strings.Contains(r.log.String(), c.log) })
		})
	}
}

func TestScriptsNotStarted(t *testing.T) {
	r := newScriptRig(t, nil)
	dir := t.TempDir()
	cases := []struct {
		name, content string
		mode          os.FileMode
		status        int
		kind          Kind
		log           string
	}{
		{"no x bit", "#!/bin/sh\n", 0o644, 403, Forbidden, ""},
		{"no interpreter", "hello", 0o755, 502, CannotStart, "no interpreter"},
		{"interpreter missing", "#!/no/such\n", 0o755, 502, CannotStart, "interpreter does not exist"},
		{"missing", "", 0, 502, CannotStart, "no such file"},
	}
	for _, c := range cases {
		path := dir + "/" + c.name
		if c.mode != 0 {
			must(t, os.WriteFile(path, []byte(c.content), c.mode))
		}
		r.command = cgi.Command{Path: path, Args: []string{path}, Dir: "/"}
		res := r.do("POST", "/x", strings.NewReader("body"))
		if res.status != c.status || res.end.err.Kind != c.kind || !strings.Contains(res.end.err.Error(), c.log) {
			t.Errorf("%s: %d, %v", c.name, res.status, res.end.err)
		}
		r.free(0)
	}
}

func TestScriptInput(t *testing.T) {
	r := newScriptRig(t, nil)
	r.sh(shOK + `printf "$CONTENT_LENGTH\n"; cat`)
	for _, n := range []int{0, 1, 4 << 10, 4<<10 + 1, 200_000} {
		body := pattern(n)
		res := r.do("POST", "/x", streamed{bytes.NewReader(body)})
		length, got, _ := strings.Cut(res.body, "\n")
		if res.status != 200 || length != strconv.Itoa(n) || got != string(body) {
			t.Errorf("%d: %d, CONTENT_LENGTH %q, %d bytes, %v", n, res.status, length, len(got), res.end.err)
		}
	}
	r.sh(shOK + "printf early") // does not read
	if res := r.do("POST", "/x", bytes.NewReader(pattern(200_000))); res.body != "early" || res.end.err != nil {
		t.Errorf("%+v", res)
	}
	r.free(time.Second)
}

// pidOf waits for what a script wrote to a file.
func pidOf(t *testing.T, path string) (pid int) {
	t.Helper()
	eventually(t, 2*time.Second, "the script's pid", func() bool {
		b, _ := os.ReadFile(path)
		_, err := fmt.Sscan(string(b), &pid)
		return err == nil
	})
	return pid
}

func zombie(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b), ") Z ")
}

// When the client leaves, or the time is over, the script gets its stop signal
// and its whole group is killed after the grace.
func TestScriptStops(t *testing.T) {
	t.Parallel()
	const limit = 200 * time.Millisecond
	cases := []struct {
		name   string
		change func(*App)
		leave  bool
		kind   Kind
	}{
		{"client leaves", nil, true, ClientGone},
		{"header_timeout", func(a *App) { a.HeaderTimeout = limit }, false, HeaderTimeout},
		{"request_timeout", func(a *App) { a.RequestTimeout = limit }, false, RequestTimeout},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newScriptRig(t, func(a *App, _ *Scripts) {
				if c.change != nil {
					c.change(a)
				}
			})
			file := t.TempDir() + "/pid"
			r.sh("trap '' TERM; (trap '' TERM; sleep 30) & echo $! >" + file + "; wait; sleep 30")
			nc := r.raw("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
			pid := pidOf(t, file)
			if c.leave {
				nc.Close()
			}
			e := r.last()
			if e.err == nil || e.err.Kind != c.kind {
				t.Errorf("%+v", e)
			}
			if !c.leave {
				between(t, "the end", e.took, limit)
			}
			ended := time.Now()
			r.free(50 * time.Millisecond) // the script works on beside its slot
			eventually(t, time.Second, "all of its group are gone", func() bool { return zombie(pid) })
			if d := time.Since(ended); d < 150*time.Millisecond || late(d, 200*time.Millisecond) {
				t.Errorf("the group was killed %v after the stop signal", d)
			}
		})
	}
}

// At most so many scripts work on without a slot; further ones keep theirs.
func TestLooseScripts(t *testing.T) {
	t.Parallel()
	r := newScriptRig(t, func(a *App, b *Scripts) { b.Options.Background = 500 * time.Millisecond })
	r.sh(`printf 'Content-Length: 2\n\nok'; exec >&- 2>&-; exec sleep 30`)
	for i := range 4 {
		if res := r.do("GET", "/x", nil); res.body != "ok" {
			t.Fatalf("%d: %+v", i, res)
		}
	}
	eventually(t, time.Second, "two keep their slot", func() bool { return r.ledger.Counts().Children[0].Claims == 2 })
	begin := time.Now()
	if res := r.do("GET", "/x", nil); res.body != "ok" || time.Since(begin) < 200*time.Millisecond {
		t.Errorf("%+v after %v", res, time.Since(begin))
	}
	r.free(2 * time.Second)
}

// A script is let go after a send-file header.
func TestScriptRelease(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		policy ReleasePolicy
		rest   string
		gone   time.Duration // when the script has ended
	}{
		{"drain, ends", Drain, "exit 0", 0},
		{"drain, takes too long", Drain, "exec sleep 30", 150 * time.Millisecond},
		{"close", Close, "exec sleep 30", 0},
		{"detach", Detach, "sleep 0.4; echo $$ >$0.done", 400 * time.Millisecond},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var root string
			r := newScriptRig(t, func(a *App, _ *Scripts) {
				root = withFiles(t, a)
				a.Release, a.ReleaseTimeout = c.policy, 150*time.Millisecond
			})
			r.sh("echo $$ >$0.pid; printf 'X-Sendfile: " + root + "/small\\n\\n'; " + c.rest)
			res := r.do("GET", "/x", nil)
			if res.body != "small" || late(res.took, 30*time.Millisecond) {
				t.Errorf("%+v", res)
			}
			begin := time.Now()
			pid := pidOf(t, r.command.Path+".pid")
			eventually(t, 2*time.Second, "the script has ended", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
			if d := time.Since(begin); late(d, c.gone) || d < c.gone-80*time.Millisecond {
				t.Errorf("ended after %v, want %v", d, c.gone)
			}
			if c.policy == Detach {
				pidOf(t, r.command.Path+".done")
			}
			r.free(time.Second)
		})
	}
}

// An NPH script speaks for itself: not a byte is changed.
func TestNPH(t *testing.T) {
	r := newScriptRig(t, nil)
	r.nph = true
	all := func(script string) (string, error, end) {
		r.t.Helper()
		r.sh(script)
		c := r.raw("GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		b, err := io.ReadAll(c)
		return string(b), err, r.last()
	}
	text, err, e := all(`printf 'HTTP/1.1 299 Odd\r\nX:  y \r\n\r\n\000body'; sleep 0.1; printf more`)
	if text != "HTTP/1.1 299 Odd\r\nX:  y \r\n\r\n\x00bodymore" || err != nil || e.err != nil {
		t.Errorf("%q, %v, %v", text, err, e.err)
	}
	text, _, e = all("exit 1")
	if !strings.HasPrefix(text, "HTTP/1.1 502") || e.err.Kind != BadHeader {
		t.Errorf("%q, %v", text, e.err)
	}
	_, err, e = all("printf 'HTTP/1.1 200 OK\\r\\n\\r\\nsome'; sleep 0.1; kill -9 $$")
	if err == nil || e.err == nil || e.err.Kind != Died || !e.err.Started {
		t.Errorf("%v, %+v", err, e.err)
	}
	r.app.HeaderTimeout, r.app.ReadTimeout = 100*time.Millisecond, 150*time.Millisecond
	text, _, e = all("exec sleep 30")
	if !strings.HasPrefix(text, "HTTP/1.1 504") || e.err.Kind != HeaderTimeout {
		t.Errorf("%q, %v", text, e.err)
	}
	between(t, "no header", e.took, 100*time.Millisecond)
	if _, err, e = all("printf 'HTTP/1.1 200 OK\\r\\n\\r\\n'; exec sleep 30"); err == nil || e.err.Kind != Stalled {
		t.Errorf("%v, %+v", err, e.err)
	}
	r.app.ReadTimeout = 5 * time.Second
	file := t.TempDir() + "/pid"
	r.sh("echo $$ >" + file + "; printf 'HTTP/1.1 200 OK\\r\\n\\r\\n'; exec cat /dev/zero")
	c := r.raw("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
		t.Error(err)
	}
	c.Close()
	if e := r.last(); e.err == nil || e.err.Kind != SendFailed {
		t.Errorf("%+v", e)
	}
	pid := pidOf(t, file)
	eventually(t, time.Second, "the script is gone", func() bool { return zombie(pid) })
	r.free(time.Second)
}

func TestEnvironment(t *testing.T) {
	req, _ := http.NewRequest("GET", "/x", nil)
	m := &cgi.Meta{Request: req, Env: map[string]string{"GOOD": "a b", "BAD": "a\x00b"}}
	env := strings.Join(environment(m.Each), "|")
	if !strings.Contains(env, "GOOD=a b") || strings.Contains(env, "BAD") {
		t.Error(env)
	}
}
