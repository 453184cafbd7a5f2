package config

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"sluice/internal/leak"
)

func TestMain(m *testing.M) { os.Exit(leak.Main(m)) }

// world is a folder with a watched configuration.
type world struct {
	t   *testing.T
	dir string
	log bytes.Buffer // read after close

	mu   sync.Mutex
	seen []string // what there was at each call of Changed
}

const worldMain = "include = [\"conf.d/*.toml\", \"late/er/*.toml\"]\nworkers = 1\n"

// newWorld makes the folder by prepare, which leaves a sluice.toml in it, and
// watches that.
func newWorld(t *testing.T, o WatchOptions, prepare func(w *world)) *world {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: filepath.Join(dir, "etc")}
	w.mkdir("conf.d")
	w.write("sluice.toml", worldMain)
	w.write("conf.d/a.toml", "[limits]\nconnections = 10\n")
	w.write("beside.toml", "secret")
	if prepare != nil {
		prepare(w)
	}
	c, err := Load(w.path("sluice.toml"))
	if err != nil {
		t.Fatal(err)
	}
	w.seen = []string{w.now()}
	if o.Debounce == 0 {
		o.Debounce = 20 * time.Millisecond
	}
	o.Log = slog.New(slog.NewTextHandler(&w.log, nil))
	o.Changed = func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen = append(w.seen, w.now())
	}
	watcher, err := Watch(c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watcher.Close)
	return w
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) write(name, text string) { w.must(os.WriteFile(w.path(name), []byte(text), 0o644)) }
func (w *world) mkdir(name string)       { w.must(os.MkdirAll(w.path(name), 0o755)) }
func (w *world) remove(name string)      { w.must(os.RemoveAll(w.path(name))) }
func (w *world) move(from, to string)    { w.must(os.Rename(w.path(from), w.path(to))) }
func (w *world) link(to, name string)    { w.must(os.Symlink(to, w.path(name))) }

// replace is an atomic write.
func (w *world) replace(name, text string) {
	w.write(name+".tmp", text)
	w.move(name+".tmp", name)
}

// now is what the files hold.
func (w *world) now() string {
	all, _ := readContents(w.path("sluice.toml"), nil)
	var b strings.Builder
	for _, f := range all {
		data, err := os.ReadFile(f.path)
		name, _ := filepath.Rel(w.dir, f.path)
		fmt.Fprintf(&b, "-- %s --\n%s", name, data)
		if err != nil {
			fmt.Fprintln(&b, cause(err))
		}
	}
	return b.String()
}

func (w *world) reported() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.seen)
}

// settles waits until what there is has been reported.
func (w *world) settles() []string {
	w.t.Helper()
	want := w.now()
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		seen := w.reported()
		if seen[len(seen)-1] == want {
			return seen
		}
		if time.Now().After(limit) {
			w.t.Fatalf("not reported:\n%s\nlast:\n%s", want, seen[len(seen)-1])
		}
	}
}

const otherMain = worldMain + "[log]\nlevel = \"debug\"\n"

