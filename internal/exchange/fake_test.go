package exchange

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// call is one request as a scripted FastCGI application sees it. Reading and
// writing is done here by hand, so that it shares no code with what is tested.
type call struct {
	net.Conn
	in     *bufio.Reader
	slot   int
	try    int // counts the calls of one request
	role   int
	params map[string]string
	keep   bool
	closed bool
}

const (
	recBegin, recAbort, recEnd, recParams, recStdin, recStdout, recStderr, recData = 1, 2, 3, 4, 5, 6, 7, 8
)

func (c *call) record() (kind int, content []byte, err error) {
	var h [8]byte
	if _, err := io.ReadFull(c.in, h[:]); err != nil {
		return 0, nil, err
	}
	content = make([]byte, binary.BigEndian.Uint16(h[4:])+uint16(h[6]))
	_, err = io.ReadFull(c.in, content)
	return int(h[1]), content[:binary.BigEndian.Uint16(h[4:])], err
}

// begin reads a request up to its input.
func (c *call) begin() error {
	c.params = map[string]string{}
	var params bytes.Buffer
	for {
		kind, b, err := c.record()
		switch {
		case err != nil:
			return err
		case kind == recBegin:
			c.role, c.keep = int(b[1]), b[2]&1 != 0
		case kind == recParams && len(b) > 0:
			params.Write(b)
		case kind == recParams:
			for params.Len() > 0 {
				k, v := length(&params), length(&params)
				name := string(params.Next(k))
				c.params[name] = string(params.Next(v))
			}
			return nil
		}
	}
}

func length(b *bytes.Buffer) int {
	if b.Bytes()[0] < 128 {
		return int(b.Next(1)[0])
	}
	return int(binary.BigEndian.Uint32(b.Next(4)) &^ (1 << 31))
}

// stdin reads the input to its end.
func (c *call) stdin() ([]byte, error) { return c.stream(recStdin) }

// stream reads a stream to its end, and no other may come between.
func (c *call) stream(of int) ([]byte, error) {
	var all []byte
	for {
		kind, b, err := c.record()
		switch {
		case err != nil:
			return all, err
		case kind == recAbort:
			return all, errors.New("abort")
		case kind != of:
			return all, fmt.Errorf("a record of type %d", kind)
		case len(b) == 0:
			return all, nil
		}
		all = append(all, b...)
	}
}

// departure waits for how the other side ends the request: "abort" or "close".
func (c *call) departure(d time.Duration) string {
	c.SetReadDeadline(time.Now().Add(d))
	defer c.SetReadDeadline(time.Time{})
	for {
		kind, _, err := c.record()
		switch {
		case errors.Is(err, io.EOF), err != nil && !isTimeout(err):
			return "close"
		case err != nil:
			return "nothing"
		case kind == recAbort:
			return "abort"
		}
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func (c *call) send(kind int, content []byte) error {
	h := [8]byte{1, byte(kind), 0, 1}
	binary.BigEndian.PutUint16(h[4:], uint16(len(content)))
	_, err := c.Write(append(h[:], content...))
	return err
}

// out writes to standard output, in records of a length that is odd.
func (c *call) out(texts ...string) error {
	for _, s := range texts {
		for len(s) > 0 {
			n := min(len(s), 32767)
			if err := c.send(recStdout, []byte(s[:n])); err != nil {
				return err
			}
			s = s[n:]
		}
	}
	return nil
}

// end ends the request with an appStatus and a protocol status.
func (c *call) end(status ...byte) {
	b := make([]byte, 8)
	if len(status) > 0 {
		b[3] = status[0]
	}
	if len(status) > 1 {
		b[4] = status[1]
	}
	c.send(recEnd, b)
}

// say is a whole answer.
func (c *call) say(text string) {
	c.out(text)
	c.end()
}

// die ends the connection without the end of the request.
func (c *call) die() {
	c.closed = true
	c.Close()
}

// serveCalls serves one connection at a time, as most applications do.
func serveCalls(l net.Listener, do func(*call)) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		serveConn(nc, do)
	}
}

func serveConn(nc net.Conn, do func(*call)) {
	defer nc.Close()
	in := bufio.NewReader(nc)
	for {
		c := &call{Conn: nc, in: in}
		if c.begin() != nil {
			return
		}
		do(c)
		if !c.keep || c.closed {
			return
		}
	}
}

// farm is the children of an app, within the test.
type farm struct {
	mu        sync.Mutex
	do        func(*call)
	calls     []*call
	listeners []net.Listener
	wg        sync.WaitGroup
}

func (f *farm) listen(network, address string, slot int) (net.Addr, error) {
	l, err := net.Listen(network, address)
	if err != nil {
		return nil, err
	}
	f.listeners = append(f.listeners, l)
	f.wg.Go(func() {
		serveCalls(l, func(c *call) {
			f.mu.Lock()
			c.slot, c.try = slot, len(f.calls)
			f.calls = append(f.calls, c)
			do := f.do
			f.mu.Unlock()
			do(c)
		})
	})
	return l.Addr(), nil
}

// script says what the children do from now on, and forgets the calls before.
func (f *farm) script(do func(*call)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.do, f.calls = do, nil
}

// slots are the children that were asked, in order.
func (f *farm) slots() (s []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.calls {
		s = append(s, c.slot)
	}
	return s
}

func (f *farm) close() {
	for _, l := range f.listeners {
		l.Close()
	}
	f.mu.Lock()
	for _, c := range f.calls {
		c.Close()
	}
	f.mu.Unlock()
	f.wg.Wait()
}
