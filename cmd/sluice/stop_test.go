package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
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

// Who is connected when a graceful stop begins, and is about to send the first
// request, gets its answer; who comes later is refused at once.
func TestStopAnswersNewConnections(t *testing.T) {
	t.Parallel()
	s := startSite(t, withSite(t), scripted("max = 1"))
	busy, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close() // in the middle of a head: the stop waits for it
	io.WriteString(busy, "GET /none HTTP/1.1\r\n")
	var conns []net.Conn
	for range 20 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(stopWait))
		conns = append(conns, c)
	}
	syscall.Kill(s.pid(), syscall.SIGQUIT)
	refused := waitFor(stopWait, func() bool {
		c, err := net.Dial("tcp", s.addr)
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	})
	if !refused || !s.running() {
		t.Errorf("refused: %v, running: %v", refused, s.running())
	}
	for _, c := range conns {
		io.WriteString(c, "GET /none HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	for i, c := range conns {
		if a, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
			t.Errorf("connection %d: %v", i, err)
		} else if !a.Close {
			t.Errorf("connection %d: it is to stay open", i)
		}
	}
	io.WriteString(busy, "Host: x\r\n\r\n")
	if code, err := s.wait(stopWait); err != nil || code != 0 {
		t.Errorf("status %d, %v", code, err)
	}
}
