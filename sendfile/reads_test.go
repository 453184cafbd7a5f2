package sendfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// slowDisk is a page cache of whole files and a disk that answers when it is let. Files are known by their descriptors.
type slowDisk struct {
	mu      sync.Mutex
	cached  map[int]bool
	probed  int           // RWF_NOWAIT reads
	reading int           // that wait for the disk
	most    int           // of them at once
	order   []int64       // offsets that the disk was asked for
	answers chan struct{} // one for each read
}

// newSlowDisk replaces the kernel's; it does not tell what is cached, unless knows.
func newSlowDisk(t *testing.T, knows bool) *slowDisk {
	d := &slowDisk{cached: map[int]bool{}, answers: make(chan struct{}, 10_000)}
	now, stat := preadNow, cacheStat
	t.Cleanup(func() { preadNow, cacheStat, slowPread = now, stat, nil })
	preadNow = func(fd int, b []byte, off int64) (int, error) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.probed++; !d.cached[fd] {
			return 0, unix.EAGAIN
		}
		return unix.Pread(fd, b, off)
	}
	cacheStat = func(fd int, off, n int64) (bool, bool) {
		d.mu.Lock()
		defer d.mu.Unlock()
		return knows && d.cached[fd], knows
	}
	slowPread = func(fd int, b []byte, off int64) (int, error) {
		d.mu.Lock()
		d.reading++
		d.most = max(d.most, d.reading)
		d.order = append(d.order, off)
		d.mu.Unlock()
		<-d.answers
		d.mu.Lock()
		defer d.mu.Unlock()
		d.reading--
		return unix.Pread(fd, b, off)
	}
	return d
}

func (d *slowDisk) warm(f *File) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.cached[f.fd] = true
}

func (d *slowDisk) is(reading int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.reading == reading
}

// answer lets so many reads end.
func (d *slowDisk) answer(n int) {
	for range n {
		d.answers <- struct{}{}
	}
}

func newReads(t *testing.T, threads, queue int) *Reads {
	r := NewReads(threads, queue)
	t.Cleanup(r.Close)
	return r
}

// waiting is how many are in a queue.
func (r *Reads) waiting(queue int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.waits[queue].Len()
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time: ", what)
		}
	}
}

// get serves a file within the bounds.
func get(ctx context.Context, r *Reads, f *File) (*httptest.ResponseRecorder, error) {
	w := httptest.NewRecorder()
	p := &Reply{Reads: r}
	err := p.Serve(w, httptest.NewRequest("GET", "/", nil).WithContext(ctx), f)
	if p.Answer == 0 && (w.Body.Len() > 0 || w.Flushed) {
		err = fmt.Errorf("something was sent, and the error is %w", err)
	}
	return w, err
}

// Small and large files alike: so many read, so many wait, the next is told so before anything is sent.
func TestReadsBounds(t *testing.T) {
	for name, size := range map[string]int{"small": 4500, "large": 3 * firstWindow} {
		t.Run(name, func(t *testing.T) {
			d := newSlowDisk(t, true)
			r := newReads(t, 2, 3)
			content := pattern(size)
			cold, hot := openTemp(t, "cold", content), openTemp(t, "hot", content)
			d.warm(hot)
			ctx, leave := context.WithCancelCause(t.Context())
			errs := make(chan error, 10)
			ask := func(ctx context.Context) {
				go func() {
					w, err := get(ctx, r, cold)
					if err == nil && !bytes.Equal(w.Body.Bytes(), content) {
						err = errors.New("other content")
					}
					errs <- err
				}()
			}
			ask(t.Context())
			ask(t.Context())
			eventually(t, "two read", func() bool { return d.is(2) })
			ask(ctx)
			ask(t.Context())
			ask(t.Context())
			eventually(t, "three wait", func() bool { return r.waiting(beginning) == 3 })

			w, err := get(t.Context(), r, cold)
			if statusOf(err) != 503 || !errors.Is(err, ErrBusy) || w.Body.Len() > 0 {
				t.Errorf("beyond the bounds: %v, %d bytes", err, w.Body.Len())
			}
			if w, err := get(t.Context(), r, hot); err != nil || !bytes.Equal(w.Body.Bytes(), content) {
				t.Errorf("a file in memory: %v", err)
			}
			head := httptest.NewRecorder()
			if err := (&Reply{Reads: r}).Serve(head, httptest.NewRequest("HEAD", "/", nil), cold); err != nil {
				t.Errorf("HEAD reads nothing: %v", err)
			}

			gone := errors.New("gone")
			leave(gone)
			if err := <-errs; !errors.Is(err, gone) {
				t.Errorf("of a client that left: %v", err)
			}
			if n := r.waiting(beginning); n != 2 {
				t.Errorf("%d wait when one has left", n)
			}
			d.answer(100)
			for range 4 {
				if err := <-errs; err != nil {
					t.Error(err)
				}
			}
			if d.most != 2 || r.busy.Load() != 0 || len(r.idle) != 2 {
				t.Errorf("%d read at once; at the end %d are busy, %d idle", d.most, r.busy.Load(), len(r.idle))
			}
		})
	}
}

