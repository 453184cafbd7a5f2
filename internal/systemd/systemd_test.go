package systemd

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/internal/leak"
)

// TestMain is also the service: with SLUICE_TEST_SERVICE it says what it was
// passed.
func TestMain(m *testing.M) {
	if os.Getenv("SLUICE_TEST_SERVICE") != "" {
		service()
		return
	}
	os.Exit(leak.Main(m))
}

func service() {
	s := Inherit()
	for _, v := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		if _, ok := os.LookupEnv(v); ok {
			fmt.Println(v, "is still there")
		}
	}
	if again := Inherit(); len(again) > 0 {
		fmt.Println("passed again:", again)
	}
	for _, name := range os.Args[1:] {
		n, err := s.Check(name)
		if err != nil {
			fmt.Printf("%s: %v\n", name, err)
			continue
		}
		for i := range n + 1 {
			f, err := s.Open(name, i)
			if err != nil {
				fmt.Println(err)
				continue
			}
			l, err := net.FileListener(f)
			if err != nil {
				fmt.Printf("%s: %v\n", name, err)
				continue
			}
			flags, _ := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
			fmt.Printf("%s: %s %s cloexec %v\n", name, l.Addr().Network(), filepath.Base(l.Addr().String()), flags&unix.FD_CLOEXEC != 0)
		}
	}
}

// started starts the service as systemd does: the sockets from descriptor 3 on,
// and its pid in the environment.
func started(t *testing.T, files []*os.File, names string, ask ...string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, self}, ask...)...)
	c.ExtraFiles = files
	c.Env = append(os.Environ(), "SLUICE_TEST_SERVICE=1", "LISTEN_FDS="+strconv.Itoa(len(files)), "LISTEN_FDNAMES="+names)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

