package sendfile

import (
	"bytes"
	"os"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func address(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

// evict takes a file out of the page cache; false: its file system keeps everything.
func evict(t *testing.T, f *File) bool {
	t.Helper()
	must(t, unix.Fsync(f.fd))
	must(t, unix.Fadvise(f.fd, 0, 0, unix.FADV_DONTNEED))
	var b [1]byte
	_, err := preadNoWait(f.fd, b[:], f.Size()/2)
	// The disk reads it by that. What is being read cannot be evicted, so it is waited for.
	readFull(unix.Pread, f.fd, make([]byte, f.Size()), 0)
	must(t, unix.Fadvise(f.fd, 0, 0, unix.FADV_DONTNEED))
	return err == unix.EAGAIN
}

// onDisk opens a file of a file system that has a disk.
func onDisk(t *testing.T, content []byte) *File {
	t.Helper()
	for _, dir := range []string{os.TempDir(), "/var/tmp", "."} {
		sub, err := os.MkdirTemp(dir, "sluice-cold-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.RemoveAll(sub) })
		must(t, os.WriteFile(sub+"/f", content, 0o644))
		f, err := OpenBeneath(sub, "f", Beneath)
		must(t, err)
		t.Cleanup(func() { f.Close() })
		if evict(t, f) {
			return f
		}
	}
	t.Skip("no file system here lets a file out of its cache")
	return nil
}

// A file that really is not in memory is read by a thread, and then is.
func TestColdFile(t *testing.T) {
	for _, size := range []int{1, 4500, smallFile, smallFile + 1, 3 * lastWindow} {
		content := pattern(size)
		f := onDisk(t, content)
		r := newReads(t, 2, 8)
		w, err := get(t.Context(), r, f)
		if err != nil || !bytes.Equal(w.Body.Bytes(), content) {
			t.Errorf("%d bytes: %v, %d bytes", size, err, w.Body.Len())
		}
		if len(r.readers) == 0 {
			t.Errorf("%d bytes: no thread was needed", size)
		}
		if !r.resident(f, 0, f.Size()) {
			t.Errorf("%d bytes: not in memory after it was sent", size)
		}
	}
}

// bring has a part in memory, and what follows soon.
func TestColdBring(t *testing.T) {
	f := onDisk(t, pattern(4*lastWindow))
	r := newReads(t, 1, 0)
	must(t, r.bring(t.Context(), beginning, f, lastWindow, lastWindow, lastWindow))
	if !r.resident(f, lastWindow, lastWindow) {
		t.Error("not in memory")
	}
	if all, known := pagesCached(f.fd, lastWindow, lastWindow); known && !all {
		t.Error("the kernel says that a part is not in memory")
	}
	eventually(t, "what follows is in memory", func() bool { return r.resident(f, 2*lastWindow, lastWindow) })
}

// A reader that has no descriptor does the job in the caller's thread.
func TestColdWithoutThread(t *testing.T) {
	content := pattern(10_000)
	f := onDisk(t, content)
	b := make([]byte, len(content))
	rd := &reader{wake: -1}
	if n, err := rd.pread(f.fd, b, 0); n != len(content) || err != nil || !bytes.Equal(b, content) {
		t.Error(n, err)
	}
	if _, err := rd.pread(-1, b, 0); err != unix.EBADF {
		t.Error(err)
	}
}

// File systems that refuse RWF_NOWAIT: memory needs no thread, and of any other each read may wait.
func TestReadsOddFileSystems(t *testing.T) {
	d := newSlowDisk(t, false)
	d.answer(100)
	refuses := func(int, []byte, int64) (int, error) { return 0, unix.EOPNOTSUPP }
	preadNow = refuses
	content := pattern(4500)
	f := notMemory(t, content)
	r := newReads(t, 1, 1)
	for range 3 {
		if w, err := get(t.Context(), r, f); err != nil || !bytes.Equal(w.Body.Bytes(), content) {
			t.Fatal(err)
		}
	}
	if r.odd.of(f) != fsSilent || len(d.order) != 3 {
		t.Errorf("kind %v, %d reads", r.odd.of(f), len(d.order))
	}
	sub, err := os.MkdirTemp("/dev/shm", "sluice-cold-")
	if err != nil {
		t.Skip("no /dev/shm: ", err)
	}
	defer os.RemoveAll(sub)
	must(t, os.WriteFile(sub+"/f", content, 0o644))
	m, err := OpenBeneath(sub, "f", Beneath)
	must(t, err)
	defer m.Close()
	d.order = nil
	for range 3 {
		if w, err := get(t.Context(), r, m); err != nil || !bytes.Equal(w.Body.Bytes(), content) {
			t.Fatal(err)
		}
	}
	if r.odd.of(m) != fsMemory || len(d.order) > 1 {
		t.Errorf("memory: kind %v, %d reads", r.odd.of(m), len(d.order))
	}
}

// notMemory is a file on something that is not memory, whatever it does with its cache.
func notMemory(t *testing.T, content []byte) *File {
	f := openTemp(t, "f", content)
	var st unix.Statfs_t
	must(t, unix.Fstatfs(f.fd, &st))
	if uint32(st.Type) == unix.TMPFS_MAGIC {
		t.Skip("the temporary directory is memory")
	}
	return f
}

// A name that is not in memory is looked up by a thread.
func TestReadsOpen(t *testing.T) {
	dir := tree(t, map[string]string{"a/f": "content"})
	real := openat2
	defer func() { openat2 = real }()
	openat2 = func(d int, name string, how *unix.OpenHow) (int, error) {
		if how.Resolve&resolveCached != 0 {
			return -1, unix.EAGAIN
		}
		return real(d, name, how)
	}
	r := newReads(t, 1, 0)
	for _, most := range []int{0, 8} {
		c := NewCache(most, r)
		f, err := c.OpenBeneath(dir, "a/f", Beneath)
		must(t, err)
		must(t, f.Close())
		if f, err := c.OpenLinkless(dir + "/a/none"); f != nil || err != nil {
			t.Error(f, err)
		}
		if _, err := c.OpenBeneath(dir, "a/none", Beneath); statusOf(err) != 404 {
			t.Error(err)
		}
		rd := r.try()
		if rd == nil {
			t.Fatal("a reader is still in use")
		}
		c.Release()
		if _, err := c.OpenBeneath(dir, "a/f", Beneath); statusOf(err) != 503 {
			t.Errorf("all threads in use: %v", err)
		}
		if _, err := c.OpenLinkless(dir + "/a/f"); err != ErrBusy {
			t.Errorf("all threads in use: %v", err)
		}
		r.release(rd)
		c.Release()
	}
}
