package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"testing"
	"time"
)

// Shutdown closes what idles at once, lets what is at work finish, and takes
// nothing new.
func TestShutdown(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		in, pass := make(chan bool), make(chan bool)
		s := m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			in <- true
			<-pass
			io.WriteString(w, "hello")
		})
		idle, busy := dial(t, s), dial(t, s)
		idle.probe()
		busy.send(get)
		take(t, "request", in)
		over := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), bound)
			defer cancel()
			over <- s.shutdown(ctx)
		}()
		idle.ended()
		eventually(t, "refused", func() bool {
			c, err := net.Dial("tcp", s.addr)
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		if len(over) > 0 {
			t.Error("over before the request is")
		}
		pass <- true
		if a := busy.answer("GET"); a.body != "hello" || !m.library() && a.header.Get("Connection") != "close" {
			t.Error(a)
		}
		busy.ended()
		if err := take(t, "end of Shutdown", over); err != nil {
			t.Error(err)
		}
	})
}

// A connection on which nothing has come does not hold up a Shutdown.
func TestShutdownSilent(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		if m.library() {
			return // it waits five seconds for the first byte
		}
		s := m.serve(t, nothing)
		c, parked := dial(t, s), dial(t, s)
		dial(t, s).probe() // the others are there, too
		parked.probe()
		time.Sleep(1200 * time.Millisecond)
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		if err := s.shutdown(ctx); err != nil {
			t.Error(err)
		}
		c.ended()
		parked.ended()
	})
}

// A request that is on its way on a connection that has just been made is answered.
func TestShutdownFirstRequest(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		if !m.differs(firstRequest) {
			return
		}
		s := m.serve(t, says("hello"))
		idle := dial(t, s)
		idle.probe()
		c := dial(t, s)
		dial(t, s).probe() // both have been taken
		over := make(chan error, 1)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), bound)
			defer cancel()
			over <- s.shutdown(ctx)
		}()
		idle.ended()
		c.send(get)
		if a := c.answer("GET"); a.status != 200 || a.header.Get("Connection") != "close" {
			t.Errorf("%v %v", a, a.header)
		}
		c.ended()
		if err := take(t, "end of Shutdown", over); err != nil {
			t.Error(err)
		}
	})
}

// A Shutdown whose time is over says so.
func TestShutdownTimeout(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		in, pass := make(chan bool), make(chan bool)
		s := m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			in <- true
			<-pass
		})
		defer close(pass)
		c := dial(t, s)
		c.send(get)
		take(t, "request", in)
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := s.shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

// A request whose head or body is still coming when the server stops is answered
// like any other: it is the idle connections that are told to go.
func TestShutdownWithinRequest(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		for range 30 {
			s := m.serve(t, tell)
			const clients = 8
			said := make(chan string, clients)
			for i := range clients {
				c := dial(t, s)
				c.probe()
				in := request("POST / HTTP/1.1", "Content-Length: 6") + "abcdef"
				go func() {
					defer c.Close() // or the server lingers
					time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
					io.WriteString(c.TCPConn, in[:len(in)-3-i*5])
					time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
					io.WriteString(c.TCPConn, in[len(in)-3-i*5:])
					a, err := c.read("POST")
					if err != nil {
						said <- "nothing" // it was idle
						return
					}
					said <- fmt.Sprint(a.status, " ", a.body)
				}()
			}
			time.Sleep(time.Duration(rand.IntN(400)) * time.Microsecond)
			ctx, cancel := context.WithTimeout(context.Background(), bound)
			if err := s.shutdown(ctx); err != nil {
				t.Error(err)
			}
			cancel()
			for range clients {
				if a := take(t, "answer", said); a != "nothing" && a != "200 POST / abcdef" {
					t.Errorf("%q", a)
				}
			}
		}
	})
}

// Requests that are on their way when the server stops are answered or the
// connection ends; none hangs, and none gets half an answer.
func TestShutdownUnderLoad(t *testing.T) {
	each(t, func(t *testing.T, m mode) {
		s := m.serve(t, says("hello"))
		const clients = 20
		done := make(chan error, clients)
		for range clients {
			c := dial(t, s)
			go func() {
				for {
					io.WriteString(c.TCPConn, get)
					a, err := c.read("GET")
					if err != nil {
						var ne net.Error
						if errors.As(err, &ne) && ne.Timeout() {
							done <- err
						} else {
							done <- nil
						}
						return
					}
					if a.String() != "200 sized hello" && a.String() != "200 sized [close] hello" {
						done <- errors.New(a.String())
						return
					}
				}
			}()
		}
		time.Sleep(50 * time.Millisecond)
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		if err := s.shutdown(ctx); err != nil {
			t.Error(err)
		}
		for range clients {
			if err := take(t, "end of a client", done); err != nil {
				t.Error(err)
			}
		}
	})
}
