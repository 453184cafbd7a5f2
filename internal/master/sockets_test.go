package master

import (
	"errors"
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/internal/config"
	"sluice/lockmodes"
)

// multiplied is a generation of n workers that have a socket each.
func multiplied(t *testing.T, s *socket, n int) *generation {
	t.Helper()
	more, err := s.besides(n - 1)
	must(t, err)
	must(t, s.open(more))
	return &generation{mode: lockmodes.Reuseport, cfg: &config.Config{Workers: n}}
}

// With reuseport every worker has a socket of its own on the same address, each
// connection comes to one of them, and another server fails to bind.
func TestMultiply(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", ":0", "[::1]:0"} {
		t.Run(address, func(t *testing.T) {
			s, err := listen(config.Listener{Network: "tcp", Address: address, Backlog: 1000})
			must(t, err)
			defer s.close()
			g := multiplied(t, s, 3)
			own := map[int]int{}
			for place := 1; place <= 3; place++ {
				fd := int(fdOf(g.of(s, place)))
				must(t, unix.SetNonblock(fd, true))
				own[fd] = 0
			}
			if len(own) != 3 {
				t.Fatalf("%d sockets for 3 workers", len(own))
			}
			for range 300 {
				c, err := net.Dial("tcp", s.addr.String())
				must(t, err)
				defer c.Close()
			}
			for fd := range own {
				for {
					c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
					if err != nil {
						break
					}
					own[fd]++
					unix.Close(c)
				}
			}
			sum := 0
			for _, n := range own {
				if n == 0 {
					t.Errorf("one worker gets nothing: %v", own)
				}
				sum += n
			}
			if sum != 300 {
				t.Errorf("%d of 300 connections arrived", sum)
			}
			another := config.Listener{Network: "tcp", Address: s.addr.String(), Backlog: 1000}
			if _, err := listen(another); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("another server: %v", err)
			}
		})
	}
}

// A unix socket is shared.
func TestMultiplyUnix(t *testing.T) {
	s, err := listen(config.Listener{Network: "unix", Address: t.TempDir() + "/s", Backlog: 100, Mode: 0o600})
	must(t, err)
	defer s.close()
	g := multiplied(t, s, 3)
	if g.of(s, 1) != g.of(s, 3) {
		t.Error("it is another's for each worker")
	}
}

// What an accepted connection has it has from its listener.
func TestPassOn(t *testing.T) {
	s, err := listen(config.Listener{Network: "tcp", Address: "127.0.0.1:0", Backlog: 1000})
	must(t, err)
	defer s.close()
	g := multiplied(t, s, 2)
	c, err := net.Dial("tcp", s.addr.String())
	must(t, err)
	defer c.Close()
	fd := int(fdOf(g.of(s, 1)))
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(fdOf(g.of(s, 2))), Events: unix.POLLIN}}
	_, err = unix.Poll(poll, 10000)
	must(t, err)
	if poll[0].Revents == 0 {
		fd = int(poll[1].Fd)
	}
	got, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
	must(t, err)
	defer unix.Close(got)
	for name, want := range map[[2]int]int{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY}:   1,
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE}:   1,
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}:  probeAfter,
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}: probeEvery,
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT}:   probes,
	} {
		if v, err := unix.GetsockoptInt(got, name[0], name[1]); err != nil || v != want {
			t.Errorf("option %v: %d, %v, want %d", name, v, err, want)
		}
	}
}

// A socket that is one too many gets no more connections, and what waits there is
// not lost before it is closed.
func TestSurplus(t *testing.T) {
	s, err := listen(config.Listener{Network: "tcp", Address: "127.0.0.1:0", Backlog: 1000})
	must(t, err)
	defer s.close()
	g := multiplied(t, s, 4)
	queued := func(fd int) (n int) {
		must(t, unix.SetNonblock(fd, true))
		for {
			c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
			if err != nil {
				return n
			}
			n++
			unix.Close(c)
		}
	}
	connect := func(n int) {
		for range n {
			c, err := net.Dial("tcp", s.addr.String())
			must(t, err)
			t.Cleanup(func() { c.Close() })
		}
	}
	for _, left := range []int{2, 1} {
		connect(100)
		going := s.surplus(left)
		waits := 0
		for _, f := range going {
			waits += queued(int(fdOf(f)))
		}
		if waits == 0 {
			t.Error("nothing had come to the surplus")
		}
		connect(100)
		for i, f := range going {
			if n := queued(int(fdOf(f))); n != 0 {
				t.Errorf("%d connections come to surplus socket %d", n, i)
			}
		}
		s.drop(going)
		if len(s.others()) != left-1 || s.surplus(left) != nil {
			t.Errorf("%d more sockets are left", len(s.others()))
		}
		connect(100)
	}
	all := queued(int(fdOf(g.of(s, 1))))
	if all < 200 {
		t.Errorf("%d connections in the end", all)
	}
}
