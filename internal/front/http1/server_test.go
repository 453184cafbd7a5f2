package http1_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/internal/front/http1"
	"sluice/internal/front/http1/http1test"
	"sluice/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

// serving runs a Server on n listeners and returns their addresses.
func serving(t testing.TB, o http1.Options, n int) (*http1.Server, []string, func()) {
	t.Helper()
	if o.Handler == nil {
		o.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok") })
	}
	return http1test.Serve(t, o, n)
}

// dial opens a connection that the test closes.
func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ask sends one request and returns the answer, or what went wrong within d.
func ask(c net.Conn, d time.Duration) (*http.Response, error) {
	c.SetDeadline(time.Now().Add(d))
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return nil, err
	}
	return http.ReadResponse(bufio.NewReader(c), nil)
}

func TestConnectionLimit(t *testing.T) {
	_, addrs, _ := serving(t, http1.Options{Connections: 1, KeepaliveIdle: time.Minute}, 3)
	for _, a := range addrs {
		first := dial(t, a)
		if _, err := ask(first, 5*time.Second); err != nil {
			t.Fatalf("%s: %v", a, err)
		}
		// Beyond the limit they wait, whichever the listener, and are served in the end.
		second := dial(t, addrs[0])
		if res, err := ask(second, 50*time.Millisecond); err == nil {
			t.Errorf("beyond the limit: %s", res.Status)
		}
		first.Close()
		second.SetDeadline(time.Now().Add(5 * time.Second))
		if res, err := http.ReadResponse(bufio.NewReader(second), nil); err != nil || res.StatusCode != 200 {
			t.Errorf("after the first has gone: %v, %v", res, err)
		}
		second.Close()
	}
}

func TestKeepaliveOff(t *testing.T) {
	_, addrs, _ := serving(t, http1.Options{}, 1)
	c := dial(t, addrs[0])
	res, err := ask(c, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if !res.Close {
		t.Errorf("no Connection: close in %v", res.Header)
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		t.Errorf("the connection is not closed: %v", err)
	}
}

func TestHeaderTimeout(t *testing.T) {
	_, addrs, _ := serving(t, http1.Options{HeaderTimeout: 100 * time.Millisecond, KeepaliveIdle: time.Minute}, 1)
	for _, text := range []string{"", "GET / HTTP/1.1\r\nHost:"} {
		c := dial(t, addrs[0])
		io.WriteString(c, text)
		c.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.Copy(io.Discard, c); err != nil {
			t.Errorf("%q: the connection is not closed: %v", text, err)
		}
	}
}

// A client that takes nothing is given up after SendTimeout; one that is slow is
// not.
func TestSendTimeout(t *testing.T) {
	gone := make(chan error, 1)
	body := strings.Repeat("x", 16<<20)
	_, addrs, _ := serving(t, http1.Options{SendTimeout: 300 * time.Millisecond, KeepaliveIdle: time.Minute, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			_, err := io.WriteString(w, body)
			gone <- err
		})}, 1)
	c := dial(t, addrs[0])
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	select {
	case err := <-gone:
		if err == nil {
			t.Error("a client that reads nothing took everything")
		}
	case <-time.After(5 * time.Second):
		t.Error("a client that reads nothing is not given up")
	}
	slow := dial(t, addrs[0])
	slow.(*net.TCPConn).SetReadBuffer(64 << 10)
	io.WriteString(slow, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	buf := make([]byte, 1<<20)
	for total := 0; total < len(body); {
		n, err := slow.Read(buf)
		if err != nil {
			t.Fatalf("a slow client is cut off after %d bytes: %v", total, err)
		}
		total += n
		time.Sleep(time.Duration(n) * 50 * time.Nanosecond) // 20 MB/s
	}
	if err := <-gone; err != nil {
		t.Errorf("a slow client: %v", err)
	}
}

// Shutdown lets a request finish and nobody else in, and all who asked for it are
// told.
func TestShutdown(t *testing.T) {
	working, finish := make(chan struct{}), make(chan struct{})
	s, addrs, stop := serving(t, http1.Options{KeepaliveIdle: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(working)
		<-finish
		io.WriteString(w, "done")
	})}, 1)
	c, idle := dial(t, addrs[0]), dial(t, addrs[0])
	answer := make(chan error, 1)
	go func() {
		res, err := ask(c, 10*time.Second)
		if err == nil && res.StatusCode != 200 {
			err = errors.New(res.Status)
		}
		answer <- err
	}()
	<-working
	stopped := make(chan error)
	stop()
	for range 2 {
		go func() { stopped <- s.Shutdown(context.Background()) }()
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		n, err := net.Dial("tcp", addrs[0])
		if errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		if n != nil {
			n.Close()
		}
		if time.Now().After(deadline) {
			t.Fatal("somebody is let in")
		}
		time.Sleep(time.Millisecond)
	}
	close(finish)
	if err := <-answer; err != nil {
		t.Errorf("the request in progress: %v", err)
	}
	idle.Close()
	for range 2 {
		select {
		case err := <-stopped:
			if err != nil {
				t.Errorf("Shutdown: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a Shutdown does not return")
		}
	}
}

