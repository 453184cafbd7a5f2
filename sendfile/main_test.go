package sendfile

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sluice/internal/leak"

	"golang.org/x/sys/unix"
)

// TestMain also is the server process of the strace test, and checks that the tests leave nothing behind.
func TestMain(m *testing.M) {
	if root := os.Getenv(serverRootEnv); root != "" {
		serveForStrace(root)
		return
	}
	os.Exit(leak.Main(m))
}

// tree makes files below a new directory: name to content; a name with a final slash is a directory, content that
// begins with "-> " a symbolic link.
func tree(t testing.TB, entries map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	for name, content := range entries {
		p := dir + "/" + name
		if strings.HasSuffix(name, "/") {
			must(t, os.MkdirAll(p, 0o755))
			continue
		}
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		if to, ok := strings.CutPrefix(content, "-> "); ok {
			must(t, os.Symlink(strings.ReplaceAll(to, "$DIR", dir), p))
			continue
		}
		must(t, os.WriteFile(p, []byte(content), 0o644))
	}
	return dir
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newSender(t testing.TB, o Options) *Sender {
	t.Helper()
	s, err := New(o)
	must(t, err)
	return s
}

// openTemp opens a new file with this name and content.
func openTemp(t testing.TB, name string, content []byte) *File {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/"+name, content, 0o644))
	f, err := OpenBeneath(dir, name, Beneath)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// osOf is the file as the os package has it. Both have one position.
func osOf(t testing.TB, f *File) *os.File {
	t.Helper()
	fd, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	file := os.NewFile(uintptr(fd), f.Name())
	t.Cleanup(func() { file.Close() })
	return file
}

// pattern is n bytes that do not repeat at any power of two.
func pattern(n int) []byte {
	const prime = 65521
	b := make([]byte, 0, n)
	for i := 0; len(b) < min(n, prime); i++ {
		b = append(strconv.AppendInt(b, int64(i), 36), '.')
	}
	for b = b[:min(n, prime, len(b))]; len(b) < n; {
		b = append(b, b[:min(len(b), n-len(b))]...)
	}
	return b
}

// statusOf returns the status of an *Error, 0 for nil, and -1 for any other error.
func statusOf(err error) int {
	var e *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return e.Status
	}
	return -1
}

// wrapping is a listener whose connections take part in the zero-copy send.
type wrapping struct{ net.Listener }

func (l wrapping) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return WrapConn(c), nil
}

// serverFor runs net/http over wrapped connections.
func serverFor(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Listener = wrapping{s.Listener}
	s.Start()
	t.Cleanup(s.Close)
	return s
}
