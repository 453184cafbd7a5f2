package sendfile

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// pair returns both ends of a connection.
func pair(t testing.TB, network string) (server, client net.Conn) {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = t.TempDir() + "/s"
	}
	l, err := net.Listen(network, address)
	must(t, err)
	defer l.Close()
	client, err = net.Dial(network, l.Addr().String())
	must(t, err)
	server, err = l.Accept()
	must(t, err)
	t.Cleanup(func() { server.Close(); client.Close() })
	return server, client
}

func rawOf(t testing.TB, c net.Conn) syscall.RawConn {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	must(t, err)
	return raw
}

// drain reads n bytes and returns them.
func drain(c net.Conn, n int64) <-chan []byte {
	out := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(io.LimitReader(c, n))
		out <- b
	}()
	return out
}

// sendfiles are kernels: the real one, and three whose file system cannot.
func sendfiles(t *testing.T) map[string]func(int, int, *int64, int) (int, error) {
	real := sendfile
	t.Cleanup(func() { sendfile = real })
	failing := func(errno unix.Errno, good int) func(int, int, *int64, int) (int, error) {
		return func(out, in int, off *int64, n int) (int, error) {
			if good--; good < 0 {
				return -1, errno
			}
			return real(out, in, off, n)
		}
	}
	calls := 0
	return map[string]func(int, int, *int64, int) (int, error){
		"real":        real,
		"EINVAL":      failing(unix.EINVAL, 0),
		"ENOSYS":      failing(unix.ENOSYS, 0),
		"EOPNOTSUPP":  failing(unix.EOPNOTSUPP, 0),
		"EINVAL late": failing(unix.EINVAL, 1),
		"EINTR, short": func(out, in int, off *int64, n int) (int, error) {
			if calls++; calls%2 == 0 {
				return -1, unix.EINTR
			}
			return real(out, in, off, min(n, 12345))
		},
	}
}

func TestCopy(t *testing.T) {
	data := pattern(5 << 20)
	f := openTemp(t, "a", data)
	for name, kernel := range sendfiles(t) {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(name+" "+network, func(t *testing.T) {
				sendfile = kernel
				server, client := pair(t, network)
				const off = 1000
				n := int64(len(data) - 3000)
				got := drain(client, n)
				var seen int64
				var slices int
				moved, err := Copy(rawOf(t, server), osOf(t, f), off, n, func(m int64) {
					if m <= 0 || m > SliceBytes {
						t.Errorf("progress(%d)", m)
					}
					seen += m
					slices++
				})
				if moved != n || err != nil || seen != n || slices < 3 {
					t.Errorf("moved %d, %v; progress %d in %d slices", moved, err, seen, slices)
				}
				if !bytes.Equal(<-got, data[off:off+n]) {
					t.Error("the bytes differ")
				}
			})
		}
	}
	if pos, err := osOf(t, f).Seek(0, io.SeekCurrent); pos != 0 || err != nil {
		t.Errorf("the file position moved to %d, %v", pos, err)
	}
}

func TestCopyEnds(t *testing.T) {
	data := pattern(1000)
	f := openTemp(t, "a", data)
	for name, kernel := range sendfiles(t) {
		sendfile = kernel
		server, client := pair(t, "tcp")
		raw := rawOf(t, server)
		for _, c := range []struct{ off, n, moved int64 }{{500, 600, 500}, {1000, 1, 0}, {2000, 1, 0}} {
			got := drain(client, c.moved)
			moved, err := Copy(raw, osOf(t, f), c.off, c.n, nil)
			if moved != c.moved || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s %+v: %d, %v", name, c, moved, err)
			}
			<-got
		}
		for _, n := range []int64{0, -1} {
			if moved, err := Copy(raw, osOf(t, f), 0, n, nil); moved != 0 || err != nil {
				t.Errorf("%s: %d bytes: %d, %v", name, n, moved, err)
			}
		}
	}
}

// A client that does not read meets the connection's deadline; progress may renew it.
func TestCopyDeadline(t *testing.T) {
	f := openTemp(t, "a", pattern(16<<20))
	for name, kernel := range sendfiles(t) {
		if strings.HasPrefix(name, "EINTR") {
			continue
		}
		sendfile = kernel
		server, client := pair(t, "tcp")
		renewed := false
		must(t, server.SetWriteDeadline(time.Now().Add(100*time.Millisecond)))
		moved, err := Copy(rawOf(t, server), osOf(t, f), 0, f.Size(), func(int64) {
			renewed = true
			server.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		})
		if !errors.Is(err, os.ErrDeadlineExceeded) || moved <= 0 || !renewed {
			t.Errorf("%s: %d, %v, renewed %v", name, moved, err, renewed)
		}
		// Whatever was counted can be read; nothing else was sent.
		server.Close()
		if got := <-drain(client, f.Size()); int64(len(got)) != moved || !bytes.Equal(got, pattern(16 << 20)[:moved]) {
			t.Errorf("%s: client has %d bytes, %d were counted", name, len(got), moved)
		}
	}
}

