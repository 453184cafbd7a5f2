package exchange

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// echo says how long the input was said to be, and the input.
func echo(c *call) {
	b, err := c.stdin()
	n, has := c.params["CONTENT_LENGTH"]
	if err != nil || has && n != strconv.Itoa(len(b)) {
		n = fmt.Sprintf("WRONG %q %d %v", n, len(b), err)
	}
	c.out(ok+n+"\n", string(b))
	c.end()
}

// streamed hides the length of a body, so that it is sent in chunks.
type streamed struct{ io.Reader }

func emptyDir(t *testing.T, dir string) {
	t.Helper()
	if e, err := os.ReadDir(dir); err != nil || len(e) > 0 {
		t.Errorf("in the spool folder: %v, %v", e, err)
	}
}

func TestBodies(t *testing.T) {
	const memory, limit = 4 << 10, 256 << 10 // the rig's
	r := newRig(t, rigOptions{})
	r.script(echo)
	for _, n := range []int{0, 1, 511, 512, 513, memory - 1, memory, memory + 1, 32<<10 - 1, 32 << 10, 32<<10 + 1, 65535, 65536, limit - 1, limit, limit + 1} {
		for _, chunked := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d chunked %v", n, chunked), func(t *testing.T) {
				r.t = t
				body := pattern(n)
				var src io.Reader = bytes.NewReader(body)
				if chunked {
					src = streamed{src}
				}
				res := r.do("POST", "/x", src)
				if n > limit {
					if res.status != 413 && res.err == nil || res.end.err.Kind != BodyTooLarge || r.slots() != nil && len(r.slots()) > 31 {
						t.Errorf("%d, %v, %v", res.status, res.err, res.end.err)
					}
					return
				}
				length, got, _ := strings.Cut(res.body, "\n")
				want := strconv.Itoa(n)
				if n == 0 && !chunked {
					want = "" // CONTENT_LENGTH is unset without a body
				}
				if res.status != 200 || length != want || got != string(body) {
					t.Errorf("%d, CONTENT_LENGTH %q, %d bytes, %v", res.status, length, len(got), res.end.err)
				}
			})
		}
	}
	r.t = t
	if n := len(r.slots()); n != 30 {
		t.Errorf("%d children were asked", n)
	}
	r.free(time.Second)
	emptyDir(t, r.app.Body.Dir)
}

func TestBodyWithoutMemory(t *testing.T) {
	r := newRig(t, rigOptions{change: func(a *App) { a.Body.Memory = 0 }})
	r.script(echo)
	for _, body := range []string{"", "x", string(pattern(5000))} {
		if res := r.do("POST", "/x", streamed{strings.NewReader(body)}); res.status != 200 || res.body != fmt.Sprintf("%d\n%s", len(body), body) {
			t.Errorf("%d %q", res.status, res.body)
		}
	}
}

func TestNoRoomForBody(t *testing.T) {
	r := newRig(t, rigOptions{change: func(a *App) { a.Body.Dir = "/no/such/folder" }})
	r.script(echo)
	res := r.do("POST", "/x", bytes.NewReader(pattern(5000)))
	if res.status != 500 || res.end.err.Kind != SpoolFailed || len(r.slots()) > 0 {
		t.Errorf("%d, %v", res.status, res.end.err)
	}
	if res := r.do("POST", "/x", bytes.NewReader(pattern(100))); res.status != 200 {
		t.Errorf("%d: what fits memory needs no folder", res.status)
	}
}

// 413 comes before a byte of the body where its length is known, and no child
// is asked; nobody says 100 Continue then.
func TestExpectContinue(t *testing.T) {
	r := newRig(t, rigOptions{})
	r.script(echo)
	post := func(length int) (*bufio.Reader, io.Writer) {
		c := r.raw(fmt.Sprintf("POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", length))
		return bufio.NewReader(c), c
	}
	in, out := post(5)
	line, _ := in.ReadString('\n')
	if line != "HTTP/1.1 100 Continue\r\n" || len(r.slots()) > 0 {
		t.Errorf("%q; asked %v", line, r.slots())
	}
	in.ReadString('\n')
	io.WriteString(out, "hello")
	resp, err := http.ReadResponse(in, nil)
	must(t, err)
	if b, _ := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(b) != "5\nhello" {
		t.Errorf("%d %q", resp.StatusCode, b)
	}
	r.last()
	r.script(echo)
	in, _ = post(2 << 20)
	if resp, err = http.ReadResponse(in, nil); err != nil || resp.StatusCode != 413 || len(r.slots()) > 0 {
		t.Errorf("%v, %v; asked %v", resp, err, r.slots())
	}
	r.last()
}

