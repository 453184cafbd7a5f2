package master

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"sluice/internal/config"
	"sluice/spawner"
)

const everything = `
listen = ["127.0.0.1:8080", "unix:http.sock"]
watch = false
stop_timeout = "7s"
[limits]
body_bytes = "3MiB"
keepalive_idle = "0s"
[log]
access = "access.log"
format = "json"
[[app]]
name = "php"
kind = "fastcgi"
command = ["php-cgi", "-d", "x=\"<y>&\""]
env = { A = "b=c\n" }
[app.send_file]
roots = ["files"]
[[app]]
name = "far"
kind = "fastcgi"
address = ["unix:x.sock", "tcp:127.0.0.1:9000 weight=3"]
[[site]]
hosts = ["example.org"]
root = "www"
types = { ".x" = "text/x" }
[[site.route]]
match = "/blog/*.php"
app = "php"
env = { X = "y" }
[[site.route]]
match = "= /deny"
deny = true
`

// A worker gets the very configuration that its master has.
func TestSetupOverTheWire(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sluice.toml")
	if err := os.WriteFile(file, []byte(everything), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	want := message{Setup: &setup{Version: "1", Config: c, Place: 2, Sockets: "/run/x", Files: []string{fileListener, fileErrorLog},
		Events: []spawner.Event{{App: "php", Slot: 1, State: spawner.Ready, PID: 42}}}}
	ours, theirs, err := wirePair()
	if err != nil {
		t.Fatal(err)
	}
	master, worker := newWire(ours), newWire(theirs)
	go func() {
		for _, m := range []message{want, {Stop: &stop{Timeout: -1}}, {Event: &spawner.Event{App: "php"}}} {
			master.send(m)
		}
		master.close()
	}()
	var got []message
	if err := worker.receive(func(m message) { got = append(got, m) }); err != nil {
		t.Fatal(err)
	}
	worker.close()
	if len(got) != 3 || got[1].Stop == nil || got[1].Stop.Timeout != -1 || got[2].Event == nil {
		t.Fatalf("got %d messages: %+v", len(got), got)
	}
	if diff := cmp.Diff(want, got[0], cmpopts.IgnoreUnexported(config.Config{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("the worker's configuration is another:\n%s", diff)
	}
}

func TestWireGarbage(t *testing.T) {
	ours, theirs, err := wirePair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	w := newWire(theirs)
	defer w.close()
	fmt.Fprintln(ours, "{nothing")
	if err := w.receive(func(message) { t.Error("a message") }); err == nil {
		t.Error("no error")
	}
}

func TestExitCode(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want int
	}{
		{nil, ExitOK},
		{errors.New("x"), ExitConfig},
		{&ExitError{ExitBind, errors.New("x")}, ExitBind},
		{fmt.Errorf("y: %w", &ExitError{ExitExec, errors.New("x")}), ExitExec},
	} {
		if got := ExitCode(tc.err); got != tc.want {
			t.Errorf("%v: %d, want %d", tc.err, got, tc.want)
		}
	}
}

// Scripts that still run when a worker stops have ended before its master would
// kill it, which is an eighth of stop_timeout after the worker's share.
func TestScriptGrace(t *testing.T) {
	for _, total := range []time.Duration{time.Second, 30 * time.Second, time.Hour} {
		share := total * 3 / 4
		w := &worker{grace: time.Hour}
		for _, used := range []time.Duration{0, share / 2, share} {
			if end := used + w.scriptGrace(share, used); end >= share+total/8 || end < share {
				t.Errorf("stop_timeout %v, %v used: scripts end after %v, the worker after %v", total, used, end, share+total/8)
			}
		}
		if got := w.scriptGrace(share, 2*share); got != 0 {
			t.Errorf("long over: %v", got)
		}
	}
	w := &worker{grace: time.Second}
	if got := w.scriptGrace(time.Hour, 0); got != time.Second {
		t.Errorf("stop_grace is 1s, got %v", got)
	}
	if got := w.scriptGrace(0, time.Hour); got != time.Second {
		t.Errorf("a graceful stop gives %v", got)
	}
	w.grace = time.Hour
	if got := w.scriptGrace(-1, 0); got >= stopNowGrace {
		t.Errorf("a stop at once gives %v", got)
	}
}

// A master that was killed before it had read everything has gone as well: its
// worker finishes what it has.
func TestEndOfWireWithUnreadMessages(t *testing.T) {
	ours, theirs, err := wirePair()
	if err != nil {
		t.Fatal(err)
	}
	worker := newWire(theirs)
	defer worker.close()
	if err := worker.send(message{Ready: true}); err != nil {
		t.Fatal(err)
	}
	ours.Close()
	if err := worker.receive(func(message) { t.Error("a message") }); err != nil {
		t.Errorf("the end is an error: %v", err)
	}
}

// A worker that never ends its word does not fill the master's memory.
func TestEndlessMessage(t *testing.T) {
	ours, theirs, err := wirePair()
	if err != nil {
		t.Fatal(err)
	}
	master, worker := newWire(ours), newWire(theirs)
	master.most = maxWord
	go func() {
		defer worker.close()
		worker.send(message{Failed: strings.Repeat("\x01", maxWord/8)}) // as JSON six times as long
		for range 2 {
			theirs.Write(bytes.Repeat([]byte{'x'}, maxWord))
		}
	}()
	heard := 0
	if err := master.receive(func(message) { heard++ }); err == nil {
		t.Error("it is taken in")
	}
	master.close()
	if heard != 1 {
		t.Errorf("%d messages before it, want 1", heard)
	}
}
