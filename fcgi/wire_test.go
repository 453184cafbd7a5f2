package fcgi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// What follows is written from the specification alone, with its numbers, so
// that a mistake in record.go is not made twice.

// record is one record as it was on the wire.
type record struct {
	kind    byte
	id      int
	content []byte
	padding []byte
}

// readRecord reads a record strictly: version 1, the reserved byte 0.
func readRecord(r io.Reader) (record, error) {
	var h [8]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return record{}, err
	}
	if h[0] != 1 || h[7] != 0 {
		return record{}, fmt.Errorf("record header % x", h)
	}
	rec := record{kind: h[1], id: int(h[2])<<8 | int(h[3]), content: make([]byte, int(h[4])<<8|int(h[5])), padding: make([]byte, h[6])}
	if _, err := io.ReadFull(r, rec.content); err != nil {
		return rec, fmt.Errorf("content: %w", err)
	}
	if _, err := io.ReadFull(r, rec.padding); err != nil {
		return rec, fmt.Errorf("padding: %w", err)
	}
	return rec, nil
}

// pair is a parameter.
type pair struct{ name, value string }

// decodePairs is section 3.4.
func decodePairs(b []byte) (pairs []pair, err error) {
	length := func() (n int) {
		if len(b) > 0 && b[0] < 0x80 {
			n, b = int(b[0]), b[1:]
			return n
		}
		if len(b) < 4 {
			err = io.ErrUnexpectedEOF
			return 0
		}
		n = int(binary.BigEndian.Uint32(b) & 0x7fffffff)
		if n < 128 {
			err = fmt.Errorf("length %d in four bytes", n)
		}
		b = b[4:]
		return n
	}
	for len(b) > 0 && err == nil {
		n := length()
		v := length()
		if err != nil || len(b) < n+v {
			return pairs, errors.Join(err, fmt.Errorf("a pair of %d and %d bytes with %d left", n, v, len(b)))
		}
		pairs = append(pairs, pair{string(b[:n]), string(b[n : n+v])})
		b = b[n+v:]
	}
	return pairs, err
}

// The records of an application.

func rec(kind byte, id int, content string, padding int) string {
	h := []byte{1, kind, byte(id >> 8), byte(id), byte(len(content) >> 8), byte(len(content)), byte(padding), 0}
	return string(h) + content + string(make([]byte, padding))
}

func stdout(s string) string { return rec(6, 1, s, -len(s)&7) }
func stderr(s string) string { return rec(7, 1, s, -len(s)&7) }

func end(appStatus uint32, protocolStatus byte) string {
	b := binary.BigEndian.AppendUint32(nil, appStatus)
	return rec(3, 1, string(append(b, protocolStatus, 0, 0, 0)), 0)
}

// step is what one Read of a played connection gives.
type step struct {
	data string
	err  error
}

// played is a connection whose other side is a list of steps. It keeps what is
// written, write by write, and the deadlines.
type played struct {
	mu        sync.Mutex
	steps     []step
	writes    [][]byte
	deadlines int // calls of Set…Deadline
	closed    int
}

func play(data ...string) *played {
	p := &played{}
	for _, d := range data {
		if d == "" {
			continue
		}
		p.steps = append(p.steps, step{data: d})
	}
	return p
}

func (p *played) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed > 0:
		return 0, net.ErrClosed
	case len(p.steps) == 0:
		return 0, io.EOF
	case p.steps[0].err != nil:
		err := p.steps[0].err
		p.steps = p.steps[1:]
		return 0, err
	}
	n := copy(b, p.steps[0].data)
	if p.steps[0].data = p.steps[0].data[n:]; p.steps[0].data == "" {
		p.steps = p.steps[1:]
	}
	return n, nil
}

func (p *played) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed > 0 {
		return 0, net.ErrClosed
	}
	p.writes = append(p.writes, append([]byte(nil), b...))
	return len(b), nil
}

func (p *played) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed++
	return nil
}

func (p *played) deadline() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deadlines++
	return nil
}

func (p *played) SetDeadline(time.Time) error      { return p.deadline() }
func (p *played) SetReadDeadline(time.Time) error  { return p.deadline() }
func (p *played) SetWriteDeadline(time.Time) error { return p.deadline() }
func (p *played) LocalAddr() net.Addr              { return nil }
func (p *played) RemoteAddr() net.Addr             { return nil }

var errLate = &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
