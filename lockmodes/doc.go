// Package lockmodes is accept serialization: locks between the processes that
// accept connections on the same sockets, so that one of them waits there while
// the others do something else.
//
// There are several kinds of lock, each a Mode, since none is the best everywhere.
// All have one interface, Lock, and one property: a holder that is killed never
// keeps the others out. Who is above the processes makes what they Share, and
// gives each a descriptor of it; each process opens that and has its Lock.
//
//	mode       what it is                                        freed when its holder is killed by
//	none       always free
//	flock      flock(2) on a file                                the kernel
//	fcntl      fcntl(2) on a file                                the kernel
//	sysvsem    a System V semaphore                              the kernel (SEM_UNDO)
//	posixsem   a semaphore in shared memory                      Shared.Clear
//	pthread    a robust mutex in shared memory                   the kernel (robust list)
//	uslock     spins in shared memory before it sleeps           Shared.Clear
//	partial    posixsem that lets several in at once             Shared.Clear
//	exclusive  no lock: the kernel wakes one waiter (EPOLLEXCLUSIVE)
//	reuseport  no lock: each process has a socket of its own (SO_REUSEPORT)
//
// # What people get wrong
//
// A lock of flock(2) belongs to the open file description: a process that
// inherits a descriptor of it has the lock as well, and so does any program that
// it starts. Here each process gets an open file description of its own, and no
// descriptor is left to a program that is executed. A lock of fcntl(2) belongs to
// the process, and is gone when the process closes any descriptor of that file:
// the file here has no name, so that nobody opens it.
//
// A POSIX semaphore does not know who holds it, and is held for ever when that
// one is killed. Here the semaphore is the set of its holders, one bit for each
// process, so that acquiring and owning are one compare-and-swap, and who reaps a
// process can take its bit away. That makes 64 processes the most there can be.
//
// A System V semaphore outlives everybody. Its number is noted in a file, so that
// the next start can remove what a killed one left behind (Sweep).
package lockmodes
