package lockmodes_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sluice/internal/leak"
	"sluice/lockmodes"
)

// The test binary is also the processes that compete.
func TestMain(m *testing.M) {
	if v := os.Getenv("LOCKMODES_CHILD"); v != "" {
		var o childOptions
		if err := json.Unmarshal([]byte(v), &o); err != nil {
			panic(err)
		}
		o.run()
		os.Exit(0)
	}
	os.Exit(leak.Main(m))
}

// childOptions are for a process that competes. Its descriptors are 3, the lock
// (unless the mode has none), and behind it the witness.
type childOptions struct {
	Options lockmodes.Options
	Place   int
}

// run obeys the lines of standard input, and answers each with a line.
func (o childOptions) run() {
	witnessFD := 3
	var f *os.File
	if o.Options.Mode.Locks() {
		unix.CloseOnExec(3)
		f, witnessFD = os.NewFile(3, "lock"), 4
	}
	w := mapWitness(os.NewFile(uintptr(witnessFD), "witness"))
	l, err := lockmodes.Open(o.Options, f, o.Place)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		switch in.Text() {
		case "lock":
			err := l.Lock()
			fmt.Println("locked", err)
		case "try":
			fmt.Println("tried", l.TryLock())
		case "unlock": // by another goroutine, on another thread
			done := make(chan bool)
			go func() { l.Unlock(); close(done) }()
			<-done
			fmt.Println("unlocked")
		case "wait": // and be stopped meanwhile
			ended := make(chan error, 1)
			go func() { ended <- l.Lock() }()
			select {
			case err := <-ended:
				fmt.Println("early", err)
				continue
			case <-time.After(100 * time.Millisecond):
			}
			l.Stop()
			select {
			case err := <-ended:
				fmt.Println("stopped", err)
			case <-time.After(2 * time.Second):
				fmt.Println("waits on")
			}
		case "exec": // a program that outlives this process
			cmd := exec.Command("sleep", "60")
			if err := cmd.Start(); err != nil {
				fmt.Println("error", err)
				return
			}
			fmt.Println("pid", cmd.Process.Pid)
		case "contend":
			for !w.quit.Load() {
				if err := l.Lock(); err != nil {
					fmt.Println("error", err)
					return
				}
				w.inside(o.Place, max(1, o.Options.Permits))
				l.Unlock()
				w.turns[o.Place].Add(1)
			}
			fmt.Println("done")
		}
	}
}

// witness is memory in which the processes see each other: a place's number is
// odd while its process is inside.
type witness struct {
	at        [8]atomic.Uint64
	turns     [8]atomic.Uint64
	collision atomic.Uint64
	quit      atomic.Bool
}

func newWitness(t *testing.T) (*witness, *os.File) {
	fd, err := unix.MemfdCreate("witness", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "witness")
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(4096); err != nil {
		t.Fatal(err)
	}
	return mapWitness(f), f
}

func mapWitness(f *os.File) *witness {
	b, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return (*witness)(unsafe.Pointer(&b[0]))
}

// inside is the critical section. Another who seems to be inside may have been
// killed there, and then its number becomes 0; otherwise it becomes even.
func (w *witness) inside(place, permits int) {
	me := &w.at[place]
	me.Add(1)
	seen := map[int]uint64{}
	for i := range w.at {
		if v := w.at[i].Load(); i != place && v%2 == 1 {
			seen[i] = v
		}
	}
	for i, v := range seen { // all of them at the same moment?
		if permits > 1 && w.at[i].Load() != v {
			delete(seen, i)
		}
	}
	if len(seen) >= permits {
		live := 0
		for i, v := range seen {
			limit := time.Now().Add(10 * time.Second)
			for w.at[i].Load() == v && time.Now().Before(limit) {
				time.Sleep(100 * time.Microsecond)
			}
			if w.at[i].Load() != 0 {
				live++
			}
		}
		if live >= permits {
			w.collision.Add(1)
		}
	}
	me.Add(1)
}

// rig is a lock and those who compete for it.
type rig struct {
	t       *testing.T
	o       lockmodes.Options
	shared  *lockmodes.Shared
	witness *witness
	file    *os.File // of the witness
}

func newRig(t *testing.T, mode lockmodes.Mode) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, o: lockmodes.Options{Mode: mode, Permits: 2, Dir: dir, UID: -1, GID: -1, Record: dir + "/accept.sem"}}
	if mode != lockmodes.Partial {
		r.o.Permits = 1
	}
	var err error
	if r.shared, err = lockmodes.Create(r.o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.shared.Close(); err != nil {
			t.Error(err)
		}
	})
	r.witness, r.file = newWitness(t)
	return r
}

// child is a process that competes.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    *os.File
	lines chan string
	ended chan struct{}
	place int
}

func (r *rig) start(place int) *child {
	r.t.Helper()
	o, err := json.Marshal(childOptions{r.o, place})
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "LOCKMODES_CHILD="+string(o))
	f, err := r.shared.File()
	if err != nil {
		r.t.Fatal(err)
	}
	if f != nil {
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	cmd.ExtraFiles = append(cmd.ExtraFiles, r.file)
	theirs, ours, err := os.Pipe()
	if err != nil {
		r.t.Fatal(err)
	}
	out, stdout, err := os.Pipe()
	if err != nil {
		r.t.Fatal(err)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	theirs.Close()
	stdout.Close()
	c := &child{t: r.t, cmd: cmd, in: ours, lines: make(chan string, 100), ended: make(chan struct{}), place: place}
	go func() {
		defer out.Close()
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	go func() { cmd.Wait(); close(c.ended) }()
	r.t.Cleanup(func() { c.kill(); ours.Close() })
	return c
}

func (c *child) say(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		c.t.Fatal(err)
	}
}

// patience is for what has to happen, on a machine that does much else.
const patience = 20 * time.Second

// hear waits for the answer.
func (c *child) hear(want string) string {
	c.t.Helper()
	select {
	case got := <-c.lines:
		if !strings.HasPrefix(got, want) {
			c.t.Fatalf("process %d says %q, want %q", c.place, got, want)
		}
		return strings.TrimSpace(strings.TrimPrefix(got, want))
	case <-time.After(patience):
		c.t.Fatalf("process %d does not say %q within %v", c.place, want, patience)
	}
	return ""
}

func (c *child) ask(line, want string) string {
	c.t.Helper()
	c.say(line)
	return c.hear(want)
}

// silent reports whether nothing is heard for a while.
func (c *child) silent() bool {
	select {
	case got := <-c.lines:
		c.t.Errorf("process %d says %q", c.place, got)
		return false
	case <-time.After(100 * time.Millisecond):
		return true
	}
}

func (c *child) kill() {
	c.cmd.Process.Signal(syscall.SIGKILL)
	<-c.ended
}

func (c *child) quit() {
	c.t.Helper()
	c.in.Close()
	select {
	case <-c.ended:
	case <-time.After(patience):
		c.t.Fatalf("process %d does not end within %v", c.place, patience)
	}
}

// semaphoreOf is the number of the System V semaphore that a record names, and
// whether there is one.
func semaphoreOf(t *testing.T, record string) (id string, there bool) {
	t.Helper()
	text, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ = strings.Cut(string(text), " ")
	return id, isSemaphore(t, id)
}

func isSemaphore(t *testing.T, id string) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/sysvipc/sem")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(b), "\n") {
		if w := strings.Fields(line); len(w) > 1 && w[1] == id {
			return true
		}
	}
	return false
}
