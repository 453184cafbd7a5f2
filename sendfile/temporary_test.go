package sendfile

import (
	"errors"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func temporary(t *testing.T, dir, name string, links Symlinks) (*TemporaryFile, error) {
	t.Helper()
	s := newSender(t, Options{Roots: []string{dir + "/root"}, DeleteRoots: []string{dir + "/tmp"}, Symlinks: links})
	return s.OpenTemporary(Order{Means: Temporary, Path: dir + "/" + name})
}

// Only what lies below a delete root may be named, by the policy of every other file.
func TestOpenTemporary(t *testing.T) {
	dir := tree(t, map[string]string{"tmp/f": "x", "tmp/sub/g": "y", "root/f": "kept", "outside/f": "secret", "tmp/in": "-> sub/g",
		"tmp/out": "-> ../outside/f", "tmp/abs": "-> $DIR/outside/f"})
	must(t, unix.Mkfifo(dir+"/tmp/fifo", 0o644))
	for _, c := range []struct {
		path string
		want [3]any // Beneath, Deny, Follow
	}{
		{"tmp/f", same("x")}, {"tmp/sub/../sub/g", same("y")}, {"tmp/in", [3]any{"y", 403, "y"}},
		{"tmp/out", [3]any{403, 403, "secret"}}, {"tmp/abs", [3]any{403, 403, "secret"}},
		{"tmp/missing", same(404)}, {"tmp/f/x", same(404)}, {"tmp/fifo", same(403)}, {"tmp/sub", same(403)}, {"tmp", same(403)},
		{"root/f", same(403)}, {"root/missing", same(403)}, {"outside/f", same(403)}, {"tmp/../outside/f", same(403)}, {"tmp2/f", same(403)},
	} {
		for _, mode := range []Symlinks{Beneath, Deny, Follow} {
			f, err := temporary(t, dir, c.path, mode)
			var own *File
			if f != nil {
				own = f.File
			}
			check(t, mode.String()+" "+c.path, own, err, c.want[mode])
		}
	}
	s := newSender(t, Options{DeleteRoots: []string{dir + "/tmp"}})
	if _, err := s.Open(Order{Path: dir + "/tmp/f"}); statusOf(err) != 403 {
		t.Errorf("a delete root is no root: %v", err)
	}
}

// The unlink removes what was sent, and nothing else.
func TestRemove(t *testing.T) {
	for _, c := range []struct {
		name  string
		file  string
		links Symlinks
		mean  func(dir string) error // what happens before
		err   error
		left  []string // below tmp and outside, afterwards
	}{
		{name: "nothing happens", file: "tmp/f", left: []string{"outside/f", "tmp/sub/g"}},
		{name: "in a folder", file: "tmp/sub/g", left: []string{"outside/f", "tmp/f"}},
		{name: "gone already", file: "tmp/f", mean: func(d string) error { return os.Remove(d + "/tmp/f") },
			left: []string{"outside/f", "tmp/sub/g"}},
		{name: "renamed", file: "tmp/f", mean: func(d string) error { return os.Rename(d+"/tmp/f", d+"/tmp/h") },
			left: []string{"outside/f", "tmp/h", "tmp/sub/g"}},
		{name: "replaced by a file", file: "tmp/f", mean: func(d string) error {
			return errors.Join(os.WriteFile(d+"/tmp/new", nil, 0o644), os.Rename(d+"/tmp/new", d+"/tmp/f"))
		}, err: ErrReplaced, left: []string{"outside/f", "tmp/f", "tmp/sub/g"}},
		{name: "longer by now", file: "tmp/f", mean: func(d string) error { return appendTo(d+"/tmp/f", "more") }, err: ErrChanged,
			left: []string{"outside/f", "tmp/f", "tmp/sub/g"}},
		{name: "written to meanwhile", file: "tmp/f", mean: func(d string) error {
			later := time.Now().Add(time.Second) // whatever the file system's clock has for a tick
			return errors.Join(os.WriteFile(d+"/tmp/f", []byte("y"), 0o644), os.Chtimes(d+"/tmp/f", later, later))
		}, err: ErrChanged, left: []string{"outside/f", "tmp/f", "tmp/sub/g"}},
		{name: "replaced by a link to it", file: "tmp/f", mean: func(d string) error {
			return errors.Join(os.Rename(d+"/tmp/f", d+"/tmp/h"), os.Symlink("h", d+"/tmp/f"))
		}, err: ErrReplaced, left: []string{"outside/f", "tmp/f", "tmp/h", "tmp/sub/g"}},
		{name: "replaced by a folder", file: "tmp/f", mean: func(d string) error {
			return errors.Join(os.Remove(d+"/tmp/f"), os.Mkdir(d+"/tmp/f", 0o755))
		}, err: ErrReplaced, left: []string{"outside/f", "tmp/f", "tmp/sub/g"}},
		{name: "its folder is a link to the outside now", file: "tmp/sub/g", mean: func(d string) error {
			// The other one is even the same file.
			return errors.Join(os.Link(d+"/tmp/sub/g", d+"/outside/g"), os.RemoveAll(d+"/tmp/sub"), os.Symlink("../outside", d+"/tmp/sub"))
		}, err: unix.EXDEV, left: []string{"outside/f", "outside/g", "tmp/f", "tmp/sub"}},
		{name: "the same where links may lead out", file: "tmp/sub/g", links: Follow, mean: func(d string) error {
			return errors.Join(os.Link(d+"/tmp/sub/g", d+"/outside/g"), os.RemoveAll(d+"/tmp/sub"), os.Symlink("../outside", d+"/tmp/sub"))
		}, left: []string{"outside/f", "tmp/f", "tmp/sub"}},
		{name: "the name is a link", file: "tmp/link", mean: func(d string) error { return nil }, err: ErrReplaced,
			left: []string{"outside/f", "tmp/f", "tmp/link", "tmp/sub/g"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := tree(t, map[string]string{"tmp/f": "x", "tmp/sub/g": "y", "outside/f": "kept"})
			if c.file == "tmp/link" {
				must(t, os.Symlink("f", dir+"/tmp/link"))
			}
			f, err := temporary(t, dir, c.file, c.links)
			must(t, err)
			defer f.Close()
			if c.mean != nil {
				must(t, c.mean(dir))
			}
			if err := f.Remove(); !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Errorf("%v, want %v", err, c.err)
			}
			var left []string
			must(t, filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
				rel, _ := filepath.Rel(dir, p)
				if !e.IsDir() || rel == "tmp/f" {
					left = append(left, rel)
				}
				return err
			}))
			if !slices.Equal(left, c.left) {
				t.Errorf("left are %v, want %v", left, c.left)
			}
		})
	}
}

