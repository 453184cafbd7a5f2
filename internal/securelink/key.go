package securelink

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// Bounds of a secret, in bytes: less can be guessed, more is some other file.
const (
	MinKey = 16
	MaxKey = 4096
)

// Key is a secret. One of less than MinKey bytes signs, but nothing that it has
// signed is right.
type Key []byte

func (k Key) usable() bool { return len(k) >= MinKey }

// ReadKey reads a secret from a file, without the line end behind it, if there is
// one: every other byte counts. The errors say what is wrong with the file, and
// nothing of what it holds.
func ReadKey(path string) (Key, error) {
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() { // to open a FIFO would wait for somebody
		return nil, errors.New("want a file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, MaxKey+3))
	if err != nil {
		return nil, err
	}
	k := Key(text)
	if rest, ok := bytes.CutSuffix(text, []byte("\n")); ok {
		k = bytes.TrimSuffix(rest, []byte("\r"))
	}
	switch n := len(k); {
	case n < MinKey:
		return nil, fmt.Errorf("a secret has at least %d bytes, this one has %d", MinKey, n)
	case n > MaxKey:
		return nil, fmt.Errorf("a secret has at most %d bytes, this file has more", MaxKey)
	}
	return k, nil
}
