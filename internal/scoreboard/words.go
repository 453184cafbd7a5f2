package scoreboard

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"unicode"
	"unsafe"
)

// words are a part of the memory.
type words []atomic.Uint64

// wordsOf is the memory as words. It has to begin at a multiple of 8, as what
// is mapped does.
func wordsOf(mem []byte) (words, error) {
	if len(mem) < 8 {
		return nil, errors.New("too short")
	}
	if uintptr(unsafe.Pointer(&mem[0]))%8 != 0 {
		return nil, errors.New("not aligned")
	}
	return unsafe.Slice((*atomic.Uint64)(unsafe.Pointer(&mem[0])), len(mem)/8), nil
}

func (w words) clear() {
	for i := range w {
		w[i].Store(0)
	}
}

// putText writes as much of s as there is room for.
func (w words) putText(s string) {
	for i := range w {
		n := min(8, len(s))
		var v uint64
		for j := range n {
			v |= uint64(s[j]) << (8 * j)
		}
		w[i].Store(v)
		if s = s[n:]; n < 8 {
			return
		}
	}
}

// text reads a text. It may be anything by now, so what could harm a terminal
// is replaced.
func (w words) text() string {
	b := make([]byte, 0, 8*len(w))
	for i := range w {
		v := w[i].Load()
		for range 8 {
			if byte(v) == 0 {
				return clean(b)
			}
			b = append(b, byte(v))
			v >>= 8
		}
	}
	return clean(b)
}

func clean(b []byte) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(string(b), "?"))
}

// safely runs f, for which memory that has gone is an error: who has the file
// can make it shorter.
func safely(f func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case interface {
			runtime.Error
			Addr() uintptr
		}:
			err = fmt.Errorf("scoreboard: the memory has gone: %w", p)
		default:
			panic(p)
		}
	}()
	f()
	return nil
}