func TestCopyClientGone(t *testing.T) {
	f := openTemp(t, "a", pattern(16<<20))
	for name, kernel := range sendfiles(t) {
		sendfile = kernel
		server, client := pair(t, "unix")
		client.Close()
		moved, err := Copy(rawOf(t, server), osOf(t, f), 0, f.Size(), nil)
		if moved != 0 || !errors.Is(err, unix.EPIPE) {
			t.Errorf("%s: %d, %v", name, moved, err)
		}
		server.Close()
		if _, err = Copy(rawOf2(server), osOf(t, f), 0, f.Size(), nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: closed connection: %v", name, err)
		}
	}
	closed := osOf(t, f)
	closed.Close()
	server, _ := pair(t, "unix")
	if _, err := Copy(rawOf(t, server), closed, 0, f.Size(), nil); err == nil {
		t.Error("closed file: no error")
	}
}

// rawOf2 gives the RawConn of a connection that is closed already, which the net package refuses.
func rawOf2(c net.Conn) syscall.RawConn { return closedRaw{c} }

type closedRaw struct{ net.Conn }

func (closedRaw) Control(func(uintptr)) error    { return net.ErrClosed }
func (closedRaw) Read(func(uintptr) bool) error  { return net.ErrClosed }
func (closedRaw) Write(func(uintptr) bool) error { return net.ErrClosed }

// One descriptor feeds many connections at a time, each with its own part.
func TestSharedDescriptor(t *testing.T) {
	data := pattern(3 << 20)
	f := openTemp(t, "a", data)
	var all sync.WaitGroup
	for i := range 8 {
		server, client := pair(t, "tcp")
		off := i * 100_000
		all.Go(func() {
			c := f.Content()
			c.Seek(int64(off), io.SeekStart)
			got := drain(client, int64(len(data)-off))
			conn := WrapConn(server)
			if n, err := io.Copy(conn, c); n != int64(len(data)-off) || err != nil {
				t.Errorf("%d, %v", n, err)
			}
			if sha256.Sum256(<-got) != sha256.Sum256(data[off:]) {
				t.Error("the bytes differ")
			}
		})
	}
	all.Wait()
}

func TestLargeFile(t *testing.T) {
	const size = 5 << 30
	dir := t.TempDir()
	file, err := os.Create(dir + "/big")
	must(t, err)
	defer file.Close()
	must(t, file.Truncate(size))
	marks := []int64{1<<31 - 5, 1<<32 - 5, size - 10}
	for _, off := range marks {
		_, err := file.WriteAt([]byte("0123456789"), off)
		must(t, err)
	}
	s := serverFor(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := OpenBeneath(dir, r.URL.Path, Beneath)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		if err := Serve(w, r, 0, f); err != nil {
			t.Error(err)
		}
	}))
	for rng, want := range map[string]string{
		"bytes=2147483643-2147483652": "0123456789", "bytes=4294967291-4294967300": "0123456789", "bytes=-10": "0123456789",
	} {
		r, _ := http.NewRequest("GET", s.URL+"/big", nil)
		r.Header.Set("Range", rng)
		resp, err := http.DefaultClient.Do(r)
		must(t, err)
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != 206 || string(body) != want {
			t.Errorf("%s: %d %q", rng, resp.StatusCode, body)
		}
	}
	resp, err := http.Head(s.URL + "/big")
	must(t, err)
	resp.Body.Close()
	if resp.ContentLength != size {
		t.Errorf("length %d", resp.ContentLength)
	}
	// A slice that crosses 2 GiB, and one that crosses 4 GiB.
	f, err := OpenBeneath(dir, "big", Beneath)
	must(t, err)
	defer f.Close()
	for _, mark := range marks[:2] {
		server, client := pair(t, "tcp")
		got := drain(client, 3<<20)
		if n, err := Copy(rawOf(t, server), osOf(t, f), mark-2<<20, 3<<20, nil); n != 3<<20 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		if b := <-got; string(b[2<<20:2<<20+10]) != "0123456789" {
			t.Errorf("at %d: %q", mark, b[2<<20:2<<20+10])
		}
	}
}