// A download waits however many wait, and the two queues take turns.
func TestReadsTurns(t *testing.T) {
	newSlowDisk(t, true)
	r := newReads(t, 1, 4)
	rd, err := r.acquire(t.Context(), beginning)
	must(t, err)
	got := make(chan int, 20)
	for i := range 20 {
		queue := begun
		if i < 4 {
			queue = beginning
		}
		before := r.waiting(queue)
		go func() {
			rd, err := r.acquire(t.Context(), queue)
			if err != nil {
				t.Error(err)
				return
			}
			got <- queue
			r.release(rd)
		}()
		eventually(t, "it waits", func() bool { return r.waiting(queue) > before })
	}
	r.release(rd)
	var order []int
	for range 20 {
		order = append(order, <-got)
	}
	first := slices.Index(order, beginning)
	want := slices.Repeat([]int{beginning, begun}, 4)
	if !slices.Equal(order[first:first+8], want) || first > 1 {
		t.Errorf("order %v", order)
	}
}

// Where the kernel does not tell what is in memory, and all threads are in use, a file that was not there when it was read
// last is not even tried: trying has the disk read.
func TestReadsUntold(t *testing.T) {
	d := newSlowDisk(t, false)
	r := newReads(t, 1, 1)
	known, unknown, cold := openTemp(t, "known", pattern(100)), openTemp(t, "unknown", pattern(100)), openTemp(t, "cold", pattern(100))
	d.warm(known)
	d.warm(unknown)
	if _, err := get(t.Context(), r, known); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	for range 2 {
		go func() { _, err := get(t.Context(), r, cold); done <- err }()
	}
	eventually(t, "one reads and one waits", func() bool { return d.is(1) && r.waiting(beginning) == 1 })
	before := d.probed
	if _, err := get(t.Context(), r, known); err != nil {
		t.Errorf("a file that was in memory: %v", err)
	}
	if _, err := get(t.Context(), r, unknown); !errors.Is(err, ErrBusy) || d.probed != before+1 {
		t.Errorf("an unknown one: %v, %d tries", err, d.probed-before)
	}
	d.answer(2)
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// A download that has begun is read window by window, larger ones as the client is fast, and what follows ahead.
func TestReadsWindows(t *testing.T) {
	d := newSlowDisk(t, true)
	d.answer(1000)
	r := newReads(t, 2, 0)
	content := pattern(9 * firstWindow)
	f := openTemp(t, "f", content)
	s := serverFor(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if err := (&Reply{Reads: r}).Serve(w, q, f); err != nil {
			t.Error(err)
		}
	}))
	resp, err := http.Get(s.URL)
	must(t, err)
	body, err := io.ReadAll(resp.Body)
	must(t, err)
	must(t, resp.Body.Close())
	if !bytes.Equal(body, content) {
		t.Error("other content")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if want := []int64{0, firstWindow, 3 * firstWindow, 7 * firstWindow}; !slices.Equal(d.order, want) {
		t.Errorf("read at %v, want %v", d.order, want)
	}
}

// The window of a client that is slow is looked at again.
func TestReadsStale(t *testing.T) {
	d := newSlowDisk(t, true)
	d.answer(10)
	f := openTemp(t, "f", pattern(firstWindow))
	s := &residency{reads: newReads(t, 1, 0), ctx: t.Context()}
	end, err := s.next(begun, f, 0, firstWindow)
	if err != nil || end != firstWindow || s.stale() {
		t.Fatal(end, err)
	}
	s.since = s.since.Add(-slowWindow - time.Second)
	if !s.stale() {
		t.Error("it is not looked at again")
	}
	if _, err := s.next(begun, f, 1000, firstWindow); err != nil || len(d.order) != 2 {
		t.Errorf("read at %v, %v", d.order, err)
	}
}

// TestReadsThreads: however many wait for the disk, there are no more threads than permits. Each read waits in the kernel.
func TestReadsThreads(t *testing.T) {
	const threads, clients = 4, 200
	r := newReads(t, threads, clients)
	tasks := func() int {
		list, err := os.ReadDir("/proc/self/task")
		must(t, err)
		return len(list)
	}
	var pipe [2]int
	must(t, unix.Pipe(pipe[:]))
	before := tasks()
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			rd, err := r.acquire(t.Context(), beginning)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.release(rd)
			b := []byte{0}
			n, err := rd.call(unix.SYS_READ, uintptr(pipe[0]), address(b), 1, 0)
			if runtime.KeepAlive(b); n != 1 || err != nil || b[0] != 'x' {
				t.Error(n, err, b)
			}
		})
	}
	eventually(t, "all wait", func() bool { return r.waiting(beginning) == clients-threads })
	time.Sleep(50 * time.Millisecond)
	// A few more are the runtime's own, which come and go with what else runs.
	if n := tasks(); n > before+threads+8 {
		t.Errorf("%d threads, %d before", n, before)
	}
	for range clients {
		if _, err := unix.Write(pipe[1], []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	group.Wait()
	unix.Close(pipe[0])
	unix.Close(pipe[1])
}
