package sendfile

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"testing"
)

// failing is a ResponseWriter whose client leaves after some bytes.
type failing struct {
	*httptest.ResponseRecorder
	left int
}

var errGone = errors.New("client is gone")

func (f *failing) Write(b []byte) (int, error) {
	n := min(len(b), f.left)
	f.left -= n
	f.ResponseRecorder.Write(b[:n])
	if n < len(b) {
		return n, errGone
	}
	return n, nil
}

func TestServeErrors(t *testing.T) {
	const size = 100_000
	f := openTemp(t, "a", pattern(size))
	for _, c := range []struct{ status, left, want int }{{200, 70_000, 70_000}, {404, 70_000, 70_000}, {200, 0, 0}} {
		p := &Reply{Status: c.status}
		err := p.Serve(&failing{httptest.NewRecorder(), c.left}, httptest.NewRequest("GET", "/", nil), f)
		if !errors.Is(err, errGone) || p.Sent != int64(c.want) {
			t.Errorf("%+v: %v, sent %d", c, err, p.Sent)
		}
	}
	must(t, os.Truncate(f.Name(), 50_000))
	for _, c := range []struct {
		status int
		rng    string
		sent   int64
	}{
		{200, "", 50_000}, {404, "", 50_000}, {200, "bytes=49990-50009", 10}, {200, "bytes=60000-60009", 0},
		{200, "bytes=0-9,60000-60009", -1},
	} {
		p := &Reply{Status: c.status}
		_, err := serve(p, "GET", nil, set{"Range": c.rng}, f)
		if !errors.Is(err, io.ErrUnexpectedEOF) || c.sent >= 0 && p.Sent != c.sent {
			t.Errorf("shrunk, %+v: %v, sent %d", c, err, p.Sent)
		}
	}
	if _, err := serve(&Reply{}, "HEAD", nil, nil, f); err != nil {
		t.Errorf("HEAD of a file that shrank: %v", err)
	}
	if _, err := serve(&Reply{}, "GET", nil, set{"Range": "bytes=0-9"}, f); err != nil {
		t.Errorf("range that is still there: %v", err)
	}
	f.Close()
	if _, err := serve(&Reply{}, "GET", nil, nil, f); !errors.Is(err, os.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// mute takes everything and says that it took nothing.
type mute struct{ *httptest.ResponseRecorder }

func (mute) ReadFrom(io.Reader) (int64, error) { return 0, nil }
func (mute) Write([]byte) (int, error)         { return 0, nil }

func TestServeShortWithoutError(t *testing.T) {
	for _, size := range []int{1, smallFile, smallFile + 1} {
		f := openTemp(t, "a", pattern(size))
		err := Serve(mute{httptest.NewRecorder()}, httptest.NewRequest("GET", "/", nil), 200, f)
		if !errors.Is(err, io.ErrShortWrite) {
			t.Error(size, err)
		}
	}
}

// A small file that has shrunk is found out before its header has left; the
// header leaves nevertheless, so that the client can tell.
func TestSmallFileShrank(t *testing.T) {
	f := openTemp(t, "a", pattern(5000))
	must(t, os.Truncate(f.Name(), 4000))
	w := httptest.NewRecorder()
	p := &Reply{}
	err := p.Serve(w, httptest.NewRequest("GET", "/", nil), f)
	if !errors.Is(err, io.ErrUnexpectedEOF) || p.Answer != 200 || p.Sent != 4000 || w.Header().Get("Content-Length") != "5000" {
		t.Errorf("%v; %d, %d bytes, %v", err, p.Answer, p.Sent, w.Header())
	}
}

// A file that is replaced under its name is sent to its end; one that shrinks ends in an error that the client sees.
func TestChangedWhileSent(t *testing.T) {
	const size = 32 << 20
	dir := tree(t, nil)
	result := make(chan error, 1)
	s := serverFor(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := OpenBeneath(dir, r.URL.Path, Beneath)
		if err != nil {
			result <- err
			return
		}
		defer f.Close()
		err = Serve(w, r, 200, f)
		result <- err
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}))
	fetch := func(change func()) (n int64, client, server error) {
		must(t, os.WriteFile(dir+"/f", pattern(size), 0o644))
		resp, err := http.Get(s.URL + "/f")
		must(t, err)
		defer resp.Body.Close()
		if got := resp.Header.Get("Content-Length"); got != strconv.Itoa(size) {
			t.Errorf("Content-Length %s", got)
		}
		change() // the socket's buffers are full long before the end
		n, client = io.Copy(io.Discard, resp.Body)
		return n, client, <-result
	}
	n, client, server := fetch(func() {
		must(t, os.WriteFile(dir+"/new", []byte("new"), 0o644))
		must(t, os.Rename(dir+"/new", dir+"/f"))
	})
	if n != size || client != nil || server != nil {
		t.Errorf("replaced: %d bytes, client %v, server %v", n, client, server)
	}
	n, client, server = fetch(func() { must(t, os.Truncate(dir+"/f", size-1)) })
	if n != size-1 || client == nil || !errors.Is(server, io.ErrUnexpectedEOF) {
		t.Errorf("shrunk: %d bytes, client %v, server %v", n, client, server)
	}
}
