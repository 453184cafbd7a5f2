package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// SIGUSR1 has the master and all workers, also those that drain, write to new files
// when somebody has renamed the logs. No line is lost.
func TestReopen(t *testing.T) {
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			dir := withSite(t)
			write(t, dir, "www/big", strings.Repeat("x", 40<<20))
			write(t, dir, "www/loud.cgi", "#!/bin/sh\necho spoken >&2\n"+strings.TrimPrefix(okScript, "#!/bin/sh\n"))
			s := startSite(t, dir, fmt.Sprintf("workers = %d\n", workers)+scripted("max = 1")+
				fmt.Sprintf("[log]\nerror = %q\naccess = %q\nformat = \"common\"\n", filepath.Join(dir, "error.log"), filepath.Join(dir, "access.log")))
			// One that drains until its client has read all.
			c, err := net.Dial("tcp", s.addr)
			must(t, err)
			defer c.Close()
			fmt.Fprintf(c, "GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			in := bufio.NewReader(c)
			res, err := http.ReadResponse(in, nil)
			must(t, err)
			s.reload()

			lines := func(file, text string) int {
				b, _ := os.ReadFile(filepath.Join(dir, file))
				return strings.Count(string(b), text)
			}
			load := s.traffic(4, "/x.cgi")
			s.get(200, "/loud.cgi")
			time.Sleep(500 * time.Millisecond)
			for _, log := range []string{"error.log", "access.log"} {
				must(t, os.Rename(filepath.Join(dir, log), filepath.Join(dir, log+".1")))
			}
			s.cmd.Process.Signal(syscall.SIGUSR1)
			for _, generation := range []int{1, 2} {
				must(t, waitText(filepath.Join(dir, "error.log"), fmt.Sprintf("logs have been opened anew.*generation=%d", generation), logWait))
			}
			old := lines("access.log.1", "\n") + lines("error.log.1", "\n")
			s.get(200, "/loud.cgi")
			if !waitFor(logWait, func() bool { return lines("error.log", "spoken") == 1 && lines("access.log", "/loud.cgi") == 1 }) {
				t.Error("the new logs have not the new request")
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil {
				t.Error(err)
			}
			if !waitFor(logWait, func() bool { return lines("access.log", "/big") == 1 }) {
				t.Error("the worker that drained writes to the old log")
			}
			load.end()
			if n := lines("access.log.1", "\n") + lines("error.log.1", "\n"); n != old {
				t.Errorf("the old logs have %d lines more", n-old)
			}
			if !waitFor(logWait, func() bool {
				return int64(lines("access.log", "/x.cgi")+lines("access.log.1", "/x.cgi")) == load.total.Load()
			}) {
				t.Errorf("%d and %d lines of %d requests", lines("access.log", "/x.cgi"), lines("access.log.1", "/x.cgi"), load.total.Load())
			}
			s.settled()
			// What is written behind an upgrade goes there, too.
			s.upgrade()
			s.get(200, "/loud.cgi")
			if !waitFor(logWait, func() bool { return lines("error.log", "spoken") == 2 }) {
				t.Error("the log is not that of before the upgrade")
			}
			// A log that cannot be opened leaves the others as they are.
			must(t, os.Remove(filepath.Join(dir, "access.log")))
			must(t, os.Mkdir(filepath.Join(dir, "access.log"), 0o755))
			s.cmd.Process.Signal(syscall.SIGUSR1)
			must(t, waitText(filepath.Join(dir, "error.log"), "logs are not opened anew.*is a directory", logWait))
			s.get(200, "/x.cgi")
		})
	}
}
