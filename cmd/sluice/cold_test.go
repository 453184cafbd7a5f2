package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// evictAll takes the files of a folder out of the page cache.
func evictAll(t *testing.T, folder string) {
	t.Helper()
	names, _ := filepath.Glob(folder + "/*")
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		f.Close()
	}
}

// diskDir is a folder of a file system that has a disk.
func diskDir(t *testing.T) string {
	t.Helper()
	dir := testDir(t)
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	if uint32(st.Type) == unix.TMPFS_MAGIC {
		t.Setenv("TMPDIR", "/var/tmp")
		dir = testDir(t)
	}
	return dir
}

// [send] io_threads, io_queue and shed_file: what waits for the disk beyond them gets 503 with that file, and a file in
// memory is not concerned, nor is the number of threads.
func TestColdFiles(t *testing.T) {
	const files, clients, threads = 64, 32, 1
	dir := diskDir(t)
	body := strings.Repeat("cold file, and not in memory\n", 150)
	for i := range files {
		write(t, dir, fmt.Sprintf("www/cold/%d.txt", i), fmt.Sprint(i, " ", body))
	}
	write(t, dir, "www/hot.txt", "hot")
	write(t, dir, "busy.png", "\x89PNG of a server that is busy")
	write(t, dir, "www/send.cgi", "#!/bin/sh\nprintf \"X-Sendfile: "+dir+"/www/cold/$QUERY_STRING.txt\\n\\n\"\n")
	s := startSite(t, dir, strings.Replace(scripted(""), `kind = "cgi"`, "kind = \"cgi\"\n[app.send_file]\nroots = [\"www\"]\n", 1)+
		fmt.Sprintf("[send]\ncache = 0\nio_threads = %d\nio_queue = 0\nshed_file = \"busy.png\"\n", threads))
	worker, _ := family(s.pid())
	tasks := func() int {
		list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", worker))
		return len(list)
	}
	for range 8 {
		s.get(200, "/hot.txt").has(t, "hot")
	}
	before, most := tasks(), 0
	var shed, sent atomic.Int64
	ask := func(target, want string) {
		a, err := httpRequest{target: target}.send("tcp", s.addr)
		switch {
		case err != nil || a.err != nil:
			t.Error(target, err)
		case a.StatusCode == 200 && a.body == want:
			sent.Add(1)
		case a.StatusCode == 503 && a.Header.Get("Retry-After") != "" && a.Header.Get("Content-Type") == "image/png" &&
			a.body == "\x89PNG of a server that is busy" && a.Header.Get("ETag") == "":
			shed.Add(1)
		default:
			t.Errorf("%s: %s, %q, %.40q", target, a.Status, a.Header, a.body)
		}
	}
	for end := time.Now().Add(60 * time.Second); shed.Load() < 10 && time.Now().Before(end) && !t.Failed(); {
		evictAll(t, dir+"/www/cold")
		var group sync.WaitGroup
		next := make(chan int)
		for range clients {
			group.Go(func() {
				for i := range next {
					ask(fmt.Sprintf("/cold/%d.txt", i), fmt.Sprint(i, " ", body))
				}
			})
		}
		for i := range files {
			next <- i
			if i%8 == 0 {
				s.get(200, "/hot.txt").has(t, "hot")
				most = max(most, tasks())
			}
		}
		close(next)
		group.Wait()
		ask("/send.cgi?7", "7 "+body)
	}
	if shed.Load() == 0 || sent.Load() == 0 {
		t.Errorf("%d cold requests were refused, %d answered", shed.Load(), sent.Load())
	}
	// A few more belong to the runtime.
	if most > before+threads+20 {
		t.Errorf("%d threads, %d before", most, before)
	}
	s.waitLog(t, `too many reads wait for the disk`)
}
