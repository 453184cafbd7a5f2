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
	// Stdin is the input, read to its end; nil is an empty one. Close waits for
	// a Read of it that has begun.
	Stdin io.Reader
	// Data is the data stream of a Filter; nil is an empty one.
	Data io.Reader
	// Stderr gets the application's standard error as it comes; nil throws it
	// away.
	Stderr io.Writer
	// WriteTimeout bounds each write to the application; 0 is no bound.
	WriteTimeout time.Duration
	// Now is the time, where the caller has just looked; else it is asked for.
	Now time.Time
}

// inlineLimit is how much of the input goes out with the request itself. It is
// less than any socket buffer, so that the write does not wait for an
// application that answers before it reads.
const inlineLimit = 32 << 10

// buffer is a write buffer, and the function that appends a pair to it, which
// is made once with it.
type buffer struct {
	b   []byte
	set func(name, value string)
}

var buffers = sync.Pool{New: func() any {
	w := &buffer{b: make([]byte, 0, 8<<10)}
	w.set = func(name, value string) { w.b = appendPair(w.b, name, value) }
	return w
}}

// Begin sends the request over the connection and returns the exchange. An
// error closes the connection; it is a *WriteError, which knows how much had
// been written, or an *InputError, when nothing had.
//
// An input of up to 32 KiB has been sent when Begin returns; the rest of a
// longer one is sent while the answer is being read.
func Begin(nc net.Conn, req *Request) (*Exchange, error) {
	e := &Exchange{}
	if err := e.Begin(nc, req); err != nil {
		return nil, err
	}
	return e, nil
}

// Begin is the function Begin, with an Exchange that is new or over: nobody
// calls its other methods any more.
func (e *Exchange) Begin(nc net.Conn, req *Request) error {
	w := buffers.Get().(*buffer)
	w.b = appendBegin(w.b[:0], req.Role, req.KeepConn)
	w.params(req.Params)
	b, more, err := appendInput(w.b, req)
	if err == nil {
		if req.WriteTimeout > 0 {
			now := req.Now
			if now.IsZero() {
				now = time.Now()
			}
			nc.SetWriteDeadline(now.Add(req.WriteTimeout))
		}
		var n int
		if n, err = nc.Write(b); err != nil {
			err = &WriteError{Written: n, Err: err}
		}
	}
	if cap(b) <= 128<<10 {
		w.b = b
		buffers.Put(w)
	}
	if err != nil {
		nc.Close()
		return err
	}
	e.start(nc, req)
	if more {
		e.upload(req)
	}
	return nil
}

// WriteError is a request that could not be sent.
type WriteError struct {
	Written int // bytes that had been written
	Err     error
}

func (e *WriteError) Error() string { return "fcgi: send request: " + e.Err.Error() }
func (e *WriteError) Unwrap() error { return e.Err }

// InputError is an input that could not be read to its end. The connection has
// been closed, so that the application does not take the part for the whole.
// It does not unwrap: a deadline of the input's is not one of the exchange's.
type InputError struct{ Err error }

func (e *InputError) Error() string { return "fcgi: read the input: " + e.Err.Error() }

// params appends the PARAMS stream and its end. The pairs are written once,
// behind room for one record header; only where they fill more than one record
// are they moved apart.
func (w *buffer) params(each func(set func(name, value string))) {
	at := len(w.b)
	w.b = appendHeader(w.b, typeParams, 0)
	if each != nil {
		each(w.set)
	}
	n := len(w.b) - at - headerLen
	switch {
	case n == 0:
		return // the header of an empty record: the end of the stream
	case n <= maxContent:
		appendHeader(w.b[:at], typeParams, n)
		w.b = appendPadding(w.b, n)
	default:
		pairs := append([]byte(nil), w.b[at+headerLen:]...)
		w.b = appendStream(w.b[:at], typeParams, pairs)
	}
	w.b = appendHeader(w.b, typeParams, 0)
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
		b = growTo(b, len(b)+inlineLimit+1) // one byte more tells whether that is all
		n, last, err := readInput(req.Stdin, b[at+headerLen:])
		b = b[:at+headerLen+n]
		if n > 0 {
			appendHeader(b[:at], typeStdin, n)
			b = appendPadding(b, n)
		} else {
			b = b[:at]
		}
		if err != nil {
			return b, false, &InputError{err}
		}
		if !last {
			return b, true, nil
		}
	}
	if req.Role == Filter && req.Data != nil {
		return b, true, nil // the upload ends both streams
	}
	b = appendHeader(b, typeStdin, 0)
	if req.Role == Filter {
		b = appendHeader(b, typeData, 0)
	}
	return b, false, nil
}

// readInput fills b, or reads up to the end of the input. It is not
// io.ReadFull, whose io.ErrUnexpectedEOF may be the input's own: the body of a
// client that left ends with it.
func readInput(src io.Reader, b []byte) (n int, last bool, err error) {
	for n < len(b) {
		k, err := src.Read(b[n:])
		n += k
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
	}
	return n, false, nil
}

func growTo(b []byte, n int) []byte {
	if cap(b) >= n {
		return b[:n]
	}
	nb := make([]byte, n, n+4*headerLen) // padding and the ends of streams follow
	copy(nb, b)
	return nb
}
