package sendfile

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A goroutine that waits in a system call is dear to the others. It keeps its place at the scheduler until somebody notices
// that the call takes long, 20 µs to 10 ms later, and where GOMAXPROCS is 1 nothing else runs until then. And when the disk
// has answered, its thread has to be given a place again, one for each read, while what has arrived from the network waits
// until all of them are through. So the reads are made by threads that the scheduler has nothing to do with: goroutines
// that have entered a system call and do not come back from it. What arrives at them and leaves them goes through
// descriptors, so that what the disk has answered is one event for the network poller, however many reads it was.
//
// Measured with a file in memory beside 32 clients of cold ones, p99: 2.5 ms with plain pread(2), 1.0 ms with calls that
// give up their place at once, and 0.4 ms with these; nginx with aio threads: 0.7.

// entersyscallblock says that what follows waits, and exitsyscall that it is over. They are no public names, but promised
// to stay (https://go.dev/issue/67401).
//
//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// reader is a thread that reads from the disk, and the permit to do so.
type reader struct {
	job
	wake     int           // descriptor by which the thread is told of a job; below 0: there is no thread, whoever has the job does it
	finished chan struct{} // a job is done
}

// job is what a thread is asked to do: one system call, or to bring a part of a file into the page cache. What addresses
// are in it point to, whoever waits for it keeps.
type job struct {
	trap   uintptr // bring, leave or a system call's number
	args   [4]uintptr
	done   uint32 // set by the thread
	result uintptr
	errno  syscall.Errno
}

// What is no system call.
const (
	bringPart   uintptr = 1<<16 + iota // of args: descriptor, offset, bytes, bytes that follow
	leaveThread                        // the thread ends
)

// run is the thread. It calls nothing that knows of the scheduler, needs no larger stack, and touches nothing of the
// collector's: with the first statement it has left Go, and comes back with the last. Its memory is ordered by the system
// calls around each job.
//
//go:nosplit
//go:norace
func (r *reader) run(finished uintptr) {
	var count, one uint64 = 0, 1
	entersyscallblock()
	for {
		if n, _, _ := syscall.RawSyscall6(unix.SYS_READ, uintptr(r.wake), uintptr(unsafe.Pointer(&count)), 8, 0, 0, 0); n != 8 {
			continue // nobody has a job
		}
		if r.trap == leaveThread {
			break
		}
		r.do()
		r.finish()
		syscall.RawSyscall6(unix.SYS_WRITE, finished, uintptr(unsafe.Pointer(&one)), 8, 0, 0, 0)
	}
	exitsyscall()
}

//go:nosplit
//go:norace
func (j *job) do() {
	if j.trap != bringPart {
		j.result, _, j.errno = syscall.RawSyscall6(j.trap, j.args[0], j.args[1], j.args[2], j.args[3], 0, 0)
		return
	}
	j.errno = 0
	fd, off, n, end := j.args[0], j.args[1], j.args[2], j.args[1]+j.args[2]+j.args[3]
	for at := off; at < end; at += adviceBytes {
		syscall.RawSyscall6(unix.SYS_FADVISE64, fd, at, min(adviceBytes, end-at), unix.FADV_WILLNEED, 0, 0)
	}
	// It is there when the bytes by which it will be judged are.
	var b byte
	for at, last := off, off+n-1; n > 0; at = min(at+sampleBytes, last) {
		syscall.RawSyscall6(unix.SYS_PREAD64, fd, uintptr(unsafe.Pointer(&b)), 1, at, 0, 0)
		if at == last {
			return
		}
	}
}

// call has a job done.
func (r *reader) call(trap, a1, a2, a3, a4 uintptr) (uintptr, error) {
	r.trap, r.args, r.done = trap, [4]uintptr{a1, a2, a3, a4}, 0
	if r.wake < 0 {
		r.here()
	} else {
		r.tell()
		<-r.finished
	}
	if r.errno != 0 {
		return r.result, r.errno
	}
	return r.result, nil
}

// here does the job in the goroutine's own thread, whose place at the scheduler is given up.
//
//go:nosplit
//go:norace
func (r *reader) here() {
	entersyscallblock()
	r.do()
	exitsyscall()
}

// tell wakes the thread.
func (r *reader) tell() {
	one := uint64(1)
	syscall.RawSyscall(unix.SYS_WRITE, uintptr(r.wake), uintptr(unsafe.Pointer(&one)), 8)
}

// pread is pread(2).
func (r *reader) pread(fd int, b []byte, off int64) (int, error) {
	if slowPread != nil {
		return slowPread(fd, b, off)
	}
	n, err := r.call(unix.SYS_PREAD64, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), uintptr(off))
	runtime.KeepAlive(b)
	if err != nil {
		return 0, err
	}
	return int(n), nil
}

// bring has n bytes at off in the page cache before it returns, and those that follow on their way.
func (r *reader) bring(fd int, off, n, following int64) error {
	if slowPread != nil && n > 0 {
		_, err := slowPread(fd, make([]byte, n), off)
		return err
	}
	_, err := r.call(bringPart, uintptr(fd), uintptr(off), uintptr(n), uintptr(following))
	return err
}

// end has the thread leave.
func (r *reader) end() {
	if r.wake >= 0 {
		r.trap = leaveThread
		r.tell()
	}
}

// openat2 is openat2(2).
func (r *reader) openat2(dir int, name string, how *unix.OpenHow) (int, error) {
	path, err := unix.BytePtrFromString(name)
	if err != nil {
		return -1, err
	}
	fd, err := r.call(unix.SYS_OPENAT2, uintptr(dir), uintptr(unsafe.Pointer(path)), uintptr(unsafe.Pointer(how)), unix.SizeofOpenHow)
	runtime.KeepAlive(path)
	runtime.KeepAlive(how)
	if err != nil {
		return -1, err
	}
	return int(fd), nil
}