// TestWatch: every way to change a configuration is noticed, each more than once
// in a row.
func TestWatch(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(w *world)
		edit    func(w *world, text string)
	}{
		{"written in place", nil, func(w *world, text string) { w.write("sluice.toml", text) }},
		{"replaced by rename", nil, func(w *world, text string) { w.replace("sluice.toml", text) }},
		{"backup by rename, then a new file", nil, func(w *world, text string) {
			w.move("sluice.toml", "sluice.toml~")
			w.write("sluice.toml", text)
			w.remove("sluice.toml~")
		}},
		{"backup by copy, then truncated", nil, func(w *world, text string) {
			w.write("sluice.toml~", w.now())
			f, err := os.OpenFile(w.path("sluice.toml"), os.O_WRONLY|os.O_TRUNC, 0)
			w.must(err)
			defer f.Close()
			for _, line := range strings.SplitAfter(text, "\n") {
				f.WriteString(line)
				time.Sleep(time.Millisecond)
			}
		}},
		{"a volume of Kubernetes", func(w *world) {
			w.mkdir("..1")
			w.move("sluice.toml", "..1/sluice.toml")
			w.link("..1", "..data")
			w.link("..data/sluice.toml", "sluice.toml")
		}, func(w *world, text string) {
			old, err := os.Readlink(w.path("..data"))
			w.must(err)
			w.mkdir(old + "x")
			w.write(old+"x/sluice.toml", text)
			w.link(old+"x", "..data_tmp")
			w.move("..data_tmp", "..data")
			w.remove(old)
		}},
		{"a link to a file elsewhere", func(w *world) {
			w.mkdir("../far/off")
			w.move("sluice.toml", "../far/off/main")
			w.link("../far/off/./main", "sluice.toml")
		}, func(w *world, text string) { w.replace("../far/off/main", text) }},
		{"a folder of releases", func(w *world) {
			w.mkdir("../releases/1")
			w.move("../etc", "../releases/1/etc")
			w.link("releases/1/etc", "../etc")
		}, func(w *world, text string) {
			n := fmt.Sprintf("../releases/%d", time.Now().UnixNano())
			w.mkdir(n + "/etc/conf.d")
			w.write(n+"/etc/sluice.toml", text)
			w.link("releases/"+filepath.Base(n)+"/etc", "../etc.tmp")
			w.move("../etc.tmp", "../etc")
		}},
		{"the folder is moved away, and another one takes its place", nil, func(w *world, text string) {
			w.mkdir("../new/conf.d")
			w.write("../new/sluice.toml", text)
			w.move("../etc", "../old")
			w.move("../new", "../etc")
			w.remove("../old")
		}},
		{"the folder is made anew", nil, func(w *world, text string) {
			w.remove("../etc")
			w.mkdir("")
			w.write("sluice.toml", text)
		}},
		{"removed and back", nil, func(w *world, text string) {
			w.remove("sluice.toml")
			w.settles()
			w.write("sluice.toml", text)
		}},
		{"an included file", nil, func(w *world, text string) {
			w.write("conf.d/a.toml", strings.TrimPrefix(text, worldMain))
		}},
		{"a new file that is included", nil, func(w *world, text string) {
			w.write("conf.d/b.toml", strings.TrimPrefix(text, worldMain))
			w.settles()
			w.remove("conf.d/b.toml")
		}},
		{"a folder that comes later", nil, func(w *world, text string) {
			w.mkdir("late/er")
			w.write("late/er/b.toml", strings.TrimPrefix(text, worldMain))
			w.settles()
			w.remove("late")
		}},
		{"another include", nil, func(w *world, text string) {
			w.mkdir("more")
			w.write("more/x.conf", "")
			w.write("sluice.toml", strings.Replace(text, `"late`, `"more/?.conf", "late`, 1))
			w.settles()
			w.write("more/x.conf", "# "+text[:3])
			w.settles()
			w.write("sluice.toml", text)
		}},
		{"included by a link", func(w *world) {
			w.mkdir("sites")
			w.write("sites/s", "# s\n")
		}, func(w *world, text string) {
			os.Remove(w.path("conf.d/s.toml"))
			w.link("../sites/s", "conf.d/s.toml")
			w.settles()
			w.replace("sites/s", "# "+text[len(worldMain):len(worldMain)+3]+"\n")
		}},
		{"of mode 0", nil, func(w *world, text string) {
			w.write("sluice.toml", text)
			w.must(os.Chmod(w.path("sluice.toml"), 0))
			defer os.Chmod(w.path("sluice.toml"), 0o644)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, WatchOptions{}, tt.prepare)
			for i := range 3 {
				tt.edit(w, worldMain+fmt.Sprintf("[linger]\nmax = %d\n", i+1))
				w.settles()
			}
		})
	}
}

// TestWatchNothing: what leaves the content as it is, and files that nobody
// includes, are not reported.
func TestWatchNothing(t *testing.T) {
	for name, edit := range map[string]func(w *world){
		"touched":                func(w *world) { os.Chtimes(w.path("sluice.toml"), time.Now(), time.Now()) },
		"written again":          func(w *world) { w.write("sluice.toml", worldMain) },
		"replaced by the same":   func(w *world) { w.replace("sluice.toml", worldMain) },
		"changed and back":       func(w *world) { w.write("sluice.toml", otherMain); w.write("sluice.toml", worldMain) },
		"another file":           func(w *world) { w.write("beside.toml", "other"); w.write("conf.d/a.toml~", "x") },
		"a folder like a file":   func(w *world) { w.mkdir("late/er"); w.mkdir("conf.d/sub") },
		"the folder moved twice": func(w *world) { w.move("../etc", "../x"); w.move("../x", "../etc") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, WatchOptions{}, nil)
			edit(w)
			time.Sleep(50 * time.Millisecond)
			w.write("sluice.toml", otherMain) // the sign that it has been looked at
			if seen := w.settles(); len(seen) != 2 {
				t.Errorf("reported:\n%s", strings.Join(seen[1:], "\n=====\n"))
			}
		})
	}
}

