package fcgi

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/cgi"
)

// app is the test's application: it reads a request strictly, and then says
// whatever the test wants it to.
type app struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

// got is a request as the application got it.
type got struct {
	role   int
	flags  byte
	params []pair
	stdin  string
	data   string
	ended  bool     // each stream had its end
	seen   []record // every record
}

// pairOf is a connected pair of unix sockets.
func pairOf(t testing.TB) (ours, theirs net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	conn := func(fd int) net.Conn {
		f := os.NewFile(uintptr(fd), "socketpair")
		defer f.Close()
		c, err := net.FileConn(f)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	return conn(fds[0]), conn(fds[1])
}

// transports are ways from here to an application.
var transports = []struct {
	name string
	dial func(testing.TB) (ours, theirs net.Conn)
}{
	{"socketpair", pairOf},
	{"net.Pipe", func(t testing.TB) (net.Conn, net.Conn) {
		a, b := net.Pipe()
		t.Cleanup(func() { a.Close(); b.Close() })
		return a, b
	}},
	{"unix", func(t testing.TB) (net.Conn, net.Conn) { return dial(t, "unix", filepath.Join(t.TempDir(), "s")) }},
	{"tcp", func(t testing.TB) (net.Conn, net.Conn) { return dial(t, "tcp", "127.0.0.1:0") }},
}

func dial(t testing.TB, network, address string) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if ours, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if theirs, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// appOn runs an application on its end of a connection, in the background; the
// function that comes back waits for its end. Everything has to be over within
// ten seconds.
func appOn(t testing.TB, theirs net.Conn, do func(*app)) (wait func()) {
	t.Helper()
	theirs.SetDeadline(time.Now().Add(10 * time.Second))
	var wg sync.WaitGroup
	wg.Go(func() {
		defer theirs.Close()
		do(&app{t, theirs, bufio.NewReader(theirs)})
	})
	t.Cleanup(wg.Wait)
	return wg.Wait
}

// start runs an application on a new connection and returns our end of it.
func start(t testing.TB, do func(*app)) net.Conn {
	t.Helper()
	ours, theirs := pairOf(t)
	ours.SetDeadline(time.Now().Add(10 * time.Second))
	appOn(t, theirs, do)
	return ours
}

func newReader(b []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(b)) }

// say writes records; the other side may have gone.
func (a *app) say(records ...string) {
	for _, r := range records {
		if _, err := io.WriteString(a, r); err != nil {
			return
		}
	}
}

// begin reads up to the end of the parameters.
func (a *app) begin() *got {
	g := &got{}
	rec := a.record(g)
	if rec.kind != 1 || len(rec.content) != 8 || !bytes.Equal(rec.content[3:], make([]byte, 5)) {
		a.t.Errorf("does not begin with BEGIN_REQUEST: %+v", rec)
		return g
	}
	g.role, g.flags = int(rec.content[0])<<8|int(rec.content[1]), rec.content[2]
	params, _, err := a.stream(g, 4)
	if err != nil {
		a.t.Errorf("PARAMS: %v", err)
	}
	if g.params, err = decodePairs([]byte(params)); err != nil {
		a.t.Error(err)
	}
	return g
}

// request reads a whole request.
func (a *app) request() *got {
	g := a.begin()
	if err := a.input(g); err != nil {
		a.t.Errorf("input: %v", err)
	}
	return g
}

// input reads the streams behind the parameters; an error is their end without
// an end.
func (a *app) input(g *got) (err error) {
	g.stdin, g.ended, err = a.stream(g, 5)
	if err == nil && g.role == 3 {
		g.data, g.ended, err = a.stream(g, 8)
	}
	return err
}

func (a *app) stream(g *got, kind byte) (string, bool, error) {
	var all []byte
	for {
		rec, err := a.next(g)
		if err != nil {
			return string(all), false, err
		}
		if rec.kind != kind {
			return string(all), false, fmt.Errorf("record of type %d in the stream %d", rec.kind, kind)
		}
		if len(rec.content) == 0 {
			return string(all), true, nil
		}
		all = append(all, rec.content...)
	}
}

func (a *app) record(g *got) record {
	rec, err := a.next(g)
	if err != nil {
		a.t.Error(err)
	}
	return rec
}

// next reads a record and checks what holds for each that a server sends.
func (a *app) next(g *got) (record, error) {
	rec, err := readRecord(a.in)
	if err != nil {
		return rec, err
	}
	g.seen = append(g.seen, rec)
	switch {
	case rec.id != 1:
		err = fmt.Errorf("request id %d", rec.id)
	case (len(rec.content)+len(rec.padding))%8 != 0 || len(rec.padding) > 7:
		err = fmt.Errorf("%d bytes of content have %d of padding", len(rec.content), len(rec.padding))
	case !bytes.Equal(rec.padding, make([]byte, len(rec.padding))):
		err = fmt.Errorf("padding %x", rec.padding)
	}
	return rec, err
}

// rest reads what still comes up to the end of the connection.
func (a *app) rest() (all []record, err error) {
	for {
		rec, err := readRecord(a.in)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, rec)
	}
}

// begun begins a request that must be taken.
func begun(t testing.TB, nc net.Conn, req *Request) *Exchange {
	t.Helper()
	ex, err := Begin(nc, req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ex.Close(cgi.Stop) })
	return ex
}

// params is Request.Params of a list.
func params(list ...pair) func(func(name, value string)) {
	return func(set func(name, value string)) {
		for _, p := range list {
			set(p.name, p.value)
		}
	}
}

// answer reads the whole answer.
func answer(t testing.TB, ex *Exchange) string {
	t.Helper()
	b, err := io.ReadAll(ex)
	if err != nil {
		t.Fatalf("%v after %.60q", err, b)
	}
	return string(b)
}

// died checks an end that was none.
func died(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, cgi.ErrDied) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, want cgi.ErrDied", err)
	}
}
