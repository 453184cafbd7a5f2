package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// slowDownload begins a download and reads it at a rate of bytes a second until
// the test ends. It returns when the first bytes are there.
func slowDownload(t *testing.T, addr, target string, size int64, rate int) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", target)
	in := bufio.NewReader(c)
	var head strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("%v after\n%s", err, head.String())
		}
		head.WriteString(line)
		if line == "\r\n" {
			break
		}
	}
	if !strings.Contains(head.String(), fmt.Sprintf("Content-Length: %d\r\n", size)) || strings.Contains(head.String(), "endfile") {
		t.Fatalf("the download begins with\n%s", head.String())
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		const ticks = 20 // a second
		for {
			if _, err := io.CopyN(io.Discard, in, int64(rate/ticks)); err != nil {
				return
			}
			time.Sleep(time.Second / ticks)
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
}

// The one promise: a child is busy only while it computes. While a client takes
// 100 MB at 1 MB/s, the only child answers others at once.
func TestPromise(t *testing.T) {
	dir := withSite(t)
	const size = 100 << 20
	file := filepath.Join(dir, "files/large")
	write(t, dir, "files/large", "")
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "www/send.cgi", "#!/bin/sh\nprintf 'X-Sendfile: "+file+"\\n\\n'\n")
	sendFile := "[app.send_file]\nroots = [\"files\"]\n"
	text := strings.Replace(scripted("max = 1\nqueue = 8\n"+sendFile), `kind = "cgi"`, "kind = \"cgi\"\nmax = 1\n"+sendFile, 1)
	s := startSite(t, dir, text)
	for _, tc := range []struct{ name, slow, other string }{
		{"FastCGI", "/app?sendfile=" + file, "/app"},
		{"FastCGI that says more than a little behind the header", "/app?noise=50000&sendfile=" + file, "/app"},
		{"FastCGI that says very much behind the header", "/app?noise=5000000&sendfile=" + file, "/app"},
		{"CGI", "/send.cgi", "/x.cgi"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			slowDownload(t, s.addr, tc.slow, size, 1<<20)
			late := 0 // one may be, by this machine's fault
			for i := range 5 {
				if a := s.get(200, tc.other); a.took > 100*time.Millisecond {
					if late++; late > 1 || a.took > time.Second {
						t.Errorf("request %d was answered after %v", i, a.took)
					}
				}
			}
			time.Sleep(300 * time.Millisecond)
			if a := s.get(200, tc.other); a.took > 300*time.Millisecond {
				t.Errorf("a request in the middle of the download was answered after %v", a.took)
			}
		})
	}
}

// A file goes from the page cache to the socket: sendfile with an offset of its
// own, and not a byte of it read by the worker.
func TestSendfileCalls(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("workers are not dumpable: only root can trace them")
	}
	needs(t, "strace")
	dir := withSite(t)
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
	file := write(t, dir, "www/large.bin", string(body))
	s := startSite(t, dir, scripted("max = 1\n[app.send_file]\nroots = [\"www\"]\n"))
	worker, _ := family(s.pid())
	trace := filepath.Join(dir, "trace")
	cmd := exec.Command("strace", "-f", "-y", "-s", "16", "-o", trace, "-e", "trace=sendfile,read,pread64,readv,preadv,splice,mmap,lseek",
		"-p", fmt.Sprint(worker))
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Signal(syscall.SIGINT); cmd.Wait() }()
	if line, err := bufio.NewReader(stderr).ReadString('\n'); err != nil || !strings.Contains(line, "attached") {
		t.Fatalf("strace says %q, %v", line, err)
	}
	go io.Copy(io.Discard, stderr)
	for _, target := range []string{"/app?sendfile=" + file, "/large.bin"} {
		for range 2 {
			if a := s.get(200, target); a.body != string(body) {
				t.Fatalf("%s: %d bytes, or others", target, len(a.body))
			}
		}
	}
	time.Sleep(100 * time.Millisecond)
	cmd.Process.Signal(syscall.SIGINT)
	cmd.Wait()
	text, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	sent := regexp.MustCompile(`sendfile\(\d+<[^>]*>, \d+<`+regexp.QuoteMeta(file)+`>, \[(\d+)\]`).FindAllSubmatch(text, -1)
	if len(sent) < 4 {
		t.Errorf("%d calls of sendfile with an offset:\n%s", len(sent), text)
	}
	for _, line := range strings.Split(string(text), "\n") {
		if !strings.Contains(line, file) || strings.Contains(line, "sendfile(") || strings.Contains(line, "openat2") {
			continue
		}
		t.Errorf("the worker touches the file: %s", line)
	}
	if bytes.Contains(text, []byte(file+">, NULL")) {
		t.Errorf("sendfile without an offset:\n%s", text)
	}
}