func TestPart(t *testing.T) {
	f := openTemp(t, "a", pattern(100))
	at := func(off int64) *Content {
		c := f.Content()
		c.Seek(off, io.SeekStart)
		return c
	}
	for _, c := range []struct {
		name string
		r    io.Reader
		n    int64
		ok   bool
	}{
		{"content", at(0), 100, true},
		{"from the middle", at(60), 40, true},
		{"beyond the end", at(200), 0, true},
		{"limited", io.LimitReader(at(60), 10), 10, true},
		{"limit beyond the end", io.LimitReader(at(60), 1000), 40, true},
		{"used up", io.LimitReader(at(0), -1), 0, true},
		{"two limits", io.LimitReader(io.LimitReader(at(0), 7), 9), 7, true},
		{"two limits, inner greater", io.LimitReader(io.LimitReader(at(0), 9), 7), 7, true},
		{"file", osOf(t, f), 0, false},
		{"limited string", io.LimitReader(strings.NewReader("x"), 1), 0, false},
		{"nil", nil, 0, false},
	} {
		if content, n, ok := Part(c.r); n != c.n || ok != c.ok || ok != (content != nil) {
			t.Errorf("%s: %v, %d, %v", c.name, content, n, ok)
		}
	}
}

func TestContent(t *testing.T) {
	data := pattern(100)
	f := openTemp(t, "a", data)
	c := f.Content()
	for _, s := range []struct {
		off    int64
		whence int
		want   int64
	}{{-10, io.SeekEnd, 90}, {-90, io.SeekCurrent, 0}, {5, io.SeekStart, 5}, {500, io.SeekStart, 500}} {
		if got, err := c.Seek(s.off, s.whence); got != s.want || err != nil {
			t.Errorf("%+v: %d, %v", s, got, err)
		}
	}
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("beyond the end: %d, %v", n, err)
	}
	if _, err := c.Seek(-1, io.SeekStart); err == nil {
		t.Error("negative offset")
	}
	if _, err := c.Seek(0, 7); err == nil {
		t.Error("bad whence")
	}
	c.Seek(0, io.SeekStart)
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("no room: %d, %v", n, err)
	}
	if b, err := io.ReadAll(c); err != nil || !bytes.Equal(b, data) || c.Err() != nil {
		t.Errorf("%q, %v, %v", b, err, c.Err())
	}
	c.stop()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after stop: %v", err)
	}
	if _, err := c.SendTo(nil, 1, nil); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after stop: %v", err)
	}
}

func TestSendToAdvances(t *testing.T) {
	data := pattern(100)
	f := openTemp(t, "a", data)
	server, client := pair(t, "tcp")
	raw := rawOf(t, server)
	c := f.Content()
	got := drain(client, 100)
	for _, want := range []int64{30, 30, 30, 10, 0} {
		if n, err := c.SendTo(raw, 30, nil); n != want || err != nil {
			t.Errorf("%d, %v, want %d", n, err, want)
		}
	}
	if !bytes.Equal(<-got, data) {
		t.Error("the bytes differ")
	}
	must(t, os.Truncate(f.Name(), 50))
	c.Seek(0, io.SeekStart)
	got = drain(client, 50)
	if n, err := c.SendTo(raw, 100, nil); n != 50 || !errors.Is(err, io.ErrUnexpectedEOF) || c.Err() != err {
		t.Errorf("shrunk: %d, %v, %v", n, err, c.Err())
	}
	<-got
}

func TestWrapConn(t *testing.T) {
	data := pattern(100_000)
	f := openTemp(t, "a", data)
	for _, network := range []string{"tcp", "unix"} {
		server, client := pair(t, network)
		w := WrapConn(server)
		all := append(append([]byte("head "), data[:1000]...), "tail"...)
		got := drain(client, int64(len(all))+1)
		_, err := io.WriteString(w, "head ")
		must(t, err)
		limit := &io.LimitedReader{R: f.Content(), N: 1000}
		if n, err := w.(io.ReaderFrom).ReadFrom(limit); n != 1000 || err != nil || limit.N != 0 {
			t.Errorf("%s: %d, %v, N = %d", network, n, err, limit.N)
		}
		if n, err := io.Copy(w, struct{ io.Reader }{strings.NewReader("tail")}); n != 4 || err != nil {
			t.Errorf("%s: %d, %v", network, n, err)
		}
		must(t, w.(interface{ CloseWrite() error }).CloseWrite())
		if !bytes.Equal(<-got, all) {
			t.Errorf("%s: the bytes differ", network)
		}
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	if WrapConn(a) != a {
		t.Error("a pipe is wrapped")
	}
}
