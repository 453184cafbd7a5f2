package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// openBelow is which .txt files below a folder a process has open.
func openBelow(pid int, folder string) (names []string) {
	fds := fmt.Sprintf("/proc/%d/fd", pid)
	list, _ := os.ReadDir(fds)
	for _, e := range list {
		if to, err := os.Readlink(filepath.Join(fds, e.Name())); err == nil && strings.HasPrefix(to, folder) && strings.Contains(to, ".txt") {
			names = append(names, to)
		}
	}
	return names
}

// [send] cache: files that were asked for stay open, no more than it says, and for no longer than they are asked for;
// whoever changes one sees the change.
func TestFileCache(t *testing.T) {
	const most, files = 4, 10
	dir := withSite(t)
	for i := range files {
		write(t, dir, fmt.Sprintf("www/static/%d.txt", i), fmt.Sprint("file ", i))
	}
	write(t, dir, "files/sent.txt", "sent")
	write(t, dir, "www/send.cgi", "#!/bin/sh\nprintf 'X-Sendfile: "+dir+"/files/sent.txt\\n\\n'\n")
	s := startSite(t, dir, strings.Replace(scripted(""), `kind = "cgi"`, "kind = \"cgi\"\n[app.send_file]\nroots = [\"files\"]\n", 1)+
		fmt.Sprintf("[send]\ncache = %d\n", most))
	worker, _ := family(s.pid())
	for range 3 {
		for i := range files {
			s.get(200, fmt.Sprintf("/static/%d.txt", i)).has(t, fmt.Sprint("file ", i))
			s.get(200, "/send.cgi").has(t, "sent")
			if open := openBelow(worker, dir); len(open) > most {
				t.Fatalf("%d files are open: %v", len(open), open)
			}
		}
	}
	if open := openBelow(worker, dir); len(open) < 2 {
		t.Errorf("open are %v", open)
	}
	tag := s.get(200, "/static/0.txt").Header.Get("ETag")
	write(t, dir, "www/static/0.txt", "edited")
	s.get(200, "/static/0.txt", "If-None-Match: "+tag).has(t, "edited")
	if err := os.Remove(dir + "/www/static/0.txt"); err != nil {
		t.Fatal(err)
	}
	s.get(404, "/static/0.txt")
	for range 200 {
		s.get(200, "/static/1.txt")
	}
	write(t, dir, "www/static/1.txt", "edited while it was hot")
	s.get(200, "/static/1.txt").has(t, "edited while it was hot")
	if !waitFor(60*time.Second, func() bool { return len(openBelow(worker, dir)) == 0 }) {
		t.Errorf("still open: %v", openBelow(worker, dir))
	}
}
