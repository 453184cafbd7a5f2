package lockmodes

// How long USLock spins before it sleeps. A holder has the lock for a few
// microseconds while connections come, and for as long as it takes while none do:
// who spun on would burn a processor for nothing.
const (
	usSpins  = 200 // about as long as two system calls
	usYields = 2
)

// openUSLock is a spin lock in user space.
func openUSLock(_ Options, m material) (Lock, error) {
	h := newHolders(m, 1)
	h.spins, h.yields = usSpins, usYields
	return h, nil
}
