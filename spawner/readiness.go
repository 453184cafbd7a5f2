package spawner

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// When is a child ready? It says nothing by itself, and a connection to find
// out would be a request to some programs (FCGI.pm waits two seconds for it,
// a simple one may die of it). So the child is only looked at: it is ready
// when it waits in accept, or has been waiting in something that programs wait
// for connections in for a while. Being wrong costs nothing but the word, since
// its socket exists before it does and takes requests from the start.
const (
	readyPoll    = 5 * time.Millisecond
	readySteady  = 10                     // polls in a row that see it wait elsewhere than in accept
	readyUnknown = 200 * time.Millisecond // alive for so long where the system does not tell
)

// awaitReady waits until the child is ready; false: it ended, or stop closed,
// first. One that has answered is ready whatever it does: it may be waiting on a
// kept connection. After timeout a child that is alive counts as ready.
func awaitReady(c *Child, timeout time.Duration, answered func() bool, stop <-chan struct{}) bool {
	begin := time.Now()
	tick := time.NewTicker(readyPoll)
	defer tick.Stop()
	steady := 0
	for {
		select {
		case <-c.Done():
			return false
		case <-stop:
			return false
		case <-tick.C:
		}
		if answered() {
			return true
		}
		age := time.Since(begin)
		switch look(c.PID()) {
		case inAccept:
			return true
		case inWait:
			steady++
		case unknown:
			if age >= readyUnknown {
				return true
			}
		default:
			steady = 0
		}
		if steady >= readySteady || timeout > 0 && age >= timeout {
			return true
		}
	}
}

type posture int

const (
	busy posture = iota
	inAccept
	inWait
	unknown
)

// look reads the system call that a process is in (proc(5), /proc/PID/syscall).
func look(pid int) posture {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/syscall", pid))
	if err != nil {
		return unknown
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return busy // "running"
	}
	nr, err := strconv.Atoi(f[0])
	if err != nil {
		return busy
	}
	switch nr {
	case unix.SYS_ACCEPT, unix.SYS_ACCEPT4:
		if f[1] == "0x0" {
			return inAccept
		}
		return inWait
	case unix.SYS_EPOLL_PWAIT, unix.SYS_PPOLL, unix.SYS_PSELECT6, unix.SYS_FUTEX, unix.SYS_WAIT4, unix.SYS_WAITID,
		unix.SYS_FCNTL, unix.SYS_FLOCK:
		return inWait
	}
	if waitsHere(nr) {
		return inWait
	}
	return busy
}
