package sendfile

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// name255 is the longest name of a file.
var name255 = strings.Repeat("n", 255)

// zoo is a root with one of everything, and what lies around it.
func zoo(t testing.TB) (dir string) {
	dir = tree(t, map[string]string{
		"root/file.txt":        "file",
		"root/empty":           "",
		"root/a b":             "blank",
		"root/100%":            "percent",
		"root/%2e%2e":          "percent dots",
		"root/h#s?q":           "url",
		"root/...":             "three dots",
		"root/ä\xff":           "not UTF-8",
		"root/new\nline":       "line feed",
		"root/" + name255:      "long",
		"root/sub/deep/f":      "deep",
		"root/in":              "-> file.txt",
		"root/in2":             "-> sub/deep/../deep/f",
		"root/indir":           "-> sub",
		"root/sub/up":          "-> ../file.txt",
		"root/out":             "-> ../outside/secret",
		"root/outdir":          "-> ../outside",
		"root/outmissing":      "-> ../outside/missing",
		"root/absin":           "-> $DIR/root/file.txt",
		"root/absout":          "-> $DIR/outside/secret",
		"root/absmissing":      "-> $DIR/outside/missing",
		"root/dangling":        "-> missing",
		"root/loop":            "-> loop",
		"root/magic":           "-> /proc/self/exe",
		"root2/file.txt":       "prefix sibling",
		"outside/secret":       "secret",
		"link":                 "-> root",
		"root/nested/file.txt": "nested",
	})
	must(t, unix.Mkfifo(dir+"/root/fifo", 0o644))
	l, err := net.Listen("unix", dir+"/root/socket")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return dir
}

// openCase is a path below the zoo's directory. want has the content, or the status in each mode.
type openCase struct {
	path string
	want [3]any // Beneath, Deny, Follow
}

func same(v any) [3]any { return [3]any{v, v, v} }

var openCases = []openCase{
	{"root/file.txt", same("file")},
	{"root/empty", same("")},
	{"root/a b", same("blank")},
	{"root/100%", same("percent")},
	{"root/%2e%2e", same("percent dots")},
	{"root/h#s?q", same("url")},
	{"root/...", same("three dots")},
	{"root/ä\xff", same("not UTF-8")},
	{"root/new\nline", same("line feed")},
	{"root/" + name255, same("long")},
	{"root/sub/deep/f", same("deep")},
	{"root//sub/./deep///f", same("deep")},
	{"root/sub/../file.txt", same("file")},
	{"outside/../root/file.txt", same("file")},
	{"root/nosuch/../file.txt", same("file")}, // dot segments are removed before anything is looked up

	{"root/missing", same(404)},
	{"root/missing/", same(404)},
	{"root/file.txt/", same(404)},
	{"root/file.txt/.", same(404)},
	{"root/file.txt/x", same(404)},
	{"root/" + name255 + "n", same(404)},
	{"root/" + strings.Repeat("d/", 3000), same(404)},
	{"root/file.txt ", same(404)},
	{"root/FILE.TXT", same(404)},
	{"root/nul\x00", same(404)},

	{"root", same(403)},
	{"root/", same(403)},
	{"root/sub/..", same(403)},
	{"root/sub", same(403)},
	{"root/sub/", same(403)},
	{"root/fifo", same(403)},
	{"root/socket", same(403)},
	{"outside/secret", same(403)},
	{"outside/missing", same(403)},
	{"outside", same(403)},
	{"root2/file.txt", same(403)},
	{"root2/missing", same(403)},
	{"roo", same(403)},
	{"root/../outside/secret", same(403)},
	{"root/../../../../../../../../../../etc/passwd", same(403)},
	{"", same(403)},

	{"root/in", [3]any{"file", 403, "file"}},
	{"root/in2", [3]any{"deep", 403, "deep"}},
	{"root/indir/deep/f", [3]any{"deep", 403, "deep"}},
	{"root/indir", [3]any{403, 403, 403}},
	{"root/sub/up", [3]any{"file", 403, "file"}},
	{"root/out", [3]any{403, 403, "secret"}},
	{"root/outdir/secret", [3]any{403, 403, "secret"}},
	{"root/outdir/missing", [3]any{403, 403, 404}},
	{"root/outmissing", [3]any{403, 403, 404}},
	{"root/absin", [3]any{403, 403, "file"}},
	{"root/absout", [3]any{403, 403, "secret"}},
	{"root/absmissing", [3]any{403, 403, 404}},
	{"root/dangling", [3]any{404, 403, 404}},
	{"root/loop", same(403)},
}

func TestOpen(t *testing.T) {
	dir := zoo(t)
	for _, mode := range []Symlinks{Beneath, Deny, Follow} {
		s := newSender(t, Options{Roots: []string{dir + "/root"}, Symlinks: mode})
		for _, c := range openCases {
			f, err := s.Open(Order{Path: dir + "/" + c.path})
			check(t, mode.String()+" "+c.path, f, err, c.want[mode])
		}
	}
}

