package spawner

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// TreeMemory is the memory of a process and of all its descendants, in bytes:
// what is resident of it, and of the descendants what they do not share, which
// for the greatest part is the parent's (proc(5), /proc/PID/statm). A process
// that is gone has none. Descendants whose parent has ended are not found.
func TreeMemory(pid int) int64 {
	resident, _ := statm(pid)
	all := resident
	for queue := childrenOf(pid); len(queue) > 0; queue = queue[1:] {
		resident, shared := statm(queue[0])
		all += max(0, resident-shared)
		queue = append(queue, childrenOf(queue[0])...)
	}
	return all * int64(os.Getpagesize())
}

// statm is what is resident of a process, and shared of that, in pages.
func statm(pid int) (resident, shared int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	f := bytes.Fields(b)
	if err != nil || len(f) < 3 {
		return 0, 0
	}
	resident, _ = strconv.ParseInt(string(f[1]), 10, 64)
	shared, _ = strconv.ParseInt(string(f[2]), 10, 64)
	return resident, shared
}

// childrenOf are the children of all threads of a process.
func childrenOf(pid int) (pids []int) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, name := range tasks {
		b, _ := os.ReadFile(name)
		for _, f := range bytes.Fields(b) {
			if n, err := strconv.Atoi(string(f)); err == nil {
				pids = append(pids, n)
			}
		}
	}
	return pids
}
