package tune

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"
)

// answerWait is how long the requests that are under way at the end of a load may
// still take. What is not answered then counts as not answered.
const answerWait = time.Second

// client is one of those that make a load. What it sends is ready before it
// begins, and it reads as little as it can of an answer: its CPU is the server's
// competitor.
type client struct {
	address string
	request []byte
	limit   time.Time // of everything
	in      *bufio.Reader
	took    []time.Duration // of each whole answer
	failed  [failures]int64
}

func newClient(o Order, limit time.Time) *client {
	c := &client{address: o.Address, limit: limit, in: bufio.NewReader(nil)}
	switch o.Load {
	case Connect:
		c.request = fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", o.Path, o.Address)
	case Keepalive:
		c.request = fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", o.Path, o.Address)
	case Early:
		c.request = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", o.Path, o.Address, upload)
	}
	return c
}

// connect asks on a new connection, which the server closes.
func (c *client) connect(time.Time) {
	begin := time.Now()
	conn := c.dial()
	if conn == nil {
		return
	}
	defer conn.Close()
	if c.ask(conn, begin) {
		io.Copy(io.Discard, conn)
	}
}

// keepalive asks again and again on one connection, until it breaks.
func (c *client) keepalive(end time.Time) {
	conn := c.dial()
	if conn == nil {
		return
	}
	defer conn.Close()
	for c.ask(conn, time.Now()) && time.Now().Before(end) {
	}
}

// early uploads, and looks for an answer when all has been sent, as simple
// clients do: one that is cut off while it sends never sees the answer.
func (c *client) early(time.Time) {
	begin := time.Now()
	conn := c.dial()
	if conn == nil {
		return
	}
	defer conn.Close()
	_, err := conn.Write(c.request)
	for sent := 0; sent < upload && err == nil; sent += len(piece) {
		_, err = conn.Write(piece)
	}
	var status int
	if err == nil {
		status, err = c.read()
	}
	c.note(begin, status >= 400, err)
}

// piece is what an upload consists of.
var piece = make([]byte, 256<<10)

// retryWait is how long a client waits that got no connection.
const retryWait = 5 * time.Millisecond

// dial returns nil if there is no connection.
func (c *client) dial() net.Conn {
	conn, err := (&net.Dialer{Deadline: c.limit}).Dial("tcp", c.address)
	if err != nil {
		c.failed[refused]++
		time.Sleep(retryWait)
		return nil
	}
	conn.SetDeadline(c.limit)
	c.in.Reset(conn)
	return conn
}

// ask sends the request and reads the answer; false without a whole one.
func (c *client) ask(conn net.Conn, begin time.Time) bool {
	_, err := conn.Write(c.request)
	var status int
	if err == nil {
		status, err = c.read()
	}
	return c.note(begin, status == 200, err)
}

// note counts what became of a request; false unless it was well answered.
func (c *client) note(begin time.Time, expected bool, err error) bool {
	switch {
	case err == nil && expected:
		c.took = append(c.took, time.Since(begin))
		return true
	case err == nil:
		c.failed[unexpected]++
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.failed[timeout]++
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		c.failed[reset]++
	default:
		c.failed[short]++
	}
	return false
}

// read reads one answer to its end. It has to have a Content-Length.
func (c *client) read() (status int, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return 0, fmt.Errorf("not an answer: %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, fmt.Errorf("not an answer: %q", line)
	}
	length := -1
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return status, err
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return status, fmt.Errorf("not an answer: %q", line)
			}
		}
	}
	if length < 0 {
		return status, errors.New("an answer without a length")
	}
	_, err = c.in.Discard(length)
	return status, err
}
