package sendfile

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// serverRootEnv makes the test binary a server of the files below its value.
const serverRootEnv = "SENDFILE_TEST_SERVER_ROOT"

// serveForStrace says its address on stdout and serves until stdin ends.
func serveForStrace(root string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(l.Addr())
	go http.Serve(wrapping{l}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if value := r.Header.Get(slicesField); value != "" {
			serveSlices(w, r, root, value)
			return
		}
		f, err := OpenBeneath(root, r.URL.Path, Beneath)
		if err != nil {
			http.Error(w, err.Error(), statusOf(err))
			return
		}
		defer f.Close()
		if err := Serve(w, r, 0, f); err != nil {
			panic(http.ErrAbortHandler)
		}
	}))
	io.Copy(io.Discard, os.Stdin)
}

// slicesField asks the server for slices, as an X-Sendfile2 would.
const slicesField = "Test-Slices"

func serveSlices(w http.ResponseWriter, r *http.Request, root, value string) {
	s, err := New(Options{Roots: []string{root}})
	if err != nil {
		panic(err)
	}
	o, _, _, err := s.Take(http.Header{"X-Sendfile2": {value}})
	if err != nil {
		panic(err)
	}
	b, err := s.OpenSlices(o)
	if err != nil {
		panic(err)
	}
	defer b.Close()
	if err := s.Reply(0).ServeParts(w, r, b); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// call is one finished system call on the file in question.
type call struct {
	name   string
	offset int64 // sendfile; -1: the file position
	ret    int64
}

// TestNetHTTPUsesSendfile looks at the system calls of a net/http server: the body of every answer leaves by sendfile
// with an explicit offset, and not one byte of the file is read.
func TestNetHTTPUsesSendfile(t *testing.T) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("this test needs the program strace: ", err)
	}
	const size = 3<<20 + 17
	data := pattern(size)
	for _, c := range []struct {
		name, rng string
		from, n   int64
	}{
		{"whole", "", 0, size}, {"range", "bytes=1000001-3000000", 1000001, 2000000}, {"suffix", "bytes=-5", size - 5, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := tree(t, map[string]string{"body": string(data)})
			trace := t.TempDir() + "/trace"
			h := http.Header{}
			if c.rng != "" {
				h.Set("Range", c.rng)
			}
			body := fetchTraced(t, dir, trace, h)
			if !bytes.Equal(body, data[c.from:c.from+c.n]) {
				t.Fatalf("%d bytes, not those of the file", len(body))
			}
			next := c.from
			for _, k := range callsOn(t, trace, dir+"/body") {
				switch {
				case k.name != "sendfile":
					t.Errorf("%s = %d", k.name, k.ret)
				case k.offset != next:
					t.Errorf("sendfile from %d, want %d", k.offset, next)
				}
				next += max(k.ret, 0)
			}
			if next != c.from+c.n {
				t.Errorf("sendfile moved %d of %d bytes", next-c.from, c.n)
			}
		})
	}
}

func fetchTraced(t *testing.T, dir, trace string, fields http.Header) []byte {
	t.Helper()
	cmd := exec.Command("strace", "-f", "-y", "-qq", "-s", "0", "-o", trace,
		"-e", "trace=sendfile,read,pread64,readv,preadv,preadv2,splice,copy_file_range,mmap", "/proc/self/exe")
	cmd.Args[len(cmd.Args)-1], _ = os.Executable()
	cmd.Env = append(os.Environ(), serverRootEnv+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	must(t, err)
	stdout, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Error("no server under strace: ", err)
	}
	var body []byte
	if err == nil {
		r, _ := http.NewRequest("GET", "http://"+strings.TrimSpace(address)+"/body", nil)
		r.Header = fields
		r.Close = true
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Error(err)
		} else {
			body, _ = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
	}
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	return body
}

var (
	unfinished = regexp.MustCompile(`^(\d+) +(.*) <unfinished \.\.\.>$`)
	resumed    = regexp.MustCompile(`^(\d+) +<\.\.\. \w+ resumed>(.*)$`)
	finished   = regexp.MustCompile(`^\d+ +(\w+)\((.*)\) += (-?\d+|0x[0-9a-f]+)`)
	position   = regexp.MustCompile(`>, \[(\d+)\]`)
)

// callsOn returns what a trace says about one file.
func callsOn(t *testing.T, trace, file string) (calls []call) {
	t.Helper()
	text, err := os.ReadFile(trace)
	must(t, err)
	begun := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if m := unfinished.FindStringSubmatch(line); m != nil {
			begun[m[1]] = m[2]
			continue
		}
		if m := resumed.FindStringSubmatch(line); m != nil {
			line = m[1] + " " + begun[m[1]] + m[2]
		}
		m := finished.FindStringSubmatch(line)
		if m == nil || !strings.Contains(m[2], "<"+file+">") {
			continue
		}
		k := call{name: m[1], offset: -1}
		k.ret, _ = strconv.ParseInt(m[3], 0, 64)
		if p := position.FindStringSubmatch(m[2]); p != nil {
			k.offset, _ = strconv.ParseInt(p[1], 10, 64)
		}
		calls = append(calls, k)
	}
	return calls
}
