package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// choosy makes a difference between requests: only those whose parameters have
// a word get the responder's answer and work.
type choosy struct {
	word   []byte
	plain  reply // the others' answer
	dawdle bool
	more   int           // bytes behind the header block
	after  time.Duration // of work behind them
	gaps   *os.File
	chosen bool      // the request at hand
	wrote  time.Time // the last header block to a chosen one; zero: another request has come
	cut    bool      // it could not be said to its end
}

// received and written take the time from a chosen answer to the next request.
func (y *choosy) received() {
	if y != nil && !y.wrote.IsZero() {
		word := ""
		if y.cut {
			word = " " + cutWord
		}
		fmt.Fprintf(y.gaps, "%d%s\n", time.Since(y.wrote).Nanoseconds(), word)
		y.wrote, y.cut = time.Time{}, false
	}
}

func (y *choosy) written() (unfinished bool) {
	if y == nil || !y.chosen {
		return false
	}
	y.chosen = false
	if y.gaps != nil {
		y.wrote = time.Now()
	}
	return y.unfinished()
}

// unfinished reports whether chosen answers have something behind their header
// block.
func (y *choosy) unfinished() bool { return y.more > 0 || y.after > 0 }

// filler is what an answer has more of.
var filler = strings.Repeat("more to say\n", 32<<10/12)

// finish says what a chosen answer has behind its header block; false: nobody
// hears it any more.
func (c *responder) finish(fd int) bool {
	say := func(kind byte, content string) bool {
		record := appendRecord(c.out[:0], kind, content)
		copy(record[2:], c.id[:])
		c.out = record
		return writeAll(fd, record)
	}
	for left := c.choosy.more; left > 0; left -= len(filler) {
		if !say(fcgiStdout, filler[:min(left, len(filler))]) {
			return false
		}
	}
	time.Sleep(c.choosy.after)
	return say(fcgiStdout, "") && say(fcgiEndRequest, endContent)
}