// TestWatchHalfWritten: what is there in the middle of a write that takes its
// time is not taken for a configuration.
func TestWatchHalfWritten(t *testing.T) {
	for name, half := range map[string]func(w *world){
		"empty":        func(w *world) { w.write("sluice.toml", "") },
		"blank":        func(w *world) { w.write("sluice.toml", "\n\n") },
		"broken":       func(w *world) { w.write("sluice.toml", otherMain[:len(otherMain)-3]) },
		"gone":         func(w *world) { w.remove("sluice.toml") },
		"include gone": func(w *world) { w.remove("conf.d/a.toml") },
		"folder gone":  func(w *world) { w.move("../etc", "../x") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, WatchOptions{Debounce: 300 * time.Millisecond}, nil)
			half(w)
			time.Sleep(500 * time.Millisecond) // it has been seen by now
			w.mkdir("conf.d")
			w.write("conf.d/a.toml", "# none\n")
			w.write("sluice.toml", otherMain)
			if seen := w.settles(); len(seen) != 2 {
				t.Errorf("reported:\n%s", strings.Join(seen[1:], "\n=====\n"))
			}
		})
	}
}

// TestWatchBroken: a mistake that stays is reported, so that somebody says where
// it is; and the next one too.
func TestWatchBroken(t *testing.T) {
	w := newWorld(t, WatchOptions{}, nil)
	for _, text := range []string{"workers = \n", "workers = [\n", "", otherMain} {
		w.write("sluice.toml", text)
		w.settles()
	}
}

// TestWatchEndlessWrites: whoever never stops does not keep it from being seen.
func TestWatchEndlessWrites(t *testing.T) {
	w := newWorld(t, WatchOptions{Debounce: 50 * time.Millisecond}, nil)
	limit := time.Now().Add(20 * time.Second)
	for i := 0; len(w.reported()) < 3; i++ {
		w.replace("sluice.toml", worldMain+fmt.Sprintf("# %d\n", i))
		time.Sleep(5 * time.Millisecond)
		if time.Now().After(limit) {
			t.Fatal("nothing is reported while it is written")
		}
	}
	w.settles()
}

// TestWatchBefore: what has changed between loading and watching is reported.
func TestWatchBefore(t *testing.T) {
	w := newWorld(t, WatchOptions{}, nil)
	c, err := Load(w.path("sluice.toml"))
	w.must(err)
	c, err = c.With(Overrides{}) // keeps what was read
	w.must(err)
	w.write("conf.d/a.toml", "# other\n")
	changed := make(chan struct{}, 8)
	again, err := Watch(c, WatchOptions{Changed: func() { changed <- struct{}{} }, Log: slog.New(slog.DiscardHandler)})
	w.must(err)
	defer again.Close()
	select {
	case <-changed:
	case <-time.After(20 * time.Second):
		t.Error("not reported")
	}
}

// TestWatchPolls: where the kernel has no watches left, and once it has some
// again.
func TestWatchPolls(t *testing.T) {
	var mu sync.Mutex
	var refuse error = syscall.EMFILE
	set := func(err error) { mu.Lock(); defer mu.Unlock(); refuse = err }
	open := func() (*notifier, error) {
		mu.Lock()
		defer mu.Unlock()
		n, err := openNotifier()
		switch refuse {
		case syscall.EMFILE:
			n.close()
			return nil, refuse
		case syscall.ENOSPC:
			n.add = func(string) error { return syscall.ENOSPC }
		}
		return n, err
	}
	w := newWorld(t, WatchOptions{Poll: 20 * time.Millisecond, notifier: open}, nil)
	for i, err := range []error{syscall.EMFILE, syscall.ENOSPC, nil, syscall.EMFILE} {
		set(err)
		w.replace("sluice.toml", worldMain+fmt.Sprintf("# %d\n", i))
		w.settles()
		w.replace("conf.d/b.toml", fmt.Sprintf("# %d\n", i))
		w.settles()
	}
}

// TestWatchOverflow: lost events are as good as events.
func TestWatchOverflow(t *testing.T) {
	errs := make(chan error)
	var hears atomic.Bool
	deaf := func() (*notifier, error) {
		n, err := openNotifier()
		if n.Errors = errs; !hears.Load() {
			n.Events = nil
		}
		return n, err
	}
	w := newWorld(t, WatchOptions{notifier: deaf}, nil)
	w.write("sluice.toml", otherMain)
	hears.Store(true)
	errs <- fsnotify.ErrEventOverflow
	w.settles()
	w.write("sluice.toml", worldMain)
	w.settles()
}

func TestWatchNeedsFile(t *testing.T) {
	if _, err := Watch(&Config{}, WatchOptions{}); err == nil {
		t.Error("a configuration without a file is watched")
	}
}
