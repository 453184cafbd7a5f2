package master

import (
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sluice/internal/assemble"
	"sluice/internal/config"
	"sluice/internal/front"
	"sluice/internal/scoreboard"
	"sluice/internal/status"
	"sluice/spawner"
)

// boardMaster is as much of a master as answers for the status.
func boardMaster(t *testing.T, text string) *Master {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sluice.toml")
	if err := os.WriteFile(file, []byte(text+everything), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(file)
	if err != nil {
		t.Fatal(err)
	}
	m := newMaster(Options{Version: "1", Config: c})
	m.log = slog.New(slog.DiscardHandler)
	m.runtime = &runtimeDir{path: t.TempDir(), children: t.TempDir()}
	g := m.newGeneration(c, 1)
	g.state, m.current = serving, g
	must(t, g.lookUp())
	must(t, m.openBells())
	g.board, err = openBoard(c, "1", 1)
	must(t, err)
	must(t, g.board.show())
	must(t, g.openSeats(nil))
	must(t, g.openApps(nil))
	must(t, m.enter(g))
	t.Cleanup(func() {
		m.deaf()
		g.closeOwn()
		for _, a := range g.apps {
			m.endApp(a)
		}
	})
	return m
}

// A worker that was taken over writes whatever it likes, everywhere, and cannot
// make the memory shorter: the status is answered all the same, and with what
// the master knows.
func TestStatusOfScribbledMemory(t *testing.T) {
	m := boardMaster(t, "")
	m.current.board.Worker(1, 4711, 1, scoreboard.Running)
	path := filepath.Join(t.TempDir(), "control.sock")
	c, err := openControl(path, m.command)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if _, err := Ask(path, Command{Name: "status"}); err == nil || err.Error() != "the server is being started" {
		t.Errorf("while it starts: %v", err)
	}
	close(m.opened)
	size := assemble.Board(m.current.cfg).Bytes()
	mem, err := mapShared(m.current.board.file, size)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Munmap(mem)
	for _, n := range []int64{0, int64(size) - 1, 1 << 30} {
		if err := m.current.board.file.Truncate(n); err == nil {
			t.Errorf("a worker can make it %d bytes long", n)
		}
	}
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-quit:
				return
			default:
				scribble(mem, rnd)
			}
		}
	}()
	for range 50 {
		r, err := Ask(path, Command{Name: "status"})
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		s := r.Status
		if s.Version != "1" || s.PID != os.Getpid() || len(s.Workers) != 1 || s.Workers[0].PID != 4711 || len(s.Apps) != 2 ||
			s.Apps[0].Name != "php" || s.Apps[1].Children[0].State != "up" {
			t.Fatalf("seed %d: %+v", seed, s)
		}
	}
	close(quit)
	<-done
}

// scribble writes over all of the memory, word by word as the race detector
// wants it.
func scribble(mem []byte, rnd *rand.Rand) {
	words := unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&mem[0])), len(mem)/8)
	for i := range words {
		words[i].Store(rnd.Uint64() >> rnd.IntN(64))
	}
}

// The file is new, nobody else's, complete whenever it is there, and says when
// the server has ended in order.
func TestScoreboardFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "board")
	if err := os.WriteFile(path, []byte("something else"), 0o644); err != nil {
		t.Fatal(err)
	}
	old, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	m := boardMaster(t, "status.scoreboard = \""+path+"\"\n")
	if fi, err := os.Stat(path); err != nil || fi.Mode() != 0o600 {
		t.Errorf("the file is %v, %v", fi.Mode(), err)
	}
	if left, _ := filepath.Glob(filepath.Dir(path) + "/.*"); len(left) != 0 {
		t.Errorf("left over: %q", left)
	}
	read := func() *scoreboard.Snapshot {
		t.Helper()
		mem, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := scoreboard.Open(mem)
		if err != nil {
			t.Fatal(err)
		}
		s, err := b.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	m.event(m.current.apps["php"], spawner.Event{App: "php", Slot: 1, State: spawner.Ready, PID: 42, Began: 1e18})
	if s := read(); s.Apps[0].Slots[1].PID != 42 || s.Apps[0].Slots[1].Began.UnixNano() != 1e18 || !s.Ended.IsZero() {
		t.Errorf("in the file: %+v", s)
	}
	// What the master learns from others it copies down by itself.
	src := m.current.sources()
	src.Counts = func(string) (spawner.Counts, bool) { return spawner.Counts{Waiting: 3}, true }
	src.Children = func(string) ([]status.ChildInfo, bool) { return []status.ChildInfo{{Slot: 0, Requests: 8}}, true }
	m.current.board.keep(src)
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if s := read(); s.Apps[0].Queue.Waiting == 3 && s.Apps[0].Slots[0].Requests == 8 {
			break
		}
		if time.Now().After(limit) {
			t.Fatal("the queue is not in the file")
		}
	}
	place, err := openPlace([]*os.File{reopen(t, path)}, 1)
	if err != nil {
		t.Fatal(err)
	}
	place.Enter(scoreboard.Working)
	m.current.board.Worker(1, 4711, 1, scoreboard.Running)
	if s := read(); s.Workers[0].Connections.Working != 1 {
		t.Errorf("what a worker wrote: %+v", s.Workers)
	}
	m.current.board.close()
	if s := read(); s.Ended.IsZero() || s.Workers[0].State != "gone" || s.Workers[0].Connections.Working != 0 {
		t.Errorf("after the end: %+v", s)
	}
}

