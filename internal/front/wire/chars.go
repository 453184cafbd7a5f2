package wire

import (
	"encoding/binary"
	"net/url"
)

// What a byte may be part of.
const (
	inToken  = 1 << iota // RFC 9110 section 5.6.2
	inTarget             // anything visible; bytes above ASCII pass, as with net/http
	inHost               // what net/http allows in a Host
	inPath               // as a path's byte it stands for itself, escaped or not
	isText               // of a field's value: no control byte but HTAB
)

var class = func() (t [256]uint8) {
	for i := range t {
		c := byte(i)
		alnum := '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
		if alnum || contains("!#$%&'*+-.^_`|~", c) {
			t[i] |= inToken
		}
		if c > ' ' && c != 0x7f {
			t[i] |= inTarget
		}
		if alnum || contains("!$%&()*+,-.:;='[]_~", c) {
			t[i] |= inHost
		}
		if c >= ' ' && c != 0x7f || c == '\t' {
			t[i] |= isText
		}
		p := "/" + string([]byte{c})
		if u, err := url.ParseRequestURI(p); err == nil && *u == (url.URL{Path: p}) {
			t[i] |= inPath
		}
	}
	return t
}()

func contains(s string, c byte) bool {
	for i := range len(s) {
		if s[i] == c {
			return true
		}
	}
	return false
}

// all reports whether every byte of s is of the class.
func all(s string, of uint8) bool {
	for i := range len(s) {
		if class[s[i]]&of == 0 {
			return false
		}
	}
	return true
}

// canonical is what a letter of a field's name becomes: by whether it begins a
// word. 0: it is not of a name.
var canonical = func() (t [2][256]byte) {
	for i := range 256 {
		c := byte(i)
		if class[c]&inToken == 0 {
			continue
		}
		t[0][c], t[1][c] = c, c
		if 'A' <= c && c <= 'Z' {
			t[0][c] = c | 0x20
		}
		if 'a' <= c && c <= 'z' {
			t[1][c] = c &^ 0x20
		}
	}
	return t
}()

// isControlled reports whether a control byte other than HTAB is in b.
func isControlled(b []byte) bool {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for len(b) >= 8 {
		x := binary.LittleEndian.Uint64(b)
		del := x ^ 0x7f*ones
		// The high bit of a byte is set where x is below 0x20, or del is 0; and
		// at times above such a byte, which changes nothing.
		if ((x-0x20*ones)&^x|(del-ones)&^del)&highs != 0 && !allText(b[:8]) {
			return true
		}
		b = b[8:]
	}
	return !allText(b)
}

func allText(b []byte) bool {
	for _, c := range b {
		if class[c]&isText == 0 {
			return false
		}
	}
	return true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// trim removes the blanks around a value.
func trim(s string) string {
	for len(s) > 0 && isBlank(s[0]) {
		s = s[1:]
	}
	for len(s) > 0 && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// isWord reports whether s is the lower-case word, in whatever case.
func isWord(s, word string) bool {
	if len(s) != len(word) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != word[i] {
			return false
		}
	}
	return true
}
