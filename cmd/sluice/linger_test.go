package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// uploadFirst sends a body of 5 MB and reads the answer only then, as most
// clients do. The error is what it finds in place of a whole answer.
func (s *site) uploadFirst(target string) (status int, err error) {
	c, err := net.DialTimeout("tcp", s.addr, requestWait)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(requestWait))
	const size = 5 << 20
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", target, size)
	piece := make([]byte, 64<<10)
	for sent := 0; sent < size; {
		n, err := c.Write(piece)
		if sent += n; err != nil {
			break
		}
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// A client that uploads to somewhere that refuses it gets the refusal.
func TestLingeringClose(t *testing.T) {
	for _, mode := range []string{"timed", "always", "adaptive"} {
		t.Run(mode, func(t *testing.T) {
			s := startSite(t, withSite(t), "[limits]\nbody_bytes = \"1MiB\"\n[linger]\nmode = \""+mode+"\"\n"+scripted("max = 1"))
			for _, want := range []struct {
				target string
				status int
			}{{"/app", 413}, {"/x.cgi", 413}, {"/none/such", 404}} {
				if status, err := s.uploadFirst(want.target); status != want.status || err != nil {
					t.Errorf("%s: %d, %v", want.target, status, err)
				}
			}
		})
	}
}

// Lingering connections are shown, bounded in number and time, and outlive the
// beginning of a graceful stop.
func TestLingeringBounds(t *testing.T) {
	s := startSite(t, withSite(t), "[limits]\nbody_bytes = \"1MiB\"\n[linger]\nidle = \"4s\"\ntotal = \"5s\"\nmax = 3\n"+scripted("max = 1"))
	var conns []net.Conn
	for range 5 {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(requestWait))
		fmt.Fprintf(c, "POST /app HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\nabc")
		if res, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil || res.StatusCode != 413 {
			t.Fatal(res, err)
		}
		conns = append(conns, c)
	}
	if !waitFor(10*time.Second, func() bool { return s.status().Workers[0].Connections.Lingering == 3 }) {
		t.Errorf("%+v", s.status().Workers[0].Connections)
	}
	begin := time.Now()
	syscall.Kill(s.pid(), syscall.SIGQUIT)
	time.Sleep(300 * time.Millisecond)
	alive := 0
	for _, c := range conns {
		if _, err := c.Write([]byte("still sending")); err == nil {
			alive++
		}
	}
	if alive < 3 {
		t.Errorf("%d connections after the stop began", alive)
	}
	<-s.done
	if took := time.Since(begin); took > 20*time.Second {
		t.Errorf("the stop took %v", took)
	}
}
