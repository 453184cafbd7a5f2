package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Files that are kept open take the last descriptors of a worker: whatever else needs one gets it all the same.
func TestKeptFilesGiveWay(t *testing.T) {
	const spare, files = 40, 200 // where the files themselves run out of descriptors all are given back, and it begins anew
	dir := withSite(t)
	for i := range files {
		write(t, dir, fmt.Sprintf("www/static/%d.txt", i), fmt.Sprint("file ", i))
	}
	write(t, dir, "www/ok.cgi", okScript)
	write(t, dir, "www/size.cgi", "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'; wc -c\n")
	s := startSite(t, dir, scripted(""))
	worker, _ := family(s.pid())
	s.get(200, "/ok.cgi") // what is opened once for all is open
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", worker))
	if err != nil {
		t.Fatal(err)
	}
	most := uint64(len(list) + spare)
	if err := unix.Prlimit(worker, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil {
		t.Fatal(err)
	}
	full := func() {
		t.Helper()
		for i := range files {
			s.get(200, fmt.Sprintf("/static/%d.txt", i)).has(t, fmt.Sprint("file ", i))
			if len(openBelow(worker, dir)) > spare-6 { // a script needs seven, and its connection one
				return
			}
		}
		t.Fatalf("%d files are open", len(openBelow(worker, dir)))
	}
	for range 3 {
		full()
		s.get(200, "/ok.cgi").has(t, "ok")
		full()
		s.post(200, "/size.cgi", strings.Repeat("x", 100_000)).has(t, "100000")
		full()
		s.get(200, "/app").has(t, "pid=")
	}
}
