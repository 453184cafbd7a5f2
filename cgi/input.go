package cgi

import (
	"io"
	"os"
	"sync"
	"syscall"
)

// Input is the body of a request, as a script's standard input. At most one of
// the two is set; with none the script reads from /dev/null.
type Input struct {
	Memory []byte   // passed through a pipe
	File   *os.File // becomes the standard input itself, from its beginning
}

// null is what all scripts without an input read from.
var null = sync.OnceValues(func() (*os.File, error) { return os.Open(os.DevNull) })

// stdin is the read end of a script's input, and who writes the rest of it.
type stdin struct {
	file *os.File
	own  bool // the file is the script's alone
	feed *feeder
}

func openInput(in Input) (s stdin, err error) {
	switch {
	case in.File != nil:
		_, err = in.File.Seek(0, io.SeekStart)
		return stdin{file: in.File}, err
	case len(in.Memory) > 0:
		p, err := pipe(writeEnd)
		if err != nil {
			return s, err
		}
		f := &feeder{fd: p[writeEnd], rest: in.Memory}
		f.fill()
		return stdin{file: os.NewFile(uintptr(p[readEnd]), "stdin"), own: true, feed: f}, nil
	}
	s.file, err = null()
	return s, err
}

// close gives up the read end, which a script that has been started has.
func (s *stdin) close() {
	if s.own {
		s.file.Close()
	}
}

// drop gives up the write end.
func (s *stdin) drop() {
	if s.feed != nil {
		s.feed.close()
	}
}

// start has the rest written, and returns the pipe if there is one.
func (s *stdin) start() *os.File {
	if s.feed == nil {
		return nil
	}
	return s.feed.start()
}

// feeder writes a body to a pipe. What fits the pipe is written before the
// script is started, so that most requests need no goroutine for it.
type feeder struct {
	fd   int // -1: closed
	rest []byte
}

// fill writes what the pipe takes at once.
func (f *feeder) fill() {
	for len(f.rest) > 0 {
		n, err := syscall.Write(f.fd, f.rest)
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return
		}
		f.rest = f.rest[n:]
	}
	f.close()
}

// start writes the rest behind the caller's back.
func (f *feeder) start() *os.File {
	if f.fd < 0 {
		return nil
	}
	w := os.NewFile(uintptr(f.fd), "stdin")
	// The goroutine ends when all has been read, or the pipe has no reader any
	// more, or after Close with the script.
	go func() {
		w.Write(f.rest)
		w.Close()
	}()
	return w
}

func (f *feeder) close() {
	if f.fd >= 0 {
		syscall.Close(f.fd)
		f.fd = -1
	}
}
