package sendfile

import (
	"slices"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What the kernel is asked; replaced by tests that need a slow disk or an older kernel.
var (
	preadNow  = preadNoWait
	cacheStat = pagesCached
	slowPread func(fd int, b []byte, off int64) (int, error) // nil: a reader's
)

// preadNoWait reads what is in the page cache, and nothing else: EAGAIN if the first byte is not. The scheduler is not
// told of the call, which takes no longer than the copy.
//
// It does not wait for the disk, but the kernel lets the disk begin to read what is missing.
func preadNoWait(fd int, b []byte, off int64) (int, error) {
	v := unix.Iovec{Base: unsafe.SliceData(b)}
	v.SetLen(len(b))
	n, _, errno := syscall.RawSyscall6(unix.SYS_PREADV2, uintptr(fd), uintptr(unsafe.Pointer(&v)), 1,
		uintptr(off), uintptr(uint64(off)>>32), unix.RWF_NOWAIT)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// pagesCached reports by cachestat(2) whether all pages of a part of a file are in the page cache, or at least on their way
// into it. Linux has it since 6.5, and since 6.15 only for who owns the file or may write to it: else it is not known.
func pagesCached(fd int, off, n int64) (all, known bool) {
	page := int64(pageSize)
	var s unix.Cachestat_t
	if unix.Cachestat(uint(fd), &unix.CachestatRange{Off: uint64(off), Len: uint64(n)}, &s, 0) != nil {
		return false, false
	}
	return int64(s.Cache) >= (off+n-1)/page-off/page+1, true
}

var pageSize = unix.Getpagesize()

// residence is what is known of a part of a file before it is read.
type residence int

const (
	notInMemory residence = iota // or nobody can tell
	worthTrying                  // a read with RWF_NOWAIT will tell
	inMemory
)

// look says whether a read with RWF_NOWAIT is in order. While no cold read is under way it is: it costs a hit nothing. But
// for a miss it makes the disk begin to read, so that requests which are then refused would fill the disk's queue all the
// same, until the next such read blocks. So while there are cold reads the kernel is asked first, which costs half a
// microsecond; and where it does not tell, and all permits are in use, only a file that was in memory the last time is
// tried. Another one is taken for cold, and waits for a permit.
func (r *Reads) look(f *File, off, n int64) residence {
	kind := r.odd.of(f)
	if kind == fsMemory || n == 0 {
		return inMemory
	}
	busy := int(r.busy.Load())
	if busy == 0 && kind == fsOrdinary {
		return worthTrying
	}
	all, known := cacheStat(f.fd, off, n)
	switch {
	case kind == fsSilent:
		if known && all {
			return inMemory
		}
		return notInMemory
	case known && all, !known && (busy < r.threads || r.hits.has(f)):
		return worthTrying
	}
	return notInMemory
}

// sampleBytes is how far apart the bytes lie by which a large part is judged. Pages come and go in runs.
const sampleBytes = 256 << 10

// resident reports whether a part of a file is in memory, as far as a few of its bytes tell.
func (r *Reads) resident(f *File, off, n int64) bool {
	switch r.look(f, off, n) {
	case notInMemory:
		return false
	case inMemory:
		return true
	}
	var b [1]byte
	for at, last := off, off+n-1; ; at = min(at+sampleBytes, last) {
		_, err := readFull(preadNow, f.fd, b[:], at)
		if r.isMiss(f, err) {
			return false
		}
		if err != nil || at == last {
			break
		}
	}
	r.hits.add(f)
	return true // what else is wrong, the send will tell
}

// hits remembers files that were in the page cache when they were read last, as far as there is room.
type hits [4096]atomic.Uint32

// place is that of a file, and its mark there.
func (h *hits) place(f *File) (*atomic.Uint32, uint32) {
	sum := (f.is.inode ^ f.is.device<<32 ^ f.is.device>>32) * 0x9e3779b97f4a7c15
	return &h[sum>>52], uint32(sum) | 1
}

func (h *hits) add(f *File) {
	if p, mark := h.place(f); p.Load() != mark {
		p.Store(mark)
	}
}

func (h *hits) has(f *File) bool {
	p, mark := h.place(f)
	return p.Load() == mark
}

func (h *hits) remove(f *File) {
	if p, mark := h.place(f); p.Load() == mark {
		p.Store(0)
	}
}

// fsKind is what a file system does with RWF_NOWAIT.
type fsKind int

const (
	fsOrdinary fsKind = iota
	fsMemory          // it has no disk, so no read waits
	fsSilent          // it refuses; any read may wait
)

// oddities are the file systems that refuse RWF_NOWAIT, by device number. Most machines have none but tmpfs.
type oddities struct{ list atomic.Pointer[[]oddity] }

type oddity struct {
	dev  uint64
	kind fsKind
}

func (o *oddities) of(f *File) fsKind {
	list := o.list.Load()
	if list == nil {
		return fsOrdinary
	}
	for _, x := range *list {
		if x.dev == f.is.device {
			return x.kind
		}
	}
	return fsOrdinary
}

// maxOddities bounds the list: file systems are mounted and unmounted.
const maxOddities = 64

// note remembers the file system of a file, which has refused.
func (o *oddities) note(f *File) {
	kind := fsSilent
	var st unix.Statfs_t
	if unix.Fstatfs(f.fd, &st) == nil && (uint32(st.Type) == unix.TMPFS_MAGIC || uint32(st.Type) == unix.RAMFS_MAGIC) {
		kind = fsMemory
	}
	for {
		old := o.list.Load()
		var list []oddity
		if old != nil {
			list = slices.DeleteFunc(slices.Clone(*old), func(x oddity) bool { return x.dev == f.is.device })
		}
		list = append(list, oddity{f.is.device, kind})
		list = list[max(0, len(list)-maxOddities):]
		if o.list.CompareAndSwap(old, &list) {
			return
		}
	}
}
