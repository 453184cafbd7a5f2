package lockmodes

// openPosixSem is a POSIX semaphore of one permit, whose word is the set of its
// holders: who waits sleeps on a futex.
func openPosixSem(_ Options, m material) (Lock, error) { return newHolders(m, 1), nil }
