package http1_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/internal/front/http1"
	"sluice/internal/front/http1/http1test"
	"sluice/internal/scoreboard"
)

// board is a scoreboard of one worker.
func board(t *testing.T) (*scoreboard.Place, func() scoreboard.Connections) {
	t.Helper()
	l := scoreboard.Layout{Places: 1}
	mem := make([]byte, l.Bytes())
	owner, err := scoreboard.Create(mem, l, scoreboard.Head{})
	if err != nil {
		t.Fatal(err)
	}
	owner.Worker(1, 1, 1, scoreboard.Running)
	b, err := scoreboard.Open(mem)
	if err != nil {
		t.Fatal(err)
	}
	place, err := b.Place(1)
	if err != nil {
		t.Fatal(err)
	}
	return place, func() scoreboard.Connections {
		s, err := owner.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		return s.Workers[0].Connections
	}
}

// refusing answers every request at once, without a look at its body.
func refusing(size int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusRequestEntityTooLarge)
		io.WriteString(w, strings.Repeat("x", size))
	})
}

// upload sends a request with a large body, and reads its answer only when all of
// that has been sent or refused.
func upload(t *testing.T, addr string, size int) (got int, err error) {
	t.Helper()
	c := dial(t, addr)
	c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)
	piece := make([]byte, 64<<10)
	for sent := 0; sent < size; {
		n, err := c.Write(piece[:min(len(piece), size-sent)])
		if sent += n; err != nil {
			break
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(io.Discard, res.Body)
	return int(n), err
}

// A client that sends on, and looks at the answer only then, gets all of it,
// where the connection lingers.
func TestLingerSavesTheAnswer(t *testing.T) {
	const answer = 200 << 10
	for _, m := range []http1.LingerMode{http1.LingerTimed, http1.LingerAlways, http1.LingerAdaptive} {
		t.Run(m.String(), func(t *testing.T) {
			_, addrs, _ := http1test.Serve(t, http1.Options{KeepaliveIdle: time.Minute, Handler: refusing(answer),
				Linger: http1.Linger{Mode: m, Idle: 2 * time.Second, Total: 20 * time.Second, Max: 10}}, 1)
			for range 5 {
				if n, err := upload(t, addrs[0], 5<<20); n != answer || err != nil {
					t.Errorf("%d bytes of the answer, %v", n, err)
				}
			}
		})
	}
	// The test can fail: without lingering the answer is lost now and then.
	_, addrs, _ := http1test.Serve(t, http1.Options{KeepaliveIdle: time.Minute, Handler: refusing(answer)}, 1)
	lost := 0
	for range 20 {
		if n, err := upload(t, addrs[0], 5<<20); n != answer || err != nil {
			lost++
		}
	}
	if lost == 0 {
		t.Error("nothing is lost without lingering")
	}
}

// How long a connection is there after its last answer, by mode and by how it
// ends.
func TestLingers(t *testing.T) {
	const idle = 300 * time.Millisecond
	type end struct {
		name    string
		request string
		off     bool // what lingers, by mode
		timed   bool
		always  bool
		adapt   bool
	}
	get := "GET / HTTP/1.1\r\nHost: x\r\n"
	for _, e := range []end{
		{name: "the client asked for the close", request: get + "Connection: close\r\n\r\n", always: true},
		{name: "HTTP/1.0", request: "GET / HTTP/1.0\r\n\r\n", always: true},
		{name: "the server closes", request: strings.Replace(get, "/", "/close", 1) + "\r\n", timed: true, always: true, adapt: true},
		{name: "the server closes, input is queued", request: strings.Replace(get, "/", "/close", 1) + "\r\n" + get, timed: true, always: true, adapt: true},
		{name: "bad request", request: "GET /\r\n\r\n", timed: true, always: true, adapt: true},
		{name: "body not read", request: "POST /close HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\nabc", timed: true, always: true, adapt: true},
		{name: "header timeout", request: "GET / HT", always: true},
		{name: "aborted", request: strings.Replace(get, "/", "/abort", 1) + "\r\n", always: true},
	} {
		for m, want := range map[http1.LingerMode]bool{http1.LingerOff: e.off, http1.LingerTimed: e.timed,
			http1.LingerAlways: e.always, http1.LingerAdaptive: e.adapt} {
			t.Run(m.String()+"/"+e.name, func(t *testing.T) {
				t.Parallel()
				place, now := board(t)
				_, addrs, _ := http1test.Serve(t, http1.Options{KeepaliveIdle: time.Minute, HeaderTimeout: 100 * time.Millisecond, Place: place,
					Linger: http1.Linger{Mode: m, Idle: idle, Total: time.Minute, Max: 10},
					Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						switch r.URL.Path {
						case "/close":
							w.Header().Set("Connection", "close")
						case "/abort":
							w.Header().Set("Content-Length", "10")
							io.WriteString(w, "x")
							http.NewResponseController(w).Flush()
							panic(http.ErrAbortHandler)
						}
						io.WriteString(w, "done")
					})}, 1)
				c := dial(t, addrs[0])
				c.SetDeadline(time.Now().Add(20 * time.Second))
				io.WriteString(c, e.request)
				io.Copy(io.Discard, c) // up to the server's end
				begin, seen := time.Now(), false
				for total(now()) > 0 && time.Since(begin) < 20*time.Second {
					seen = seen || now().Lingering == 1
					time.Sleep(5 * time.Millisecond)
				}
				took := time.Since(begin)
				if want != (took > idle/2) {
					t.Errorf("open for %v behind the answer, lingers: %v", took, want)
				}
				if want && !seen {
					t.Error("it is not on the scoreboard")
				}
			})
		}
	}
}

