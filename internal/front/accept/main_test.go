package accept

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sluice/internal/leak"
	"sluice/internal/poll"
	"sluice/lockmodes"
)

// The test binary is also the workers that accept beside each other.
func TestMain(m *testing.M) {
	if v := os.Getenv("ACCEPT_WORKER"); v != "" {
		var o workerOptions
		if err := json.Unmarshal([]byte(v), &o); err != nil {
			panic(err)
		}
		if err := o.run(); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=10") // the detector's default is a second for each worker
	}
	os.Exit(leak.Main(m))
}

// workerOptions are for a worker: its descriptors are the listeners, the counters
// and the lock, from 3 on.
type workerOptions struct {
	Options   lockmodes.Options
	Place     int
	Listeners int
}

// counters are memory in which the workers say what they did.
type counters struct {
	ready, accepts, wakeups [8]atomic.Uint64
}

const countersSize = int(unsafe.Sizeof(counters{}))

func mapCounters(f *os.File) *counters {
	b, err := unix.Mmap(int(f.Fd()), 0, countersSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		panic(err)
	}
	return (*counters)(unsafe.Pointer(&b[0]))
}

// run accepts until standard input ends; each client gets the worker's place and
// the listener's index.
func (o workerOptions) run() error {
	var fds []int
	for i := range o.Listeners {
		fds = append(fds, 3+i)
	}
	c := mapCounters(os.NewFile(uintptr(3+o.Listeners), "counters"))
	var f *os.File
	if o.Options.Mode.Locks() {
		f = os.NewFile(uintptr(4+o.Listeners), "lock")
	}
	l, err := lockmodes.Open(o.Options, f, o.Place)
	if err != nil {
		return err
	}
	set, err := poll.New()
	if err != nil {
		return err
	}
	a, err := New(Options{Mode: o.Options.Mode, Lock: l, Listeners: fds, Set: set, Log: slog.Default(),
		Take: func(listener, fd int, _ netip.AddrPort) {
			c.accepts[o.Place].Add(1)
			unix.Write(fd, []byte{byte(o.Place), byte(listener)})
			unix.Close(fd)
		}})
	if err != nil {
		return err
	}
	if err := a.Start(); err != nil {
		return err
	}
	c.ready[o.Place].Store(1)
	var b [1]byte
	os.Stdin.Read(b[:])
	a.Stop()
	return nil
}

// rig is two listeners, a TCP one and a unix one, and workers.
type rig struct {
	t         *testing.T
	o         lockmodes.Options
	shared    *lockmodes.Shared
	addrs     []net.Addr
	listeners [][]*os.File // by place - 1
	counters  *counters
	file      *os.File
	workers   map[int]*worker
}

type worker struct {
	cmd   *exec.Cmd
	stdin *os.File
	ended chan struct{}
}

func newRig(t *testing.T, mode lockmodes.Mode, places int) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, o: lockmodes.Options{Mode: mode, Permits: 1, Dir: dir, UID: -1, Record: dir + "/record"}, workers: map[int]*worker{}}
	var err error
	if r.shared, err = lockmodes.Create(r.o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.shared.Close() })
	fd, err := unix.MemfdCreate("counters", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	r.file = os.NewFile(uintptr(fd), "counters")
	t.Cleanup(func() { r.file.Close() })
	if err := r.file.Truncate(int64(countersSize)); err != nil {
		t.Fatal(err)
	}
	r.counters = mapCounters(r.file)
	u := r.listen("unix", filepath.Join(dir, "s"), false)
	for i := range places {
		address := "127.0.0.1:0"
		if i > 0 && mode == lockmodes.Reuseport {
			address = r.addrs[1].String()
		}
		if i == 0 || mode == lockmodes.Reuseport {
			r.listeners = append(r.listeners, []*os.File{u, r.listen("tcp", address, mode == lockmodes.Reuseport)})
		} else {
			r.listeners = append(r.listeners, r.listeners[0])
		}
	}
	return r
}

func (r *rig) listen(network, address string, reuse bool) *os.File {
	r.t.Helper()
	l, err := net.Listen(network, address)
	if err != nil && reuse {
		lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) })
		}}
		l, err = lc.Listen(r.t.Context(), network, address)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	defer l.Close()
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	f, err := l.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		r.t.Fatal(err)
	}
	if reuse {
		unix.SetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if len(r.addrs) < 2 {
		r.addrs = append(r.addrs, l.Addr())
	}
	r.t.Cleanup(func() { f.Close() })
	return f
}

// start starts the worker of a place and waits until it accepts.
func (r *rig) start(place int) {
	r.t.Helper()
	own := r.listeners[place-1]
	o, err := json.Marshal(workerOptions{r.o, place, len(own)})
	if err != nil {
		r.t.Fatal(err)
	}
	w := &worker{cmd: exec.Command("/proc/self/exe"), ended: make(chan struct{})}
	w.cmd.Env = append(os.Environ(), "ACCEPT_WORKER="+string(o))
	w.cmd.Stderr = os.Stderr
	w.cmd.ExtraFiles = append(append(w.cmd.ExtraFiles, own...), r.file)
	lock, err := r.shared.File()
	if err != nil {
		r.t.Fatal(err)
	}
	if lock != nil {
		defer lock.Close()
		w.cmd.ExtraFiles = append(w.cmd.ExtraFiles, lock)
	}
	theirs, ours, err := os.Pipe()
	if err != nil {
		r.t.Fatal(err)
	}
	w.cmd.Stdin, w.stdin = theirs, ours
	if err := w.cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	theirs.Close()
	go func() { w.cmd.Wait(); close(w.ended) }()
	r.workers[place] = w
	r.t.Cleanup(func() { r.kill(place) })
	for limit := time.Now().Add(patience); r.counters.ready[place].Load() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(limit) {
			r.t.Fatalf("worker %d does not accept within %v", place, patience)
		}
	}
}

// patience is for what has to happen, on a machine that does much else.
const patience = 20 * time.Second

// kill kills a worker, if it is still there, and clears its place.
func (r *rig) kill(place int) {
	if w := r.workers[place]; w != nil {
		w.cmd.Process.Kill()
		<-w.ended
		w.stdin.Close()
		delete(r.workers, place)
	}
	r.counters.ready[place].Store(0)
	r.shared.Clear(place)
}

// stop stops a worker in order.
func (r *rig) stop(place int) {
	r.t.Helper()
	w := r.workers[place]
	w.stdin.Close()
	select {
	case <-w.ended:
	case <-time.After(patience):
		r.t.Fatalf("worker %d does not end within %v", place, patience)
	}
	delete(r.workers, place)
	if code := w.cmd.ProcessState.ExitCode(); code != 0 {
		r.t.Errorf("worker %d ends with status %d", place, code)
	}
}

// connect connects to a listener, and returns who accepted.
func (r *rig) connect(listener int) (place int) {
	r.t.Helper()
	at := r.addrs[listener]
	c, err := net.DialTimeout(at.Network(), at.String(), patience)
	if err != nil {
		r.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	var b [2]byte
	if n, err := c.Read(b[:]); n != 2 {
		r.t.Fatalf("connection to %s: %v", at, err)
	}
	if int(b[1]) != listener {
		r.t.Errorf("a connection to listener %d came by listener %d", listener, b[1])
	}
	return int(b[0])
}