// TestShutdownWaitsForTakenConnections: a handler that has taken over its
// connection is in progress as well.
func TestShutdownWaitsForTakenConnections(t *testing.T) {
	taken, finish := make(chan struct{}), make(chan struct{})
	s, addrs, stop := serving(t, http1.Options{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		close(taken)
		<-finish
		io.WriteString(c, "HTTP/1.0 200 OK\r\n\r\nall")
	})}, 1)
	c := dial(t, addrs[0])
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-taken
	done := make(chan error, 1)
	stop()
	go func() { done <- s.Shutdown(context.Background()) }()
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(finish)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if b, _ := io.ReadAll(c); !strings.HasSuffix(string(b), "all") {
		t.Errorf("%q", b)
	}
}

// A handler that outlives its request, as http.TimeoutHandler lets it, still has
// that request and none of the next.
func TestTimeoutHandler(t *testing.T) {
	const requests = 20
	over := make(chan struct{}, requests)
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() { over <- struct{}{} }()
		want := r.URL.Path
		<-r.Context().Done()
		for range 200 {
			time.Sleep(100 * time.Microsecond)
			if r.URL.Path != want || r.Header.Get("X-Path") != want {
				t.Errorf("%s becomes %s, %q", want, r.URL.Path, r.Header)
				return
			}
		}
	})
	_, addrs, _ := serving(t, http1.Options{KeepaliveIdle: time.Minute, Handler: http.TimeoutHandler(slow, 5*time.Millisecond, "late")}, 1)
	c := dial(t, addrs[0])
	c.SetDeadline(time.Now().Add(20 * time.Second))
	in := bufio.NewReader(c)
	for i := range requests {
		fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: x\r\nX-Path: /%d\r\n\r\n", i, i)
		res, err := http.ReadResponse(in, nil)
		if err != nil || res.StatusCode != 503 {
			t.Fatal(res, err)
		}
		io.Copy(io.Discard, res.Body)
	}
	for range requests {
		<-over
	}
}

// The last answer of a connection may wait for the connection's end, which comes
// with the handler's; a handler that goes on working flushes, or the client waits
// for a moment, but no longer.
func TestLastAnswerIsNotHeld(t *testing.T) {
	for name, flush := range map[string]bool{"flushed": true, "not flushed": false} {
		t.Run(name, func(t *testing.T) {
			arrived := make(chan struct{})
			_, addrs, _ := serving(t, http1.Options{KeepaliveIdle: time.Minute, Handler: http.HandlerFunc(
				func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Length", "5")
					io.WriteString(w, "hello")
					if flush {
						w.(http.Flusher).Flush()
					}
					select {
					case <-arrived:
					case <-time.After(20 * time.Second):
						t.Error("the answer does not arrive before the handler's end")
					}
				})}, 1)
			c := dial(t, addrs[0])
			c.SetDeadline(time.Now().Add(30 * time.Second))
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			r := bufio.NewReader(c)
			res, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(res.Body); err != nil || string(b) != "hello" {
				t.Errorf("%q, %v", b, err)
			}
			close(arrived)
			if n, err := io.Copy(io.Discard, r); n != 0 || err != nil {
				t.Errorf("behind the answer: %d bytes, %v", n, err)
			}
		})
	}
}

// Who was at work when the last place was taken gives way when it idles.
func TestLateIdleGiveWay(t *testing.T) {
	_, addrs, _ := serving(t, http1.Options{Connections: 1, KeepaliveIdle: time.Minute}, 1)
	if _, err := ask(dial(t, addrs[0]), 20*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(dial(t, addrs[0]), 20*time.Second); err != nil {
		t.Errorf("who waits is not let in: %v", err)
	}
}

// At the limit connections that idle give way to those that wait, the oldest
// first; who works, or has just been answered, stays.
func TestIdleGiveWay(t *testing.T) {
	working, finish := make(chan struct{}), make(chan struct{})
	_, addrs, _ := serving(t, http1.Options{Connections: 3, KeepaliveIdle: time.Minute, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/work" {
				close(working)
				<-finish
			}
			io.WriteString(w, "ok")
		})}, 1)
	busy := dial(t, addrs[0])
	io.WriteString(busy, "GET /work HTTP/1.1\r\nHost: x\r\n\r\n")
	<-working
	idle := dial(t, addrs[0])
	if _, err := ask(idle, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	time.Sleep(1500 * time.Millisecond) // it is parked
	for i := range 3 {
		c := dial(t, addrs[0])
		if _, err := ask(c, 20*time.Second); err != nil {
			t.Fatalf("connection %d beyond the limit: %v", i, err)
		}
		time.Sleep(1200 * time.Millisecond)
	}
	idle.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the one that has idled for longest: %v", err)
	}
	close(finish)
	busy.SetDeadline(time.Now().Add(10 * time.Second))
	if res, err := http.ReadResponse(bufio.NewReader(busy), nil); err != nil || res.StatusCode != 200 {
		t.Error(res, err)
	}
}
