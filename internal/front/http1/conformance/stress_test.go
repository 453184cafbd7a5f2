package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Times of the stress test. A connection of ours is parked after a second, and
// closed after stressIdle: the pauses aim at both.
const (
	stressTime  = 8 * time.Second
	stressIdle  = 2 * time.Second
	stressConns = 1500
)

// storm is a stress test's handler and its counts.
type storm struct {
	at, hijacks, left atomic.Int64
}

// ServeHTTP answers with the path, the body and the client's address. /hijack
// takes the connection over and passes it on to another goroutine, which echoes;
// /wait works until its client leaves.
func (s *storm) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.at.Add(1)
	defer s.at.Add(-1)
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		panic(http.ErrAbortHandler)
	case strings.HasPrefix(r.URL.Path, "/wait"):
		w.(http.Flusher).Flush()
		select {
		case <-r.Context().Done():
			s.left.Add(1)
		case <-time.After(bound):
			panic("a client's departure is not noticed")
		}
	case strings.HasPrefix(r.URL.Path, "/hijack"):
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		s.hijacks.Add(1)
		s.at.Add(1)
		go func() {
			defer s.at.Add(-1)
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(bound))
			io.Copy(conn, rw)
		}()
	default:
		fmt.Fprintf(w, "%s %s %s", r.URL.Path, body, r.RemoteAddr)
	}
}

// actor is a client of the storm, with one connection at a time.
type actor struct {
	*client
	id, seq int
	rand    *rand.Rand
	asked   time.Time // when it sent what has been answered last; the server's idle time began later
	sent    time.Time // the last it sent
}

// errOver: the server may have closed the connection, which was idle for long
// enough.
var errOver = errors.New("idle for long enough")

// next is a path of which there is only one.
func (a *actor) next() string {
	a.seq++
	return fmt.Sprintf("/%d/%d", a.id, a.seq)
}

// write sends; what it fails with the read will tell.
func (a *actor) write(s string) {
	if s != "" {
		a.sent = time.Now()
		io.WriteString(a.TCPConn, s)
	}
}

// idled reports whether the server may have found the connection idle.
func (a *actor) idled() bool { return time.Since(a.asked) > stressIdle }

// hear reads the answer to a path and body.
func (a *actor) hear(path, body string) error {
	ans, err := a.read("POST")
	if err != nil {
		if a.idled() {
			return errOver
		}
		return fmt.Errorf("%s: %w, %v after the last that was answered", path, err, time.Since(a.asked))
	}
	a.asked = a.sent
	want := path + " " + body + " " + a.LocalAddr().String()
	if ans.status != 200 || ans.body != want {
		return fmt.Errorf("%v; want %q", ans, want)
	}
	return nil
}

// pause waits for a time that something happens at, more or less, or not at all.
func (a *actor) pause() {
	var d time.Duration
	switch a.rand.IntN(10) {
	case 0, 1:
		d = time.Duration(a.rand.IntN(50)) * time.Millisecond
	case 2, 3, 4, 5, 6: // when it is parked
		d = time.Second + time.Duration(a.rand.IntN(30)-10)*time.Millisecond
	case 7:
		d = stressIdle + time.Duration(a.rand.IntN(40)-20)*time.Millisecond
	}
	time.Sleep(d)
}

// act does one thing with the connection; false: it is over.
func (a *actor) act() (bool, error) {
	path := a.next()
	post := func(path, body string) string {
		return request("POST "+path+" HTTP/1.1", fmt.Sprintf("Content-Length: %d", len(body))) + body
	}
	switch a.rand.IntN(12) {
	default:
		a.write(post(path, "a"))
		return true, a.hear(path, "a")
	case 1: // in two halves
		in := post(path, strings.Repeat("b", a.rand.IntN(100)))
		cut := 1 + a.rand.IntN(len(in)-1)
		a.write(in[:cut])
		time.Sleep(time.Duration(a.rand.IntN(1200)) * time.Millisecond)
		a.write(in[cut:])
		return true, a.hear(path, in[strings.Index(in, "\r\n\r\n")+4:])
	case 2, 3: // several at once, and the beginning of one more
		second, third := a.next(), a.next()
		last := post(third, "e")
		cut := a.rand.IntN(len(last) + 1)
		a.write(post(path, "c") + post(second, "d") + last[:cut])
		err := errors.Join(a.hear(path, "c"), a.hear(second, "d"))
		a.write(last[cut:])
		return true, errors.Join(err, a.hear(third, "e"))
	case 4: // closes after a part
		in := post(path, "f")
		a.write(in[:a.rand.IntN(len(in))])
		return false, nil
	case 5:
		a.SetLinger(0)
		return false, nil
	case 6: // leaves while the handler works
		a.write(post("/wait"+path, "g"))
		if a.rand.IntN(2) == 0 {
			a.br.ReadByte()
		}
		if a.rand.IntN(2) == 0 {
			a.SetLinger(0)
		}
		return false, nil
	case 7:
		return false, a.passOn(path, post)
	}
}

// passOn has the connection taken over, with bytes behind the request.
func (a *actor) passOn(path string, post func(path, body string) string) error {
	a.write(post("/hijack", "") + path)
	time.Sleep(time.Duration(a.rand.IntN(3)) * time.Millisecond)
	a.write(path)
	a.CloseWrite()
	b, err := io.ReadAll(a.br)
	if len(b) == 0 && a.idled() {
		return errOver
	}
	if string(b) != path+path {
		return fmt.Errorf("of a hijacked connection %q, %v; want %q", b, err, path+path)
	}
	return nil
}

// run acts until the end, with a new connection for each that is over.
func (a *actor) run(t *testing.T, s *server, end time.Time) {
	for time.Now().Before(end) && !t.Failed() {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Error(err)
			return
		}
		a.client = newClient(t, conn)
		a.asked = time.Now().Add(time.Hour) // a new connection does not idle
		for going := true; going && time.Now().Before(end); {
			a.pause()
			a.SetDeadline(time.Now().Add(bound))
			if going, err = a.act(); errors.Is(err, errOver) {
				break
			}
			if err != nil {
				t.Errorf("connection %d of %v: %v", a.id, a.LocalAddr(), err)
				break
			}
		}
		conn.Close()
	}
}

// Connections are parked, woken, half used, closed, reset, taken over, all at
// random and for long enough that each meets each: every request is answered,
// on its own connection.
func TestStress(t *testing.T) {
	if testing.Short() {
		t.Skip("takes ten seconds")
	}
	for _, m := range modes {
		if m.library() {
			continue // it would test the clients, which the fuzzing does as well
		}
		t.Run(m.name, func(t *testing.T) {
			h := &storm{}
			s := m.start(t, options{handler: h, idle: stressIdle})
			end := time.Now().Add(stressTime)
			var all sync.WaitGroup
			for id := range stressConns {
				all.Go(func() {
					a := &actor{id: id, rand: rand.New(rand.NewPCG(uint64(id), 1))}
					time.Sleep(time.Duration(a.rand.IntN(1000)) * time.Millisecond)
					a.run(t, s, end)
				})
			}
			all.Wait()
			eventually(t, "all handlers at their end", func() bool { return h.at.Load() == 0 })
			if h.left.Load() == 0 || h.hijacks.Load() == 0 {
				t.Errorf("%d have left, %d were taken over", h.left.Load(), h.hijacks.Load())
			}
			ctx, cancel := context.WithTimeout(context.Background(), bound)
			defer cancel()
			if err := s.shutdown(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}
