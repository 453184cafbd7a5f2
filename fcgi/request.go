package fcgi

import (
	"io"
	"net"
	"sync"
	"time"
)

// Request is one request to an application.
type Request struct {
	Role Role
	// KeepConn asks the application to leave the connection open after the
	// request (FCGI_KEEP_CONN).
	KeepConn bool
	// Params calls set for every parameter. Names and values of any length are
	// sent; they may fill several PARAMS records.
	Params func(set func(name, value string))
	// Stdin is the input, read to its end; nil is an empty one. A *Memory is
	// sent without a copy loop.
	Stdin io.Reader
	// Data is the data stream of a Filter; nil is an empty one.
	Data io.Reader
	// Stderr gets the application's standard error as it comes; nil throws it
	// away.
	Stderr io.Writer
	// WriteTimeout bounds each write to the application; 0 is no bound.
	WriteTimeout time.Duration
}

// inlineLimit is how much of the input goes out with the request itself. It is
// less than any socket buffer, so that the write does not wait for an
// application that answers before it reads.
const inlineLimit = 32 << 10

// buffers holds the write buffers.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 8<<10); return &b }}

// Begin sends the request over the connection and returns the exchange. An
// error leaves the connection unusable; how many bytes had been written then
// is the first result of a *WriteError.
//
// An input that fits 32 KiB has been sent when Begin returns; the rest of a
// longer one is sent while the answer is being read.
func Begin(nc net.Conn, req *Request) (*Exchange, error) {
	bp := buffers.Get().(*[]byte)
	b := appendBegin((*bp)[:0], req.Role, req.KeepConn)
	b = appendParams(b, req.Params)
	b, more, err := appendInput(b, req)
	if err == nil {
		if req.WriteTimeout > 0 {
			nc.SetWriteDeadline(time.Now().Add(req.WriteTimeout))
		}
		var n int
		if n, err = nc.Write(b); err != nil {
			err = &WriteError{Written: n, Err: err}
		}
	}
	if cap(b) <= 128<<10 {
		*bp = b
		buffers.Put(bp)
	}
	if err != nil {
		nc.Close()
		return nil, err
	}
	e := newExchange(nc, req)
	if more {
		e.upload(req)
	}
	return e, nil
}

// WriteError is a request that could not be sent.
type WriteError struct {
	Written int // bytes that had been written
	Err     error
}

func (e *WriteError) Error() string { return "fcgi: send request: " + e.Err.Error() }
func (e *WriteError) Unwrap() error { return e.Err }

// appendParams appends the PARAMS stream and its end. The pairs are written
// once, behind room for one record header; only where they fill more than one
// record are they moved apart.
func appendParams(b []byte, params func(set func(name, value string))) []byte {
	at := len(b)
	b = appendHeader(b, typeParams, 0)
	if params != nil {
		params(func(name, value string) { b = appendPair(b, name, value) })
	}
	n := len(b) - at - headerLen
	switch {
	case n == 0:
		return b // the header of an empty record: the end of the stream
	case n <= maxContent:
		appendHeader(b[:at], typeParams, n)
		b = appendPadding(b, n)
	default:
		pairs := append([]byte(nil), b[at+headerLen:]...)
		b = appendStream(b[:at], typeParams, pairs)
	}
	return appendHeader(b, typeParams, 0)
}

// appendStream appends the content in as many records as it needs.
func appendStream(b []byte, t recordType, content []byte) []byte {
	for len(content) > 0 {
		n := min(len(content), maxContent)
		b = appendRecord(b, t, content[:n])
		content = content[n:]
	}
	return b
}

// appendInput appends the input, or its beginning, and reports whether there
// is more to send.
func appendInput(b []byte, req *Request) (_ []byte, more bool, err error) {
	if req.Stdin != nil {
		at := len(b)
		b = appendHeader(b, typeStdin, 0)
		b = growTo(b, len(b)+inlineLimit)
		n, err := io.ReadFull(req.Stdin, b[at+headerLen:at+headerLen+inlineLimit])
		b = b[:at+headerLen+n]
		if n > 0 {
			appendHeader(b[:at], typeStdin, n)
			b = appendPadding(b, n)
		} else {
			b = b[:at]
		}
		if err == nil {
			return b, true, nil
		}
		if err != io.EOF && err != io.ErrUnexpectedEOF {
			return b, false, err
		}
	}
	b = appendHeader(b, typeStdin, 0)
	if req.Role == Filter {
		if req.Data != nil {
			return b, true, nil
		}
		b = appendHeader(b, typeData, 0)
	}
	return b, false, nil
}

func growTo(b []byte, n int) []byte {
	if cap(b) >= n {
		return b[:n]
	}
	nb := make([]byte, n)
	copy(nb, b)
	return nb
}