func file(t *testing.T, from interface{ File() (*os.File, error) }) *os.File {
	t.Helper()
	f, err := from.File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func listen(t *testing.T, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestSockets(t *testing.T) {
	dir := t.TempDir()
	tcp := listen(t, "tcp", "127.0.0.1:0").(*net.TCPListener)
	unixL := listen(t, "unix", filepath.Join(dir, "s")).(*net.UnixListener)
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	conn, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	files := []*os.File{file(t, tcp), file(t, unixL), file(t, udp), file(t, conn.(*net.TCPConn))}
	got := started(t, files, "web:web:udp:conn", "web", "udp", "conn", "other")
	want := `web: tcp ` + tcp.Addr().String() + ` cloexec true
web: unix s cloexec true
systemd has passed 2 sockets of the name "web"
udp: what systemd has passed is not a stream socket (ListenStream=)
conn: what systemd has passed does not listen (Accept=no)
other: systemd has passed no socket of that name, but "conn", "udp", "web"
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSocketsOfSomebodyElse(t *testing.T) {
	t.Setenv("LISTEN_PID", "1")
	t.Setenv("LISTEN_FDS", "1")
	s := Inherit()
	if _, err := s.Check("web"); err == nil || !strings.Contains(err.Error(), "no other (LISTEN_FDS)") {
		t.Errorf("%v, %v", s, err)
	}
}

// manager is a service manager that listens.
type manager struct {
	t *testing.T
	c *net.UnixConn
}

func newManager(t *testing.T) *manager {
	path := filepath.Join(t.TempDir(), "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	return &manager{t, c}
}

// hears is the next message, or "" when there is none for so long.
func (m *manager) hears(within time.Duration) string {
	m.t.Helper()
	m.c.SetReadDeadline(time.Now().Add(within))
	var b [4096]byte
	n, _ := m.c.Read(b[:])
	return string(b[:n])
}

func TestNotify(t *testing.T) {
	m := newManager(t)
	tests := []struct {
		tell func() error
		want string // a regular expression
	}{
		{func() error { return Ready("listening on\n127.0.0.1:80") }, `READY=1\nSTATUS=listening on 127\.0\.0\.1:80\nMAINPID=` + strconv.Itoa(os.Getpid())},
		{func() error { return Reloading("reading x") }, `RELOADING=1\nMONOTONIC_USEC=[0-9]+\nSTATUS=reading x`},
		{func() error { return Stopping("bye") }, `STOPPING=1\nSTATUS=bye`},
		{func() error { return Status("a") }, `STATUS=a`},
	}
	for _, tt := range tests {
		if err := tt.tell(); err != nil {
			t.Error(err)
		}
		if got := m.hears(10 * time.Second); !regexp.MustCompile("^" + tt.want + "$").MatchString(got) {
			t.Errorf("got %q, want %q", got, tt.want)
		}
	}
}

// TestNotifyNobody: who was not started by systemd says nothing, and a manager
// that has gone is an error.
func TestNotifyNobody(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Ready("x"); err != nil {
		t.Error(err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	if err := Ready("x"); err == nil {
		t.Error("no error")
	}
}

// A manager that reads nothing is an error, and holds nobody up; the watchdog
// speaks again when it does.
func TestNotifyDeaf(t *testing.T) {
	m := newManager(t)
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		for n := 0; err == nil && n < 100_000; n++ { // more than any queue takes
			err = Status("a")
		}
	}()
	select {
	case <-done:
	case <-time.After(60 * time.Second):
		t.Fatal("it waits for a manager that reads nothing")
	}
	if err == nil {
		t.Error("no error")
	}
	t.Setenv("WATCHDOG_USEC", "40000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Watchdog(ctx, func(context.Context) bool { return true })
	}()
	time.Sleep(patience + 200*time.Millisecond) // once in vain
	for got := ""; got != "WATCHDOG=1"; {
		if got = m.hears(10 * time.Second); got == "" {
			t.Fatal("the watchdog has given up")
		}
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("no error of the watchdog")
	}
}

func TestPrivate(t *testing.T) {
	env := []string{"PATH=/bin", "NOTIFY_SOCKET=/x", "WATCHDOG_USEC=1", "WATCHDOG_PID=2", "NOTIFY_SOCKETS=y"}
	if got := strings.Join(Private(env), " "); got != "PATH=/bin NOTIFY_SOCKETS=y" || env[1] != "NOTIFY_SOCKET=/x" {
		t.Errorf("got %s, of %v", got, env)
	}
}

func TestWatchdog(t *testing.T) {
	m := newManager(t)
	t.Setenv("WATCHDOG_USEC", "40000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	ctx, cancel := context.WithCancel(context.Background())
	var dead atomic.Bool
	asked := make(chan struct{}, 1000)
	done := make(chan error)
	go func() {
		done <- Watchdog(ctx, func(ctx context.Context) bool {
			asked <- struct{}{}
			if dead.Load() {
				<-ctx.Done() // it hangs, and the watchdog does not
			}
			return !dead.Load()
		})
	}()
	for range 3 {
		if got := m.hears(10 * time.Second); got != "WATCHDOG=1" {
			t.Fatalf("got %q", got)
		}
	}
	dead.Store(true)
	for len(asked) > 0 {
		<-asked
	}
	<-asked // one that is dead for sure, from here on
	for m.hears(time.Millisecond) != "" {
	}
	<-asked
	if got := m.hears(60 * time.Millisecond); got != "" {
		t.Errorf("a dead service says %q", got)
	}
	dead.Store(false)
	if got := m.hears(10 * time.Second); got != "WATCHDOG=1" {
		t.Errorf("got %q", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestWatchdogNotWanted(t *testing.T) {
	for _, pid := range []string{"", "1"} {
		t.Setenv("WATCHDOG_PID", pid)
		t.Setenv("WATCHDOG_USEC", map[string]string{"": "", "1": "1000"}[pid])
		if err := Watchdog(context.Background(), func(context.Context) bool { t.Error("asked"); return true }); err != nil {
			t.Error(err)
		}
	}
}
