package exchange

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
	"time"
)

func newTestSpool(t *testing.T, memory, file int64) *spool {
	s := newSpool(SpoolLimits{Memory: memory, File: file, Dir: t.TempDir()})
	t.Cleanup(s.close)
	return s
}

// A random writer and a random reader: every byte arrives, in order.
func TestSpoolStress(t *testing.T) {
	data := pattern(3 << 20)
	for _, c := range []struct {
		name         string
		memory, file int64
		slow         bool
	}{
		{"memory alone", 10_000, 0, false},
		{"file alone", 0, 50_001, false},
		{"file alone, slow reader", 0, 50_001, true},
		{"both", 3_000, 100_003, true},
		{"room for all", 1000, 1 << 30, true},
		{"one byte", 1, 1, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newTestSpool(t, c.memory, c.file)
			data := data
			if c.memory+c.file < 1000 {
				data = data[:20_000]
			}
			go func() {
				for p := data; len(p) > 0; {
					n := min(len(p), 1+rand.IntN(40_000))
					if err := s.put(p[:n]); err != nil {
						t.Error(err)
						break
					}
					p = p[n:]
				}
				s.end(io.EOF)
			}()
			var got []byte
			buf := make([]byte, 30_000)
			for i := 0; ; i++ {
				if c.slow && i%8 == 0 {
					time.Sleep(time.Duration(rand.IntN(500)) * time.Microsecond)
				}
				n, ok, err := s.take(buf[:1+rand.IntN(len(buf))], time.Duration(rand.IntN(2))*time.Millisecond)
				got = append(got, buf[:n]...)
				if err == io.EOF {
					break
				}
				if err != nil || ok && n == 0 {
					t.Fatalf("%d, %v, %v", n, ok, err)
				}
			}
			if !bytes.Equal(got, data) {
				t.Errorf("%d bytes of %d, or in another order", len(got), len(data))
			}
			if s.file != nil {
				if fi, err := s.file.Stat(); err != nil || fi.Size() > c.file {
					t.Errorf("the file has %d bytes, limit %d: %v", fi.Size(), c.file, err)
				}
			}
			if e, _ := os.ReadDir(s.lim.Dir); len(e) > 0 {
				t.Errorf("left: %v", e)
			}
		})
	}
}

// The file does not grow beyond its limit under a reader that is always behind.
func TestSpoolFileIsRing(t *testing.T) {
	const limit = 64 << 10
	s := newTestSpool(t, 0, limit)
	data := pattern(4 * limit)
	must(t, s.put(data[:limit/2]))
	buf := make([]byte, 10_000)
	var got []byte
	for put := limit / 2; put < len(data); {
		n := min(10_000, len(data)-put)
		must(t, s.put(data[put:put+n]))
		put += n
		for want := n; want > 0; {
			k, _, err := s.take(buf[:want], 0)
			must(t, err)
			got, want = append(got, buf[:k]...), want-k
		}
		if fi, _ := s.file.Stat(); fi.Size() > limit {
			t.Fatalf("%d bytes", fi.Size())
		}
	}
	if !bytes.Equal(got, data[:len(got)]) {
		t.Error("wrong bytes")
	}
}

func TestSpoolWaits(t *testing.T) {
	s := newTestSpool(t, 10, 10)
	begin := time.Now()
	if n, ok, err := s.take(make([]byte, 5), 30*time.Millisecond); n != 0 || ok || err != nil {
		t.Errorf("%d, %v, %v", n, ok, err)
	}
	between(t, "nothing came", time.Since(begin), 30*time.Millisecond)
	must(t, s.put(make([]byte, 20)))
	put := make(chan error, 1)
	go func() { put <- s.put([]byte("more")) }()
	select {
	case <-put:
		t.Error("put beyond the limit")
	case <-time.After(20 * time.Millisecond):
	}
	s.leave()
	if err := <-put; !errors.Is(err, errReaderGone) {
		t.Error(err)
	}
	s.end(io.EOF)
	for left := 20; left > 0; {
		n, _, err := s.take(make([]byte, 7), 0)
		must(t, err)
		left -= n
	}
	if _, ok, err := s.take(make([]byte, 7), 0); err != io.EOF || !ok {
		t.Error(err)
	}
}

func TestSpoolWhole(t *testing.T) {
	s := newTestSpool(t, 10, 100)
	s.whole = true
	must(t, s.put(make([]byte, 60)))
	if err := s.put(make([]byte, 60)); !errors.Is(err, errNoRoom) {
		t.Error(err)
	}
	s.end(io.EOF)
	if n, err := s.complete(); n != 110 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	s = newTestSpool(t, 10, 10)
	s.end(errNoRoom)
	if _, err := s.complete(); err != errNoRoom {
		t.Error(err)
	}
}

// A disk that is full slows the writer, and is tried again later.
func TestSpoolFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("a small file system needs root: %v", err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	for _, d := range []string{dir, dir + "/none"} {
		s := newSpool(SpoolLimits{Memory: 1000, File: 1 << 30, Dir: d})
		data := pattern(500_000)
		go func() {
			if err := s.put(data); err != nil {
				t.Error(err)
			}
			s.end(io.EOF)
		}()
		time.Sleep(20 * time.Millisecond)
		var got bytes.Buffer
		buf := make([]byte, 9999)
		for {
			n, _, err := s.take(buf, 0)
			got.Write(buf[:n])
			if err != nil {
				break
			}
		}
		if !bytes.Equal(got.Bytes(), data) {
			t.Errorf("%s: %d bytes of %d", d, got.Len(), len(data))
		}
		s.close()
	}
}
