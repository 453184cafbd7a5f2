package lockmodes

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What linux/ipc.h and linux/sem.h have, and x/sys has not.
const (
	ipcCreate = 0o1000
	ipcNoWait = 0o4000
	ipcRemove = 0
	ipcSet    = 1
	semUndo   = 0x1000
	semSetVal = 16
)

// sysvsem is a System V semaphore of the value 1. What a process took is given
// back when it ends, however it ends (SEM_UNDO); all its threads count as one.
type sysvsem struct {
	id         uintptr
	take, give sembuf
	stopped    atomic.Bool
	held       atomic.Bool
}

// sembuf is struct sembuf of linux/sem.h.
type sembuf struct {
	num uint16
	op  int16
	flg int16
}

func openSysVSem(_ Options, m material) (Lock, error) {
	id := m.mem.semid.Load() // is all that it is for
	if err := m.mem.unmap(); err != nil {
		return nil, err
	}
	return &sysvsem{id: uintptr(id), take: sembuf{op: -1, flg: semUndo}, give: sembuf{op: 1, flg: semUndo}}, nil
}

func (l *sysvsem) TryLock() bool {
	if l.stopped.Load() {
		return false
	}
	now := sembuf{op: -1, flg: semUndo | ipcNoWait}
	_, _, e := unix.RawSyscall(unix.SYS_SEMOP, l.id, uintptr(unsafe.Pointer(&now)), 1)
	if e != 0 {
		return false
	}
	l.held.Store(true)
	return true
}

func (l *sysvsem) Lock() error {
	for !l.stopped.Load() {
		ts := unix.NsecToTimespec(int64(semMost))
		_, _, e := unix.Syscall6(unix.SYS_SEMTIMEDOP, l.id, uintptr(unsafe.Pointer(&l.take)), 1, uintptr(unsafe.Pointer(&ts)), 0, 0)
		switch {
		case e == 0 && l.stopped.Load():
			l.Unlock()
		case e == 0:
			l.held.Store(true)
			return nil
		case e != unix.EINTR && e != unix.EAGAIN: // EIDRM, EINVAL: somebody has removed it
			return os.NewSyscallError("semtimedop", e)
		}
	}
	return ErrStopped
}

func (l *sysvsem) Unlock() {
	l.held.Store(false)
	for {
		_, _, e := unix.RawSyscall(unix.SYS_SEMOP, l.id, uintptr(unsafe.Pointer(&l.give)), 1)
		if e != unix.EINTR {
			return
		}
	}
}

func (l *sysvsem) Stop() { l.stopped.Store(true) }

func (l *sysvsem) Close() error {
	l.Stop()
	if l.held.Load() {
		l.Unlock()
	}
	return nil
}

// semctl is semctl(2) for the first semaphore of a set. What is behind arg, and
// value, is the command's affair.
func semctl(id int, cmd, value uintptr, arg unsafe.Pointer) error {
	if unsafe.Sizeof(value) == 4 {
		cmd |= 0x100 // IPC_64: the present form of struct semid_ds
	}
	if arg != nil {
		_, _, e := unix.Syscall6(unix.SYS_SEMCTL, uintptr(id), 0, cmd, uintptr(arg), 0, 0)
		return sysError("semctl", e)
	}
	_, _, e := unix.Syscall6(unix.SYS_SEMCTL, uintptr(id), 0, cmd, value, 0, 0)
	return sysError("semctl", e)
}

func sysError(call string, e syscall.Errno) error {
	if e == 0 {
		return nil
	}
	return os.NewSyscallError(call, e)
}

// createSemaphore makes a set of one semaphore, for processes of the user.
func createSemaphore(uid, gid int) (id int, err error) {
	n, _, e := unix.Syscall(unix.SYS_SEMGET, 0, 1, ipcCreate|0o600)
	if e != 0 {
		return 0, os.NewSyscallError("semget", e)
	}
	id = int(n)
	if err := openSemaphore(id, uid, gid); err != nil {
		semctl(id, ipcRemove, 0, nil)
		return 0, err
	}
	return id, nil
}

// openSemaphore lets the user in, and then everybody: its value is 1.
func openSemaphore(id, uid, gid int) error {
	if uid >= 0 && uid != os.Geteuid() {
		// struct semid_ds begins with the permissions, and is shorter than this on
		// every architecture.
		var ds struct {
			perm unix.SysvIpcPerm
			_    [256]byte
		}
		ds.perm.Uid, ds.perm.Gid, ds.perm.Mode = uint32(uid), uint32(max(gid, 0)), 0o600
		if err := semctl(id, ipcSet, 0, unsafe.Pointer(&ds)); err != nil {
			return err
		}
	}
	return semctl(id, semSetVal, 1, nil)
}

// semaphores is where the kernel lists the sets.
const semaphores = "/proc/sysvipc/sem"

// changed is when a set was changed last, in seconds of Unix, and who made it. A
// number alone says little: it may be another's after a restart of the machine.
func changed(id int) (when string, by int, err error) {
	f, err := os.Open(semaphores)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		// key semid perms nsems uid gid cuid cgid otime ctime
		w := strings.Fields(s.Text())
		if len(w) < 10 || w[1] != strconv.Itoa(id) {
			continue
		}
		by, err := strconv.Atoi(w[6])
		return w[9], by, err
	}
	return "", 0, fmt.Errorf("%s: no semaphore %d: %w", semaphores, id, fs.ErrNotExist)
}

// note writes down which set it is, for Sweep.
func note(record string, id int) error {
	if record == "" {
		return nil
	}
	when, _, err := changed(id)
	if err != nil {
		return err
	}
	return os.WriteFile(record, fmt.Appendf(nil, "%d %s\n", id, when), 0o600)
}

// Sweep removes the System V semaphore that an earlier Create noted in the
// record, and the record. It reports whether there was one. The semaphore is
// removed only if it is still the same: made by this user, and not changed since.
// Nobody may use it any more.
func Sweep(record string) (bool, error) {
	b, err := os.ReadFile(record)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("sweep accept lock: %w", err)
	}
	defer os.Remove(record)
	first, then, _ := strings.Cut(strings.TrimSpace(string(b)), " ")
	id, err := strconv.Atoi(first)
	if err != nil {
		return false, nil // cut off: the semaphore was not there long
	}
	when, by, err := changed(id)
	if err != nil || when != then || by != os.Geteuid() {
		return false, nil
	}
	if err := semctl(id, ipcRemove, 0, nil); err != nil && !errors.Is(err, syscall.EIDRM) && !errors.Is(err, syscall.EINVAL) {
		return false, fmt.Errorf("sweep accept lock: %w", err)
	}
	return true, nil
}