func TestOpenBeneath(t *testing.T) {
	dir := zoo(t)
	for _, mode := range []Symlinks{Beneath, Deny, Follow} {
		for _, c := range openCases {
			rel, ok := strings.CutPrefix(c.path, "root/")
			if !ok {
				continue
			}
			for _, name := range []string{rel, "/" + rel, "//" + rel} {
				f, err := OpenBeneath(dir+"/root", name, mode)
				check(t, mode.String()+" "+name, f, err, c.want[mode])
			}
		}
	}
	for name, want := range map[string]any{
		"": 403, "/": 403, ".": 403, "./": 403, "..": 403, "/..": 403, "../root/file.txt": 403, "/../file.txt": 403,
		"sub/../../root/file.txt": 403, "sub/../file.txt": "file", "..x": 404,
	} {
		f, err := OpenBeneath(dir+"/root", name, Beneath)
		check(t, name, f, err, want)
	}
	f, err := OpenBeneath(dir+"/missing", "x", Beneath)
	check(t, "missing root", f, err, 404)
	f, err = OpenBeneath(dir+"/root/file.txt", "x", Beneath)
	check(t, "root is a file", f, err, 404)
	f, err = OpenBeneath("/", dir+"/root/file.txt", Beneath)
	check(t, "root /", f, err, "file")
	if _, err = OpenBeneath(dir, "root/file.txt", Symlinks(9)); statusOf(err) != 500 {
		t.Errorf("mode 9: %v", err)
	}
}

func check(t *testing.T, what string, f *File, err error, want any) {
	t.Helper()
	if f != nil {
		defer f.Close()
	}
	status, refused := want.(int)
	if refused {
		if f != nil || statusOf(err) != status {
			t.Errorf("%.80q: %v, want %d", what, err, status)
		}
		return
	}
	if err != nil {
		t.Errorf("%.80q: %v, want %q", what, err, want)
		return
	}
	if got, err := io.ReadAll(f.Content()); err != nil || string(got) != want {
		t.Errorf("%.80q: content %q, %v, want %q", what, got, err, want)
	}
}

func TestOpenMagicLinksAndDevices(t *testing.T) {
	dir := zoo(t)
	s := newSender(t, Options{Roots: []string{dir + "/root", "/dev", "/proc"}, Symlinks: Follow})
	for _, p := range []string{"/proc/self/exe", "/proc/self/fd/0", "/proc/self/root" + dir + "/root/file.txt"} {
		f, err := s.Open(Order{Path: p})
		check(t, p, f, err, 403)
	}
	for _, p := range []string{"/dev/null", "/dev/zero", "/dev/tty", "/dev"} {
		f, err := s.Open(Order{Path: p})
		check(t, p, f, err, 403)
	}
}

func TestOpenCauses(t *testing.T) {
	dir := zoo(t)
	s := newSender(t, Options{Roots: []string{dir + "/root"}})
	for p, cause := range map[string]error{
		"root/sub": unix.EISDIR, "root": unix.EISDIR, "root/fifo": ErrNotRegular, "root/socket": unix.ENXIO,
		"root/missing": unix.ENOENT, "root/out": unix.EXDEV,
	} {
		if _, err := s.Open(Order{Path: dir + "/" + p}); !errors.Is(err, cause) {
			t.Errorf("%s: %v, want %v", p, err, cause)
		}
	}
	_, err := s.Open(Order{Path: dir + "/root/../root2/x\ny"})
	if want := `open "` + dir + `/root2/x\ny": outside every root (root ` + dir + `/root)`; err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
	_, err = s.Open(Order{Path: dir + "/root/out"})
	want := `open "` + dir + `/root/out": a symbolic link leads out of the root (root ` + dir + `/root): invalid cross-device link`
	if err.Error() != want {
		t.Errorf("%v\nwant %s", err, want)
	}
}

func TestOpenRoots(t *testing.T) {
	dir := zoo(t)
	open := func(want any, p string, roots ...string) {
		t.Helper()
		for i := range roots {
			roots[i] = dir + "/" + roots[i]
		}
		f, err := newSender(t, Options{Roots: roots}).Open(Order{Path: dir + "/" + p})
		check(t, p, f, err, want)
	}
	open("file", "link/file.txt", "link")
	open("file", "root/file.txt", "link") // by the path that the root's link leads to
	open(403, "root", "link")
	open(403, "link", "link")
	open(403, "root2/file.txt", "link")
	open(403, "link/file.txt", "root") // the other way round would be a link out of nowhere
	open("file", "root/file.txt", "root/", "outside")
	open("secret", "outside/secret", "root", "outside")
	open(403, "root/nested", "root", "root/nested")
	open("nested", "root/nested/file.txt", "root/nested", "root")
	open("file", "root/file.txt", "missing", "root")
	open(404, "missing/x", "missing", "root")
	open(404, "root/file.txt/x", "root/file.txt")
	// The longest root decides, so a link from a nested root to the outer one leads out.
	must(t, os.Symlink("../file.txt", dir+"/root/nested/up"))
	open(403, "root/nested/up", "root", "root/nested")
	open("file", "root/nested/up", "root")

	later := newSender(t, Options{Roots: []string{dir + "/later"}})
	f, err := later.Open(Order{Path: dir + "/later/f"})
	check(t, "before", f, err, 404)
	must(t, os.Mkdir(dir+"/later", 0o755))
	must(t, os.WriteFile(dir+"/later/f", []byte("now"), 0o644))
	f, err = later.Open(Order{Path: dir + "/later/f"})
	check(t, "after", f, err, "now")

	whole := newSender(t, Options{Roots: []string{"/"}})
	f, err = whole.Open(Order{Path: dir + "/root/file.txt"})
	check(t, "root /", f, err, "file")
	f, err = whole.Open(Order{Path: "/"})
	check(t, "/", f, err, 403)
	f, err = whole.Open(Order{Path: "relative"})
	check(t, "relative", f, err, 403)
}

