package config

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// TestWatchRandom: whatever is done to the files, the last content is reported.
func TestWatchRandom(t *testing.T) {
	for range 4 {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			watchRandom(t, rand.New(rand.NewPCG(seed, 0)))
		})
	}
}

func watchRandom(t *testing.T, r *rand.Rand) {
	w := newWorld(t, WatchOptions{Debounce: 5 * time.Millisecond}, nil)
	n := 0
	text := func() string { n++; return fmt.Sprintf("%s# %d\n", worldMain, n) }
	file := func() string { return []string{"conf.d/a.toml", "conf.d/b.toml", "late/er/c.toml"}[r.IntN(3)] }
	edits := []func(){
		func() { os.WriteFile(w.path("sluice.toml"), []byte(text()), 0o644) },
		func() { os.WriteFile(w.path("sluice.toml"), nil, 0o644) },
		func() { os.WriteFile(w.path("sluice.toml"), []byte("workers = ["), 0o644) },
		func() { os.WriteFile(w.path("sluice.toml"), []byte("include = [\"late/*/*.toml\"]\n"), 0o644) },
		func() {
			os.WriteFile(w.path("new"), []byte(text()), 0o644)
			os.Rename(w.path("new"), w.path("sluice.toml"))
		},
		func() { os.Rename(w.path("sluice.toml"), w.path("sluice.toml~")) },
		func() { os.Remove(w.path("sluice.toml")) },
		func() { os.WriteFile(w.path(file()), []byte(fmt.Sprintf("# %d\n", r.IntN(3))), 0o644) },
		func() { os.Remove(w.path(file())) },
		func() { os.RemoveAll(w.path("late")) },
		func() { os.MkdirAll(w.path("late/er"), 0o755) },
		func() {
			os.Mkdir(w.path("../new"), 0o755)
			os.WriteFile(w.path("../new/sluice.toml"), []byte(text()), 0o644)
			os.Rename(w.path("../etc"), w.path(fmt.Sprintf("../old%d", n)))
			os.Rename(w.path("../new"), w.path("../etc"))
		},
		func() { os.Rename(w.path("../etc"), w.path("../away")) },
		func() { os.Rename(w.path("../away"), w.path("../etc")) },
		func() {
			n++
			version := fmt.Sprintf("..%d", n)
			os.Mkdir(w.path(version), 0o755)
			os.WriteFile(w.path(version+"/sluice.toml"), []byte(text()), 0o644)
			os.Symlink(version, w.path("tmp"))
			os.Rename(w.path("tmp"), w.path("..data"))
			os.Symlink("..data/sluice.toml", w.path("tmp"))
			os.Rename(w.path("tmp"), w.path("sluice.toml"))
		},
	}
	for range 8 {
		for range 1 + r.IntN(8) {
			edits[r.IntN(len(edits))]()
			if r.IntN(3) == 0 {
				time.Sleep(time.Duration(r.IntN(8000)) * time.Microsecond)
			}
		}
		w.settles()
	}
}
