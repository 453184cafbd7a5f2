package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A worker that cannot be replaced for a while, and that the next configuration
// does not need: its place, and its socket, are given up. Those that were started
// for it leave nothing behind.
func TestReloadWithFewerWorkersWhileOneIsReplaced(t *testing.T) {
	dir := withSite(t)
	config := scripted("max = 1")
	s := startSite(t, dir, "workers = 4\naccept.mode = \"reuseport\"\n"+config)
	workers := s.workers()
	if len(workers) != 4 {
		t.Fatalf("workers %v", workers)
	}
	before := len(descriptors(s.pid()))
	stay := map[int]bool{}
	for _, pid := range childrenOf(s.pid()) {
		stay[pid] = true
	}
	// Of what index it is is not known: any but the first have a socket that goes.
	for _, pid := range workers[:2] {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	killed := 0
	for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for _, pid := range childrenOf(s.pid()) {
			if !stay[pid] && syscall.Kill(pid, syscall.SIGKILL) == nil {
				killed++
			}
		}
	}
	if killed < 4 {
		t.Fatalf("%d successors", killed)
	}
	s.configure("", config)
	s.reload()
	time.Sleep(4 * time.Second) // in which the next attempt would be due
	if !s.running() {
		t.Fatal("the master has ended")
	}
	s.get(200, "/app")
	s.settled()
	if n := len(descriptors(s.pid())); n > before {
		t.Errorf("the master has %d descriptors, and had %d", n, before)
	}
}

// A stop that takes long is no time to reload: it says so, and touches nothing.
func TestReloadWhileStopping(t *testing.T) {
	s := startSite(t, withSite(t), "log.error = \"error.log\"\n"+scripted("max = 1"))
	answer := make(chan error, 1)
	go func() {
		_, err := httpRequest{target: "/app?sleep=3s"}.send("tcp", s.addr)
		answer <- err
	}()
	if !waitFor(stopWait, func() bool { return busy(s.status(), "app") == 1 }) {
		t.Fatal("nobody is at work")
	}
	s.configure("workers = 3\naccept.mode = \"reuseport\"\n", "log.error = \"error.log\"\n"+scripted("max = 1"))
	syscall.Kill(s.pid(), syscall.SIGTERM)
	log := filepath.Join(s.dir, "error.log")
	if err := waitText(log, "msg=stopping", logWait); err != nil {
		t.Fatal(err)
	}
	out, err := s.sluice("reload", "-c", "sluice.toml")
	if err == nil || !strings.Contains(out, "reload: the server is being stopped") {
		t.Errorf("%v: %s", err, out)
	}
	if err := <-answer; err != nil {
		t.Error(err)
	}
	if code, err := s.wait(stopWait); code != 0 || err != nil {
		t.Errorf("status %d, %v", code, err)
	}
	text, _ := os.ReadFile(log)
	if lines := strings.Split(strings.TrimSpace(string(text)), "\n"); !strings.Contains(lines[len(lines)-1], "msg=stopped") {
		t.Errorf("the last line of the log: %s", lines[len(lines)-1])
	}
}

// A signal that comes as soon as there is anything of the server waits for it.
func TestSignalAtStart(t *testing.T) {
	dir := withSite(t)
	s := &site{t: t, dir: dir, addr: "127.0.0.1:" + freePort()}
	s.configure("", scripted("max = 1"))
	var err error
	if s.testServer, err = startProcess(dir, "sluice", os.Environ(), "serve", "-c", "sluice.toml"); err != nil {
		t.Fatal(err)
	}
	s.endsWith(t)
	for s.running() {
		if _, err := os.Stat(filepath.Join(dir, "run")); err == nil {
			break
		}
	}
	syscall.Kill(s.pid(), syscall.SIGHUP)
	if err := s.ready(); err != nil {
		t.Fatal(err)
	}
	s.waitLog(t, "reloaded generation=2")
	s.get(200, "/app")
}
