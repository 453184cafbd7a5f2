package poll

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// Discard takes what is there and throws it away, in the kernel where that can
// (MSG_TRUNC). It does not wait. done is the peer's end, or an error. Of a peer
// that sends faster than this there is still something left to discard: the next
// Park says so.
func (c *Conn) Discard() (n int, done bool) {
	if !c.begin() {
		return 0, true
	}
	defer c.end()
	for range discards {
		c.reader.ready.Store(false)
		k, errno := c.discard()
		switch {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN:
			return n, false
		case errno != 0 || k == 0:
			return n, true
		default:
			n += k
		}
	}
	c.reader.ready.Store(true)
	return n, false
}

// discards bounds the calls of one Discard.
const discards = 4

// discardBytes are thrown away in one call.
const discardBytes = 1 << 20

func (c *Conn) discard() (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(c.fd), 0, discardBytes, unix.MSG_TRUNC|unix.MSG_DONTWAIT, 0, 0)
	if errno != unix.EFAULT {
		return int(n), errno
	}
	// Only TCP throws away without a buffer.
	var buf [4096]byte
	return c.read(buf[:])
}

// Queued is how many bytes wait to be read.
func (c *Conn) Queued() int {
	if !c.begin() {
		return 0
	}
	defer c.end()
	n, err := unix.IoctlGetInt(c.fd, unix.SIOCINQ)
	if err != nil {
		return 0
	}
	return n
}
