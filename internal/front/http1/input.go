package http1

import "io"

// input is what a connection has sent, for the reader of a body: what was read
// with the head first. It implements wire.Input.
type input conn

// Read implements io.Reader.
func (in *input) Read(p []byte) (int, error) {
	w := in.work
	if w.r < w.w {
		n := copy(p, w.in[w.r:w.w])
		w.r += n
		return n, nil
	}
	return in.pc.Read(p)
}

// Buffered is how many bytes can be had without waiting.
func (in *input) Buffered() int { return in.work.w - in.work.r }

// Peek returns the next bytes without taking them.
func (in *input) Peek(n int) ([]byte, error) {
	w := in.work
	for w.w-w.r < n {
		if w.r == w.w {
			w.r, w.w = 0, 0
		}
		if w.w == len(w.in) {
			w.grow()
		}
		k, err := in.pc.Read(w.in[w.w:])
		w.w += k
		if err != nil {
			return w.in[w.r:w.w], err
		}
	}
	return w.in[w.r : w.r+n], nil
}

// Discard takes the next bytes.
func (in *input) Discard(n int) (int, error) {
	w := in.work
	k := min(n, w.w-w.r)
	w.r += k
	if k < n {
		return k, io.ErrShortBuffer
	}
	return k, nil
}
