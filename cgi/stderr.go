package cgi

import (
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// stderrLinger is how long the standard error of a script is read after its
// end: what it wrote last is in the pipe already, and a grandchild may hold the
// pipe for ever.
const stderrLinger = 200 * time.Millisecond

// stderrBytes are read at once.
const stderrBytes = 4 << 10

var stderrBuffers = sync.Pool{New: func() any { return new([stderrBytes]byte) }}

// readErrors reads the standard error of a script to its end.
func readErrors(r *os.File, proc Process, lines func(pid int) *Lines) {
	defer r.Close()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-proc.Done():
			r.SetReadDeadline(time.Now().Add(stderrLinger))
		case <-stop:
		}
	}()
	var w io.Writer = io.Discard
	if lines != nil {
		l := lines(proc.PID())
		defer l.Flush()
		w = l
	}
	buf := stderrBuffers.Get().(*[stderrBytes]byte)
	defer stderrBuffers.Put(buf)
	for {
		n, err := r.Read(buf[:])
		w.Write(buf[:n])
		if err != nil {
			return
		}
	}
}

// errorPipe is the standard error of a script under a Poller. As most scripts
// have nothing to say there it has no goroutine while there is nothing to read.
type errorPipe struct {
	lines func(pid int) *Lines

	mu      sync.Mutex
	fd      int // -1: closed
	pid     int // 0: the script has not been started
	forget  func()
	reading bool   // by a goroutine, which has fd, got and out then
	again   bool   // there may be more since it looked
	late    bool   // what comes now is of no interest
	got     []byte // has been read already
	out     *Lines // nil: nothing has been written there
	linger  *time.Timer
}

// openErrors begins to listen to the read end of a pipe, which it takes over.
func openErrors(p Poller, fd int, lines func(pid int) *Lines) (*errorPipe, error) {
	e := &errorPipe{fd: fd, lines: lines}
	e.mu.Lock()
	defer e.mu.Unlock()
	var err error
	if e.forget, err = p.Notify(fd, e.notified); err != nil {
		e.forget = func() {}
		e.close()
		return nil, err
	}
	return e, nil
}

// started says whose errors they are.
func (e *errorPipe) started(pid int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pid = pid
	if e.again {
		e.read()
	}
}

// drop gives up the pipe of a script that has not been started.
func (e *errorPipe) drop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.close()
}

// notified is called by the Poller.
func (e *errorPipe) notified(more, ended bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.fd < 0:
	case e.pid == 0:
		e.again = true
	case more || e.reading || e.out != nil:
		e.read()
	case ended:
		e.close()
	}
}

// ended says that the script has been reaped. Most often the pipe is at its end
// then, without a word.
func (e *errorPipe) ended() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.fd < 0 {
		return
	}
	if !e.reading {
		var b [1]byte
		n, err := syscall.Read(e.fd, b[:])
		if n == 0 && err == nil && e.out == nil {
			e.close()
			return
		}
		e.got = append(e.got, b[:max(n, 0)]...)
	}
	e.linger = time.AfterFunc(stderrLinger, e.expire)
	e.read()
}

// expire gives up a pipe that somebody still holds.
func (e *errorPipe) expire() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.late = true
	if e.fd >= 0 {
		e.read()
	}
}

// read has a goroutine read what there is.
func (e *errorPipe) read() {
	e.again = true
	if !e.reading {
		e.reading = true
		go e.drain()
	}
}

// drain reads until there is nothing more for now.
func (e *errorPipe) drain() {
	buf := stderrBuffers.Get().(*[stderrBytes]byte)
	defer stderrBuffers.Put(buf)
	e.write(e.got)
	e.got = nil
	for e.look() {
		n, err := syscall.Read(e.fd, buf[:])
		if n > 0 {
			e.write(buf[:n])
			continue
		}
		if err == syscall.EINTR || err == syscall.EAGAIN && !e.rest() {
			continue
		}
		if err == syscall.EAGAIN {
			return
		}
		break
	}
	if e.out != nil {
		e.out.Flush()
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.close()
	e.reading = false
}

// look notes that what there is now will be seen, and reports whether it is of
// interest.
func (e *errorPipe) look() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.again = false
	return !e.late
}

// rest ends the reading, unless there is more.
func (e *errorPipe) rest() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reading = e.again
	return !e.reading
}

func (e *errorPipe) write(p []byte) {
	if e.lines == nil || len(p) == 0 {
		return
	}
	if e.out == nil {
		e.out = e.lines(e.pid)
	}
	e.out.Write(p)
}

func (e *errorPipe) close() {
	e.forget()
	if e.linger != nil {
		e.linger.Stop()
	}
	syscall.Close(e.fd)
	e.fd = -1
}
