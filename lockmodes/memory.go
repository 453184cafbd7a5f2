package lockmodes

import (
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memory is what the processes share where they share memory. Each mode uses its
// own part, and none trusts that the others wrote sense into it.
type memory struct {
	holders atomic.Uint64 // a bit for each process that is in
	_       [56]byte
	waiters atomic.Uint64 // a bit for each that sleeps, or is about to
	bell    atomic.Uint32 // the futex on which they sleep: how often it was rung
	_       [52]byte
	mutex   atomic.Uint32 // of Pthread
	_       [60]byte
	semid   atomic.Int64 // of SysVSem
}

const memorySize = int(unsafe.Sizeof(memory{}))

// createMemory makes memory without a name, whose length nobody can change: who
// touches what has been cut off is killed.
func createMemory() (*os.File, error) {
	fd, err := unix.MemfdCreate("accept lock", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	f := os.NewFile(uintptr(fd), "accept lock")
	if err := f.Truncate(int64(memorySize)); err != nil {
		f.Close()
		return nil, err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL); err != nil {
		f.Close()
		return nil, os.NewSyscallError("fcntl", err)
	}
	return f, nil
}

func mapMemory(f *os.File) (*memory, error) {
	b, err := mmap(f, memorySize)
	if err != nil {
		return nil, err
	}
	return (*memory)(unsafe.Pointer(&b[0])), nil
}

func mmap(f *os.File, size int) (b []byte, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	cerr := raw.Control(func(fd uintptr) {
		b, err = unix.Mmap(int(fd), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	})
	if cerr != nil {
		return nil, cerr
	}
	return b, os.NewSyscallError("mmap", err)
}

func (m *memory) unmap() error {
	return os.NewSyscallError("munmap", unix.Munmap(unsafe.Slice((*byte)(unsafe.Pointer(m)), memorySize)))
}
