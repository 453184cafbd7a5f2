package http1

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/poll"
)

// One that lingers by the time that it is to give way goes on with that, and is
// counted until its end.
func TestLingeringGivesNoWay(t *testing.T) {
	set, err := poll.New()
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	s := New(Options{Set: set, Log: slog.New(slog.DiscardHandler), KeepaliveIdle: time.Minute,
		Linger:  Linger{Mode: LingerTimed, Idle: time.Minute, Total: time.Minute, Max: 1},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close") })})
	defer s.Shutdown(context.Background())
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	client := os.NewFile(uintptr(fds[1]), "client")
	defer client.Close()
	client.SetDeadline(time.Now().Add(20 * time.Second))
	s.Take(&Listener{}, fds[0], netip.AddrPort{})
	c := s.all()[0]
	io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	if _, err := io.ReadAll(client); err != nil { // up to the half close
		t.Fatal(err)
	}
	for limit := time.Now().Add(20 * time.Second); !c.pc.Unpark(); time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatal("it does not linger")
		}
	}
	if !c.pc.Park(c.drained) {
		t.Fatal("something can be read")
	}
	c.giveWay()
	if n := s.linger.n.Load(); n != 1 || len(s.all()) != 1 {
		t.Errorf("%d linger, %d are open", n, len(s.all()))
	}
	client.Close()
	for limit := time.Now().Add(20 * time.Second); len(s.all()) > 0 || s.linger.n.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("%d are counted that linger, %d are open", s.linger.n.Load(), len(s.all()))
		}
	}
}
