package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// watching is a server that notices changes of its files; the text is that of the
// page of its site.
type watching struct {
	*site
	head string
}

// startWatching begins with a server that does not watch, as those of other tests.
func startWatching(t *testing.T, dir, config string) *watching {
	w := &watching{site: startSite(t, dir, config)}
	text, err := os.ReadFile(filepath.Join(dir, "sluice.toml"))
	if err != nil {
		t.Fatal(err)
	}
	w.head, _, _ = strings.Cut(strings.Replace(string(text), "watch = false\n", "", 1), config)
	w.put("sluice.toml", w.head+config)
	w.reload()
	return w
}

func siteOf(root string) string { return fmt.Sprintf("[[site]]\nroot = %q\n", root) }

// shows waits until the site is the one of that name.
func (w *watching) shows(name string) {
	w.t.Helper()
	if !waitFor(20*time.Second, func() bool { return w.get(200, "/").body == "site "+name }) {
		w.t.Errorf("the site is %q, want %s", w.get(200, "/").body, name)
	}
}

func (w *watching) put(name, text string) { write(w.t, w.dir, name, text) }

func (w *watching) rename(from, to string) {
	w.t.Helper()
	if err := os.Rename(filepath.Join(w.dir, from), filepath.Join(w.dir, to)); err != nil {
		w.t.Fatal(err)
	}
}

// watch = true is the default: a file that is written in place, or replaced, is loaded; a bad one is reported with its place
// and changes nothing; one that is as it was is nothing new.
func TestWatch(t *testing.T) {
	dir := testDir(t)
	for _, name := range []string{"one", "two", "three"} {
		write(t, dir, name+"/index.html", "site "+name)
	}
	w := startWatching(t, dir, siteOf("one"))
	w.shows("one")
	w.put("sluice.toml", w.head+siteOf("two"))
	w.shows("two")
	w.put("new", w.head+siteOf("three"))
	w.rename("new", "sluice.toml")
	w.shows("three")
	before := w.status().Generation

	w.put("sluice.toml", w.head+siteOf("two")+"rot = 1\n")
	w.waitLog(t, `reload failed, nothing has changed.*sluice\.toml:\d+:1: .*rot`)
	w.get(200, "/").has(t, "site three")
	w.put("sluice.toml", w.head+siteOf("three")+"# as before\n")
	w.waitLog(t, "configuration is as it was")
	if now := w.status().Generation; now != before {
		t.Errorf("generation %d, was %d, and nothing had changed", now, before)
	}

	w.put("sluice.toml", "watch = false\n"+w.head+siteOf("one"))
	w.shows("one")
	w.put("sluice.toml", w.head+siteOf("two"))
	time.Sleep(time.Second)
	w.get(200, "/").has(t, "site one")
	w.reload()
	w.shows("two")
	w.put("sluice.toml", w.head+siteOf("three"))
	w.shows("three")
}

// An included file counts as the main one does, and so does a link that is swapped, as Kubernetes does with its volumes.
func TestWatchIncluded(t *testing.T) {
	dir := testDir(t)
	for _, name := range []string{"one", "two"} {
		write(t, dir, name+"/index.html", "site "+name)
		write(t, dir, "volume/"+name+"/site.toml", siteOf(filepath.Join(dir, name)))
	}
	link := func(to string) {
		t.Helper()
		if err := os.Symlink(to, filepath.Join(dir, "volume/next")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "volume/next"), filepath.Join(dir, "volume/data")); err != nil {
			t.Fatal(err)
		}
	}
	link("one")
	w := startWatching(t, dir, "include = [\"volume/data/*.toml\"]\n")
	w.shows("one")
	link("two")
	w.shows("two")
	w.put("volume/two/site.toml", siteOf(filepath.Join(dir, "one")))
	w.shows("one")
}
