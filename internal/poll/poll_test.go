package poll

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

func newSet(t testing.TB) *Set {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// pair is a connection in the set and its peer's end, of TCP or of a unix socket.
func pair(t testing.TB, s *Set, network string) (*Conn, net.Conn) {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = t.TempDir() + "/s"
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial(network, l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	f, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	fd, _, err := unix.Accept4(int(f.Fd()), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.Conn(fd, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, peer
}

func onBoth(t *testing.T, f func(t *testing.T, network string)) {
	for _, n := range []string{"tcp", "unix"} {
		t.Run(n, func(t *testing.T) { f(t, n) })
	}
}

// A read of less than there is leaves the rest to the next, whatever the sizes.
func TestReadSizes(t *testing.T) {
	c, peer := pair(t, newSet(t), "tcp")
	const total = 4 << 20
	for _, size := range []int{1000, 64 << 10, 1 << 20} {
		go peer.Write(make([]byte, total))
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		buf := make([]byte, size)
		for got := 0; got < total; {
			n, err := c.Read(buf[:min(size, total-got)])
			if err != nil {
				t.Fatalf("reads of %d: %v after %d bytes", size, err, got)
			}
			got += n
			if got < total && got%3 == 0 {
				time.Sleep(time.Millisecond) // so that more comes than is asked for
			}
		}
	}
}

func TestEcho(t *testing.T) {
	onBoth(t, func(t *testing.T, network string) {
		c, peer := pair(t, newSet(t), network)
		go func() { io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}); c.CloseWrite() }()
		sent := make([]byte, 3<<20)
		for i := range sent {
			sent[i] = byte(i * 7)
		}
		go func() { peer.Write(sent); peer.(interface{ CloseWrite() error }).CloseWrite() }()
		got, err := io.ReadAll(peer)
		if err != nil || string(got) != string(sent) {
			t.Errorf("%d bytes of %d, %v", len(got), len(sent), err)
		}
	})
}

// The data and the end may come together: the end is read all the same.
func TestEndBehindData(t *testing.T) {
	onBoth(t, func(t *testing.T, network string) {
		c, peer := pair(t, newSet(t), network)
		peer.Write([]byte("last words"))
		peer.Close()
		time.Sleep(20 * time.Millisecond)
		if got, err := io.ReadAll(c); string(got) != "last words" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	c, peer := pair(t, newSet(t), "tcp")
	var b [8]byte
	for _, d := range []time.Duration{0, 30 * time.Millisecond, 300 * time.Millisecond} {
		begin := time.Now()
		c.SetReadDeadline(begin.Add(d))
		_, err := c.Read(b[:])
		if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took < d || took > d+500*time.Millisecond {
			t.Errorf("deadline of %v: %v after %v", d, err, took)
		}
	}
	// One that is moved forth, and then back, while the Read waits.
	c.SetReadDeadline(time.Now().Add(time.Hour))
	ended := make(chan error, 1)
	go func() { _, err := c.Read(b[:]); ended <- err }()
	time.Sleep(20 * time.Millisecond)
	c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	go func() { _, err := c.Read(b[:]); ended <- err }()
	c.SetReadDeadline(time.Time{})
	peer.Write([]byte("x"))
	for err := <-ended; err != nil; err = <-ended { // it may have begun before
		go func() { _, err := c.Read(b[:]); ended <- err }()
	}
	go func() { _, err := c.Read(b[:]); ended <- err }()
	time.Sleep(10 * time.Millisecond)
	c.SetReadDeadline(time.Unix(1, 0))
	if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	// A write that finds no room.
	c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := c.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
	c.SetWriteDeadline(time.Time{})
	c.SetSendTimeout(50 * time.Millisecond)
	if _, err := c.Write(make([]byte, 64<<20)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(err)
	}
}

// A peer that took something when the wait had begun, and nothing since, gets the
// send timeout from then on, not twice.
func TestSendTimeoutAfterProgress(t *testing.T) {
	t.Parallel()
	c, peer := pair(t, newSet(t), "unix")
	const timeout = 2 * time.Second
	c.SetSendTimeout(timeout)
	var took atomic.Int64
	begin := time.Now()
	go func() {
		time.Sleep(100 * time.Millisecond)
		n, _ := io.ReadFull(peer, make([]byte, 96<<10)) // too little for the kernel to say that there is room
		took.Store(int64(n))
	}()
	_, err := c.Write(make([]byte, 64<<20))
	if d := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took.Load() == 0 || d < timeout || d > timeout*7/4 {
		t.Errorf("%v after %v; the peer took %d bytes", err, d, took.Load())
	}
}

// Many deadlines at once, near and far, pass in time and none early.
func TestWheel(t *testing.T) {
	s := newSet(t)
	var all sync.WaitGroup
	for i := range 200 {
		c, _ := pair(t, s, "unix")
		d := time.Duration(i%50) * 100 * time.Millisecond
		all.Go(func() {
			begin := time.Now()
			c.SetReadDeadline(begin.Add(d))
			var b [1]byte
			_, err := c.Read(b[:])
			if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took < d || took > d+time.Second {
				t.Errorf("deadline of %v: %v after %v", d, err, took)
			}
		})
	}
	all.Wait()
}

func TestCloseEndsWaits(t *testing.T) {
	c, _ := pair(t, newSet(t), "tcp")
	ended := make(chan error, 2)
	go func() { var b [1]byte; _, err := c.Read(b[:]); ended <- err }()
	go func() { _, err := c.Write(make([]byte, 64<<20)); ended <- err }()
	time.Sleep(50 * time.Millisecond)
	c.Close()
	for range 2 {
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
}

// A use of a connection that has been closed leaves alone who has its descriptor's
// number now.
func TestUseAfterClose(t *testing.T) {
	s := newSet(t)
	c, _ := pair(t, s, "unix")
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	// Nothing else in this process is to take the number before.
	if err := unix.Dup3(0, c.fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(c.fd)
	for name, use := range map[string]func(){
		"Read":       func() { c.Read(make([]byte, 1)) },
		"Write":      func() { c.Write([]byte("x")) },
		"Queued":     func() { c.Queued() },
		"Unsent":     func() { c.Unsent() },
		"Discard":    func() { c.Discard() },
		"CloseWrite": func() { c.CloseWrite() },
		"Close":      func() { c.Close() },
		"Control":    func() { raw.Control(func(uintptr) {}) },
		"RawWrite":   func() { raw.Write(func(uintptr) bool { return true }) },
	} {
		use()
		if _, err := unix.FcntlInt(uintptr(c.fd), unix.F_GETFD, 0); err != nil {
			t.Fatalf("%s has closed another's descriptor: %v", name, err)
		}
	}
}

func TestHangup(t *testing.T) {
	onBoth(t, func(t *testing.T, network string) {
		s := newSet(t)
		told := func(c *Conn) chan bool {
			ch := make(chan bool, 8)
			c.OnHangup(func(broken bool) { ch <- broken })
			return ch
		}
		c, peer := pair(t, s, network)
		ch := told(c)
		peer.Write([]byte("unread"))
		peer.(interface{ CloseWrite() error }).CloseWrite()
		if <-ch {
			t.Error("a half close is told as a broken connection")
		}
		if !c.Hungup() {
			t.Error("not hung up")
		}
		c.OnHangup(nil)
		if <-told(c) {
			t.Error("the second time it is told as a broken connection")
		}
		if _, err := c.Write([]byte("still taken")); err != nil {
			t.Error(err)
		}
		c, peer = pair(t, s, network)
		ch = told(c)
		if tcp, ok := peer.(*net.TCPConn); ok {
			tcp.SetLinger(0)
		}
		peer.Close()
		if !<-ch {
			t.Error("a connection that is gone is not told as broken")
		}
	})
}

func TestDiscard(t *testing.T) {
	onBoth(t, func(t *testing.T, network string) {
		c, peer := pair(t, newSet(t), network)
		go func() { peer.Write(make([]byte, 2<<20)); peer.Close() }()
		total := 0
		for range 100000 {
			n, done := c.Discard()
			total += n
			if done {
				break
			}
			time.Sleep(100 * time.Microsecond)
		}
		if total != 2<<20 {
			t.Errorf("%d bytes", total)
		}
	})
}

func TestDial(t *testing.T) {
	s := newSet(t)
	path := t.TempDir() + "/s"
	if _, err := s.Dial(path); !errors.Is(err, syscall.ENOENT) {
		t.Error(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := s.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	go peer.Write([]byte("hello"))
	var b [5]byte
	if _, err := io.ReadFull(c, b[:]); err != nil || string(b[:]) != "hello" {
		t.Errorf("%q, %v", b, err)
	}
}

// Connections park, are woken by data, by deadlines and by their peer's end, are
// taken back and closed, at random: every message is read by the connection that
// it was sent to, and none waits for ever.
func TestParkStress(t *testing.T) {
	s := newSet(t)
	var all sync.WaitGroup
	var woken atomic.Int64
	stop := time.Now().Add(2 * time.Second)
	for i := range 64 {
		c, peer := pair(t, s, []string{"tcp", "unix"}[i%2])
		served := make(chan struct{})
		var serve func()
		serve = func() {
			var b [64]byte
			for {
				c.SetReadDeadline(time.Now().Add(time.Duration(rand.IntN(20)) * time.Millisecond))
				n, err := c.Read(b[:])
				switch {
				case errors.Is(err, os.ErrDeadlineExceeded):
					c.SetReadDeadline(time.Now().Add(time.Duration(rand.IntN(200)) * time.Millisecond))
					if c.Park(func() { woken.Add(1); go serve() }) {
						if rand.IntN(4) > 0 || !c.Unpark() {
							return
						}
					}
				case err != nil:
					close(served)
					return
				default:
					c.Write(b[:n])
				}
			}
		}
		go serve()
		all.Go(func() {
			defer func() {
				peer.Close()
				select {
				case <-served:
				case <-time.After(20 * time.Second):
					t.Error("the end of a connection is not seen")
				}
			}()
			for k := 0; time.Now().Before(stop); k++ {
				want := fmt.Sprintf("%d-%d", i, k)
				peer.SetDeadline(time.Now().Add(20 * time.Second))
				peer.Write([]byte(want))
				got := make([]byte, len(want))
				if _, err := io.ReadFull(peer, got); err != nil || string(got) != want {
					t.Errorf("%q for %q, %v", got, want, err)
					return
				}
				time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
			}
		})
	}
	all.Wait()
	if woken.Load() == 0 {
		t.Error("nobody was parked")
	}
}

// Without deadlines nothing but its event wakes a Read: messages of all sizes, in
// pieces, into buffers of all sizes, are all read.
func TestNoWakeIsLost(t *testing.T) {
	s := newSet(t)
	var all sync.WaitGroup
	stop := time.Now().Add(2 * time.Second)
	for i := range 32 {
		c, peer := pair(t, s, []string{"tcp", "unix"}[i%2])
		go func() {
			b := make([]byte, 1+rand.IntN(300))
			for {
				n, err := c.Read(b)
				if err != nil {
					return
				}
				c.Write(b[:n])
			}
		}()
		all.Go(func() {
			peer.SetDeadline(stop.Add(20 * time.Second))
			out, in := make([]byte, 1000), make([]byte, 1000)
			for time.Now().Before(stop) {
				n := 1 + rand.IntN(len(out))
				cut := rand.IntN(n)
				peer.Write(out[:cut])
				if rand.IntN(3) == 0 {
					time.Sleep(time.Duration(rand.IntN(200)) * time.Microsecond)
				}
				peer.Write(out[cut:n])
				if _, err := io.ReadFull(peer, in[:n]); err != nil {
					t.Errorf("of %d bytes in two: %v", n, err)
					return
				}
			}
		})
	}
	all.Wait()
}

func TestWatch(t *testing.T) {
	s := newSet(t)
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	told := make(chan struct{}, 16)
	w, err := s.Watch(fd, unix.EPOLLIN, func() {
		var b [8]byte
		unix.Read(fd, b[:])
		told <- struct{}{}
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
		<-told
	}
	w.Stop()
	unix.Write(fd, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	select {
	case <-told:
		t.Error("told after Stop")
	case <-time.After(50 * time.Millisecond):
	}
}

// A request and its answer cost no allocation.
// TestPipe: what is written in pieces is read, with deadlines, to the end.
func TestPipe(t *testing.T) {
	s := newSet(t)
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(p[0], true); err != nil {
		t.Fatal(err)
	}
	c, err := s.Pipe(p[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := os.NewFile(uintptr(p[1]), "pipe")
	defer w.Close()
	b := make([]byte, 4)
	for i := range 200 {
		c.SetReadDeadline(time.Now().Add(time.Minute))
		go fmt.Fprintf(w, "%06d", i)
		var got []byte
		for len(got) < 6 {
			n, err := c.Read(b)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, b[:n]...)
		}
		if string(got) != fmt.Sprintf("%06d", i) {
			t.Fatalf("%q", got)
		}
	}
	c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, err := c.Read(b); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error(n, err)
	}
	if _, err := c.Write(b); err == nil {
		t.Error("a read end is written to")
	}
	w.WriteString("last")
	w.Close()
	c.SetReadDeadline(time.Time{})
	if all, err := io.ReadAll(c); string(all) != "last" || err != nil {
		t.Errorf("%q, %v", all, err)
	}
}

// TestEdges: what is new is told once, and nothing behind Forget.
func TestEdges(t *testing.T) {
	s := newSet(t)
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	told := make(chan uint32, 10)
	w, err := s.Edges(p[0], unix.EPOLLIN, func(events uint32) { told <- events })
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		unix.Write(p[1], []byte("x"))
		if e := <-told; e != unix.EPOLLIN {
			t.Errorf("%#x", e)
		}
	}
	select {
	case e := <-told:
		t.Errorf("%#x is told again", e)
	case <-time.After(20 * time.Millisecond):
	}
	unix.Close(p[1])
	if e := <-told; e != unix.EPOLLIN|unix.EPOLLHUP {
		t.Errorf("%#x at the end", e)
	}
	w.Forget()
	unix.Close(p[0])
	if _, err := s.Edges(p[0], unix.EPOLLIN, nil); err == nil {
		t.Error("a closed descriptor is watched")
	}
}

func TestAllocations(t *testing.T) {
	c, peer := pair(t, newSet(t), "tcp")
	b := make([]byte, 64)
	c.Read(b[:0])
	n := testing.AllocsPerRun(100, func() {
		c.SetReadDeadline(time.Now().Add(time.Minute))
		peer.Write(b[:8])
		c.Read(b)
		c.Write(b[:8])
		peer.Read(b)
	})
	if n > 0.5 {
		t.Errorf("%v allocations", n)
	}
}
