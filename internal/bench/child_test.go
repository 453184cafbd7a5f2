package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be the FastCGI child, as the program itself is.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-child" {
		os.Exit(runHidden(os.Args[2], os.Args[3:]))
	}
	os.Exit(m.Run())
}

// request is the records of one request without a body.
func request(id uint16, flags byte) []byte {
	var b []byte
	add := func(kind byte, content string) {
		at := len(b)
		b = appendRecord(b, kind, content)
		binary.BigEndian.PutUint16(b[at+2:], id)
	}
	add(fcgiBeginRequest, string([]byte{0, 1, flags, 0, 0, 0, 0, 0}))
	add(fcgiParams, "\x0e\x03REQUEST_METHODGET")
	add(fcgiParams, "")
	add(fcgiStdin, "")
	return b
}

// readAnswer reads records up to END_REQUEST and returns the stdout content.
func readAnswer(t *testing.T, r io.Reader, id uint16) string {
	t.Helper()
	var stdout bytes.Buffer
	for {
		var h [8]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			t.Fatalf("record header: %v", err)
		}
		content := make([]byte, int(binary.BigEndian.Uint16(h[4:]))+int(h[6]))
		if _, err := io.ReadFull(r, content); err != nil {
			t.Fatalf("record content: %v", err)
		}
		if got := binary.BigEndian.Uint16(h[2:]); got != id {
			t.Fatalf("record type %d has id %d, want %d", h[1], got, id)
		}
		switch h[1] {
		case fcgiStdout:
			stdout.Write(content[:len(content)-int(h[6])])
		case fcgiEndRequest:
			return stdout.String()
		default:
			t.Fatalf("record type %d", h[1])
		}
	}
}

// TestResponderSocketpair speaks to one connection in this process.
func TestResponderSocketpair(t *testing.T) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours := os.NewFile(uintptr(fds[0]), "front")
	defer ours.Close()
	defer syscall.Close(fds[1])
	c := newResponder("X-Sendfile: /srv/a\r\n")

	ours.Write(request(7, fcgiKeepConn))
	if !c.step(fds[1]) {
		t.Fatal("closed in spite of FCGI_KEEP_CONN")
	}
	want := "Content-Type: text/plain\r\nX-Sendfile: /srv/a\r\n\r\n" + smallAnswer
	if got := readAnswer(t, ours, 7); got != want {
		t.Errorf("answer %q, want %q", got, want)
	}
	ours.Write(request(258, 0))
	if c.step(fds[1]) {
		t.Error("kept without FCGI_KEEP_CONN")
	}
	readAnswer(t, ours, 258)
}

func TestResponderByteByByte(t *testing.T) {
	c := newResponder("")
	in := append(request(1, fcgiKeepConn), request(2, fcgiKeepConn)...)
	var out []byte
	for _, b := range in {
		c.buf[c.have] = b
		c.have++
		part, more := c.advance()
		if !more {
			t.Fatal("closed")
		}
		out = append(out, part...)
	}
	r := bytes.NewReader(out)
	readAnswer(t, r, 1)
	readAnswer(t, r, 2)
	if r.Len() > 0 {
		t.Errorf("%d bytes too many", r.Len())
	}
}

func TestResponderOddInput(t *testing.T) {
	whole := request(1, fcgiKeepConn)
	for _, c := range []struct {
		name string
		in   []byte
		out  int  // bytes
		more bool // connection stays
	}{
		{"params not ended", append(bytes.Clone(whole[:16]), whole[len(whole)-8:]...), 0, true},
		{"other request's stdin", append(bytes.Clone(whole[:len(whole)-8]), fcgiVersion, fcgiStdin, 0, 9, 0, 0, 0, 0), 0, true},
		{"wrong version", []byte{2, fcgiStdin, 0, 1, 0, 0, 0, 0}, 0, false},
		{"get values", []byte{fcgiVersion, fcgiGetValues, 0, 0, 0, 0, 0, 0}, 8, true},
		{"unknown management record", []byte{fcgiVersion, 77, 0, 0, 0, 0, 0, 0}, 16, true},
		{"half a header", whole[:5], 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newResponder("")
			r.have = copy(r.buf, c.in)
			out, more := r.advance()
			if len(out) != c.out || more != c.more {
				t.Errorf("%d bytes, more %v; want %d, %v", len(out), more, c.out, c.more)
			}
		})
	}
}

