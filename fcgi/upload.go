package fcgi

import (
	"io"
	"time"
)

// upload sends the rest of the input while the answer is being read. It ends
// with the input, or when Close closes the connection.
func (e *Exchange) upload(req *Request) {
	e.uploadDone = make(chan struct{})
	go func() {
		defer close(e.uploadDone)
		err := e.sendStream(typeStdin, req.Stdin, req.WriteTimeout)
		if err == nil && req.Role == Filter {
			err = e.sendStream(typeData, req.Data, req.WriteTimeout)
		}
		e.uploadErr = err
	}()
}

// sendStream sends a stream and its end. A source that fails ends the
// connection and not the stream: the application must not take a part of a
// body for the whole.
func (e *Exchange) sendStream(t recordType, src io.Reader, timeout time.Duration) error {
	if src == nil {
		src = eof{}
	}
	bp := readBuffers.Get().(*[]byte)
	defer readBuffers.Put(bp)
	b := *bp
	for {
		n, last, err := readInput(src, b[headerLen:len(b)-headerLen])
		if err != nil {
			e.mu.Lock()
			e.inputErr = &InputError{err}
			e.mu.Unlock()
			e.nc.Close()
			return err
		}
		out := b[:0]
		if n > 0 {
			appendHeader(out, t, n)
			out = appendPadding(b[:headerLen+n], n)
		}
		if last {
			out = appendHeader(out, t, 0)
		}
		if timeout > 0 {
			e.nc.SetWriteDeadline(time.Now().Add(timeout))
		}
		if _, err := e.nc.Write(out); err != nil {
			return err
		}
		if last {
			return nil
		}
	}
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

func (e *Exchange) uploaded() bool {
	if e.uploadDone == nil {
		return true
	}
	select {
	case <-e.uploadDone:
		return e.uploadErr == nil
	default:
		return false
	}
}