func appendTo(name, text string) error {
	f, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// A folder on the way is exchanged for a link to the outside, again and again: nothing there is ever unlinked.
func TestRemoveRace(t *testing.T) {
	dir := tree(t, map[string]string{"tmp/a/f": "x", "outside/f": "kept", "tmp/links/": "", "tmp/links/l": "-> ../../outside"})
	quit := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for {
			select {
			case <-quit:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, dir+"/tmp/a", unix.AT_FDCWD, dir+"/tmp/links/l", unix.RENAME_EXCHANGE)
			}
		}
	})
	for end := time.Now().Add(200 * time.Millisecond); time.Now().Before(end); {
		f, err := temporary(t, dir, "tmp/a/f", Beneath)
		if err != nil {
			continue
		}
		f.Remove()
		f.Close()
		for _, d := range []string{"/tmp/a/f", "/tmp/links/l/f"} { // whichever of the two it is in
			if _, err := os.Stat(dir + "/outside/f"); err != nil {
				t.Fatal("the file outside is gone")
			}
			if fi, err := os.Lstat(filepath.Dir(dir + d)); err == nil && fi.IsDir() {
				os.WriteFile(dir+d, []byte("x"), 0o644)
			}
		}
	}
	close(quit)
	all.Wait()
	if b, err := os.ReadFile(dir + "/outside/f"); err != nil {
		t.Errorf("outside: %q, %v", b, err)
	}
}

// Whole says when the client has got all of the file: what decides about a temporary one.
func TestWhole(t *testing.T) {
	for _, size := range []int{0, 10, smallFile + 1} {
		f := openTemp(t, "f.txt", pattern(size))
		for _, c := range []struct {
			name   string
			method string
			status int
			field  string
			value  string
			want   bool
		}{
			{"GET", "GET", 0, "", "", true},
			{"POST", "POST", 200, "", "", true},
			{"another status", "GET", 404, "", "", true},
			{"HEAD", "HEAD", 0, "", "", false},
			{"not modified", "GET", 0, "If-None-Match", "*", false},
			{"failed condition", "GET", 0, "If-Match", `"x"`, false},
			{"range", "GET", 0, "Range", "bytes=0-1", size == 0}, // of nothing there is no range
			{"all as a range", "GET", 0, "Range", "bytes=0-", size == 0},
			{"unsatisfiable", "GET", 0, "Range", "bytes=99999999-", size == 0},
			{"no content", "GET", 204, "", "", false},
			{"child's own 304", "GET", 304, "", "", false},
		} {
			r := httptest.NewRequest(c.method, "/", nil)
			if c.field != "" {
				r.Header.Set(c.field, c.value)
			}
			p := &Reply{Status: c.status}
			if err := p.Serve(httptest.NewRecorder(), r, f); err != nil || p.Whole != c.want {
				t.Errorf("%d bytes, %s: whole %v, %+v, %v", size, c.name, p.Whole, p, err)
			}
		}
		p := &Reply{}
		if err := p.Serve(&failing{httptest.NewRecorder(), 5}, httptest.NewRequest("GET", "/", nil), f); size > 0 && (err == nil || p.Whole) {
			t.Errorf("%d bytes, a client that leaves: %+v, %v", size, p, err)
		}
	}
}
