package wire

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAppendStatusLine(t *testing.T) {
	tests := []struct {
		minor, status int
		want          string
	}{
		{1, 200, "HTTP/1.1 200 OK\r\n"},
		{0, 200, "HTTP/1.0 200 OK\r\n"},
		{7, 404, "HTTP/1.1 404 Not Found\r\n"},
		{1, 103, "HTTP/1.1 103 Early Hints\r\n"},
		{1, 299, "HTTP/1.1 299 status code 299\r\n"},
	}
	for _, c := range tests {
		if got := string(AppendStatusLine(nil, c.minor, c.status)); got != c.want {
			t.Errorf("%d of 1.%d: %q", c.status, c.minor, got)
		}
	}
}

func TestAppendHeader(t *testing.T) {
	many := http.Header{}
	for i := range 100 {
		many.Set(fmt.Sprintf("X-%03d", i), "a")
	}
	tests := []struct {
		name string
		h    http.Header
		skip []string
	}{
		{"none", nil, nil},
		{"sorted", http.Header{"C": {"1"}, "A": {"2"}, "B-A": {"3"}, "B": {"4"}}, nil},
		{"repeated", http.Header{"Set-Cookie": {"b", "a"}}, nil},
		{"no value", http.Header{"A": nil, "B": {}}, nil},
		{"empty value", http.Header{"A": {""}}, nil},
		{"another case", http.Header{"x-a": {"1"}, "X-A": {"2"}}, nil},
		{"bad names", http.Header{"": {"1"}, "A B": {"2"}, "A:": {"3"}, "A\r\nB": {"4"}, "\xc3\xa9": {"5"}, "C": {"6"}, http.TrailerPrefix + "D": {"7"}}, nil},
		{"line ends in values", http.Header{"A": {"b\r\nC: d", "\ne\r", "f\n"}}, nil},
		{"blanks around values", http.Header{"A": {" \tb c\t "}, "B": {" \t "}}, nil},
		{"skipped", http.Header{"Content-Length": {"5"}, "Date": {"x"}, "Content-Type": {"y"}}, []string{"Content-Length", "Date"}},
		{"very many", many, nil},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			exclude := map[string]bool{}
			for _, name := range c.skip {
				exclude[name] = true
			}
			var want bytes.Buffer
			c.h.WriteSubset(&want, exclude)
			if got := string(AppendHeader([]byte("before"), c.h, c.skip...)); got != "before"+want.String() {
				t.Errorf("got  %q\nwant %q", got, want.String())
			}
		})
	}
}

// net/http lets a NUL through.
func TestAppendFieldWithNUL(t *testing.T) {
	if got := string(AppendField(nil, "A", "\x00b\x00c\x00")); got != "A: b c\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestAppendLengthAndChunkSize(t *testing.T) {
	if got := string(AppendLength([]byte("a"), 1<<40)); got != "aContent-Length: 1099511627776\r\n" {
		t.Errorf("got %q", got)
	}
	if got := string(AppendChunkSize([]byte("a"), 0xbeef)); got != "abeef\r\n" {
		t.Errorf("got %q", got)
	}
	if got := string(AppendChunkSize(nil, 0)); got != "0\r\n" {
		t.Errorf("got %q", got)
	}
}

func TestAppendDate(t *testing.T) {
	at := time.Date(2026, 11, 25, 17, 4, 5, 999e6, time.FixedZone("", 3600))
	for range 2 {
		if got := string(AppendDate([]byte("a"), at)); got != "aDate: Wed, 25 Nov 2026 16:04:05 GMT\r\n" {
			t.Errorf("got %q", got)
		}
	}
	if got := string(AppendDate(nil, at.Add(time.Millisecond))); got != "Date: Wed, 25 Nov 2026 16:04:06 GMT\r\n" {
		t.Errorf("a second later %q", got)
	}
}

// Two at different times do not get each other's date.
func TestAppendDateAtTheSameTime(t *testing.T) {
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			at := time.Unix(int64(i), 0)
			want := "Date: " + at.UTC().Format(http.TimeFormat) + "\r\n"
			for range 1000 {
				if got := string(AppendDate(nil, at)); got != want {
					t.Errorf("got %q, want %q", got, want)
					return
				}
			}
		})
	}
	all.Wait()
}

// FuzzAppendField: whatever a handler puts into a field, it is one line, and the
// one that net/http writes.
func FuzzAppendField(f *testing.F) {
	f.Add("A", "b")
	f.Add("Set-Cookie", " a=b\r\nX: y\t")
	f.Add("A\r\nB", "c")
	f.Fuzz(func(t *testing.T, name, value string) {
		h := http.Header{name: {value}}
		got := string(AppendHeader(nil, h))
		var want strings.Builder
		h.Write(&want)
		if !strings.Contains(value, "\x00") && got != want.String() {
			t.Fatalf("got %q, net/http writes %q", got, want.String())
		}
		if got != "" && (strings.Count(got, "\n") != 1 || strings.Count(got, "\r") != 1 || !strings.HasSuffix(got, "\r\n")) {
			t.Fatalf("%q is not one line", got)
		}
	})
}
