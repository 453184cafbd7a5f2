package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"
)

// FastCGI record types and the one flag (FastCGI 1.0, section 8).
const (
	fcgiVersion         = 1
	fcgiBeginRequest    = 1
	fcgiAbortRequest    = 2
	fcgiEndRequest      = 3
	fcgiParams          = 4
	fcgiStdin           = 5
	fcgiStdout          = 6
	fcgiGetValues       = 9
	fcgiGetValuesResult = 10
	fcgiUnknownType     = 11
	fcgiKeepConn        = 1
	fcgiHeaderLen       = 8
	fcgiLongestRecord   = fcgiHeaderLen + 65535 + 255
)

// childMain is the FastCGI application: it answers on the listening socket at
// descriptor 0 until it is killed. It serves one connection at a time, as PHP
// does; with -multi it holds many and answers one request at a time.
func childMain(args []string) error {
	f := flag.NewFlagSet("fastcgi", flag.ContinueOnError)
	multi := f.Bool("multi", false, "hold many connections")
	header := f.String("header", "", "NAME=VALUE, a further response header")
	many := f.Int("many", 0, "VALUE has %05d, which is replaced by the number below this one that a request's parameters have behind \"file=\"")
	last := f.Int("last", 0, "exit after so many answers; 0: never")
	work := f.Duration("work", 0, "compute (sleep) for so long before each answer")
	when := f.String("when", "", "the header and the work are for requests whose parameters have this word")
	dawdle := f.Bool("dawdle", false, "with -when: those answers never end, until the connection is closed")
	more := f.Int("more", 0, "with -when: bytes that those answers have behind their header block")
	after := f.Duration("after", 0, "with -when: compute (sleep) for so long before those answers end")
	gaps := f.String("gaps", "", "with -when: a file that gets the nanoseconds from the header block of each of those answers to the next request, and whether it was cut off")
	if err := f.Parse(args); err != nil {
		return err
	}
	// Nothing below allocates per request, and a collector could not stop a
	// thread in a raw system call.
	debug.SetGCPercent(-1)
	head := ""
	if name, value, ok := strings.Cut(*header, "="); ok {
		head = name + ": " + value + "\r\n"
	}
	if *multi {
		return serveMany(0, head)
	}
	c := newResponder(head)
	c.last, c.work, c.numbered = *last, *work, newNumbered(*many, head)
	if *when != "" {
		c.choosy = &choosy{word: []byte(*when), dawdle: *dawdle, more: *more, after: *after, plain: newReply("")}
	}
	if *gaps != "" && c.choosy != nil {
		var err error
		if c.choosy.gaps, err = os.OpenFile(*gaps, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
			return err
		}
	}
	return c.serveOne(0)
}

// serveOne serves connection after connection, until it has answered last
// times.
func (c *responder) serveOne(listener int) error {
	for {
		fd, err := accept(listener)
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		c.reset()
		for c.step(fd) {
		}
		syscall.Close(fd)
		if c.last < 0 {
			return nil
		}
	}
}

// serveMany serves whichever connection has something to say.
func serveMany(listener int, head string) error {
	polled := []pollFD{{fd: int32(listener), events: pollIn}}
	conns := []*responder{nil}
	for {
		if err := poll(polled); err != nil {
			return fmt.Errorf("poll: %w", err)
		}
		for i := len(polled) - 1; i > 0; i-- {
			if polled[i].revents == 0 || conns[i].step(int(polled[i].fd)) {
				continue
			}
			syscall.Close(int(polled[i].fd))
			last := len(polled) - 1
			polled[i], conns[i] = polled[last], conns[last]
			polled, conns = polled[:last], conns[:last]
		}
		if polled[0].revents == 0 {
			continue
		}
		fd, err := accept(listener)
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		polled = append(polled, pollFD{fd: int32(fd), events: pollIn})
		conns = append(conns, newResponder(head))
	}
}

// responder is one FastCGI connection: bytes in, records out.
type responder struct {
	buf    []byte // received; buf[:have] is not parsed yet
	have   int
	out    []byte // to be written, reused
	answer reply
	id     [2]byte
	open   bool // between BEGIN_REQUEST and the answer
	keep   bool // FCGI_KEEP_CONN of this request
	params bool // PARAMS has ended
	asked  bool // PARAMS has had the word of choosy

	last     int           // answers that are left; 0: without end; below: it was the last
	work     time.Duration // before each answer
	choosy   *choosy       // nil: every request gets the same
	numbered *numbered     // nil: the answer is not that of a number
}

// reply is the records of one answer.
type reply struct {
	records []byte // of request id 0
	marks   [3]int // where they begin
}

// newReply makes an answer; head is added to its header block.
func newReply(head string) (r reply) {
	content := "Content-Type: text/plain\r\n" + head + "\r\n" + smallAnswer
	r.records = appendRecord(r.records, fcgiStdout, content)
	r.marks[1] = len(r.records)
	r.records = appendRecord(r.records, fcgiStdout, "")
	r.marks[2] = len(r.records)
	r.records = appendRecord(r.records, fcgiEndRequest, endContent)
	return r
}

