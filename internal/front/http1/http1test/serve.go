// Package http1test serves the connections of listeners of its own, for tests of
// what stands above and of the connections themselves.
package http1test

import (
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/front/http1"
	"sluice/internal/poll"
)

// Serve runs a Server on n listeners of 127.0.0.1 and returns their addresses.
// What is not set of the limits is generous. stop ends accepting; the test's end
// does, too, and closes what is open.
func Serve(t testing.TB, o http1.Options, n int) (s *http1.Server, addrs []string, stop func()) {
	t.Helper()
	return ServeOn(t, o, n, &http1.Listener{TCP: true})
}

// ServeOn is Serve with listeners of a kind.
func ServeOn(t testing.TB, o http1.Options, n int, kind *http1.Listener) (s *http1.Server, addrs []string, stop func()) {
	t.Helper()
	set, err := poll.New()
	if err != nil {
		t.Fatal(err)
	}
	o.Set = set
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.HeaderTimeout == 0 {
		o.HeaderTimeout = 10 * time.Second
	}
	var accepting []func()
	freed := o.Freed
	o.Freed = func() {
		for _, a := range accepting {
			a()
		}
		if freed != nil {
			freed()
		}
	}
	s = http1.New(o)
	var watches []*poll.Watch
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		f, err := l.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
		fd := int(f.Fd())
		raw, err := f.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		// A call may come when the listener has been closed, and its descriptor is
		// that of another test.
		accept := func() { raw.Control(func(uintptr) { acceptAll(s, kind, fd) }) }
		accepting = append(accepting, accept)
		unix.SetNonblock(fd, true)
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // connections inherit it
		w, err := set.Watch(fd, unix.EPOLLIN|unix.EPOLLET, accept)
		if err != nil {
			t.Fatal(err)
		}
		watches = append(watches, w)
		addrs = append(addrs, l.Addr().String())
		t.Cleanup(func() { f.Close() })
		stop = func(before func()) func() {
			return func() {
				if before != nil {
					before()
				}
				w.Stop()
				f.Close()
			}
		}(stop)
	}
	t.Cleanup(func() {
		for _, w := range watches {
			w.Stop()
		}
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		s.Shutdown(ctx)
		set.Close()
	})
	return s, addrs, stop
}

func acceptAll(s *http1.Server, kind *http1.Listener, listener int) {
	for s.Room() > 0 {
		fd, sa, err := unix.Accept4(listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		if err != nil {
			return
		}
		client, _ := poll.Addr(sa).(*net.TCPAddr)
		s.Take(kind, fd, client.AddrPort())
	}
}
