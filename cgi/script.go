package cgi

import (
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// Input is the body of a request, as a script's standard input. At most one of
// the two is set; with none the script reads from /dev/null.
type Input struct {
	Memory []byte   // passed through a pipe
	File   *os.File // becomes the standard input itself, from its beginning
}

// Options say how a script is run and stopped.
type Options struct {
	StopSignal syscall.Signal // 0 is SIGTERM
	StopGrace  time.Duration  // from the stop signal to SIGKILL; 0 kills at once
	// Background is how long a script may work on after it closed its output;
	// 0 stops it at once.
	Background time.Duration
	// Stderr gets what the script writes to its standard error, and is
	// flushed at its end. nil throws it away.
	Stderr func(pid int) *Lines
}

// Script is the Conversation with one running script.
type Script struct {
	proc Process
	out  *os.File
	in   *os.File // what is still being written to; nil: nothing
	opt  Options
	once sync.Once
}

// Run starts the command with the input and returns the conversation with it.
// The script has been started once, and only once, when there is no error.
func Run(st Starter, c Command, in Input, opt Options) (*Script, error) {
	stdin, feed, err := openInput(in)
	if err != nil {
		return nil, fmt.Errorf("stdin of %s: %w", c.Path, err)
	}
	if stdin != in.File { // which stays its owner's
		defer stdin.Close()
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		feed.close()
		return nil, fmt.Errorf("stdout of %s: %w", c.Path, err)
	}
	defer outW.Close()
	errR, errW, err := os.Pipe()
	if err != nil {
		feed.close()
		outR.Close()
		return nil, fmt.Errorf("stderr of %s: %w", c.Path, err)
	}
	defer errW.Close()
	p, err := st.Start(c, stdin, outW, errW)
	if err != nil {
		feed.close()
		outR.Close()
		errR.Close()
		return nil, err
	}
	s := &Script{proc: p, out: outR, in: feed.start(), opt: opt}
	go s.readErrors(errR)
	return s, nil
}

// openInput prepares the read end of the script's input, and who writes the
// rest of it.
func openInput(in Input) (*os.File, *feeder, error) {
	switch {
	case in.File != nil:
		if _, err := in.File.Seek(0, io.SeekStart); err != nil {
			return nil, nil, err
		}
		return in.File, nil, nil
	case len(in.Memory) > 0:
		r, w, err := os.Pipe()
		if err != nil {
			return nil, nil, err
		}
		f := &feeder{w: w, rest: in.Memory}
		f.fill()
		return r, f, nil
	}
	f, err := os.Open(os.DevNull)
	return f, nil, err
}

// feeder writes a body to a pipe. What fits the pipe is written before the
// script is started, so that most requests need no goroutine for it.
type feeder struct {
	w    *os.File
	rest []byte
}

// fill writes what the pipe takes at once.
func (f *feeder) fill() {
	rc, err := f.w.SyscallConn()
	if err != nil {
		return
	}
	rc.Write(func(fd uintptr) bool {
		for len(f.rest) > 0 {
			n, err := syscall.Write(int(fd), f.rest)
			if err == syscall.EINTR {
				continue
			}
			if err != nil {
				break
			}
			f.rest = f.rest[n:]
		}
		return true
	})
	if len(f.rest) == 0 {
		f.close()
	}
}

// start writes the rest behind the caller's back, and returns the pipe if there
// is a rest.
func (f *feeder) start() *os.File {
	if f == nil || f.w == nil {
		return nil
	}
	// The goroutine ends when all has been read, or the pipe has no reader any
	// more, or after Close with the script.
	go func() {
		f.w.Write(f.rest)
		f.w.Close()
	}()
	return f.w
}

func (f *feeder) close() {
	if f != nil && f.w != nil {
		f.w.Close()
		f.w = nil
	}
}

func (s *Script) readErrors(r *os.File) {
	defer r.Close()
	// A grandchild may hold the pipe after the script has gone.
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-s.proc.Done():
			r.SetReadDeadline(time.Now().Add(stderrLinger))
		case <-stop:
		}
	}()
	if s.opt.Stderr == nil {
		io.Copy(io.Discard, r)
		return
	}
	l := s.opt.Stderr(s.proc.PID())
	io.Copy(l, r)
	l.Flush()
}

// stderrLinger is how long the standard error of a script is read after its
// end: what it wrote last is in the pipe already.
const stderrLinger = 200 * time.Millisecond

// PID is the process id of the script.
func (s *Script) PID() int { return s.proc.PID() }

// Done is closed when the script has been reaped.
func (s *Script) Done() <-chan struct{} { return s.proc.Done() }

// Read reads the script's standard output. io.EOF is its end; whether the
// script died is for Ended to say. After Close it is os.ErrClosed.
func (s *Script) Read(p []byte) (int, error) { return s.out.Read(p) }

// SetReadDeadline bounds the Reads to come.
func (s *Script) SetReadDeadline(t time.Time) error { return s.out.SetReadDeadline(t) }

// Interrupt wakes a waiting Read.
func (s *Script) Interrupt() { s.out.SetReadDeadline(time.Unix(1, 0)) }

// Ended waits at most d for the script to be reaped.
func (s *Script) Ended(d time.Duration) (Ending, bool) {
	select {
	case <-s.proc.Done():
		return s.proc.Ending(), true
	default:
	}
	if d <= 0 {
		return Ending{}, false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-s.proc.Done():
		return s.proc.Ending(), true
	case <-t.C:
		return Ending{}, false
	}
}

// Close ends the conversation. Complete lets the script work on for Background;
// Stop and Abort send the stop signal at once. In every case the whole process
// group gets SIGKILL after the grace.
func (s *Script) Close(how Closing) {
	s.once.Do(func() {
		s.out.Close()
		if _, ok := s.Ended(0); ok && s.in == nil {
			return
		}
		go func() {
			s.stop(how)
			if s.in != nil {
				// A grandchild may hold the other end, and never read.
				<-s.proc.Done()
				s.in.Close()
			}
		}()
	})
}

func (s *Script) stop(how Closing) {
	if how == Complete {
		if _, ok := s.Ended(s.opt.Background); ok {
			return
		}
	}
	sig := s.opt.StopSignal
	if sig == 0 {
		sig = syscall.SIGTERM
	}
	s.proc.Signal(sig)
	if _, ok := s.Ended(s.opt.StopGrace); ok {
		return
	}
	s.proc.Signal(syscall.SIGKILL)
}
