package fcgi

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"sluice/cgi"
)

// heard is what an answer comes down to.
type heard struct {
	out, errs string
	how       string // "end", "died" or "status N"
	app       int
	kept      bool
}

// FuzzRead: any bytes, cut anywhere, with deadlines anywhere, come down to the
// same: what a reader of whole streams makes of them.
func FuzzRead(f *testing.F) {
	f.Add([]byte(stdout("a")+stderr("b")+end(0, 0)), []byte("\x00\x01\x02"), uint16(10))
	f.Fuzz(func(t *testing.T, stream, cuts []byte, size uint16) {
		want := wholeStream(string(stream))
		for _, steps := range [][]step{cutInto(string(stream), nil), cutInto(string(stream), cuts)} {
			got := hear(t, steps, int(size)+1)
			if len(steps) == 1 && len(stream) < readBuffer && got.kept != want.kept {
				t.Errorf("%q: kept: %v", stream, got.kept)
			}
			got.kept = want.kept // depends on what is here
			if got != want {
				t.Errorf("%q in %+v: %+v, want %+v", stream, steps, got, want)
			}
		}
	})
}

// cutInto makes pieces of lengths that the fuzzer chose, and deadlines.
func cutInto(s string, cuts []byte) (steps []step) {
	for _, c := range cuts {
		if c >= 0x80 {
			steps = append(steps, step{err: errLate})
		}
		if n := int(c & 0x7f); n > 0 && n < len(s) {
			steps = append(steps, step{data: s[:n]})
			s = s[n:]
		}
	}
	if s != "" {
		steps = append(steps, step{data: s})
	}
	return steps
}

// hear reads an answer to its end.
func hear(t *testing.T, steps []step, size int) heard {
	nc := play()
	nc.steps = append(nc.steps, steps...)
	var out, errs strings.Builder
	ex := reading(t, nc, &errs)
	b := make([]byte, size)
	for {
		n, err := ex.Read(b)
		out.Write(b[:n])
		if n > 0 && err != nil || n == 0 && err == nil {
			t.Fatalf("Read says %d, %v", n, err)
		}
		if err == nil || err == os.ErrDeadlineExceeded {
			continue
		}
		h := heard{out: out.String(), errs: errs.String(), how: "end"}
		var se *StatusError
		switch {
		case errors.As(err, &se):
			h.how = "status " + string(rune(se.Status))
		case errors.Is(err, cgi.ErrDied):
			h.how = "died"
		case err != io.EOF:
			t.Fatal(err)
		}
		end, _ := ex.Ended(0)
		h.app = end.Status
		h.kept = ex.Keep() != nil
		return h
	}
}

// wholeStream is the specification, without any buffer.
func wholeStream(s string) (h heard) {
	h.how = "died"
	for len(s) >= 8 && s[0] == 1 {
		kind, id, n, pad := s[1], s[2:4], int(s[4])<<8|int(s[5]), int(s[6])
		s = s[8:]
		content := s[:min(n, len(s))]
		mine := id == "\x00\x01"
		switch {
		case mine && kind == 3 && len(content) < 8:
			return h
		case mine && kind == 3:
			h.app = int(int32(binary.BigEndian.Uint32([]byte(content))))
			if h.how = "end"; content[4] != 0 {
				h.how = "status " + string(rune(content[4]))
			}
			h.kept = h.how == "end" && len(s) == n+pad
			return h
		case mine && kind == 6:
			h.out += content
		case mine && kind == 7:
			h.errs += content
		}
		s = s[min(n+pad, len(s)):]
	}
	return h
}

// FuzzPair: names and values come out as they went in, whatever stands before
// and behind them.
func FuzzPair(f *testing.F) {
	f.Add("NAME", "value", 0, 0)
	f.Fuzz(func(t *testing.T, name, value string, moreName, moreValue int) {
		// The fuzzer seldom makes long texts by itself.
		name += strings.Repeat("n", (moreName&0x3ffff)%70000)
		value += strings.Repeat("v", (moreValue&0x3ffff)%70000)
		b := appendPair([]byte("before"), "A", "b")
		b = appendPair(b, name, value)
		b = appendPair(b, "", "")
		got, err := decodePairs(b[len("before"):])
		if err != nil || len(got) != 3 || got[0] != (pair{"A", "b"}) || got[1] != (pair{name, value}) || got[2] != (pair{}) {
			t.Errorf("%d and %d bytes: %v", len(name), len(value), err)
		}
	})
}
