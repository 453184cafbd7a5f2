package gofastbridge

import (
	"fmt"
	"testing"
)

// FuzzWatch: what the watcher says does not depend on the pieces in which the
// bytes come.
func FuzzWatch(f *testing.F) {
	f.Add([]byte("\x01\x06\x00\x01\x00\x14\x04\x00Content-Type: a/b\n\nx....\x01\x03\x00\x01\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x01\x06\x00\x01\x00\x0c\x00\x00Status: 099\n"))
	f.Add([]byte("\x01\x03\x00\x01\x00\x08\x00\x00\x00\x00\x00\x07\x02\x00\x00\x00"))
	f.Add([]byte("\x01\x03\x00\x01\x00\x02\x00\x00ab"))
	f.Add([]byte("\x02\x06\x00\x01\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, pieces := watch{id: 1}, watch{id: 1}
		werr := whole.take(b)
		var perr error
		for i := range b {
			if perr = pieces.take(b[i : i+1]); perr != nil {
				break
			}
		}
		if (werr == nil) != (perr == nil) || whole.ended != pieces.ended || whole.end != pieces.end {
			t.Errorf("whole: %v %v %v; in pieces: %v %v %v", werr, whole.ended, whole.end, perr, pieces.ended, pieces.end)
		}
		if werr != nil && fmt.Sprint(werr) == "" {
			t.Error("an error without a text")
		}
	})
}
