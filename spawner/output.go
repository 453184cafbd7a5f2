package spawner

import (
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// outputLinger is how long the output of a child is read after its end: a
// grandchild may hold the pipe for ever.
const outputLinger = 100 * time.Millisecond

// readOutput reads what a child writes, line by line, to its end.
func (k *keeper) readOutput(c *Child, r *os.File) {
	defer func() {
		k.s.mu.Lock()
		if k.output == r {
			k.output = nil
		}
		r.Close()
		k.s.mu.Unlock()
	}()
	l := k.s.opt().Stderr(c.PID())
	emit := l.Emit
	l.Emit = func(line []byte) { k.tail.add(line); emit(line) }
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		select {
		case <-c.Done():
			r.SetReadDeadline(time.Now().Add(outputLinger))
		case <-stop:
		}
	}()
	for {
		_, err := io.Copy(l, r)
		l.Flush()
		if !errors.Is(err, os.ErrDeadlineExceeded) || !k.readPaused(c, r) {
			return
		}
	}
}

// lastLines keeps the last lines that a child wrote.
type lastLines struct {
	mu    sync.Mutex
	lines [3][]byte
	next  int
}

func (t *lastLines) add(line []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines[t.next%len(t.lines)] = append(t.lines[t.next%len(t.lines)][:0], line...)
	t.next++
}

// take returns the lines and forgets them.
func (t *lastLines) take() string {
	s := strings.Join(t.all(), "\n")
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines, t.next = [3][]byte{}, 0
	return s
}

func (t *lastLines) all() (all []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := max(0, t.next-len(t.lines)); i < t.next; i++ {
		all = append(all, string(t.lines[i%len(t.lines)]))
	}
	return all
}
