package exchange

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/fcgi"
	"sluice/sendfile"
)

// filtering makes the rig's app a filter, which is given the file.
func filtering(t *testing.T, content []byte, o rigOptions) (r *rig, file string) {
	r = newRig(t, o)
	r.app.Backend.(*FastCGI).Role = fcgi.Filter
	file = filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, content, 0o644))
	r.data = func() *sendfile.File {
		f, err := sendfile.OpenBeneath(filepath.Dir(file), "file", sendfile.Deny)
		must(t, err)
		opened.Store(f, true)
		return f
	}
	t.Cleanup(func() {
		opened.Range(func(f, _ any) bool {
			if err := f.(*sendfile.File).Close(); err == nil {
				t.Errorf("the file was left open")
			}
			opened.Delete(f)
			return true
		})
	})
	return r, file
}

// opened are the files that were handed to Serve.
var opened sync.Map

func TestFilter(t *testing.T) {
	for _, size := range []int{0, 1, 5000, 40_000, 3_000_000} {
		content := pattern(size)
		r, file := filtering(t, content, rigOptions{})
		modified := time.Unix(1_600_000_000, 999_999_999)
		must(t, os.Chtimes(file, modified, modified))
		for _, body := range []int{0, 10, 200_000} {
			var asked *call
			var in, data []byte
			r.script(func(c *call) {
				asked = c
				var err error
				if in, err = c.stream(recStdin); err == nil {
					data, err = c.stream(recData)
				}
				if err != nil {
					t.Error(err)
				}
				c.say(ok + "filtered")
			})
			res := r.do("POST", "/x", bytes.NewReader(pattern(body)))
			if res.status != 200 || res.body != "filtered" || !bytes.Equal(in, pattern(body)) || !bytes.Equal(data, content) {
				t.Fatalf("%d bytes, body of %d: %d %q, input %d, data %d, %v", size, body, res.status, res.body, len(in), len(data), res.end.err)
			}
			if asked.role != 3 || asked.params["FCGI_DATA_LAST_MOD"] != "1600000000" || asked.params["FCGI_DATA_LENGTH"] != strconv.Itoa(size) {
				t.Errorf("role %d, %v", asked.role, asked.params)
			}
			r.free(time.Second)
		}
	}
}

// The answer is read while the file is sent, so neither side waits for ever.
func TestFilterStreams(t *testing.T) {
	content := pattern(4 << 20)
	r, _ := filtering(t, content, rigOptions{})
	r.script(func(c *call) {
		c.out(ok)
		c.stream(recStdin)
		for {
			_, b, err := c.record()
			if err != nil || len(b) == 0 {
				break
			}
			if c.send(recStdout, b) != nil {
				return
			}
		}
		c.end()
	})
	res := r.do("GET", "/x", nil)
	if res.body != string(content) || res.end.err != nil {
		t.Errorf("%d bytes of %d, %v, %v", len(res.body), len(content), res.err, res.end.err)
	}
	r.free(time.Second)
}

// A filter may answer without reading what it is given.
func TestFilterDoesNotRead(t *testing.T) {
	r, _ := filtering(t, pattern(4<<20), rigOptions{})
	res := r.get(func(c *call) { c.say("Status: 304\r\n\r\n") })
	if res.status != 304 || res.end.err != nil {
		t.Errorf("%d, %v", res.status, res.end.err)
	}
	r.free(time.Second)
}

// A file that shrinks while it is sent ends the exchange, so that the filter
// does not take a part for the whole; one that grows is cut.
func TestFilterFileChanges(t *testing.T) {
	content := pattern(4 << 20)
	t.Run("shrinks", func(t *testing.T) {
		for _, head := range []string{"", ok + "some"} {
			r, file := filtering(t, content, rigOptions{})
			res := r.get(func(c *call) {
				c.out(head)
				if head != "" {
					time.Sleep(60 * time.Millisecond) // so that it has left
				}
				must(t, os.Truncate(file, 10))
				c.stream(recStdin)
				if b, err := c.stream(recData); err == nil {
					t.Errorf("the data ended in order after %d bytes", len(b))
				}
			})
			if res.end.err == nil || res.end.err.Kind != FileBroken || res.end.err.Started != (head != "") {
				t.Errorf("%+v", res.end.err)
			}
			if head == "" && res.status != 500 || head != "" && res.err == nil {
				t.Errorf("%d, %v", res.status, res.err)
			}
			r.free(time.Second)
		}
	})
	t.Run("grows", func(t *testing.T) {
		r, file := filtering(t, content, rigOptions{})
		var data []byte
		res := r.get(func(c *call) {
			f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
			must(t, err)
			f.WriteString(strings.Repeat("more", 100_000))
			f.Close()
			c.stream(recStdin)
			data, _ = c.stream(recData)
			c.say(ok + "x")
		})
		if res.status != 200 || !bytes.Equal(data, content) {
			t.Errorf("%d, %d bytes of data", res.status, len(data))
		}
	})
}

// A filter that dies is asked again with the whole file.
func TestFilterIsRepeated(t *testing.T) {
	content := pattern(100_000)
	r, _ := filtering(t, content, rigOptions{})
	var data []byte
	res := r.get(func(c *call) {
		c.stream(recStdin)
		b, _ := c.stream(recData)
		if c.try == 0 {
			c.die()
			return
		}
		data = b
		c.say(ok + "again")
	})
	if res.body != "again" || !bytes.Equal(data, content) {
		t.Errorf("%q, %d bytes", res.body, len(data))
	}
}

// The file of a request whose body is refused is closed.
func TestFilterBodyTooLarge(t *testing.T) {
	r, _ := filtering(t, pattern(10), rigOptions{})
	if res := r.do("POST", "/x", io.LimitReader(zeros{}, 1<<20)); res.end.err == nil || res.end.err.Kind != BodyTooLarge {
		t.Errorf("%+v", res.end)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
