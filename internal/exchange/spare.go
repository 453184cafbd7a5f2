package exchange

import (
	"errors"
	"syscall"
)

// Spare gives back descriptors that are kept only to save work; nil: there are none. It may be called at any time, by
// several goroutines.
type Spare func()

// helps reports whether a failure is one for want of a descriptor, and some have been given back: it may go well now.
func (s Spare) helps(err error) bool {
	if s == nil || !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
		return false
	}
	s()
	return true
}
