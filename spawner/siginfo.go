package spawner

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// siginfoPID is si_pid of a siginfo_t that waitid filled: the first field
// behind si_signo, si_errno and si_code, aligned as the union is (to eight
// bytes on 64-bit systems).
func siginfoPID(info *unix.Siginfo) int {
	const head = 3 * 4
	align := unsafe.Sizeof(uintptr(0))
	offset := (head + align - 1) / align * align
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), offset)))
}
