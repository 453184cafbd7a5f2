package spawner

import (
	"bytes"
	"io"
	"os"
	"sync"
	"time"
)

// outputLinger is how long the output of a child is read after its end: a
// grandchild may hold the pipe for ever.
const outputLinger = 100 * time.Millisecond

// readOutput reads what a child writes, line by line, to its end.
func (k *keeper) readOutput(c *Child, r *os.File) {
	defer r.Close()
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
	io.Copy(l, r)
	l.Flush()
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
	t.mu.Lock()
	defer t.mu.Unlock()
	var all [][]byte
	for i := max(0, t.next-len(t.lines)); i < t.next; i++ {
		all = append(all, t.lines[i%len(t.lines)])
	}
	s := string(bytes.Join(all, []byte("\n")))
	t.lines, t.next = [3][]byte{}, 0
	return s
}
