package lockmodes_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/lockmodes"
)

func TestParse(t *testing.T) {
	want := []string{"none", "flock", "fcntl", "sysvsem", "posixsem", "pthread", "uslock", "partial", "exclusive", "reuseport"}
	if got := lockmodes.Names(); !slices.Equal(got, want) {
		t.Errorf("names %q", got)
	}
	for _, name := range want {
		if m, err := lockmodes.Parse(name); err != nil || m.String() != name {
			t.Errorf("%s: %v, %v", name, m, err)
		}
	}
	if _, err := lockmodes.Parse("mutex"); err == nil || !strings.Contains(err.Error(), "posixsem") {
		t.Errorf("mutex: %v", err)
	}
	if got := lockmodes.Modes.String(); got != "mode 10" || lockmodes.Modes.Locks() {
		t.Errorf("a mode too many: %s", got)
	}
}

func TestWrongOptions(t *testing.T) {
	for name, o := range map[string]lockmodes.Options{
		"mode":    {Mode: lockmodes.Modes},
		"permits": {Mode: lockmodes.Partial},
		"folder":  {Mode: lockmodes.Flock, Dir: "/nowhere"},
		"record":  {Mode: lockmodes.SysVSem, Record: "/nowhere/record"},
	} {
		if s, err := lockmodes.Create(o); err == nil {
			s.Close()
			t.Errorf("%s: no error", name)
		}
	}
	for name, o := range map[string]lockmodes.Options{"a file": {Mode: lockmodes.Flock}, "memory": {Mode: lockmodes.PosixSem}} {
		if _, err := lockmodes.Open(o, nil, 1); err == nil {
			t.Errorf("without %s: no error", name)
		}
	}
	for _, place := range []int{0, lockmodes.Places + 1} {
		if _, err := lockmodes.Open(lockmodes.Options{}, nil, place); err == nil {
			t.Errorf("place %d: no error", place)
		}
	}
}

// pair is a lock as who makes it and as the first process has it.
func pair(t testing.TB, o lockmodes.Options) (*lockmodes.Shared, lockmodes.Lock) {
	t.Helper()
	s, err := lockmodes.Create(o)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.File()
	if err != nil {
		t.Fatal(err)
	}
	l, err := lockmodes.Open(o, f, 1)
	if err != nil {
		t.Fatal(err)
	}
	return s, l
}