func TestBrokenBodies(t *testing.T) {
	const limit = 200 * time.Millisecond
	r := newRig(t, rigOptions{change: func(a *App) { a.Body.Timeout = limit }})
	r.script(echo)
	cases := []struct {
		name, send string
		leave      func(c interface{ SetLinger(int) error }) bool
		kind       Kind
	}{
		{"silent", "Content-Length: 9\r\n\r\nabc", nil, BodyTimeout},
		{"bad chunk", "Transfer-Encoding: chunked\r\n\r\n3\r\nabcxx", nil, BodyBroken},
		{"left", "Content-Length: 9\r\n\r\nabc", func(interface{ SetLinger(int) error }) bool { return true }, ClientGone},
		{"left with a reset", "Content-Length: 9\r\n\r\nabc", func(c interface{ SetLinger(int) error }) bool { c.SetLinger(0); return true }, ClientGone},
		{"left in chunks", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", func(interface{ SetLinger(int) error }) bool { return true }, ClientGone},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r.t = t
			nc := r.raw("POST /x HTTP/1.1\r\nHost: x\r\n" + c.send)
			if c.leave != nil {
				time.Sleep(20 * time.Millisecond)
				c.leave(nc)
				nc.Close()
			}
			e := r.last()
			if e.err == nil || e.err.Kind != c.kind || len(r.slots()) > 0 {
				t.Errorf("%v, want %v; asked %v", e.err, c.kind, r.slots())
			}
			if c.kind == BodyTimeout {
				between(t, "the end", e.took, limit)
			}
			emptyDir(t, r.app.Body.Dir)
		})
	}
}

// A slow upload holds no child, and its deadline counts from byte to byte.
func TestSlowUpload(t *testing.T) {
	r := newRig(t, rigOptions{children: 1, change: func(a *App) { a.Body.Timeout = 100 * time.Millisecond }})
	r.script(echo)
	c := r.raw("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
	for i := range 5 {
		time.Sleep(60 * time.Millisecond)
		if n := r.ledger.Counts().Served; n > 0 {
			t.Fatal("a child is held")
		}
		io.WriteString(c, "hello"[i:i+1])
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	must(t, err)
	if b, _ := io.ReadAll(resp.Body); string(b) != "5\nhello" {
		t.Errorf("%q", b)
	}
	r.last()
}

// A child may answer before it has read its input.
func TestEarlyAnswer(t *testing.T) {
	r := newRig(t, rigOptions{children: 1, keepAlive: true})
	var conns []any
	r.script(func(c *call) {
		conns = append(conns, c.Conn)
		c.out("Status: 403\r\n" + ok + "no")
		c.end()
		c.departure(time.Second) // reads what is still coming
		c.closed = true
	})
	for range 2 {
		res := r.do("POST", "/x", bytes.NewReader(pattern(250_000)))
		if res.status != 403 || res.body != "no" || res.end.err != nil {
			t.Errorf("%d %q %v", res.status, res.body, res.end.err)
		}
		r.free(time.Second)
	}
	if len(conns) != 2 || conns[0] == conns[1] {
		t.Error("a connection was kept in the middle of an input")
	}
}

// A child whose answer is complete by its Content-Length still gets the rest of
// the input, from the file too.
func TestInputBehindAnswer(t *testing.T) {
	r := newRig(t, rigOptions{children: 1})
	body := pattern(250_000)
	got := make(chan []byte, 1)
	r.script(func(c *call) {
		c.out("Content-Length: 2\r\n\r\nok")
		time.Sleep(100 * time.Millisecond)
		b, _ := c.stdin()
		got <- b
		c.end()
	})
	if res := r.do("POST", "/x", bytes.NewReader(body)); res.status != 200 || late(res.took, 30*time.Millisecond) {
		t.Errorf("%d after %v", res.status, res.took)
	}
	if b := <-got; !bytes.Equal(b, body) {
		t.Errorf("the child got %d bytes", len(b))
	}
	r.free(time.Second)
	if r.finishing(0) {
		t.Error("finishing")
	}
}
