package master

import (
	"errors"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// What no worker says is the end of it.
func TestDeskNonsense(t *testing.T) {
	null, err := os.Open(os.DevNull)
	must(t, err)
	defer null.Close()
	fd := int(null.Fd())
	start := func(place int) scriptCall {
		return scriptCall{Script: 1, Start: &scriptStart{Place: place, Path: []byte("env.cgi")}}
	}
	raw := func(text string) func(*deskRig) error {
		return func(r *deskRig) error { _, err := r.conn.Write([]byte(text)); return err }
	}
	call := func(c scriptCall, fds ...int) func(*deskRig) error {
		return func(r *deskRig) error { return sendPacket(r.conn, c, fds...) }
	}
	for name, send := range map[string]func(*deskRig) error{
		"no JSON":           raw("start"),
		"another type":      raw("[1]"),
		"a negative number": raw(`{"script":-1}`),
		"too long":          raw(`{"script":1,"x":"` + strings.Repeat("x", maxScriptCall) + `"}`),
		"no such place":     call(start(99), fd, fd, fd, fd),
		"place -1":          call(start(-1), fd, fd, fd, fd),
		"the worker's own":  call(start(ofWorker), fd, fd, fd, fd),
		"no descriptors":    call(start(inFolder)),
		"three descriptors": call(start(inFolder), fd, fd, fd),
		"five descriptors":  call(start(inFolder), fd, fd, fd, fd, fd),
		"a hundred of them": call(start(inFolder), slices.Repeat([]int{fd}, 100)...),
		"a number that is taken": func(r *deskRig) error {
			r.send(1, inFolder, "sleep.cgi", nil)
			r.send(1, inFolder, "sleep.cgi", nil)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := openFiles(t)
			r := newDeskRig(t)
			must(t, send(r))
			select {
			case err := <-r.bad:
				if !errors.Is(err, errPacket) {
					t.Error(err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("the desk takes it")
			}
			<-r.desk.done
			r.conn.Close()
			if after := openFiles(t); after > before+1 && name != "a number that is taken" { // the poller's
				t.Errorf("%d files are open, %d before", after, before)
			}
		})
	}
}

func openFiles(t *testing.T) int {
	all, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(all)
}

// Signals reach the scripts of this worker only, and as many as may run do.
func TestDeskSignalsAndBound(t *testing.T) {
	r := newDeskRig(t)
	other := newDeskRig(t)
	other.send(7, inFolder, "sleep.cgi", nil)
	foreign := other.news().PID
	r.send(1, inFolder, "sleep.cgi", nil)
	r.news()
	r.send(2, inFolder, "sleep.cgi", nil)
	r.news()
	r.send(3, inFolder, "sleep.cgi", nil) // beside max = 1 there is one that may work on
	if n := r.news(); n.Error == nil || n.Error.Errno != syscall.EAGAIN {
		t.Errorf("a third script: %+v", n)
	}
	for _, number := range []uint64{7, uint64(foreign), uint64(os.Getpid()), 1 << 63} {
		must(t, sendPacket(r.conn, scriptCall{Script: number, Signal: int(syscall.SIGKILL)}))
	}
	for _, signal := range []int{0, -9, 1000} {
		must(t, sendPacket(r.conn, scriptCall{Script: 2, Signal: signal}))
	}
	must(t, sendPacket(r.conn, scriptCall{Script: 1, Signal: int(syscall.SIGUSR1)}))
	if n := r.news(); n.Script != 1 || n.End == nil || n.End.Signal != syscall.SIGUSR1 {
		t.Errorf("%+v", n)
	}
	if err := syscall.Kill(foreign, 0); err != nil {
		t.Errorf("the other worker's script: %v", err)
	}
	r.send(4, inFolder, "sleep.cgi", nil)
	n := r.news()
	if n.PID == 0 {
		t.Errorf("a place is free again: %+v", n)
	}
	// The worker has gone.
	r.conn.Close()
	<-r.desk.done
	if err := syscall.Kill(n.PID, 0); err != syscall.ESRCH {
		t.Errorf("a script outlives its worker: %v", err)
	}
}
