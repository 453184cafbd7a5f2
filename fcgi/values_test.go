package fcgi

import (
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var allValues = []string{MaxConns, MaxReqs, MpxsConns}

// pairsOf are name-value pairs in the short form.
func pairsOf(s ...string) string {
	var b strings.Builder
	for i := 0; i < len(s); i += 2 {
		b.WriteByte(byte(len(s[i])))
		b.WriteByte(byte(len(s[i+1])))
		b.WriteString(s[i] + s[i+1])
	}
	return b.String()
}

func TestAskValues(t *testing.T) {
	result := func(content string, padding int) string { return rec(10, 0, content, padding) }
	three := pairsOf(MaxConns, "1", MaxReqs, "10", MpxsConns, "0")
	cases := []struct {
		name, answer string
		want         map[string]string // nil: an error
	}{
		{"all", result(three, 5), map[string]string{MaxConns: "1", MaxReqs: "10", MpxsConns: "0"}},
		{"none known", result("", 0), map[string]string{}},
		{"more than asked", result(pairsOf("SECRET", "x", MaxConns, "7"), 0), map[string]string{MaxConns: "7"}},
		{"long form", result("\x80\x00\x00\x0e\x80\x00\x00\x01"+MaxConns+"9", 0), map[string]string{MaxConns: "9"}},
		{"what follows is not read", result(pairsOf(MaxConns, "2"), 0) + "junk", map[string]string{MaxConns: "2"}},
		{"the longest record", result(pairsOf(MaxConns, "3")+"\x01\x80\x00\xff\xe8x"+text(0xffe8), 255), map[string]string{MaxConns: "3"}},
		{"one byte short", result(pairsOf(MaxConns, "3")+"\x01\x80\x00\xff\xe8x"+text(0xffe7), 255), nil},
		{"nothing", "", nil},
		{"half a header", result(three, 0)[:5], nil},
		{"half a record", result(three, 0)[:30], nil},
		{"without its padding", result(three, 5)[:len(result(three, 5))-1], nil},
		{"name longer than the record", result("\x20\x01FCGI", 0), nil},
		{"value longer than the record", result("\x04\x20FCGI1", 0), nil},
		{"length cut", result("\x80\x00\x00", 0), nil},
		{"second length missing", result("\x04", 0), nil},
		{"lengths whose sum overflows", result("\xff\xff\xff\xff\xff\xff\xff\xffx", 0), nil},
		{"version 2", "\x02" + result(three, 0)[1:], nil},
		{"UNKNOWN_TYPE", rec(11, 0, "\x09\x00\x00\x00\x00\x00\x00\x00", 0), nil},
		{"of a request", rec(10, 1, three, 0), nil},
		{"END_REQUEST", end(0, 0), nil},
		{"not FastCGI", "HTTP/1.1 400 Bad Request\r\n\r\n", nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, n := range []int{1, 7, len(c.answer) + 1} {
				nc := play()
				for rest := c.answer; rest != ""; {
					k := min(n, len(rest))
					nc.steps, rest = append(nc.steps, step{data: rest[:k]}), rest[k:]
				}
				got, err := AskValues(nc, allValues, time.Second)
				if (err == nil) != (c.want != nil) || !maps.Equal(got, c.want) {
					t.Fatalf("in pieces of %d: %v, %v; want %v", n, got, err, c.want)
				}
				if nc.deadlines == 0 || nc.closed != 0 {
					t.Errorf("%d deadlines, closed %d times", nc.deadlines, nc.closed)
				}
			}
		})
	}
}

// TestQuestion: one record of request 0 with the names and no values.
func TestQuestion(t *testing.T) {
	nc := play(rec(10, 0, "", 0))
	if _, err := AskValues(nc, []string{MaxConns, "X"}, time.Second); err != nil {
		t.Fatal(err)
	}
	want := rec(9, 0, pairsOf(MaxConns, "", "X", ""), 5)
	if len(nc.writes) != 1 || string(nc.writes[0]) != want {
		t.Errorf("%q, want %q", nc.writes, want)
	}
}

// TestSilence: an application that does not know the record may say nothing.
func TestSilence(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	go io.Copy(io.Discard, theirs)
	begin := time.Now()
	_, err := AskValues(ours, allValues, 50*time.Millisecond)
	if d := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || d < 40*time.Millisecond || d > 5*time.Second {
		t.Errorf("%v after %v", err, d)
	}
	theirs.Close()
	if _, err := AskValues(ours, allValues, time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("of a closed connection: %v", err)
	}
}

// TestPHPValues asks a real application.
func TestPHPValues(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	cmd := exec.Command("php-cgi")
	cmd.Stdin, cmd.Env = f, []string{"PATH=" + os.Getenv("PATH")}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	f.Close()
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	nc, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	got, err := AskValues(nc, allValues, 10*time.Second)
	if want := (map[string]string{MaxConns: "1", MaxReqs: "1", MpxsConns: "0"}); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

// FuzzValues: what is taken of an answer is what the specification says, and
// nothing where it breaks off.
func FuzzValues(f *testing.F) {
	f.Add([]byte(pairsOf(MaxConns, "1", MpxsConns, "0")))
	f.Fuzz(func(t *testing.T, content []byte) {
		content = content[:min(len(content), 0xffff)]
		var got []pair
		var err error
		for rest := content; len(rest) > 0 && err == nil; {
			var name, value []byte
			if name, value, rest, err = nextPair(rest); err == nil {
				got = append(got, pair{string(name), string(value)})
			}
		}
		want, oracle := decodePairs(content)
		if oracle == nil && (err != nil || len(want) != len(got)) {
			t.Fatalf("%q: %v, want %v", content, err, want)
		}
		for i := range min(len(want), len(got)) {
			if got[i] != want[i] {
				t.Errorf("%q: pair %d is %q, want %q", content, i, got[i], want[i])
			}
		}
		values, aerr := AskValues(play(rec(10, 0, string(content), len(content)%256)), allValues, time.Second)
		if (aerr == nil) != (err == nil) || len(values) > len(allValues) {
			t.Errorf("%q: %v, %v; the pairs say %v", content, values, aerr, err)
		}
	})
}
