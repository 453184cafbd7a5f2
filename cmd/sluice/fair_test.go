package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// A client that takes a large file as fast as it comes does not starve others, on
// a single processor: beside a whole GiB small requests have their turns.
func TestFastClientIsFair(t *testing.T) {
	t.Setenv("GOMAXPROCS", "1")
	dir := testDir(t)
	write(t, dir, "www/small", "small")
	write(t, dir, "www/big", "")
	const size = 1 << 30
	if err := os.Truncate(filepath.Join(dir, "www/big"), size); err != nil {
		t.Fatal(err)
	}
	s := startSite(t, dir, "[[site]]\nroot = \"www\"\n")
	small, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer small.Close()
	in := bufio.NewReader(small)
	// latency is the median time of a small request, over at least some, up to the end.
	latency := func(some int, end <-chan struct{}) (time.Duration, int) {
		var took []time.Duration
		for over := false; !over && len(took) < 20_000 || len(took) < some; {
			begin := time.Now()
			small.SetDeadline(begin.Add(requestWait))
			fmt.Fprint(small, "GET /small HTTP/1.1\r\nHost: x\r\n\r\n")
			res, err := http.ReadResponse(in, nil)
			if err == nil {
				_, err = io.Copy(io.Discard, res.Body)
			}
			if err != nil {
				t.Fatal(err)
			}
			took = append(took, time.Since(begin))
			select {
			case <-end:
				over = true
			default:
			}
		}
		slices.Sort(took)
		return took[len(took)/2], len(took)
	}
	closed := make(chan struct{})
	close(closed)
	alone, _ := latency(500, closed)

	end := make(chan struct{})
	var got int64
	begin := time.Now()
	go func() {
		defer close(end)
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			return
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(2 * requestWait))
		fmt.Fprint(c, "GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReaderSize(c, 1<<20), nil)
		if err == nil {
			got, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, res.Body, make([]byte, 1<<20))
		}
	}()
	beside, n := latency(5, end)
	<-end
	took := time.Since(begin)
	if got != size {
		t.Errorf("%d bytes of %d", got, size)
	}
	t.Logf("median alone %v, beside a GiB in %v %v, of %d requests", alone, took, beside, n)
	if beside > 100*time.Millisecond || n < 20 {
		t.Errorf("a small request takes %v beside a download, %v alone; %d were answered meanwhile", beside, alone, n)
	}
}