func TestResponderAllocates(t *testing.T) {
	c, in := newResponder(""), request(1, fcgiKeepConn)
	n := testing.AllocsPerRun(100, func() {
		c.have = copy(c.buf, in)
		c.advance()
	})
	if n != 0 {
		t.Errorf("%v allocations a request, want none", n)
	}
}

// TestResponderChoosy has only the requests with a word get the header; what
// they leave behind is a gap.
func TestResponderChoosy(t *testing.T) {
	for _, dawdle := range []bool{false, true} {
		gaps, err := os.Create(filepath.Join(t.TempDir(), "gaps"))
		if err != nil {
			t.Fatal(err)
		}
		defer gaps.Close()
		c := newResponder("X-Sendfile: /srv/a\r\n")
		c.choosy = &choosy{word: []byte("GET"), plain: newReply(""), dawdle: dawdle, gaps: gaps}
		fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		if err != nil {
			t.Fatal(err)
		}
		ours := os.NewFile(uintptr(fds[0]), "front")
		defer ours.Close()
		defer syscall.Close(fds[1])

		ours.Write(bytes.Replace(request(1, fcgiKeepConn), []byte("GET"), []byte("PUT"), 1))
		c.step(fds[1])
		if got := readAnswer(t, ours, 1); strings.Contains(got, "X-Sendfile") {
			t.Errorf("without the word: %q", got)
		}
		ours.Write(request(2, 0))
		if more := c.step(fds[1]); more != dawdle {
			t.Errorf("dawdle %v: connection stays %v", dawdle, more)
		}
		if !dawdle {
			if got := readAnswer(t, ours, 2); !strings.Contains(got, "X-Sendfile: /srv/a") {
				t.Errorf("with the word: %q", got)
			}
		} else {
			head := make([]byte, 8)
			io.ReadFull(ours, head)
			content := make([]byte, 4096)
			if n, _ := ours.Read(content); head[1] != fcgiStdout || n != int(binary.BigEndian.Uint16(head[4:]))+int(head[6]) {
				t.Errorf("record type %d, then %d bytes: not the header block alone", head[1], n)
			}
		}
		ours.Write(request(3, 0))
		c.step(fds[1])
		if text, _ := os.ReadFile(gaps.Name()); len(strings.Fields(string(text))) != 1 {
			t.Errorf("gaps %q, want one", text)
		}
	}
}

// TestChildProcess runs the child on a real listening socket in both modes.
func TestChildProcess(t *testing.T) {
	for _, multi := range []bool{false, true} {
		t.Run(map[bool]string{false: "one", true: "multi"}[multi], func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "s")
			startChild(t, socket, multi)
			dial := func() (net.Conn, *bufio.Reader) {
				c, err := net.Dial("unix", socket)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				c.SetDeadline(time.Now().Add(5 * time.Second))
				return c, bufio.NewReader(c)
			}
			first, r1 := dial()
			for id := range uint16(3) {
				first.Write(request(id+1, fcgiKeepConn))
				if got := readAnswer(t, r1, id+1); !strings.HasSuffix(got, smallAnswer) {
					t.Fatalf("answer %q", got)
				}
			}
			if !multi { // a second connection is served only once the first has ended
				first.Close()
			}
			second, r2 := dial()
			second.Write(request(1, 0))
			readAnswer(t, r2, 1)
			if _, err := r2.ReadByte(); err != io.EOF {
				t.Errorf("after the last answer: %v, want EOF", err)
			}
		})
	}
}

func startChild(t *testing.T, socket string, multi bool) {
	t.Helper()
	f, err := listenUnix(socket)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	args := []string{"-child", "fastcgi"}
	if multi {
		args = append(args, "-multi")
	}
	cmd := exec.Command(os.Args[0], args...)
	cmd.Stdin = f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
}
