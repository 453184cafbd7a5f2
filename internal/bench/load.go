package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/internal/samples"
)

// load is what one visit of a load generator saw.
type load struct {
	requests int64
	bytes    int64 // downloads only
	elapsed  time.Duration
	p50, p99 time.Duration
	mean     time.Duration // latency; wrk only
	errors   int64         // connections, reads, writes, timeouts, and answers other than 2xx and 3xx
	fault    string        // what the errors were
	busy     float64       // CPU of the generator, 1 is one core; 0: not known
}

// runWrk loads a URL over keep-alive connections, or with a connection for each
// request. before and behind are more arguments, on both sides of the URL.
func runWrk(ctx context.Context, url string, clients int, d time.Duration, connect bool, before, behind []string) (load, error) {
	ctx, cancel := context.WithTimeout(ctx, d+15*time.Second)
	defer cancel()
	args := []string{"-t1", "-c" + strconv.Itoa(clients), fmt.Sprintf("-d%ds", int(d.Seconds())), "--latency"}
	if connect {
		args = append(args, "-H", "Connection: close")
	}
	cmd := exec.CommandContext(ctx, "wrk", slices.Concat(args, before, []string{url}, behind)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return load{}, fmt.Errorf("wrk: %w: %s", err, firstLine(string(out)))
	}
	l, err := parseWrk(string(out))
	if err != nil {
		return l, err
	}
	used := cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	l.busy = used.Seconds() / l.elapsed.Seconds()
	if !connect { // wrk's latency leaves out the connecting
		l.noteStarved(clients)
	}
	return l, nil
}

// noteStarved makes an error of clients that hung: wrk is silent about a
// connection without an answer, and its quantiles leave them out. By Little's
// law the mean latency times the rate is the number of clients with a request
// under way; a busy wrk itself keeps up to half of them waiting.
func (l *load) noteStarved(clients int) {
	active := l.mean.Seconds() * float64(l.requests) / l.elapsed.Seconds()
	if active < float64(clients)/4 {
		l.errors++
		l.fault = strings.TrimSpace(fmt.Sprintf("%s starved clients: only %.1f of %d active", l.fault, active, clients))
	}
}

var (
	wrkTotal   = regexp.MustCompile(`(?m)^\s*(\d+) requests in ([\d.]+[a-z]+),`)
	wrkMean    = regexp.MustCompile(`(?m)^\s*Latency\s+([\d.]+[a-z]+)`)
	wrkPart    = regexp.MustCompile(`(?m)^\s*(50|99)%\s+([\d.]+[a-z]+)`)
	wrkSocket  = regexp.MustCompile(`(?m)^\s*Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)`)
	wrkRefused = regexp.MustCompile(`(?m)^\s*Non-2xx or 3xx responses: (\d+)`)
)

// parseWrk reads what `wrk --latency` prints.
func parseWrk(text string) (load, error) {
	var l load
	total := wrkTotal.FindStringSubmatch(text)
	if total == nil {
		return l, fmt.Errorf("wrk: no total in its output: %s", firstLine(text))
	}
	l.requests, _ = strconv.ParseInt(total[1], 10, 64)
	var err error
	if l.elapsed, err = time.ParseDuration(total[2]); err != nil {
		return l, fmt.Errorf("wrk: %w", err)
	}
	if m := wrkMean.FindStringSubmatch(text); m != nil {
		if l.mean, err = time.ParseDuration(m[1]); err != nil {
			return l, fmt.Errorf("wrk: %w", err)
		}
	}
	for _, m := range wrkPart.FindAllStringSubmatch(text, -1) {
		v, err := time.ParseDuration(m[2])
		if err != nil {
			return l, fmt.Errorf("wrk: %w", err)
		}
		if m[1] == "50" {
			l.p50 = v
		} else {
			l.p99 = v
		}
	}
	for _, m := range [][]string{wrkSocket.FindStringSubmatch(text), wrkRefused.FindStringSubmatch(text)} {
		if m == nil {
			continue
		}
		for _, digits := range m[1:] {
			n, _ := strconv.ParseInt(digits, 10, 64)
			l.errors += n
		}
		l.fault = strings.TrimSpace(l.fault + " " + strings.TrimSpace(m[0]))
	}
	if l.requests == 0 {
		l.errors, l.fault = l.errors+1, strings.TrimSpace(l.fault+" no answer at all")
	}
	return l, nil
}

// runDownloads has every client fetch the URL again and again, one after the
// other on one connection, until the time is over; each finishes its last one.
func runDownloads(ctx context.Context, address, path string, size int64, clients int, d time.Duration) load {
	var (
		mu    sync.Mutex
		l     load
		times []time.Duration
		group sync.WaitGroup
	)
	start := time.Now()
	ctx, cancel := context.WithTimeout(ctx, d+30*time.Second)
	defer cancel()
	for range clients {
		group.Go(func() {
			done, err := downloads(ctx, address, path, size, start.Add(d))
			mu.Lock()
			defer mu.Unlock()
			times = append(times, done...)
			if err != nil {
				l.errors, l.fault = l.errors+1, err.Error()
			}
		})
	}
	group.Wait()
	l.elapsed = time.Since(start)
	l.requests, l.bytes = int64(len(times)), int64(len(times))*size
	l.p50, l.p99 = samples.Quantile(times, 0.50), samples.Quantile(times, 0.99)
	return l
}

func downloads(ctx context.Context, address, path string, size int64, end time.Time) (times []time.Duration, err error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Now()) })()
	r, buf := bufio.NewReader(conn), make([]byte, 1<<20)
	for len(times) == 0 || time.Now().Before(end) {
		start := time.Now()
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, address); err != nil {
			return times, err
		}
		if err := discard(r, buf, size); err != nil {
			return times, err
		}
		times = append(times, time.Since(start))
	}
	return times, nil
}

// discard reads one answer to its end; an error unless it is the whole file.
func discard(r *bufio.Reader, buf []byte, size int64) error {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength != size {
		return fmt.Errorf("download: %s with length %d", resp.Status, resp.ContentLength)
	}
	var n int64
	for err == nil {
		var got int
		got, err = resp.Body.Read(buf)
		n += int64(got)
	}
	if !errors.Is(err, io.EOF) || n != size {
		return fmt.Errorf("download: %d of %d bytes: %w", n, size, err)
	}
	return nil
}

// probe asks once and compares the answer's status and body.
func probe(ctx context.Context, url string, want io.Reader) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s", req.URL.Path, resp.Status)
	}
	same, err := sameBytes(resp.Body, want)
	if err == nil && !same {
		err = fmt.Errorf("GET %s: wrong body", req.URL.Path)
	}
	return err
}

// sameBytes reads both to their ends.
func sameBytes(a, b io.Reader) (bool, error) {
	x, y := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, errA := io.ReadFull(a, x)
		m, errB := io.ReadFull(b, y)
		if !bytes.Equal(x[:n], y[:m]) {
			return false, nil
		}
		if errA != nil || errB != nil {
			return isEnd(errA) && isEnd(errB), nil
		}
	}
}

func isEnd(err error) bool { return err == io.EOF || err == io.ErrUnexpectedEOF }

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}