func reopen(t *testing.T, path string) *os.File {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestScoreboardFileFails(t *testing.T) {
	dir := t.TempDir()
	os.Mkdir(filepath.Join(dir, "folder"), 0o755)
	for name, path := range map[string]string{"no folder": dir + "/none/board", "a folder": dir + "/folder"} {
		c := &config.Config{Workers: 1, Status: config.Status{Scoreboard: path}}
		b, err := openBoard(c, "1", 1)
		if err == nil {
			err = b.show()
			b.close()
		}
		if err == nil {
			t.Errorf("%s: %+v", name, b)
		}
	}
	if left, _ := filepath.Glob(dir + "/.*"); len(left) != 0 {
		t.Errorf("left over: %q", left)
	}
	if _, err := openPlace(nil, 1); err == nil {
		t.Error("a place in nothing")
	}
}

// However many an operator allows, the scoreboard stays within bounds.
func TestBoardBounds(t *testing.T) {
	c := &config.Config{Workers: 64, Limits: config.Limits{Connections: 1 << 31}}
	for range 100 {
		c.Apps = append(c.Apps, &config.App{Kind: config.KindFastCGI, Max: 1 << 31, Connections: 1 << 31},
			&config.App{Kind: config.KindCGI, Max: 1 << 31},
			&config.App{Kind: config.KindFastCGI, Address: []config.Address{{}}, MaxConns: 1 << 31})
	}
	if n := assemble.Board(c).Bytes(); n > 512<<20 || n < 0 {
		t.Errorf("%d bytes", n)
	}
}

// Only the processes of an app are looked into for a worker.
func TestIsChild(t *testing.T) {
	m := boardMaster(t, "")
	cmd := exec.Command("sleep", "100")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	pid := cmd.Process.Pid
	reaper := spawner.NewReaper()
	defer reaper.Close()
	w := &workerProcess{m: m, gen: m.current, index: 1, place: 1, child: fork(t, reaper)}
	defer func() { w.child.Signal(unix.SIGKILL); <-w.child.Done() }()
	m.current.workers = []*workerProcess{w, nil}
	for name, c := range map[string]struct {
		app  string
		pid  int
		want bool
	}{
		"script that the master started": {"scripts", pid, true},
		"none":                           {"scripts", 0, false},
		"everybody":                      {"scripts", -1, false},
		"nobody":                         {"scripts", 1 << 30, false},
		"init":                           {"scripts", 1, false},
		"the master":                     {"scripts", os.Getpid(), false},
		"the worker":                     {"scripts", w.child.PID(), false},
	} {
		if got := m.isChild(w, c.app, c.pid); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	s, err := spawner.NewSupervisor(spawner.SupervisorOptions{App: "php"})
	if err != nil {
		t.Fatal(err)
	}
	m.current.apps["php"].sup = s
	if m.isChild(w, "php", pid) {
		t.Error("a process that is no child of the app")
	}
}

func fork(t *testing.T, r *spawner.Reaper) *spawner.Child {
	t.Helper()
	c, err := r.Fork("/bin/sleep", []string{"sleep", "100"}, &syscall.ProcAttr{Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What a worker says of a slow request is only text.
func TestSlowLine(t *testing.T) {
	m := boardMaster(t, "")
	var out strings.Builder
	m.log = NewLog(&out, "info")
	var s front.Slow
	text := `{"method":"GET","request":"/a\n","client":"x","app":"nobody","pid":-5,"took":1500000000,"phase":"header","held":true,` +
		`"spent":[0,0,0,0,1400000000]}`
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	m.slow(nil, s)
	s.Ended, s.Status = true, 504
	m.slow(nil, s)
	lines := strings.Split(out.String(), "\n")
	if len(lines) != 3 {
		t.Fatalf("got %q", out.String())
	}
	for i, want := range []string{
		`level=WARN msg="slow request" method=GET request="/a\n" client=x app=nobody pid=-5 phase=header waits_for=child took=1.5s spent.header=1.4s`,
		`level=WARN msg="slow request ended" method=GET request="/a\n" client=x app=nobody pid=-5 status=504 bytes=0 aborted=false took=1.5s spent.header=1.4s`,
	} {
		if !strings.HasSuffix(lines[i], want) {
			t.Errorf("got  %s\nwant %s", lines[i], want)
		}
	}
}
