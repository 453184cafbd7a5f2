package spawner

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// siginfoPID is si_pid of a siginfo_t that waitid filled: the first field
// behind si_signo, si_errno and si_code, aligned as the union is (to eight
// bytes on 64-bit systems).
func siginfoPID(info *unix.Siginfo) int { return siginfoField(info, 0) }

// siginfoKilled reports whether the child was killed by SIGKILL: si_code is
// CLD_KILLED, and si_status, behind si_pid and si_uid, the signal.
func siginfoKilled(info *unix.Siginfo) bool {
	const cldKilled = 2
	return info.Code == cldKilled && siginfoField(info, 2) == int(unix.SIGKILL)
}

// siginfoField is one of the 32-bit fields from si_pid on.
func siginfoField(info *unix.Siginfo, n uintptr) int {
	const head = 3 * 4
	align := unsafe.Sizeof(uintptr(0))
	offset := (head + align - 1) / align * align
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), offset+4*n)))
}
