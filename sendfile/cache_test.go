package sendfile

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// countOpens counts the openat2 calls from here to the end of the test.
func countOpens(t *testing.T) *atomic.Int32 {
	var n atomic.Int32
	kernel := openat2
	openat2 = func(dir int, name string, how *unix.OpenHow) (int, error) {
		n.Add(1)
		return kernel(dir, name, how)
	}
	t.Cleanup(func() { openat2 = kernel })
	return &n
}

// read opens a file by the cache and returns what it says.
func read(t *testing.T, c *Cache, root, name string) (string, int) {
	t.Helper()
	f, err := c.OpenBeneath(root, name, Beneath)
	if err != nil {
		return "", statusOf(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f.Content())
	must(t, err)
	return string(b), 200
}

func wantText(t *testing.T, c *Cache, root, name, want string) {
	t.Helper()
	if got, status := read(t, c, root, name); got != want {
		t.Errorf("%s: %d %q, want %q", name, status, got, want)
	}
}

func TestCacheOpensOnce(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/f", []byte("text"), 0o644))
	synctest.Test(t, func(t *testing.T) {
		c := NewCache(8, nil)
		opens := countOpens(t)
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { wantText(t, c, dir, "f", "text") })
		}
		all.Wait()
		for range 100 {
			wantText(t, c, dir, "f", "text")
		}
		if n := opens.Load(); n != 1 {
			t.Errorf("opened %d times", n)
		}
		time.Sleep(cacheFresh)
		for range 100 {
			wantText(t, c, dir, "f", "text")
		}
		if n := opens.Load(); n != 2 {
			t.Errorf("looked at %d times, want once more after a second", n-1)
		}
		c.Release()
		time.Sleep(2 * cacheIdle) // the sweep ends
	})
}

// TestCacheSeesChanges: every change of a file is seen at once, and where its path leads by then within a second.
func TestCacheSeesChanges(t *testing.T) {
	for _, hot := range []bool{false, true} {
		t.Run(fmt.Sprintf("hot=%v", hot), func(t *testing.T) {
			dir := t.TempDir()
			at := func(name string) string { return dir + "/" + name }
			must(t, os.Mkdir(dir+"/folder", 0o755))
			changes := []struct {
				name string
				do   func(f string) error
				want string
				code int
				late bool
			}{
				{"written", func(f string) error { return os.WriteFile(f, []byte("longer text"), 0o644) }, "longer text", 200, false},
				{"replaced", func(f string) error {
					must(t, os.WriteFile(f+".new", []byte("text"), 0o644))
					return os.Rename(f+".new", f)
				}, "text", 200, false},
				{"removed", os.Remove, "", 404, false},
				{"a folder", func(f string) error { must(t, os.Remove(f)); return os.Mkdir(f, 0o755) }, "", 403, false},
				{"a link out", func(f string) error { must(t, os.Remove(f)); return os.Symlink("/etc/passwd", f) }, "", 403, false},
				{"folder/elsewhere", func(f string) error {
					must(t, os.Rename(dir+"/folder", dir+"/moved"))
					must(t, os.Mkdir(dir+"/folder", 0o755))
					return os.WriteFile(f, []byte("another"), 0o644)
				}, "another", 200, true},
			}
			synctest.Test(t, func(t *testing.T) {
				c := NewCache(8, nil)
				for _, ch := range changes {
					must(t, os.WriteFile(at(ch.name), []byte("text"), 0o644))
					uses := 1
					if hot {
						uses = hotUses + 1
					}
					for range uses {
						wantText(t, c, dir, ch.name, "text")
					}
					must(t, ch.do(at(ch.name)))
					if hot && ch.late {
						time.Sleep(cacheFresh)
					}
					if got, code := read(t, c, dir, ch.name); got != ch.want || code != ch.code {
						t.Errorf("%s: %d %q", ch.name, code, got)
					}
				}
				c.Release()
				time.Sleep(2 * cacheIdle)
			})
		})
	}
}

