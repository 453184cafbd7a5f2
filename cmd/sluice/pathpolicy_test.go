package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// policyModes are the applications of the path policy test.
var policyModes = []string{"beneath", "deny", "follow", "raw"}

// policyCase is a path below the test's folder, and what each mode answers.
type policyCase struct {
	name string
	path string
	want [4]int // as in policyModes
}

func all(status int) [4]int { return [4]int{status, status, status, status} }

var longName = strings.Repeat("n", 255)

var policyCases = []policyCase{
	{"plain", "files/plain", all(200)},
	{"blank", "files/a b", all(200)},
	{"percent sign", "files/100%", all(200)},
	{"an encoding as a name", "files/%41", all(200)},
	{"number sign", "files/h#s", all(200)},
	{"question mark", "files/q?x=y", all(200)},
	{"comma", "files/a,b", all(200)},
	{"plus", "files/a+b", all(200)},
	{"quotes", "files/'a\"b", all(200)},
	{"UTF-8", "files/grün 中文", all(200)},
	{"not UTF-8", "files/\xff\xfe", all(200)},
	{"255 bytes", "files/" + longName, all(200)},
	{"256 bytes", "files/" + longName + "n", all(404)},
	{"in a folder", "files/sub/deep", all(200)},
	{"dot segments inside", "files/sub/../plain", all(200)},
	{"from outside to the inside", "outside/../files/plain", all(200)},

	{"missing", "files/missing", all(404)},
	{"a file as a folder", "files/plain/x", all(404)},
	{"slash behind a file", "files/plain/", all(404)},

	{"a folder", "files/sub", all(403)},
	{"the root", "files", all(403)},
	{"FIFO", "files/fifo", all(403)},
	{"socket", "files/socket", all(403)},
	{"outside", "outside/secret", all(403)},
	{"outside, missing", "outside/missing", all(403)},
	{"outside, a folder", "outside", all(403)},
	{"outside, a FIFO", "outside/fifo", all(403)},
	{"up and out", "files/../outside/secret", all(403)},
	{"up and out, missing", "files/../outside/missing", all(403)},
	{"the beginning of its name is the root's", "files-other/secret", all(403)},

	{"link inside", "files/in", [4]int{200, 403, 200, 200}},
	{"link out", "files/out", [4]int{403, 403, 200, 403}},
	{"link out, missing", "files/outmissing", [4]int{403, 403, 404, 403}},
	{"absolute link inside", "files/abs", [4]int{403, 403, 200, 403}},
	{"link to a folder outside", "files/outdir/secret", [4]int{403, 403, 200, 403}},
	{"link to a folder outside, missing", "files/outdir/missing", [4]int{403, 403, 404, 403}},
	{"dangling link", "files/dangling", [4]int{404, 403, 404, 404}},
	{"link to itself", "files/loop", all(403)},
}

// TestPathPolicy asks for every path by every dialect, of CGI and FastCGI applications, in every mode.
func TestPathPolicy(t *testing.T) {
	dir := testDir(t)
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	roots := fmt.Sprintf("roots = [%q, %q]\ndelete_roots = [%q, %q]\n", dir+"/files", dir+"/mounted", dir+"/files", dir+"/mounted")
	policyZoo(t, dir)
	cases := append(policyCases, policyMounts(t, dir)...)
	cases = append(cases, policyDevice(t, dir)...)
	s := startDialects(t, dir, "", map[string]string{"beneath": roots, "deny": roots + "symlinks = \"deny\"\n",
		"follow": roots + "symlinks = \"follow\"\n", "raw": roots + "decode = false\n"})
	for _, p := range protocols {
		for i, mode := range policyModes {
			for _, d := range dialects {
				t.Run(strings.Join([]string{p, mode, d.header}, " "), func(t *testing.T) {
					for _, c := range cases {
						path := dir + "/" + c.path
						if mode != "raw" {
							path = percent(path)
						} else if d.header == "X-Sendfile2" && strings.ContainsAny(path, ",") {
							continue // it cannot be said there
						}
						policyAsk(t, s, dir, p+"-"+mode, d, c, path, c.want[i])
					}
					if mode == "raw" {
						policyAsk(t, s, dir, p+"-"+mode, d, policyCases[0], dir+"/files/%70lain", 404)
					}
				})
			}
		}
	}
}

