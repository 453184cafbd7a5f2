package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"time"
)

// hotEvery is how often the hot client asks.
const hotEvery = 2 * time.Millisecond

// hotPatience is how long it waits for its last answer, beyond its time.
const hotPatience = time.Second

// hotTimes is what the hot client has seen.
type hotTimes struct {
	p50, p99, longest time.Duration
	n                 int
}

// runHot runs the hot client: a process of its own, so that its times are not
// those of the clients that this one is besides.
func runHot(ctx context.Context, self, addr, path string, d time.Duration) (t hotTimes, err error) {
	out, err := exec.CommandContext(ctx, self, "-child", "hot", addr, path, d.String()).Output()
	if err != nil {
		return t, err
	}
	_, err = fmt.Sscan(string(out), &t.p50, &t.p99, &t.longest, &t.n)
	return t, err
}

// hotMain asks for a path on one connection, and prints how long the answers took.
func hotMain(args []string, out io.Writer) error {
	if len(args) != 3 {
		return fmt.Errorf("hot: %d arguments", len(args))
	}
	d, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	conn, err := net.Dial("tcp", args[0])
	if err != nil {
		return err
	}
	defer conn.Close()
	var took []time.Duration
	request := "GET " + args[1] + " HTTP/1.1\r\nHost: " + args[0] + "\r\n\r\n"
	in := bufio.NewReader(conn)
	end := time.Now().Add(d)
	conn.SetDeadline(end.Add(hotPatience))
	for next := time.Now(); next.Before(end); next = next.Add(hotEvery) {
		time.Sleep(time.Until(next))
		begin := time.Now()
		err := hotAsk(conn, in, request)
		took = append(took, time.Since(begin))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			break // it takes at least that long
		}
		if err != nil {
			return err
		}
		if next.Before(begin.Add(-hotEvery)) {
			next = begin // what was missed is not made up for
		}
	}
	slices.Sort(took)
	_, err = fmt.Fprintln(out, int64(rank(took, 50)), int64(rank(took, 99)), int64(took[len(took)-1]), len(took))
	return err
}

func hotAsk(conn net.Conn, in *bufio.Reader, request string) error {
	if _, err := io.WriteString(conn, request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if _, err = io.Copy(io.Discard, resp.Body); err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", resp.Status)
	}
	return err
}

// rank is the smallest that so many percent are not above.
func rank(sorted []time.Duration, percent int) time.Duration {
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}