func TestCacheBound(t *testing.T) {
	dir := t.TempDir()
	const most, files = 8, 50
	for i := range files {
		must(t, os.WriteFile(fmt.Sprintf("%s/%d", dir, i), []byte(fmt.Sprint(i)), 0o644))
	}
	synctest.Test(t, func(t *testing.T) {
		c := NewCache(most, nil)
		before := descriptors(t)
		for range 3 {
			for i := range files {
				wantText(t, c, dir, fmt.Sprint(i), fmt.Sprint(i))
				wantText(t, c, dir, "0", "0") // is used all the time
				if n := descriptors(t) - before; n > most || n != len(c.files) || n != len(c.ring) {
					t.Fatalf("%d descriptors, %d files, %d in the ring", n, len(c.files), len(c.ring))
				}
			}
		}
		opens := countOpens(t)
		wantText(t, c, dir, "0", "0")
		if opens.Load() != 0 {
			t.Error("the file that is used all the time was given up")
		}
		time.Sleep(3 * cacheIdle)
		synctest.Wait()
		if n := descriptors(t) - before; n != 0 || len(c.files) != 0 {
			t.Errorf("%d descriptors of files that nobody asks for", n)
		}
	})
}

// descriptors is how many the process has.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(list)
}

// TestCacheKeepsWhatIsSent: an answer goes on from a file that the cache has given up.
func TestCacheKeepsWhatIsSent(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/f", []byte("text"), 0o644))
	c := NewCache(1, nil)
	f, err := c.OpenBeneath(dir, "f", Beneath)
	must(t, err)
	must(t, os.Remove(dir+"/f"))
	c.Release()
	if b, err := io.ReadAll(f.Content()); string(b) != "text" || err != nil {
		t.Errorf("%q, %v", b, err)
	}
	must(t, f.Close())
	if err := f.Close(); err == nil {
		t.Error("closed twice without an error")
	}
	if _, err := f.Content().Read(make([]byte, 1)); err == nil {
		t.Error("read after the last close")
	}
}

// TestCacheFailures: what cannot be opened is looked for each time, and no kept file has to make room for it.
func TestCacheFailures(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(dir+"/d", 0o755))
	must(t, os.WriteFile(dir+"/kept", []byte("kept"), 0o644))
	c := NewCache(1, nil)
	wantText(t, c, dir, "kept", "kept")
	for range 3 {
		for name, want := range map[string]int{"missing": 404, "d": 403, "../x": 403, "": 403, "a\x00": 404} {
			if _, status := read(t, c, dir, name); status != want {
				t.Errorf("%q: %d, want %d", name, status, want)
			}
		}
	}
	if len(c.files) != 1 || len(c.ring) != 1 {
		t.Errorf("failures are kept, or take a place: %v", c.files)
	}
	must(t, os.WriteFile(dir+"/missing", []byte("here"), 0o644))
	wantText(t, c, dir, "missing", "here")
	c.Release()
}

// TestCacheOutOfDescriptors: what is kept is given back before a request fails for want of a descriptor.
func TestCacheOutOfDescriptors(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		must(t, os.WriteFile(dir+"/"+name, []byte(name), 0o644))
	}
	c := NewCache(4, nil)
	wantText(t, c, dir, "a", "a")
	kernel := openat2
	defer func() { openat2 = kernel }()
	openat2 = func(d int, name string, how *unix.OpenHow) (int, error) {
		if len(c.files) > 1 { // the new entry, and the kept one
			return -1, unix.EMFILE
		}
		return kernel(d, name, how)
	}
	wantText(t, c, dir, "b", "b")
	openat2 = func(int, string, *unix.OpenHow) (int, error) { return -1, unix.ENFILE }
	if _, status := read(t, c, dir, "a"); status != http.StatusServiceUnavailable {
		t.Errorf("%d without any descriptor", status)
	}
	c.Release()
}

