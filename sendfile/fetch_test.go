package sendfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// storeOf is a server that answers with h.
func storeOf(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func newFetcher(t *testing.T, o FetchOptions) *Fetcher {
	f := NewFetcher(o)
	t.Cleanup(f.Close)
	return f
}

// relayed answers a request with what a store says, as a child with the header
// would have it.
func relayed(t *testing.T, f *Fetcher, p *Reply, child http.Header, o Order, r *http.Request) (*httptest.ResponseRecorder, error) {
	t.Helper()
	g, err := f.Fetch(r, o, p.status())
	if err != nil {
		return nil, err
	}
	defer g.Close()
	w := httptest.NewRecorder()
	for k, v := range child {
		w.Header()[k] = v
	}
	return w, p.Relay(w, r, g)
}

// Each row of the table: whose field it is that the client gets.
func TestRelayFields(t *testing.T) {
	f := newFetcher(t, FetchOptions{})
	for _, row := range storeFields {
		for _, says := range []struct{ store, child bool }{{true, true}, {true, false}, {false, true}} {
			url := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header()["Content-Type"] = nil
				if says.store {
					w.Header()[row.name] = []string{"store/s"}
				}
			})
			child := http.Header{}
			if says.child {
				child[row.name] = []string{"child/c"}
			}
			w, err := relayed(t, f, &Reply{}, child, Order{URLs: []string{url}, Size: -1}, httptest.NewRequest("GET", "/", nil))
			if err != nil {
				t.Fatal(err)
			}
			want := map[whose]string{stores: "store/s", storesFirst: "store/s", childsFirst: "child/c"}[row.whose]
			switch {
			case !says.store && row.whose == stores:
				want = ""
			case !says.store:
				want = "child/c"
			case !says.child:
				want = "store/s"
			}
			if got := w.Header().Get(row.name); got != want {
				t.Errorf("%s, %+v: %q, want %q", row.name, says, got, want)
			}
		}
	}
}

func TestRelayType(t *testing.T) {
	f := newFetcher(t, FetchOptions{})
	url := storeOf(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Type", "store/s") })
	for _, c := range []struct {
		policy      TypePolicy
		child, want string
	}{
		{TypeKeep, "text/html", "text/html; charset=x"},
		{TypeKeep, "", "store/s"},
		{TypeFile, "text/html", "store/s"},
		{TypeDefault, "text/html", "store/s"},
		{TypeDefault, "child/c", "child/c"},
	} {
		w, err := relayed(t, f, &Reply{Type: c.policy, Steer: Steer{Charset: "x"}}, http.Header{"Content-Type": {c.child}},
			Order{URLs: []string{url}, Size: -1}, httptest.NewRequest("GET", "/", nil))
		if err != nil || w.Header().Get("Content-Type") != c.want {
			t.Errorf("%v, %q: %v, %v", c.policy, c.child, w.Header(), err)
		}
	}
}

// Each outcome is one only for who asked for it.
func TestFetchOutcomes(t *testing.T) {
	f := newFetcher(t, FetchOptions{})
	for status := 200; status < 600; status++ {
		url := storeOf(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })
		for _, asks := range append([]string{""}, "Range", "If-None-Match", "If-Modified-Since", "If-Match", "If-Unmodified-Since") {
			r := httptest.NewRequest("GET", "/", nil)
			if asks != "" {
				r.Header.Set(asks, "x")
			}
			want := false
			for _, o := range outcomes {
				want = want || o.status == status && (o.asked == nil || strings.Contains(strings.Join(o.asked, " "), asks) && asks != "")
			}
			g, err := f.Fetch(r, Order{URLs: []string{url}, Size: -1}, 0+200)
			if (err == nil) != want || err != nil && statusOf(err) != 503 {
				t.Errorf("%d to %q: %v", status, asks, err)
			}
			if err == nil {
				g.Close()
			}
		}
	}
}

