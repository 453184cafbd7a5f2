package http1_test

import (
	"io"
	"net"
	"net/http"
	"runtime"
	"syscall"
	"testing"
	"time"

	"sluice/internal/front/http1"
)

// idleBytes is what an idle connection may cost.
const idleBytes = 1 << 10

// idleGoroutines may wait for a connection to serve.
const idleGoroutines = 64

// inUse is the memory of the heap and of stacks that is in use.
func inUse() int64 {
	for range 3 { // pools let go of what they have in two
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// A connection that has had a request and idles since is a small struct: it has
// no goroutine, and no buffer.
func TestIdleMemory(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	conns := min(2000, int(limit.Cur)/4) // the clients are in this process
	_, addrs, _ := serving(t, http1.Options{KeepaliveIdle: 5 * time.Minute, HeaderTimeout: time.Minute, SendTimeout: time.Minute,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) })}, 1)
	host, port := sockaddr(t, addrs[0])
	clients := make([]int, 0, conns)
	defer func() {
		for _, fd := range clients {
			syscall.Close(fd)
		}
	}()
	before := inUse()
	goroutines := runtime.NumGoroutine()
	for range conns {
		fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		clients = append(clients, fd)
		if err := syscall.Connect(fd, &syscall.SockaddrInet4{Addr: host, Port: port}); err != nil {
			t.Fatal(err)
		}
		var buf [512]byte
		syscall.Write(fd, []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
		if n, err := syscall.Read(fd, buf[:]); n <= 0 {
			t.Fatal(n, err)
		}
	}
	for end := time.Now().Add(60 * time.Second); runtime.NumGoroutine() > goroutines+idleGoroutines; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines are left", runtime.NumGoroutine()-goroutines)
		}
	}
	each := (inUse() - before) / int64(conns)
	t.Logf("%d connections, %d bytes each", conns, each)
	if each > idleBytes {
		t.Errorf("an idle connection costs %d bytes, want at most %d", each, idleBytes)
	}
}

func sockaddr(t *testing.T, addr string) ([4]byte, int) {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return [4]byte(a.IP.To4()), a.Port
}
