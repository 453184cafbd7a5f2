package master

import (
	"context"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/lockmodes"
	"sluice/spawner"
)

// atPlace is what a worker has of the shared memory.
func atPlace(t *testing.T, m *Master, place int) *shared {
	t.Helper()
	files := map[string][]*os.File{}
	g := m.current
	rooms := map[string]spawner.Room{}
	for _, f := range g.inherited(1) {
		fd, err := unix.Dup(int(fdOf(f.file)))
		must(t, err)
		files[f.name] = []*os.File{os.NewFile(uintptr(fd), f.name)}
	}
	for _, a := range g.apps {
		for _, l := range a.ledgers {
			rooms[l.name] = l.made.Room
		}
	}
	s, err := openShared(g.cfg, files, place, rooms)
	must(t, err)
	t.Cleanup(s.close)
	return s
}

// What a worker held that dies while the server is being stopped is free for the
// others, which finish what they have.
func TestWorkerDiesDuringStop(t *testing.T) {
	m := boardMaster(t, "")
	m.stopping = true
	reaper := spawner.NewReaper()
	defer reaper.Close()
	w := &workerProcess{m: m, gen: m.current, index: 1, place: 1, child: fork(t, reaper)}
	if _, err := atPlace(t, m, 1).ledgers["far"].Claim(t.Context(), spawner.Anyone); err != nil {
		t.Fatal(err)
	}
	var err error
	m.current.lock, err = lockmodes.Create(lockmodes.Options{Mode: lockmodes.PosixSem})
	must(t, err)
	defer m.current.lock.Close()
	acceptLock := func(place int) lockmodes.Lock {
		f, err := m.current.lock.File()
		must(t, err)
		l, err := lockmodes.Open(lockmodes.Options{Mode: lockmodes.PosixSem}, f, place)
		must(t, err)
		return l
	}
	other := acceptLock(2)
	defer other.Close()
	if !acceptLock(1).TryLock() || other.TryLock() {
		t.Fatal("the accept lock does not lock")
	}
	claims := func() (n int) {
		for _, c := range m.current.apps["far"].ledgers[0].Counts().Children {
			n += c.Claims
		}
		return n
	}
	if n := claims(); n != 1 {
		t.Fatalf("%d claims, want 1", n)
	}
	var theirs *os.File
	w.inbox, theirs, err = packetPair(fileInbox)
	must(t, err)
	defer theirs.Close()
	w.child.Signal(unix.SIGKILL)
	w.guard()
	if n := claims(); n != 0 {
		t.Errorf("%d claims of a dead worker", n)
	}
	if !other.TryLock() {
		t.Error("a dead worker has the accept lock")
	}
}

// A worker that says again and again that it is ready is still listened to, and
// one that has ended is told nothing more.
func TestWorkerRepeatsItself(t *testing.T) {
	m := boardMaster(t, "")
	reaper := spawner.NewReaper()
	defer reaper.Close()
	ours, theirs, err := wirePair()
	must(t, err)
	w := &workerProcess{m: m, gen: m.current, index: 1, place: 1, child: fork(t, reaper), wire: newWire(ours), out: make(chan saying, 1), ready: make(chan error, 1)}
	worker := newWire(theirs)
	for range 5 {
		must(t, worker.send(message{Ready: true}))
	}
	worker.close()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	heard := make(chan struct{})
	go func() { w.listen(); close(heard) }()
	select {
	case <-heard:
	case <-ctx.Done():
		t.Error("the worker is not listened to any more")
		<-w.ready
	}
	w.child.Signal(unix.SIGKILL)
	<-w.child.Done()
	w.tell(message{})
	if len(w.out) != 0 {
		t.Error("a dead worker is told something")
	}
}
