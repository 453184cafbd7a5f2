package spawner

import (
	"encoding/json"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What is held does not change, whatever happens to the children, and goes on where it
// was.
func TestHold(t *testing.T) {
	f := forker(t)
	r := newCrew(t, "accept", 2, func(o *SupervisorOptions) { o.Start = f.Start })
	must(t, r.Start())
	before := r.Children()
	r.Hold()
	f.Reaper.Hold()
	must(t, r.Settle())
	syscall.Kill(before[0].PID, syscall.SIGKILL)
	time.Sleep(50 * time.Millisecond)
	keep := func(f *os.File) int { return int(f.Fd()) }
	st := r.Describe(keep)
	for i, slot := range st.Slots {
		if slot.Child == nil || slot.Child.PID != before[i].PID || slot.State != Ready || slot.Output < 0 || slot.Socket < 0 || !slot.Child.Whole {
			t.Errorf("slot %d: %+v", i, slot)
		}
	}
	b, err := json.Marshal(st)
	must(t, err)
	var read SupervisorState
	must(t, json.Unmarshal(b, &read))
	if d := cmp.Diff(st, read); d != "" {
		t.Errorf("what is read is not what was written:\n%s", d)
	}
	f.Reaper.Release()
	r.Release()
	eventually(t, 10*time.Second, "the child that died has a successor", func() bool {
		after := r.Children()
		return after[0].State == Ready && after[0].PID != before[0].PID && after[1].PID == before[1].PID
	})
	if pid, err := r.ask(1); err != nil || pid != before[1].PID {
		t.Errorf("child %d answers, %v", pid, err)
	}
	eventually(t, 10*time.Second, "its output is read", func() bool { return r.log.has("request hello") })
}

// A child that was adopted and is none of this process has ended.
func TestAdoptStranger(t *testing.T) {
	c := Adopt(ChildState{PID: os.Getppid()})
	r := NewReaper(c)
	defer r.Close()
	select {
	case <-c.Done():
	default:
		t.Fatal("it lives")
	}
	if c.Signal(syscall.SIGTERM) != syscall.ESRCH {
		t.Error("it can be signaled")
	}
}
