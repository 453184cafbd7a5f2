package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// tally is what the clients of a fault run saw.
type tally struct {
	requests int
	failed   map[string]int // by what was wrong
	times    []time.Duration
}

func (t *tally) failures() (n int) {
	for _, k := range t.failed {
		n += k
	}
	return n
}

func (t *tally) add(o tally) {
	t.requests += o.requests
	t.times = append(t.times, o.times...)
	for why, n := range o.failed {
		t.fail(why, n)
	}
}

func (t *tally) fail(why string, n int) {
	if t.failed == nil {
		t.failed = map[string]int{}
	}
	t.failed[why] += n
}

// client asks again and again over one connection, a new one after a failure.
type client struct {
	addr string
	conn net.Conn
	r    *bufio.Reader
	tally
}

// askLimit is how long an answer may take.
const askLimit = 20 * time.Second

func (c *client) ask() {
	begin := time.Now()
	why := c.exchange()
	c.requests++
	c.times = append(c.times, time.Since(begin))
	if why != "" {
		c.fail(why, 1)
	}
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// exchange does one request and says what was wrong with the answer.
func (c *client) exchange() string {
	if c.conn == nil {
		var err error
		if c.conn, err = net.Dial("tcp", c.addr); err != nil {
			return "connect"
		}
		c.r = bufio.NewReader(c.conn)
	}
	c.conn.SetDeadline(time.Now().Add(askLimit))
	if _, err := fmt.Fprintf(c.conn, "GET /app HTTP/1.1\r\nHost: %s\r\n\r\n", c.addr); err != nil {
		c.close()
		return "write"
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		c.close()
		return "no answer"
	}
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		c.close()
		return "broken answer"
	case resp.StatusCode != http.StatusOK:
		if resp.Close {
			c.close()
		}
		return fmt.Sprint(resp.StatusCode)
	case string(body) != smallAnswer:
		return "wrong answer"
	}
	if resp.Close {
		c.close()
	}
	return ""
}

// closedLoop has every client ask as fast as it gets answers.
func closedLoop(ctx context.Context, addr string, clients int, d time.Duration) tally {
	return together(clients, func(c *client) {
		c.addr = addr
		for end := time.Now().Add(d); time.Now().Before(end) && ctx.Err() == nil; {
			c.ask()
		}
	})
}

// paced asks so many times a second, whatever the answers take.
func paced(ctx context.Context, addr string, rate int, d time.Duration) tally {
	const clients = 10
	turns := make(chan struct{}, clients)
	go func() {
		defer close(turns)
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for end := time.Now().Add(d); time.Now().Before(end); {
			select {
			case <-tick.C:
				turns <- struct{}{}
			case <-ctx.Done():
				return
			}
		}
	}()
	return together(clients, func(c *client) {
		c.addr = addr
		for range turns {
			c.ask()
		}
	})
}

func together(n int, do func(*client)) tally {
	var (
		mu  sync.Mutex
		all tally
		wg  sync.WaitGroup
	)
	for range n {
		wg.Go(func() {
			c := &client{}
			do(c)
			c.close()
			mu.Lock()
			defer mu.Unlock()
			all.add(c.tally)
		})
	}
	wg.Wait()
	slices.Sort(all.times)
	return all
}
