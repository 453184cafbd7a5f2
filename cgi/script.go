package cgi

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

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
	// Poller waits for the pipes; nil: goroutines do.
	Poller Poller
}

// Script is the Conversation with one running script.
type Script struct {
	proc   Process
	out    Output
	in     *os.File   // what is still being written to; nil: nothing
	errors *errorPipe // nil: a goroutine reads them
	opt    Options
	once   sync.Once
	closed atomic.Bool
}

// Run starts the command with the input and returns the conversation with it.
// The script has been started once, and only once, when there is no error. Close
// has to be called then.
func Run(st Starter, c Command, in Input, opt Options) (*Script, error) {
	input, err := openInput(in)
	if err != nil {
		return nil, fmt.Errorf("stdin of %s: %w", c.Path, err)
	}
	defer input.close()
	s := &Script{opt: opt}
	outW, err := s.openOutput()
	if err != nil {
		input.drop()
		return nil, fmt.Errorf("stdout of %s: %w", c.Path, err)
	}
	defer outW.Close()
	errR, errW, err := s.openErrors()
	if err != nil {
		input.drop()
		s.out.Close()
		return nil, fmt.Errorf("stderr of %s: %w", c.Path, err)
	}
	defer errW.Close()
	s.proc, err = st.Start(c, input.file, outW, errW)
	if err != nil {
		input.drop()
		s.out.Close()
		if s.errors != nil {
			s.errors.drop()
		} else {
			errR.Close()
		}
		return nil, err
	}
	s.in = input.start()
	if s.errors != nil {
		s.errors.started(s.proc.PID())
	} else {
		go readErrors(errR, s.proc, opt.Stderr)
	}
	return s, nil
}

// openOutput makes the pipe of the answer and returns the script's end.
func (s *Script) openOutput() (*os.File, error) {
	p, err := pipe(readEnd)
	if err != nil {
		return nil, err
	}
	if s.opt.Poller == nil {
		s.out = os.NewFile(uintptr(p[readEnd]), "stdout")
	} else if s.out, err = s.opt.Poller.Output(p[readEnd]); err != nil {
		syscall.Close(p[writeEnd])
		return nil, err
	}
	return os.NewFile(uintptr(p[writeEnd]), "stdout"), nil
}

// openErrors makes the pipe of the errors and returns the script's end, and ours
// where a goroutine reads it.
func (s *Script) openErrors() (r, w *os.File, err error) {
	p, err := pipe(readEnd)
	if err != nil {
		return nil, nil, err
	}
	if s.opt.Poller == nil {
		r = os.NewFile(uintptr(p[readEnd]), "stderr")
	} else if s.errors, err = openErrors(s.opt.Poller, p[readEnd], s.opt.Stderr); err != nil {
		syscall.Close(p[writeEnd])
		return nil, nil, err
	}
	return r, os.NewFile(uintptr(p[writeEnd]), "stderr"), nil
}

// PID is the process id of the script.
func (s *Script) PID() int { return s.proc.PID() }

// Done is closed when the script has been reaped.
func (s *Script) Done() <-chan struct{} { return s.proc.Done() }

// Read reads the script's standard output. io.EOF is its end; whether the
// script died is for Ended to say. After Close it is os.ErrClosed.
func (s *Script) Read(p []byte) (int, error) {
	n, err := s.out.Read(p)
	if err != nil && s.closed.Load() {
		err = os.ErrClosed
	}
	return n, err
}

// SetReadDeadline bounds the Reads to come.
func (s *Script) SetReadDeadline(t time.Time) error { return s.out.SetReadDeadline(t) }

// Interrupt wakes a waiting Read.
func (s *Script) Interrupt() { s.out.SetReadDeadline(time.Unix(1, 0)) }

// Ended waits at most d for the script to be reaped.
func (s *Script) Ended(d time.Duration) (Ending, bool) {
	if end, ok := ended(s.proc); ok || d <= 0 {
		return end, ok
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

// ended looks whether a process has ended.
func ended(p Process) (Ending, bool) {
	if l, ok := p.(interface{ Ended() bool }); ok {
		if !l.Ended() {
			return Ending{}, false
		}
		return p.Ending(), true
	}
	select {
	case <-p.Done():
		return p.Ending(), true
	default:
		return Ending{}, false
	}
}

// Close ends the conversation. Complete lets the script work on for Background;
// Stop and Abort send the stop signal at once. In every case the whole process
// group gets SIGKILL after the grace.
func (s *Script) Close(how Closing) {
	s.once.Do(func() {
		s.closed.Store(true)
		s.out.Close()
		if _, ok := s.Ended(0); ok && s.in == nil {
			s.endErrors()
			return
		}
		go s.finish(how)
	})
}

// finish is the end of a script that works on, or of its input.
func (s *Script) finish(how Closing) {
	done := s.proc.Done()
	s.stop(how)
	<-done
	if s.in != nil {
		// A grandchild may hold the other end, and never read.
		s.in.Close()
	}
	s.endErrors()
}

func (s *Script) endErrors() {
	if s.errors != nil {
		s.errors.ended()
	}
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
