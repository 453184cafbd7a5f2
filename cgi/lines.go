package cgi

import "bytes"

// Lines cuts what a child writes to its standard error into lines. Line ends
// are LF or CRLF; empty lines are left out; a line longer than MaxLine is cut
// into several. It is an io.Writer for one goroutine at a time.
type Lines struct {
	MaxLine int               // bytes; 0 is 8192
	Emit    func(line []byte) // may not keep the slice
	part    []byte
}

// Write takes more of the child's output and never fails.
func (l *Lines) Write(p []byte) (int, error) {
	n := len(p)
	limit := l.MaxLine
	if limit <= 0 {
		limit = 8192
	}
	for len(p) > 0 {
		line, rest, found := bytes.Cut(p, []byte{'\n'})
		p = rest
		for len(l.part)+len(line) > limit {
			k := limit - len(l.part)
			l.part = append(l.part, line[:k]...)
			line = line[k:]
			l.Flush()
		}
		if !found {
			l.part = append(l.part, line...)
			break
		}
		if len(l.part) == 0 {
			l.emit(line)
			continue
		}
		l.part = append(l.part, line...)
		l.Flush()
	}
	return n, nil
}

// Flush emits an unfinished line: the child has ended.
func (l *Lines) Flush() {
	part := l.part
	l.part = l.part[:0]
	l.emit(part)
}

func (l *Lines) emit(line []byte) {
	line = bytes.TrimRight(line, "\r")
	if len(line) > 0 {
		l.Emit(line)
	}
}
