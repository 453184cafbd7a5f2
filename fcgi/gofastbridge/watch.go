package gofastbridge

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"sluice/cgi"
	"sluice/fcgi"
)

// Record types (FastCGI 1.0 section 8) that mean something on the way by.
const (
	recordBegin  = 1
	recordAbort  = 2
	recordEnd    = 3
	recordStdin  = 5
	recordStdout = 6
	recordData   = 8

	headerLen = 8
)

// watch follows the application's records as they go by, in pieces of any size.
type watch struct {
	id     uint16 // of the request
	head   [headerLen]byte
	have   int // bytes of head
	left   int // content to come
	pad    int // padding to come
	status [8]byte
	got    int // bytes of status
	lines  headerLines

	ended bool
	end   cgi.Ending
	err   error
}

// take looks at the next bytes, and returns what gofast would not survive.
func (w *watch) take(p []byte) error {
	for len(p) > 0 && w.err == nil {
		switch {
		case w.have < headerLen:
			n := copy(w.head[w.have:], p)
			w.have += n
			p = p[n:]
			if w.have == headerLen {
				w.err = w.begin()
			}
		case w.left > 0:
			n := min(w.left, len(p))
			w.err = w.content(p[:n])
			w.left -= n
			p = p[n:]
		default:
			n := min(w.pad, len(p))
			w.pad -= n
			p = p[n:]
		}
		if w.have == headerLen && w.left == 0 && w.pad == 0 {
			w.have = 0
		}
	}
	return w.err
}

// begin looks at a record header.
func (w *watch) begin() error {
	w.left = int(binary.BigEndian.Uint16(w.head[4:]))
	w.pad = int(w.head[6])
	switch id := binary.BigEndian.Uint16(w.head[2:]); {
	case w.ended:
		return fmt.Errorf("gofastbridge: %w: a record after END_REQUEST", cgi.ErrDied)
	case w.head[0] != 1:
		return fmt.Errorf("gofastbridge: %w: record of version %d", cgi.ErrDied, w.head[0])
	case id != w.id && id != 0:
		// gofast takes any record for its own.
		return fmt.Errorf("gofastbridge: %w: record of request %d in request %d", cgi.ErrDied, id, w.id)
	case w.head[1] == recordEnd && w.left < 8:
		return fmt.Errorf("gofastbridge: %w: END_REQUEST of %d bytes", cgi.ErrDied, w.left)
	}
	return nil
}

func (w *watch) content(p []byte) error {
	switch w.head[1] {
	case recordStdout:
		return w.lines.take(p)
	case recordEnd:
		w.got += copy(w.status[min(w.got, 8):], p)
		if w.got < 8 || w.ended {
			return nil
		}
		w.ended = true
		w.end = cgi.Ending{Status: int(int32(binary.BigEndian.Uint32(w.status[:])))}
		if s := w.status[4]; s != 0 {
			return &fcgi.StatusError{Status: s}
		}
	}
	return nil
}

// headerLines looks at the header block that goes by, for what makes gofast
// hang (a long line, a line without a colon), panic in a goroutine of its own
// (a status that is none) or lie (an interim answer).
type headerLines struct {
	line []byte
	over bool
}

// longLine is the longest line that gofast reads: the size of its buffer.
const longLine = 1024

func (h *headerLines) take(p []byte) error {
	for len(p) > 0 && !h.over {
		line, rest, found := bytes.Cut(p, []byte{'\n'})
		if len(h.line)+len(line) >= longLine {
			return fmt.Errorf("header line %.60q: longer than gofast reads", append(h.line, line...))
		}
		h.line = append(h.line, line...)
		if !found {
			return nil
		}
		p = rest
		if err := h.check(strings.TrimSuffix(string(h.line), "\r")); err != nil {
			return err
		}
		h.line = h.line[:0]
	}
	return nil
}

func (h *headerLines) check(line string) error {
	if line == "" {
		h.over = true
		return nil
	}
	name, value, ok := strings.Cut(line, ":")
	if !ok {
		return fmt.Errorf("header line %.60q: no colon", line)
	}
	if !strings.EqualFold(strings.TrimSpace(name), "Status") {
		return nil
	}
	value = strings.TrimSpace(value)
	if len(value) < 3 || value[0] < '2' || value[0] > '5' || strings.Trim(value[:3], "0123456789") != "" {
		return errors.New("status " + value[:min(len(value), 20)] + " is not one that gofast can pass on")
	}
	return nil
}
