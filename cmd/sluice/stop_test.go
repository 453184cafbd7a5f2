package main

import (
	"syscall"
	"testing"
	"time"
)

// A stop that is more urgent counts also when only children are left: one that
// ignores its stop signal is killed at once.
func TestHurriedStopOfChildren(t *testing.T) {
	t.Parallel()
	dir := withSite(t)
	write(t, dir, "stubborn", "#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.1; done\n")
	s := startSite(t, dir, "stop_timeout = \"60s\"\n"+scripted("max = 1")+`
[[app]]
name = "stubborn"
kind = "fastcgi"
command = ["./stubborn"]
scale = "static"
max = 1
stop_grace = "25s"
`)
	syscall.Kill(s.pid(), syscall.SIGQUIT)
	if !waitFor(stopWait, func() bool { worker, _ := family(s.pid()); return worker == 0 }) {
		t.Fatal("the worker does not end")
	}
	time.Sleep(200 * time.Millisecond) // the children have their signal
	begin := time.Now()
	if !s.running() {
		t.Fatal("the server has ended before its child")
	}
	syscall.Kill(s.pid(), syscall.SIGTERM)
	waitFor(100*time.Millisecond, func() bool { return !s.running() })
	syscall.Kill(s.pid(), syscall.SIGTERM)
	if code, err := s.wait(stopWait); err != nil || code != 0 || time.Since(begin) > 10*time.Second {
		t.Errorf("status %d, %v, after %v", code, err, time.Since(begin))
	}
}
