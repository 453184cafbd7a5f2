package exchange

import (
	"io"
	"os"
	"sync"
	"time"
)

// SpoolLimits bound what is kept of an answer that the client has not taken.
type SpoolLimits struct {
	Memory int64  // bytes in memory; beyond it a file
	File   int64  // bytes in the file; beyond it the child is slowed
	Dir    string // of the unlinked file
	Spare  Spare  // for that
}

// spool is a queue of bytes between a child, which is read as fast as it
// writes, and a client. It has one writer and one reader.
type spool struct {
	lim   SpoolLimits
	whole bool // nothing is taken before all is here, so there is no waiting for room
	// waits is told when the writer begins and ends to wait for room.
	waits func(bool)

	mu     sync.Mutex
	change *sync.Cond // something was put in or taken out, or ended
	mem    [][]byte   // pieces, in order
	memLen int64
	file   *os.File
	head   int64 // what has been taken out of the file, a ring of lim.File bytes
	tail   int64 // what has been put in
	full   bool  // the disk is: no more goes to the file
	err    error // the end: io.EOF or what went wrong
	gone   bool  // the reader has gone
}

func newSpool(l SpoolLimits) *spool {
	s := &spool{lim: l, waits: func(bool) {}}
	s.change = sync.NewCond(&s.mu)
	return s
}

// put takes a copy of p and waits while there is no room.
func (s *spool) put(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(p) > 0 && !s.gone {
		n := s.store(p)
		if n == 0 && s.whole {
			return errNoRoom
		}
		if n == 0 {
			s.waits(true)
			s.change.Wait()
			s.waits(false)
			continue
		}
		p = p[n:]
		s.change.Broadcast()
	}
	if s.gone {
		return errReaderGone
	}
	return nil
}

// store puts some of p where there is room: in memory unless the file holds
// what has to go out first.
func (s *spool) store(p []byte) int {
	if s.tail == s.head {
		if n := min(int64(len(p)), s.lim.Memory-s.memLen); n > 0 {
			s.mem = append(s.mem, append([]byte(nil), p[:n]...))
			s.memLen += n
			return int(n)
		}
	}
	n := min(int64(len(p)), s.lim.File-(s.tail-s.head))
	if n <= 0 || s.full && s.tail > s.head {
		return 0
	}
	if s.file == nil {
		f, err := unlinkedFile(s.lim.Dir, s.lim.Spare)
		if err != nil {
			s.full = true
			return 0
		}
		s.file = f
	}
	at := s.tail % s.lim.File
	k, err := s.file.WriteAt(p[:min(n, s.lim.File-at)], at)
	if err != nil {
		// The disk is full, or as good as: the child is slowed until the client
		// has taken what is here.
		s.full = true
	}
	s.tail += int64(k)
	return k
}

// end says that nothing more comes.
func (s *spool) end(err error) {
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	s.change.Broadcast()
}

// leave says that nothing more will be taken.
func (s *spool) leave() {
	s.mu.Lock()
	s.gone = true
	s.mu.Unlock()
	s.change.Broadcast()
}

func (s *spool) close() {
	if s.file != nil {
		s.file.Close()
	}
}

// take copies what has come first into p. ok is false when nothing came for
// the time given (0: for ever); err is the end.
func (s *spool) take(p []byte, patience time.Duration) (n int, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.memLen == 0 && s.tail == s.head && s.err == nil {
		if !s.await(patience) {
			return 0, false, nil
		}
	}
	switch {
	case s.memLen > 0:
		n = s.takeMemory(p)
	case s.tail > s.head:
		at := s.head % s.lim.File
		n, err = s.file.ReadAt(p[:min(int64(len(p)), s.tail-s.head, s.lim.File-at)], at)
		if n > 0 {
			err = nil
		}
		s.took(int64(n))
	default:
		return 0, true, s.err
	}
	s.change.Broadcast()
	return n, true, err
}

func (s *spool) takeMemory(p []byte) int {
	n := 0
	for n < len(p) && len(s.mem) > 0 {
		k := copy(p[n:], s.mem[0])
		n += k
		if s.mem[0] = s.mem[0][k:]; len(s.mem[0]) == 0 {
			s.mem[0] = nil
			s.mem = s.mem[1:]
		}
	}
	s.memLen -= int64(n)
	return n
}

// took moves the file on; an empty one starts anew.
func (s *spool) took(n int64) {
	s.head += n
	if s.head == s.tail {
		s.file.Truncate(0)
		s.head, s.tail, s.full = 0, 0, false
	}
}

// await waits until there is something to take.
func (s *spool) await(patience time.Duration) bool {
	late := false
	if patience > 0 {
		t := time.AfterFunc(patience, func() {
			s.mu.Lock()
			late = true
			s.mu.Unlock()
			s.change.Broadcast()
		})
		defer t.Stop()
	}
	for s.memLen == 0 && s.tail == s.head && s.err == nil {
		if late {
			return false
		}
		s.change.Wait()
	}
	return true
}

// complete waits for the end and returns how many bytes there are, or what went
// wrong.
func (s *spool) complete() (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil {
		s.change.Wait()
	}
	if s.err != io.EOF {
		return 0, s.err
	}
	return s.memLen + s.tail - s.head, nil
}