// The time for each step is bounded, and no proxy of the environment is asked.
func TestFetchTimes(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	half := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "half")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	f := newFetcher(t, FetchOptions{Connect: 5 * time.Second, Header: 200 * time.Millisecond, Read: 200 * time.Millisecond})
	get := httptest.NewRequest("GET", "/", nil)
	begin := time.Now()
	_, err = f.Fetch(get, Order{URLs: []string{"http://" + silent.Addr().String()}, Size: -1}, 200)
	if statusOf(err) != 503 || time.Since(begin) > 4*time.Second {
		t.Errorf("a silent store: %v after %v", err, time.Since(begin))
	}
	w, err := relayed(t, f, &Reply{}, nil, Order{URLs: []string{half}, Size: -1}, get)
	if !errors.Is(err, ErrStore) || w.Body.String() != "half" || time.Since(begin) > 8*time.Second {
		t.Errorf("half an answer: %v after %v", err, time.Since(begin))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Fetch(get.WithContext(ctx), Order{URLs: []string{half, half}, Size: -1}, 200); !errors.Is(err, context.Canceled) {
		t.Errorf("the client has left: %v", err)
	}
}

// movingWriter has a connection, to which it lets the body move by splice(2), in
// pieces.
type movingWriter struct {
	*httptest.ResponseRecorder
	to     *net.TCPConn
	moved  int64
	pieces int64
}

func (w *movingWriter) Write(p []byte) (int, error) { return w.to.Write(p) }

func (w *movingWriter) ReadFrom(src io.Reader) (int64, error) {
	s, ok := src.(*Spliced)
	if !ok {
		return io.Copy(w.to, src)
	}
	raw, err := w.to.SyscallConn()
	for err == nil && s.Left() > 0 {
		var n int64
		n, err = s.SendTo(raw, min(w.pieces, s.Left()))
		w.moved += n
	}
	return w.moved, err
}

// tcpPair are the ends of a connection.
func tcpPair(t *testing.T) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); d.Close() })
	return c.(*net.TCPConn), d.(*net.TCPConn)
}

// A large body moves without a way through user space, all of it and in order;
// where there are no pipes, through a buffer.
func TestSplice(t *testing.T) {
	body := pattern(9<<20 + 11)
	url := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	})
	short := storeOf(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(2*len(body)))
		w.Write(body)
	})
	f := newFetcher(t, FetchOptions{Read: 10 * time.Second})
	run := func(url string) (got []byte, moved int64, err error) {
		a, b := tcpPair(t)
		all := make(chan []byte, 1)
		go func() {
			p, _ := io.ReadAll(b)
			all <- p
		}()
		r := httptest.NewRequest("GET", "/", nil)
		g, err := f.Fetch(r, Order{URLs: []string{url}, Size: -1}, 200)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		w := &movingWriter{ResponseRecorder: httptest.NewRecorder(), to: a, pieces: 777_777}
		p := &Reply{}
		err = p.Relay(w, r, g)
		a.Close()
		got = <-all
		if int(p.Sent) != len(got) {
			t.Errorf("Sent is %d of %d bytes", p.Sent, len(got))
		}
		return got, w.moved, err
	}
	got, moved, err := run(url)
	if err != nil || !bytes.Equal(got, body) || moved < int64(len(body))-4*relayBytes {
		t.Errorf("%d bytes, %d of them moved: %v", len(got), moved, err)
	}
	got, _, err = run(short)
	if !errors.Is(err, ErrStore) || !bytes.Equal(got, body) {
		t.Errorf("a short body: %d bytes, %v", len(got), err)
	}
	defer func() { pipe2 = unix.Pipe2 }()
	pipe2 = func([]int, int) error { return syscall.EMFILE }
	got, moved, err = run(url)
	if err != nil || !bytes.Equal(got, body) || moved == 0 {
		t.Errorf("without pipes: %d bytes, %d of them moved: %v", len(got), moved, err)
	}
}
