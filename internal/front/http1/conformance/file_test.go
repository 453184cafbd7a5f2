package conformance

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// content is a file's: each place has bytes of its own.
func content(n int) []byte {
	var b bytes.Buffer
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%08d\n", i)
	}
	return b.Bytes()[:n]
}

func written(t testing.TB, b []byte) string {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Files that are copied to an answer arrive whole, however their end is told.
func TestFile(t *testing.T) {
	all := content(3<<20 + 17)
	name := written(t, all)
	for _, x := range []struct {
		name string
		copy func(w http.ResponseWriter, f *os.File)
		want []byte
	}{
		{"whole", func(w http.ResponseWriter, f *os.File) { io.Copy(w, f) }, all},
		{"whole, its length known", func(w http.ResponseWriter, f *os.File) {
			w.Header().Set("Content-Length", fmt.Sprint(len(all)))
			io.Copy(w, f)
		}, all},
		{"whole, its type known", func(w http.ResponseWriter, f *os.File) {
			w.Header().Set("Content-Length", fmt.Sprint(len(all)))
			w.Header().Set("Content-Type", "a/b")
			io.Copy(w, f)
		}, all},
		{"a part", func(w http.ResponseWriter, f *os.File) {
			w.Header().Set("Content-Length", "1000000")
			w.Header().Set("Content-Type", "a/b")
			f.Seek(1000, io.SeekStart)
			io.CopyN(w, f, 1000000)
		}, all[1000:1001000]},
		{"two parts and bytes between", func(w http.ResponseWriter, f *os.File) {
			w.Header().Set("Content-Length", "2000005")
			w.Header().Set("Content-Type", "a/b")
			io.CopyN(w, f, 1000000)
			io.WriteString(w, "hello")
			f.Seek(0, io.SeekStart)
			io.CopyN(w, f, 1000000)
		}, append(append(append([]byte(nil), all[:1000000]...), "hello"...), all[:1000000]...)},
		{"bytes before, flushed", func(w http.ResponseWriter, f *os.File) {
			w.Header().Set("Content-Length", "1000005")
			io.WriteString(w, "hello")
			w.(http.Flusher).Flush()
			io.CopyN(w, f, 1000000)
		}, append([]byte("hello"), all[:1000000]...)},
		{"chunked", func(w http.ResponseWriter, f *os.File) {
			w.(http.Flusher).Flush()
			io.Copy(w, f)
		}, all},
		{"more than its length", func(w http.ResponseWriter, f *os.File) {
			w.Header().Set("Content-Length", "1000")
			io.CopyN(w, f, 1000)
			if _, err := io.Copy(w, f); err == nil {
				panic("more than the length")
			}
		}, all[:1000]},
	} {
		t.Run(x.name, func(t *testing.T) {
			each(t, func(t *testing.T, m mode) {
				c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
					f, err := os.Open(name)
					if err != nil {
						panic(err)
					}
					defer f.Close()
					x.copy(w, f)
				}))
				for _, method := range []string{"HEAD", "GET"} {
					c.send(request(method + " / HTTP/1.1"))
					a := c.answer(method)
					if a.status != 200 || a.cut != nil || method == "GET" && a.body != string(x.want) {
						t.Errorf("%v, %d bytes of %d", a, len(a.body), len(x.want))
					}
				}
			})
		})
	}
}

// http.ServeContent works as ever: ranges, conditions, HEAD.
func TestServeContent(t *testing.T) {
	all := content(1 << 20)
	name := written(t, all)
	each(t, func(t *testing.T, m mode) {
		s := m.serve(t, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) })
		c := dial(t, s)
		for _, x := range []struct {
			header, want string
			status       int
		}{
			{"X: y", string(all), 200},
			{"Range: bytes=100-199", string(all[100:200]), 206},
			{"Range: bytes=1000000-", string(all[1000000:]), 206},
			{"Range: bytes=9000000-", "invalid range: failed to overlap\n", 416},
			{"If-Modified-Since: " + time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), "", 304},
		} {
			c.send(request("GET / HTTP/1.1", x.header))
			if a := c.answer("GET"); a.status != x.status || a.body != x.want {
				t.Errorf("%s: %v", x.header, a)
			}
		}
	})
}

// A file that is shorter than promised makes an end that the client can tell.
func TestShortFile(t *testing.T) {
	all := content(100000)
	name := written(t, all)
	each(t, func(t *testing.T, m mode) {
		c := dial(t, m.serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "200000")
			w.Header().Set("Content-Type", "a/b")
			f, _ := os.Open(name)
			defer f.Close()
			io.CopyN(w, f, 200000)
		}))
		c.send(get)
		if a := c.answer("GET"); a.cut == nil || a.body != string(all) {
			t.Errorf("%v, %d bytes", a, len(a.body))
		}
		c.ended()
	})
}

// TestSendfile runs TestFile's case of a known length and type under strace and
// looks for sendfile(2): a file's bytes do not pass through the process.
func TestSendfile(t *testing.T) {
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("without strace system calls cannot be seen")
	}
	for _, m := range modes {
		trace := filepath.Join(t.TempDir(), "trace")
		cmd := exec.Command(strace, "-f", "-qq", "-e", "trace=sendfile", "-o", trace, os.Args[0],
			"-test.run", "^TestFile$/^whole,_its_type_known$/^"+m.name+"$")
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "PTRACE") {
			t.Skipf("strace may not trace here: %s", out)
		}
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		b, err := os.ReadFile(trace)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(b), "sendfile("); n == 0 {
			t.Errorf("%s: no sendfile(2)\n%s", m.name, b)
		}
	}
}
