package spawner

import (
	"fmt"
	"os"
	"testing"
	"time"
)

func TestTreeMemory(t *testing.T) {
	if n := TreeMemory(1 << 30); n != 0 {
		t.Errorf("%d of a process that is not there", n)
	}
	if n := TreeMemory(os.Getpid()); n < 4<<20 || n > 4<<30 {
		t.Errorf("this process has %d bytes", n)
	}
	c := newCrew(t, "hog", 1, nil)
	must(t, c.Start())
	began := c.Events()[0].Began
	info := c.Children()
	before := info[0].Memory
	if len(info) != 1 || info[0].PID != c.pid(0) || info[0].Began.UnixNano() != began || info[0].Restarts != 0 || info[0].State != Ready {
		t.Errorf("%+v", info)
	}
	if before < 1<<20 || before > 100<<20 {
		t.Errorf("it has %d bytes", before)
	}
	// The child and its child accept on the same socket: in the end both have
	// had a request, and 40 MiB.
	const one = 40 << 20
	seen := map[int]bool{}
	eventually(t, 5*time.Second, "each has had a request", func() bool {
		pid, err := c.ask(0)
		must(t, err)
		seen[pid] = true
		return len(seen) == 2
	})
	eventually(t, 5*time.Second, fmt.Sprintf("twice 40 MiB above %d", before), func() bool {
		n := TreeMemory(c.pid(0))
		return n > before+2*one-4<<20 && n < before+2*one+30<<20
	})
	c.stop(time.Second)
	if info := c.Children()[0]; info.PID != 0 || info.Memory != 0 || info.State != Absent {
		t.Errorf("%+v", info)
	}
}

// The memory of the whole tree counts, once a second, and who has too much is
// stopped when it is idle.
func TestMaxMemory(t *testing.T) {
	ledger := &fakeLedger{children: make([]ChildCounts, 1), uses: make([]Use, 1)}
	c := newCrew(t, "hog", 1, func(o *SupervisorOptions) { o.Ledger, o.MaxMemory = ledger, 60<<20 })
	must(t, c.Start())
	old := c.pid(0)
	ledger.want(1)
	time.Sleep(1200 * time.Millisecond)
	if c.pid(0) != old || c.Events()[0].State != Ready {
		t.Fatalf("it is within its limit: %s\n%s", c.ev.states(), &c.log)
	}
	seen := map[int]bool{}
	eventually(t, 5*time.Second, "each has had a request", func() bool {
		pid, err := c.ask(0)
		must(t, err)
		seen[pid] = true
		return len(seen) == 2
	})
	c.await(0, Retiring)
	time.Sleep(50 * time.Millisecond)
	if c.pid(0) != old {
		t.Fatal("it was stopped at work")
	}
	ledger.answer(0)
	eventually(t, time.Second, "a successor", func() bool { return c.pid(0) != old && c.Events()[0].State == Ready })
	if !c.log.has("INFO", "child has been retired", "reason=max_memory") {
		t.Error(c.log.String())
	}
	if got := c.Children()[0].Restarts; got != 1 {
		t.Errorf("%d restarts", got)
	}
}

// Where the system counts the memory of a child's control group, that is it.
func TestCgroupMemory(t *testing.T) {
	s := &Supervisor{}
	s.options.Store(&SupervisorOptions{Cgroup: &Cgroup{t.TempDir()}})
	if n := s.memory(3, os.Getpid()); n < 4<<20 {
		t.Errorf("%d without a count: that of the tree", n)
	}
	dir := s.opt().Cgroup.child(3)
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.WriteFile(dir+"/memory.stat", []byte("anon 12300\nfile 99999\nfile_mapped 45\n"), 0o644))
	if n := s.memory(3, os.Getpid()); n != 12345 {
		t.Errorf("%d", n)
	}
}
