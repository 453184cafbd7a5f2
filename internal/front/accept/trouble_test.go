package accept

import (
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/lockmodes"
)

// Descriptors run out: it is logged once a second at most, costs no busy loop, and
// goes on when there are some again.
func TestNoDescriptors(t *testing.T) {
	for _, m := range []lockmodes.Mode{lockmodes.None, lockmodes.PosixSem, lockmodes.Exclusive} {
		t.Run(m.String(), func(t *testing.T) {
			fd, dial := listen(t, "tcp", "127.0.0.1:0")
			board, place := newPlace(t)
			var asked atomic.Int32
			p := newProbe(t, Options{Mode: m, Lock: lockOf(t, m), Listeners: []int{fd}, Place: place,
				Short: func() { asked.Add(1) }})
			p.start()
			dial()
			p.wait(1)
			var was unix.Rlimit
			if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
				t.Fatal(err)
			}
			restore := func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &was) }
			defer restore()
			s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer unix.Close(s)
			none := was
			none.Cur = 0
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &none); err != nil {
				t.Fatal(err)
			}
			sa, err := unix.Getsockname(fd)
			if err != nil {
				t.Fatal(err)
			}
			if err := unix.Connect(s, sa); err != nil {
				t.Fatal(err)
			}
			time.Sleep(300 * time.Millisecond)
			snap, err := board.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			w := snap.Workers[0]
			if w.Accepts != 1 || w.Empty < 2 || w.Empty > 20 {
				t.Errorf("%d accepted, %d wake-ups without in 300 ms", w.Accepts, w.Empty)
			}
			if asked.Load() == 0 {
				t.Error("nobody was asked for descriptors")
			}
			restore()
			p.wait(2)
			dial()
			p.wait(3)
			p.a.Stop()
			if n := strings.Count(p.log.String(), "no connection can be accepted"); n != 1 {
				t.Errorf("logged %d times:\n%s", n, p.log.String())
			}
		})
	}
}

// A lock that fails is done without.
func TestLockFails(t *testing.T) {
	o := lockmodes.Options{Mode: lockmodes.SysVSem, UID: -1}
	s, l := pair(t, o)
	defer l.Close()
	fd, dial := listen(t, "tcp", "127.0.0.1:0")
	p := newProbe(t, Options{Mode: o.Mode, Lock: l, Listeners: []int{fd}})
	s.Close()
	p.start()
	dial()
	p.wait(1)
	dial()
	p.wait(2)
	p.a.Stop()
	if !strings.Contains(p.log.String(), "accept lock fails") {
		t.Errorf("the log says %q", p.log.String())
	}
}

// A pause grows from 10 ms to a second, and begins anew when it went well.
func TestPauses(t *testing.T) {
	var out strings.Builder
	tr := trouble{log: slog.New(slog.NewTextHandler(&out, nil))}
	want := pauseLeast
	for range 12 {
		if got := tr.next(unix.EMFILE); got != want {
			t.Errorf("pause %v, want %v", got, want)
		}
		want = min(2*want, pauseMost)
	}
	tr.fine()
	if got := tr.next(unix.ENFILE); got != pauseLeast {
		t.Errorf("pause %v after it went well", got)
	}
	if n := strings.Count(out.String(), "\n"); n != 1 {
		t.Errorf("%d lines within a second:\n%s", n, out.String())
	}
}

// What is wrong with one connection ends nothing; what is wrong with all does.
func TestTransient(t *testing.T) {
	for _, e := range []unix.Errno{unix.EINTR, unix.ECONNABORTED, unix.EPROTO, unix.ENETDOWN, unix.EHOSTUNREACH, unix.EPERM} {
		if !transient(e) {
			t.Errorf("%v: accepting pauses", e)
		}
	}
	for _, e := range []unix.Errno{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EINVAL, unix.EBADF, unix.ENOTSOCK} {
		if transient(e) {
			t.Errorf("%v: accepting goes on", e)
		}
	}
}
