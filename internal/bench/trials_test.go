package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const straced = `100 read(5, "", 4096)           = 10
100 epoll_pwait(4,  <unfinished ...>
101 futex(0xc000, FUTEX_WAKE_PRIVATE, 1) = 1
100 <... epoll_pwait resumed>[], 128, -1, NULL, 0) = 1
200 execve("/srv/a.cgi", [...], 0x7ff /* 9 vars */) = 0
100   write(5, "", 3)     = 3
101 +++ exited with 0 +++
102 read(6, "(", 1) = 1
`

func TestCountCalls(t *testing.T) {
	got, err := countCalls(strings.NewReader(straced), map[int]bool{100: true, 101: true, 102: true})
	if err != nil || fmt.Sprint(got) != "map[epoll_pwait:1 futex:1 read:2 write:1]" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := countCalls(strings.NewReader("strace: no\n"), nil); err == nil {
		t.Error("no error for a line without a thread")
	}
	sum, words := callsOf(got, 2)
	if sum != 2.5 || words != "read 1.0, epoll_pwait 0.5, futex 0.5, write 0.5" {
		t.Errorf("%v, %q", sum, words)
	}
}

// origin serves the small answer, and at /big a body that never ends soon.
func origin(t *testing.T, handler http.HandlerFunc) *instance {
	srv := httptest.NewServer(handler)
	t.Cleanup(srv.Close)
	return &instance{port: srv.Listener.Addr().(*net.TCPAddr).Port, dir: t.TempDir(),
		scenario: scenario{kind: kindSend, path: "/big", file: bigFile}}
}

func TestAskAll(t *testing.T) {
	var n atomic.Int64
	var mu sync.Mutex
	sources := map[string]bool{}
	in := origin(t, func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		mu.Lock()
		sources[host] = true
		mu.Unlock()
		if n.Add(1)%10 == 0 {
			w.WriteHeader(http.StatusNotFound)
		}
		io.WriteString(w, smallAnswer)
	})
	list := make([]*asker, 100)
	for i := range list {
		list[i] = &asker{addr: in.address(), from: fmt.Sprintf("127.0.0.%d", 2+i%2)}
	}
	defer closeAll(list)
	answered, err := askAll(t.Context(), list, "/", int64(len(smallAnswer)))
	open := 0
	for _, a := range list {
		if a.conn != nil {
			open++
		}
	}
	if answered != 90 || err == nil || open != 90 || !sources["127.0.0.2"] || !sources["127.0.0.3"] {
		t.Errorf("%d answered, %d open, %v, sources %v", answered, open, err, sources)
	}
	if again, err := askPaced(t.Context(), list[:9], "/", int64(len(smallAnswer))); again != 9 && err == nil {
		t.Errorf("paced: %d answered, %v", again, err)
	}
	if answered, err = askAll(t.Context(), list[:1], "/", 1); answered != 0 || err == nil {
		t.Errorf("a wrong length: %d, %v", answered, err)
	}
}

// What is started may open as many files as this program.
func TestDescriptorsAreInherited(t *testing.T) {
	if err := raiseDescriptors(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("sh", "-c", "ulimit -n").Output()
	if got := strings.TrimSpace(string(out)); err != nil || got != fmt.Sprint(descriptors()) {
		t.Errorf("a child may open %s files, this process %d; %v", got, descriptors(), err)
	}
}

func TestSlowDownloads(t *testing.T) {
	var asked atomic.Int64
	in := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(bigSize))
		if asked.Add(1) == 3 {
			io.CopyN(w, zeros{}, 100) // and the connection is closed short
			return
		}
		io.CopyN(w, zeros{}, bigSize)
	})
	ctx, stop := context.WithCancel(t.Context())
	d := &slowDownloads{in: in}
	if err := d.grow(ctx, 5); err != nil || d.running != 5 {
		t.Errorf("%d running, %v", d.running, err)
	}
	for end := time.Now().Add(20 * time.Second); d.broken.Load() == 0 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	stop()
	d.group.Wait()
	if n := d.broken.Load(); n != 1 {
		t.Errorf("%d broken, want 1", n)
	}
}

// TestReleaseTrial stands in for a server: it has the child's one slot taken
// while the file is named, and notes the gap as the child does.
func TestReleaseTrial(t *testing.T) {
	var slot sync.Mutex
	var in *instance
	in = origin(t, func(w http.ResponseWriter, r *http.Request) {
		slot.Lock()
		if !strings.Contains(r.URL.RawQuery, sendWord) {
			slot.Unlock()
			io.WriteString(w, smallAnswer)
			return
		}
		time.Sleep(releaseWork)
		f, err := os.OpenFile(filepath.Join(in.dir, gapsFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err == nil {
			fmt.Fprintln(f, 3*time.Millisecond.Nanoseconds())
			f.Close()
		}
		slot.Unlock()
		w.Header().Set("Content-Length", fmt.Sprint(bigSize))
		io.CopyN(w, zeros{}, bigSize)
	})
	in.scenario.path = "/app?" + sendWord
	x := releaseTrial.run(t.Context(), nil, in)
	if x.errors > 0 || x.figures[0] != 3 || x.figures[1] != 3 || x.figures[2] <= 0 || x.figures[3] < x.figures[2] {
		t.Errorf("%+v", x)
	}
}

// TestCountingSluice builds the sluice that tells its allocations, and asks it.
func TestCountingSluice(t *testing.T) {
	if testing.Short() {
		t.Skip("builds sluice")
	}
	dir := filepath.Join(t.TempDir(), folderPrefix+"test")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	b := &bench{dir: dir, root: dir, self: os.Args[0]}
	var err error
	if b.counting, err = buildCounting(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if b.procs, err = startProcesses(os.Args[0], dir); err != nil {
		t.Fatal(err)
	}
	defer b.procs.close()
	in := &instance{server: servers[0], dir: dir, scenario: scenario{kind: kindFile, path: "/" + smallFile, trial: callsTrial}}
	if err := os.WriteFile(filepath.Join(dir, smallFile), make([]byte, smallSize), 0o644); err != nil {
		t.Fatal(err)
	}
	if in.port, err = freePort(); err != nil {
		t.Fatal(err)
	}
	if err := startSluice(t.Context(), b, in); err != nil {
		t.Fatal(err)
	}
	var x sample
	clients := []*asker{{addr: in.address()}, {addr: in.address()}}
	defer closeAll(clients)
	before, err := in.askAllocated(t.Context(), b, 1)
	if err != nil {
		t.Fatal(err)
	}
	x.askCounted(t.Context(), in.scenario, clients, 101)
	after, err := in.askAllocated(t.Context(), b, 2)
	if err != nil {
		t.Fatal(err)
	}
	if d := after.since(before); x.errors > 0 || x.requests != 101 || d.objects == 0 || d.objects > 1_000_000 || d.bytes < d.objects {
		t.Errorf("%+v for %+v", d, x)
	}
}
