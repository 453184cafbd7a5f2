package cgi_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"sluice/cgi"
)

// cut is what a Lines emits for the writes, and after its Flush.
func cut(limit int, writes ...string) (lines []string) {
	l := &cgi.Lines{MaxLine: limit, Emit: func(b []byte) { lines = append(lines, string(b)) }}
	for _, w := range writes {
		if n, err := l.Write([]byte(w)); n != len(w) || err != nil {
			lines = append(lines, "a Write that failed")
		}
	}
	l.Flush()
	l.Flush() // has nothing left
	return lines
}

func TestLines(t *testing.T) {
	x := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name   string
		limit  int
		writes []string
		want   []string
	}{
		{"nothing", 0, nil, nil},
		{"a line", 0, []string{"a\n"}, []string{"a"}},
		{"CRLF", 0, []string{"a\r\nb\r\n"}, []string{"a", "b"}},
		{"CR in another write than its LF", 0, []string{"a\r", "\nb"}, []string{"a", "b"}},
		{"unfinished", 0, []string{"a\nb"}, []string{"a", "b"}},
		{"empty lines", 0, []string{"\n\r\n\na\n\n"}, []string{"a"}},
		{"in pieces", 0, []string{"a", "b", "c\nd", "", "e\n"}, []string{"abc", "de"}},
		{"blanks are kept", 0, []string{"  a \n"}, []string{"  a "}},
		{"exactly the longest", 4, []string{"xxxx\ny\n"}, []string{"xxxx", "y"}},
		{"one longer", 4, []string{"xxxxx\n"}, []string{"xxxx", "x"}},
		{"twice the longest", 4, []string{"xxxxxxxx\n"}, []string{"xxxx", "xxxx"}},
		{"longer, in pieces", 4, []string{"xx", "xx", "xx", "x\n"}, []string{"xxxx", "xxx"}},
		{"longer, unfinished", 4, []string{"xxxxxx"}, []string{"xxxx", "xx"}},
		{"the limit without being told", 0, []string{x(8193) + "\n"}, []string{x(8192), "x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := cut(c.limit, c.writes...); !slices.Equal(got, c.want) {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestLinesSplit: how the text is cut into writes does not matter.
func TestLinesSplit(t *testing.T) {
	const text = "first\nsecond is longer than ten\r\n\n\nthird\r\nlast"
	want := cut(10, text)
	if bytewise := cut(10, strings.Split(text, "")...); !slices.Equal(bytewise, want) {
		t.Errorf("byte by byte: %q, want %q", bytewise, want)
	}
	for range 200 {
		var writes []string
		for rest := text; rest != ""; {
			n := 1 + rand.N(len(rest))
			writes = append(writes, rest[:n])
			rest = rest[n:]
		}
		if got := cut(10, writes...); !slices.Equal(got, want) {
			t.Fatalf("%q: %q, want %q", writes, got, want)
		}
	}
}