// endContent is FCGI_REQUEST_COMPLETE with status 0.
const endContent = "\x00\x00\x00\x00\x00\x00\x00\x00"

func newResponder(head string) *responder {
	return &responder{buf: make([]byte, 2*fcgiLongestRecord), out: make([]byte, 0, 4096), answer: newReply(head)}
}

// appendRecord adds one record of request 0, padded to a multiple of eight.
func appendRecord(b []byte, kind byte, content string) []byte {
	n := len(content)
	pad := -n & 7
	b = append(b, fcgiVersion, kind, 0, 0, byte(n>>8), byte(n), byte(pad), 0)
	b = append(b, content...)
	return append(b, make([]byte, pad)...)
}

func (c *responder) reset() {
	c.have, c.open, c.keep, c.params = 0, false, false, false
}

// step does one read, and the write it leads to; false: close the connection.
func (c *responder) step(fd int) bool {
	n, err := read(fd, c.buf[c.have:])
	if err != nil || n == 0 {
		return false
	}
	c.have += n
	c.choosy.received()
	out, more := c.advance()
	if !writeAll(fd, out) {
		return false
	}
	if unfinished := c.choosy.written(); unfinished && !c.finish(fd) {
		c.choosy.cut = true
		return false
	}
	return more
}

func writeAll(fd int, out []byte) bool {
	for len(out) > 0 {
		n, err := write(fd, out)
		if err != nil {
			return false
		}
		out = out[n:]
	}
	return true
}

// advance takes every complete record out of buf and returns what is to be
// written, and whether the connection stays open after that.
func (c *responder) advance() (out []byte, more bool) {
	c.out = c.out[:0]
	at := 0
	more = true
	for more && c.have-at >= fcgiHeaderLen {
		h := c.buf[at:c.have]
		length := int(h[4])<<8 | int(h[5])
		size := fcgiHeaderLen + length + int(h[6])
		if h[0] != fcgiVersion {
			return c.out, false
		}
		if len(h) < size {
			break
		}
		more = c.record(h[1], h[2:4], h[fcgiHeaderLen:fcgiHeaderLen+length])
		at += size
	}
	c.have = copy(c.buf, c.buf[at:c.have])
	return c.out, more
}

// record acts on one record; false: the connection ends after the output.
func (c *responder) record(kind byte, id, content []byte) bool {
	switch {
	case id[0] == 0 && id[1] == 0:
		c.management(kind)
	case kind == fcgiBeginRequest && len(content) >= 3:
		c.id, c.open, c.params, c.asked = [2]byte(id), true, false, false
		c.keep = content[2]&fcgiKeepConn != 0
	case !c.open || c.id != [2]byte(id):
	case kind == fcgiParams && len(content) == 0:
		c.params = true
	case kind == fcgiParams:
		c.asked = c.asked || c.choosy != nil && bytes.Contains(content, c.choosy.word)
		if c.numbered != nil {
			c.numbered.read(content)
		}
	case kind == fcgiAbortRequest, kind == fcgiStdin && len(content) == 0 && c.params:
		if c.respond() {
			return true // until the other side closes
		}
		if c.last--; c.last == 0 {
			c.last = -1 // there is another accept no more
			return false
		}
		c.last = max(c.last, 0)
		return c.keep
	}
	return true
}

// respond appends the answer under the request's id; true: without its end.
func (c *responder) respond() (dawdles bool) {
	a, records, start := c.answer, 3, len(c.out)
	if c.numbered != nil {
		a = c.numbered.answer()
	}
	if y := c.choosy; y != nil {
		y.chosen, c.asked = c.asked, false
		if !y.chosen {
			a = y.plain
		} else if y.dawdle {
			records, dawdles = 1, true
		}
	}
	if c.choosy == nil || c.choosy.chosen {
		time.Sleep(c.work)
	}
	if c.choosy != nil && c.choosy.chosen && c.choosy.unfinished() {
		records = 1
	}
	end := len(a.records)
	if records < len(a.marks) {
		end = a.marks[records]
	}
	c.out = append(c.out, a.records[:end]...)
	for _, m := range a.marks[:records] {
		copy(c.out[start+m+2:], c.id[:])
	}
	c.open = false
	return dawdles
}

// management answers a record that belongs to no request: FCGI_GET_VALUES with
// an empty result (this application has no variables), others as unknown.
func (c *responder) management(kind byte) {
	if kind == fcgiGetValues {
		c.out = appendRecord(c.out, fcgiGetValuesResult, "")
		return
	}
	c.out = appendRecord(c.out, fcgiUnknownType, string([]byte{kind, 0, 0, 0, 0, 0, 0, 0}))
}