// TestTemporaryOutOfDescriptors: the same for a file that is never kept.
func TestTemporaryOutOfDescriptors(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		must(t, os.WriteFile(dir+"/"+name, []byte(name), 0o644))
	}
	c := NewCache(4, nil)
	wantText(t, c, dir, "a", "a")
	s := newSender(t, Options{DeleteRoots: []string{dir}, Files: c})
	kernel := openat2
	defer func() { openat2 = kernel }()
	openat2 = func(d int, name string, how *unix.OpenHow) (int, error) {
		if len(c.files) > 0 {
			return -1, unix.EMFILE
		}
		return kernel(d, name, how)
	}
	f, err := s.OpenTemporary(Order{Means: Temporary, Path: dir + "/b"})
	must(t, err)
	f.Close()
}

// TestCachePolicies: one path under two policies is two entries.
func TestCachePolicies(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(dir+"/r", 0o755))
	must(t, os.WriteFile(dir+"/out", []byte("out"), 0o644))
	must(t, os.Symlink("../out", dir+"/r/link"))
	c := NewCache(4, nil)
	defer c.Release()
	for range 3 {
		for _, p := range []struct {
			root, name string
			links      Symlinks
			status     int
		}{{dir, "r/link", Beneath, 200}, {dir + "/r", "link", Beneath, 403}, {dir + "/r", "link", Follow, 200}, {dir, "r/link", Deny, 403}} {
			f, err := c.OpenBeneath(p.root, p.name, p.links)
			if err == nil {
				f.Close()
			}
			if status := statusOf(err); err == nil != (p.status == 200) || err != nil && status != p.status {
				t.Errorf("%+v: %v", p, err)
			}
		}
		if f, _ := c.OpenLinkless(dir + "/r/link"); f != nil {
			t.Error("a link was opened as if it were none")
			f.Close()
		}
	}
}

// TestCacheStress: files are asked for, replaced, given up and found wanting at the same time; every answer is whole.
func TestCacheStress(t *testing.T) {
	dir := t.TempDir()
	write := func(i int, text string) {
		name := fmt.Sprintf("%s/%d", dir, i)
		must(t, os.WriteFile(name+text, []byte(strings.Repeat(text, 100)), 0o644))
		must(t, os.Rename(name+text, name))
	}
	const files = 6
	for i := range files {
		write(i, "a")
	}
	c := NewCache(files/2, nil)
	before := descriptors(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 3000 {
				got, status := read(t, c, dir, fmt.Sprint(rand.IntN(files)))
				if status != 200 || len(got) != 100 || strings.Trim(got, got[:1]) != "" {
					t.Errorf("%d %q", status, got)
					return
				}
			}
		})
	}
	all.Go(func() {
		for i := range 300 {
			write(rand.IntN(files), string(rune('a'+i%26)))
			if i%50 == 0 {
				c.Release()
			}
			time.Sleep(time.Millisecond / 4)
		}
	})
	all.Wait()
	c.Release()
	if n := descriptors(t); n != before {
		t.Errorf("%d descriptors, before %d", n, before)
	}
}

func BenchmarkCacheHit(b *testing.B) {
	dir := b.TempDir()
	must(b, os.WriteFile(dir+"/f", []byte("text"), 0o644))
	c := NewCache(8, nil)
	defer c.Release()
	b.ReportAllocs()
	for b.Loop() {
		f, err := c.OpenBeneath(dir, "f", Beneath)
		must(b, err)
		f.Close()
	}
}

// BenchmarkCacheMiss is of files of which there are more than the cache keeps.
func BenchmarkCacheMiss(b *testing.B) {
	dir := b.TempDir()
	const files = 2000
	var names []string
	for i := range files {
		names = append(names, fmt.Sprintf("file-%d", i))
		must(b, os.WriteFile(dir+"/"+names[i], pattern(4500), 0o644))
	}
	c := NewCache(files/2, nil)
	defer c.Release()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		f, err := c.OpenBeneath(dir, names[i%files], Beneath)
		must(b, err)
		f.fields()
		f.Close()
		i++
	}
}
