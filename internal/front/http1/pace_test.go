package http1_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice/internal/front/http1"
	"sluice/sendfile"
)

// timed fetches / and returns the body, and how long it took from the header to
// the last byte.
func timed(t *testing.T, addr string) (body []byte, header, all time.Duration) {
	t.Helper()
	c := dial(t, addr)
	begin := time.Now()
	res, err := ask(c, 60*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	header = time.Since(begin)
	body, err = io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("after %d bytes: %v", len(body), err)
	}
	return body, header, time.Since(begin)
}

// sparse is a file of zeroes.
func sparse(t testing.TB, size int64) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
	return name
}

// A rate is held by every way of a body, whatever the rate, and the header does
// not wait. That it is exact is for an idle machine to show: here nothing may be
// too fast, and nothing much too slow.
func TestRate(t *testing.T) {
	ways := []struct {
		name string
		send func(w http.ResponseWriter, n int64, file *os.File)
	}{
		{"one write with a length", func(w http.ResponseWriter, n int64, _ *os.File) {
			w.Header().Set("Content-Length", fmt.Sprint(n))
			w.Write(make([]byte, n))
		}},
		{"writes, chunked", func(w http.ResponseWriter, n int64, _ *os.File) {
			for n > 0 {
				k := min(n, 5000)
				w.Write(make([]byte, k))
				http.NewResponseController(w).Flush()
				n -= k
			}
		}},
		{"held back to the end", func(w http.ResponseWriter, n int64, _ *os.File) { w.Write(make([]byte, n)) }},
		{"a file", func(w http.ResponseWriter, n int64, f *os.File) {
			w.Header().Set("Content-Length", fmt.Sprint(n))
			w.Header().Set("Content-Type", "x/y")
			io.CopyN(w, f, n)
		}},
		{"by sendfile.Serve", func(w http.ResponseWriter, n int64, f *os.File) {
			file, err := sendfile.OpenBeneath(filepath.Dir(f.Name()), filepath.Base(f.Name()), sendfile.Deny)
			if err != nil {
				t.Error(err)
				return
			}
			defer file.Close()
			sendfile.Serve(w, &http.Request{Method: "GET", Header: http.Header{}}, 200, file)
		}},
	}
	for _, rate := range []int64{1000, 300_000, 100_000_000} {
		n := rate * 5 / 4 // more than a second
		name := sparse(t, n)
		for _, way := range ways {
			t.Run(fmt.Sprintf("%s at %d", way.name, rate), func(t *testing.T) {
				t.Parallel()
				f, err := os.Open(name)
				if err != nil {
					t.Fatal(err)
				}
				defer f.Close()
				_, addrs, _ := serving(t, http1.Options{KeepaliveIdle: time.Minute, Handler: http.HandlerFunc(
					func(w http.ResponseWriter, r *http.Request) {
						w.(http1.Connection).SetRate(rate)
						way.send(w, n, f)
					})}, 1)
				body, header, all := timed(t, addrs[0])
				if int64(len(body)) != n || !bytes.Equal(body, make([]byte, n)) {
					t.Fatalf("%d bytes, or not the right ones", len(body))
				}
				want := 1250 * time.Millisecond
				if all < want*95/100 || all > 10*want && rate < 100_000_000 { // which a busy machine may not be able to do
					t.Errorf("%d bytes took %v, want %v", n, all, want)
				}
				if header > time.Second && rate < 100_000_000 { // likewise
					t.Errorf("the header came after %v", header)
				}
			})
		}
	}
}

// What is no more than a burst is not worth a pause, and no rate is none.
func TestRateSmall(t *testing.T) {
	// Not known to be small, so it is paced; an eighth of a second is not much.
	for _, rate := range []int64{80_000, 0} {
		_, addrs, _ := serving(t, http1.Options{KeepaliveIdle: time.Minute, Handler: http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) {
				w.(http1.Connection).SetRate(1)
				w.(http1.Connection).SetRate(rate)
				w.Write(make([]byte, 9000))
				w.Write(make([]byte, 1000))
			})}, 1)
		if body, _, all := timed(t, addrs[0]); len(body) != 10_000 || all > 5*time.Second {
			t.Errorf("rate %d: %d bytes in %v", rate, len(body), all)
		}
	}
	_, addrs, _ := serving(t, http1.Options{KeepaliveIdle: time.Minute, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			w.(http1.Connection).SetRate(8000)
			w.Write(make([]byte, 1000))
		})}, 1)
	c := dial(t, addrs[0])
	c.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	buf := make([]byte, 4096)
	if n, err := c.Read(buf); err != nil || n < 1000 || !bytes.Contains(buf[:n], []byte("Content-Length: 1000\r\n")) {
		t.Errorf("%d bytes, %v: header and body are not one segment\n%s", n, err, buf[:n])
	}
}

// A client that leaves in a pause ends it, and one whose connection takes nothing
// is given up although no write waits.
func TestRatePauseEnds(t *testing.T) {
	end := make(chan error, 1)
	options := func(rate int64, timeout time.Duration) http1.Options {
		return http1.Options{KeepaliveIdle: time.Minute, SendTimeout: timeout, Handler: http.HandlerFunc(
			func(w http.ResponseWriter, r *http.Request) {
				w.(http1.Connection).SetRate(rate)
				w.Header().Set("Content-Length", "100000000")
				_, err := w.Write(make([]byte, 100_000_000))
				end <- err
			})}
	}
	wait := func(what string) {
		t.Helper()
		select {
		case err := <-end:
			if err == nil {
				t.Errorf("%s: no error", what)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: the answer goes on", what)
		}
	}
	_, addrs, _ := serving(t, options(1, time.Hour), 1)
	c := dial(t, addrs[0])
	if _, err := ask(c, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	c.Close()
	wait("the client leaves")

	_, addrs, _ = serving(t, options(10<<20, 300*time.Millisecond), 1)
	c = dial(t, addrs[0])
	c.(*net.TCPConn).SetReadBuffer(4096)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	wait("the client takes nothing")
}

// A rate is of one answer, not of its connection.
func TestRateIsPerAnswer(t *testing.T) {
	rates := []int64{0, 20_000, 0}
	i := 0
	_, addrs, _ := serving(t, http1.Options{KeepaliveIdle: time.Minute, Handler: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) {
			if rates[i] > 0 {
				w.(http1.Connection).SetRate(rates[i])
			}
			i++
			w.Header().Set("Content-Length", "20000")
			w.Write(make([]byte, 20_000))
		})}, 1)
	c := dial(t, addrs[0])
	for n, rate := range rates {
		begin := time.Now()
		res, err := ask(c, 30*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Fatal(err)
		}
		took := time.Since(begin)
		if rate > 0 && took < 900*time.Millisecond || rate == 0 && took > 800*time.Millisecond {
			t.Errorf("answer %d, rate %d: %v", n, rate, took)
		}
	}
}
