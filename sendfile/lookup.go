package sendfile

import (
	"context"

	"golang.org/x/sys/unix"
)

// A file whose name is not in memory, since nobody has asked for it for long, waits for the disk when it is opened. So the
// kernel is first asked to open it without that (RESOLVE_CACHED, Linux 5.12), and then with a permit.

// resolveCached is RESOLVE_CACHED of linux/openat2.h.
const resolveCached = 0x20

// cachedHow are the same walks without the disk.
var cachedHow = map[*unix.OpenHow]*unix.OpenHow{}

func init() {
	for _, how := range append(openHow[:], howRoot, howPlain) {
		c := *how
		c.Resolve |= resolveCached
		cachedHow[how] = &c
	}
}

// open is openRetry within the bounds. The error may be ErrBusy. It does not end with a client, as those who ask for a file
// at the same time share what comes of it.
func (r *Reads) open(dir int, name string, how *unix.OpenHow) (int, error) {
	if r == nil {
		return openRetry(openat2, dir, name, how)
	}
	fd, err := openat2(dir, name, cachedHow[how])
	switch err {
	case unix.EAGAIN, unix.EINTR:
	case unix.EINVAL: // an older kernel
		return openRetry(openat2, dir, name, how)
	default:
		return fd, err
	}
	rd, err := r.acquire(context.Background(), beginning)
	if err != nil {
		return -1, err
	}
	defer r.release(rd)
	return openRetry(rd.openat2, dir, name, how)
}