// An unreadable file is 403, also if its directory is what cannot be searched. As root may read everything, the thread
// takes another user's file-system identity, which is per thread and loses CAP_DAC_OVERRIDE.
func TestOpenUnreadable(t *testing.T) {
	dir := tree(t, map[string]string{"root/f": "x", "root/d/f": "x", "root/ok": "ok"})
	must(t, os.Chmod(dir+"/root/f", 0))
	must(t, os.Chmod(dir+"/root/d", 0))
	t.Cleanup(func() { os.Chmod(dir+"/root/d", 0o755) })
	for p := dir; p != filepath.Clean(os.TempDir()) && p != "/"; p = filepath.Dir(p) {
		if info, err := os.Stat(p); err == nil && info.Mode()&0o005 != 0o005 {
			must(t, os.Chmod(p, info.Mode().Perm()|0o055)) // the other user must get that far
		}
	}
	s := newSender(t, Options{Roots: []string{dir + "/root"}})
	if os.Getuid() == 0 {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		_, err := unix.SetfsuidRetUid(65534)
		must(t, err)
		defer unix.SetfsuidRetUid(0)
	}
	for name, want := range map[string]any{"f": 403, "d/f": 403, "d/missing": 403, "ok": "ok"} {
		f, err := s.Open(Order{Path: dir + "/root/" + name})
		check(t, name, f, err, want)
	}
}

func TestOpenKernelFaults(t *testing.T) {
	dir := tree(t, map[string]string{"f": "x"})
	real := openat2
	defer func() { openat2 = real }()
	for _, c := range []struct {
		errno  unix.Errno
		times  int
		status int
	}{
		{unix.EAGAIN, openTries / 4, 0},
		{unix.EINTR, openTries / 4, 0},
		{unix.EAGAIN, 1 << 30, 503},
		{unix.ENOSYS, 1 << 30, 500},
		{unix.EMFILE, 1 << 30, 503},
		{unix.EIO, 1 << 30, 500},
		{unix.EPERM, 1 << 30, 403},
	} {
		calls := 0
		openat2 = func(dir int, name string, how *unix.OpenHow) (int, error) {
			if calls++; calls <= c.times {
				return -1, c.errno
			}
			return real(dir, name, how)
		}
		f, err := OpenBeneath(dir, "f", Beneath)
		if statusOf(err) != c.status || c.status != 0 && !errors.Is(err, c.errno) {
			t.Errorf("%v %d times: %v", c.errno, c.times, err)
		}
		if calls > 2*openTries {
			t.Errorf("%v: %d calls", c.errno, calls)
		}
		if f != nil {
			f.Close()
		}
		if c.errno == unix.ENOSYS && !strings.Contains(err.Error(), "5.6") {
			t.Errorf("the log is not told which kernel is required: %v", err)
		}
	}
}

// A FIFO that nobody writes to must not hold anybody.
func TestOpenNeverBlocks(t *testing.T) {
	dir := zoo(t)
	done := make(chan error, 1)
	go func() {
		_, err := OpenBeneath(dir+"/root", "fifo", Follow)
		done <- err
	}()
	select {
	case err := <-done:
		if statusOf(err) != 403 {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("open blocks")
	}
}

// A component is exchanged for a link to the outside, again and again, while it is opened.
func TestOpenLinkRace(t *testing.T) {
	dir := tree(t, map[string]string{
		"root/a/f": "inside", "outside/f": "secret", "root/links/": "", "root/links/l": "-> ../../outside",
	})
	var stop sync.WaitGroup
	quit := make(chan struct{})
	stop.Go(func() {
		for {
			select {
			case <-quit:
				return
			default:
				unix.Renameat2(unix.AT_FDCWD, dir+"/root/a", unix.AT_FDCWD, dir+"/root/links/l", unix.RENAME_EXCHANGE)
			}
		}
	})
	defer stop.Wait()
	defer close(quit)
	seen := map[int]int{}
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		f, err := OpenBeneath(dir+"/root", "a/f", Beneath)
		seen[statusOf(err)]++
		if err != nil {
			continue
		}
		got, _ := io.ReadAll(f.Content())
		f.Close()
		if string(got) != "inside" {
			t.Fatalf("read %q", got)
		}
	}
	if seen[0] == 0 || seen[403] == 0 {
		t.Errorf("the race did not happen: %v", seen)
	}
}