// policyAsk asks for one path, whose file is there again if the last one to have it has unlinked it.
func policyAsk(t *testing.T, s *site, dir, app string, d dialect, c policyCase, path string, want int) {
	t.Helper()
	if c.want[2] == 200 {
		policyFile(t, dir, c.path)
	}
	a, err := said("GET", app, d.header+": "+d.value(path)+"\nContent-Type: text/own").send("tcp", s.addr)
	switch {
	case err != nil:
		t.Fatalf("%s: %v", c.name, err)
	case a.err != nil:
		t.Fatalf("%s: %v", c.name, a.err)
	case a.took > requestWait/3:
		t.Errorf("%s: took %v", c.name, a.took)
	case a.StatusCode != want:
		t.Errorf("%s: %s, want %d\n%s", c.name, a.Status, want, a.body)
	case want == 200 && a.body != "content of "+filepath.Clean("/"+c.path):
		t.Errorf("%s: %q", c.name, a.body)
	case want != 200 && a.body != fmt.Sprintf("%d %s\n", want, map[int]string{403: "Forbidden", 404: "Not Found"}[want]):
		t.Errorf("%s: the answer is %q", c.name, a.body) // the same whether or not there is something
	}
	if file := filepath.Join(dir, c.path); want == 200 && d.header == "X-Sendfile-Temporary" && !isLink(file) {
		if !waitFor(requestWait, func() bool { _, err := os.Lstat(file); return os.IsNotExist(err) }) {
			t.Errorf("%s: it is still there", c.name)
		}
	}
	for name := range a.Header {
		if strings.Contains(strings.ToLower(name), "endfile") || strings.HasPrefix(name, "X-Reproxy") {
			t.Errorf("%s: %s reaches the client", c.name, name)
		}
	}
}

func isLink(name string) bool {
	fi, err := os.Lstat(name)
	return err == nil && fi.Mode()&os.ModeSymlink != 0
}

// policyFile makes the file of a case, unless that is a link.
func policyFile(t *testing.T, dir, path string) {
	t.Helper()
	name := filepath.Join(dir, path)
	if isLink(name) {
		return
	}
	if err := os.WriteFile(name, []byte("content of "+filepath.Clean("/"+path)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// policyZoo makes what the cases ask for.
func policyZoo(t *testing.T, dir string) {
	t.Helper()
	for _, d := range []string{"files/sub", "outside", "files-other", "mounted"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"outside/secret": "content of /files/outdir/secret", "outside/out": "content of /files/out",
		"files-other/secret": "secret", "files/in-target": "content of /files/in", "files/abs-target": "content of /files/abs"} {
		write(t, dir, name, text)
	}
	for link, to := range map[string]string{"in": "in-target", "out": "../outside/out", "outmissing": "../outside/missing",
		"abs": dir + "/files/abs-target", "outdir": "../outside", "dangling": "nowhere", "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(dir, "files", link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, fifo := range []string{"files/fifo", "outside/fifo"} {
		if err := unix.Mkfifo(filepath.Join(dir, fifo), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("unix", filepath.Join(dir, "files/socket"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
}

// policyMounts has another file system as a root, and one below a root.
func policyMounts(t *testing.T, dir string) []policyCase {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Run("another file system", func(t *testing.T) { t.Skip("only root can mount one") })
		return nil
	}
	for _, at := range []string{"mounted", "files/mnt"} {
		path := filepath.Join(dir, at)
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", path, "tmpfs", 0, "size=1m"); err != nil {
			t.Run("another file system", func(t *testing.T) { t.Skip("mount: ", err) })
			return nil
		}
		t.Cleanup(func() {
			for range 100 { // a file may still be open
				if err := unix.Unmount(path, 0); err != unix.EBUSY {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
			unix.Unmount(path, unix.MNT_DETACH)
		})
	}
	write(t, dir, "outside/mounted", "content of /mounted/out")
	if err := os.Symlink("../outside/mounted", filepath.Join(dir, "mounted/out")); err != nil {
		t.Fatal(err)
	}
	return []policyCase{
		{"root on another file system", "mounted/f", all(200)},
		{"root on another file system, missing", "mounted/missing", all(404)},
		{"link out of it", "mounted/out", [4]int{403, 403, 200, 403}},
		{"another file system below a root", "files/mnt/f", all(200)},
		{"another file system below a root, missing", "files/mnt/missing", all(404)},
	}
}

// policyDevice has a device below a root.
func policyDevice(t *testing.T, dir string) []policyCase {
	t.Helper()
	path := filepath.Join(dir, "files/zero")
	if err := unix.Mknod(path, unix.S_IFCHR|0o666, int(unix.Mkdev(1, 5))); err != nil {
		t.Run("a device", func(t *testing.T) { t.Skip("mknod: ", err) })
		return nil
	}
	return []policyCase{{"device", "files/zero", all(403)}}
}