// An answer whose end is that of the connection, and that is aborted, ends with a
// reset in every mode: the half close of one that lingers would be its clean end.
func TestAbortedIsReset(t *testing.T) {
	for m := http1.LingerOff; m <= http1.LingerAdaptive; m++ {
		t.Run(m.String(), func(t *testing.T) {
			_, addrs, _ := http1test.Serve(t, http1.Options{Linger: http1.Linger{Mode: m, Idle: 2 * time.Second, Total: 20 * time.Second, Max: 10},
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					io.WriteString(w, "x")
					http.NewResponseController(w).Flush()
					w.(http1.Connection).Reset()
					panic(http.ErrAbortHandler)
				})}, 1)
			c := dial(t, addrs[0])
			c.SetDeadline(time.Now().Add(20 * time.Second))
			io.WriteString(c, "GET / HTTP/1.0\r\n\r\nmore")
			if _, err := io.Copy(io.Discard, c); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

func total(c scoreboard.Connections) int {
	return c.Reading + c.Waiting + c.Working + c.Sending + c.Idle + c.Lingering
}

// A client that sends for ever is bound by Total, and one too many does not
// linger.
func TestLingerBounds(t *testing.T) {
	place, now := board(t)
	_, addrs, _ := http1test.Serve(t, http1.Options{KeepaliveIdle: time.Minute, Handler: refusing(10), Place: place,
		Linger: http1.Linger{Mode: http1.LingerTimed, Idle: time.Second, Total: 1500 * time.Millisecond, Max: 2}}, 1)
	begin := time.Now()
	var ends []chan time.Duration
	for range 4 {
		c := dial(t, addrs[0])
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n")
		end := make(chan time.Duration, 1)
		ends = append(ends, end)
		go func() {
			for time.Since(begin) < 20*time.Second {
				if _, err := c.Write(make([]byte, 100)); err != nil {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			end <- time.Since(begin)
		}()
		time.Sleep(50 * time.Millisecond)
	}
	if n := now().Lingering; n != 2 {
		t.Errorf("%d linger", n)
	}
	long := 0
	for _, end := range ends {
		if d := <-end; d > time.Second {
			long++
			if d > 10*time.Second {
				t.Errorf("one lingers for %v", d)
			}
		}
	}
	if long != 2 {
		t.Errorf("%d lingered to the end of their time", long)
	}
}

// A stop waits for lingering connections, whose time is bound.
func TestLingerOutlivesStop(t *testing.T) {
	place, now := board(t)
	s, addrs, stop := http1test.Serve(t, http1.Options{KeepaliveIdle: time.Minute, Handler: refusing(10), Place: place,
		Linger: http1.Linger{Mode: http1.LingerTimed, Idle: 500 * time.Millisecond, Total: time.Minute, Max: 2}}, 1)
	c := dial(t, addrs[0])
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
	for limit := time.Now().Add(10 * time.Second); now().Lingering == 0 && time.Now().Before(limit); {
		time.Sleep(time.Millisecond)
	}
	stop()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if n := total(now()); n != 0 {
		t.Errorf("%d connections", n)
	}
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if b, err := io.ReadAll(c); !strings.HasSuffix(string(b), "xxxxxxxxxx") || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%q, %v", b, err)
	}
}

// so_linger closes in threads of its own, and the answer arrives.
func TestLingerInKernel(t *testing.T) {
	_, addrs, _ := http1test.Serve(t, http1.Options{KeepaliveIdle: time.Minute, Handler: refusing(1 << 20),
		Linger: http1.Linger{Mode: http1.LingerKernel, Idle: time.Second, Total: 2 * time.Second, Max: 10}}, 1)
	for range 20 {
		c := dial(t, addrs[0])
		c.(*net.TCPConn).SetReadBuffer(16 << 10)
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, res.Body); n != 1<<20 || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
}
