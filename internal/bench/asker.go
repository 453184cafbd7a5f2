package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"
)

// asker is one client's connection.
type asker struct {
	addr string
	from string // source address; "": the system's choice
	conn net.Conn
}

// askerLimit is how long one answer may take.
const askerLimit = 30 * time.Second

// open connects, unless it is connected.
func (a *asker) open(ctx context.Context) (err error) {
	if a.conn != nil {
		return nil
	}
	d := net.Dialer{Timeout: askerLimit}
	if a.from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(a.from)}
	}
	a.conn, err = d.DialContext(ctx, "tcp", a.addr)
	return err
}

func (a *asker) close() {
	if a.conn != nil {
		a.conn.Close()
		a.conn = nil
	}
}

// send writes one request.
func (a *asker) send(ctx context.Context, path string, last bool) error {
	if err := a.open(ctx); err != nil {
		return err
	}
	more := ""
	if last {
		more = "Connection: close\r\n"
	}
	a.conn.SetDeadline(time.Now().Add(askerLimit))
	_, err := fmt.Fprintf(a.conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, a.addr, more)
	return err
}

// answer reads the head of an answer; the body is at resp.
func (a *asker) answer() (*http.Response, error) {
	return http.ReadResponse(bufio.NewReader(a.conn), nil)
}

// head reads the head of an answer, which must be 200; the body is at resp.
func (a *asker) head() (*http.Response, error) {
	resp, err := a.answer()
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", resp.Status)
	}
	return resp, err
}

// ask has one request answered with a body of so many bytes. After an error, or
// when the server or last says so, the connection is closed.
func (a *asker) ask(ctx context.Context, path string, size int64, last bool) error {
	resp, err := (*http.Response)(nil), a.send(ctx, path, last)
	if err == nil {
		resp, err = a.head()
	}
	if err == nil {
		var n int64
		if n, err = io.Copy(io.Discard, resp.Body); err == nil && n != size {
			err = fmt.Errorf("body of %d bytes, want %d", n, size)
		}
	}
	if err != nil || last || resp.Close {
		a.close()
	}
	return err
}

// askAll has each ask once, a few at a time, and counts those that were
// answered; fault is about one of the others.
func askAll(ctx context.Context, list []*asker, path string, size int64) (answered int64, fault error) {
	var (
		mu   sync.Mutex
		next int
		wg   sync.WaitGroup
	)
	for range min(32, len(list)) {
		wg.Go(func() {
			for ctx.Err() == nil {
				mu.Lock()
				if next == len(list) {
					mu.Unlock()
					return
				}
				a := list[next]
				next++
				mu.Unlock()
				err := a.ask(ctx, path, size, false)
				mu.Lock()
				if err == nil {
					answered++
				} else {
					fault = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return answered, fault
}

func closeAll(list []*asker) {
	for _, a := range list {
		a.close()
	}
}

// pause waits, or less when the run ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// address is where the instance listens.
func (in *instance) address() string { return fmt.Sprintf("127.0.0.1:%d", in.port) }

// failed adds an error to a sample.
func (x *sample) failed(n int64, format string, args ...any) {
	x.errors += n
	if x.fault == "" {
		x.fault = fmt.Sprintf(format, args...)
	}
}