// own is a lock of this process.
func own(t testing.TB, mode lockmodes.Mode) lockmodes.Lock {
	t.Helper()
	o := lockmodes.Options{Mode: mode, Permits: 2, Dir: t.TempDir(), UID: -1}
	s, l := pair(t, o)
	t.Cleanup(func() {
		if err := errors.Join(l.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return l
}

// What is done for each connection allocates nothing.
func TestAllocations(t *testing.T) {
	for m := range lockmodes.Modes {
		l := own(t, m)
		if n := testing.AllocsPerRun(100, func() {
			if l.TryLock() {
				l.Unlock()
			}
			l.Lock()
			l.Unlock()
		}); n > 0 {
			t.Errorf("%s: %v allocations", m, n)
		}
	}
}

// The file of a lock has no name, and nothing is left of any.
func TestNothingIsLeft(t *testing.T) {
	for m := range lockmodes.Modes {
		dir := t.TempDir()
		s, err := lockmodes.Create(lockmodes.Options{Mode: m, Permits: 1, Dir: dir, UID: -1, Record: filepath.Join(dir, "record")})
		if err != nil {
			t.Fatal(err)
		}
		id := "none"
		if m == lockmodes.SysVSem {
			there := false
			if id, there = semaphoreOf(t, filepath.Join(dir, "record")); !there {
				t.Errorf("there is no semaphore %s", id)
			}
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", m, err)
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("%s leaves %v", m, left)
		}
		s.Clear(1) // comes too late
		if isSemaphore(t, id) {
			t.Errorf("the semaphore %s is left", id)
		}
	}
}

// The next start removes the semaphore of one that was killed, and no other.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	record := filepath.Join(dir, "record")
	if found, err := lockmodes.Sweep(record); found || err != nil {
		t.Errorf("without a record: %v, %v", found, err)
	}
	lost, err := lockmodes.Create(lockmodes.Options{Mode: lockmodes.SysVSem, UID: -1, Record: record})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	id, _ := semaphoreOf(t, record)
	for _, other := range []string{"", "nonsense\n", id + " 1\n", id + "\n"} {
		if err := os.WriteFile(record, []byte(other), 0o600); err != nil {
			t.Fatal(err)
		}
		if found, err := lockmodes.Sweep(record); found || err != nil {
			t.Errorf("record %q: %v, %v", other, found, err)
		}
		if _, err := os.Stat(record); err == nil {
			t.Errorf("the record %q is still there", other)
		}
	}
	if !isSemaphore(t, id) {
		t.Fatal("somebody else's semaphore was removed")
	}
	if err := os.WriteFile(record, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if found, err := lockmodes.Sweep(record); !found || err != nil {
		t.Errorf("of a killed one: %v, %v", found, err)
	}
	if isSemaphore(t, id) {
		t.Errorf("the semaphore %s is left", id)
	}
	if err := lost.Close(); err == nil {
		t.Error("what is gone was removed again")
	}
}

// A semaphore that somebody removes is an error, not a wait without end.
func TestRemovedSemaphore(t *testing.T) {
	record := filepath.Join(t.TempDir(), "record")
	o := lockmodes.Options{Mode: lockmodes.SysVSem, UID: -1, Record: record}
	s, l := pair(t, o)
	defer l.Close()
	s.Close()
	if l.TryLock() {
		t.Error("TryLock took it")
	}
	if err := l.Lock(); err == nil || errors.Is(err, lockmodes.ErrStopped) {
		t.Errorf("Lock: %v", err)
	}
}

// Close while a goroutine waits ends the wait, or leaves it what it needs.
func TestCloseWhileWaiting(t *testing.T) {
	for _, m := range []lockmodes.Mode{lockmodes.Flock, lockmodes.SysVSem, lockmodes.PosixSem, lockmodes.USLock, lockmodes.Pthread} {
		t.Run(m.String(), func(t *testing.T) {
			r := newRig(t, m)
			holder := r.fill()[0]
			f, err := r.shared.File()
			if err != nil {
				t.Fatal(err)
			}
			l, err := lockmodes.Open(r.o, f, 5)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- l.Lock() }()
			other := r.start(6)
			other.ask("try", "tried") // some time has gone by
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			holder.ask("unlock", "unlocked")
			if err := <-ended; !errors.Is(err, lockmodes.ErrStopped) {
				t.Errorf("Lock: %v", err)
			}
			if err := other.ask("lock", "locked"); err != "<nil>" {
				t.Error(err)
			}
		})
	}
}

// Close meets calls that are about to begin.
func TestCloseAtAnyMoment(t *testing.T) {
	for m := range lockmodes.Modes {
		o := lockmodes.Options{Mode: m, Permits: 1, Dir: t.TempDir(), UID: -1}
		s, err := lockmodes.Create(o)
		if err != nil {
			t.Fatal(err)
		}
		for range 100 {
			f, err := s.File()
			if err != nil {
				t.Fatal(err)
			}
			l, err := lockmodes.Open(o, f, 1)
			if err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				for l.Lock() == nil {
					l.Unlock()
				}
			}()
			if err := errors.Join(l.Close(), l.Close()); err != nil && !errors.Is(err, os.ErrClosed) {
				t.Errorf("%s: %v", m, err)
			}
			<-done
		}
		s.Close()
	}
}

// BenchmarkLock is what a lock costs that nobody else wants.
func BenchmarkLock(b *testing.B) {
	for m := range lockmodes.Modes {
		if !m.Locks() && m != lockmodes.None {
			continue
		}
		b.Run(m.String(), func(b *testing.B) {
			l := own(b, m)
			b.ReportAllocs()
			for b.Loop() {
				if err := l.Lock(); err != nil {
					b.Fatal(err)
				}
				l.Unlock()
			}
		})
	}
}
